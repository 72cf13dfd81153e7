"""Digest of a workload's code: its source file, the local modules that it imports, and its arguments."""

from __future__ import annotations

import ast
import gc
import hashlib
import inspect
import site
import sys
import sysconfig
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

_HARNESS = Path(__file__).parent  # the harness is a version, not part of the workload
_DIGITS = 16
_MOST_DEPTH = 8
_KNOWN: dict[int, tuple[weakref.ref[Any], str]] = {}  # digests by the identity of the workload


def code_digest(workload: object) -> str:
    """Return a digest of the code and the arguments of a workload, before `prepare`.

    The code is the source file of its class and, transitively, the modules that it imports from outside the standard
    library and the installed packages, whose versions are recorded with the machine. Two workloads with equal digests
    run the same code with the same arguments. The digest of an object is computed once, as `prepare` and `advance` change
    its attributes.
    """
    known = _KNOWN.get(id(workload))
    if known is not None and known[0]() is workload:
        return known[1]
    digest = hashlib.sha256()
    for path in sorted(_local_files(sys.modules.get(type(workload).__module__))):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(repr(_canonical(_arguments(workload), depth=0)).encode(errors="replace"))
    text = digest.hexdigest()[:_DIGITS]
    with suppress(TypeError):  # objects without weak references
        _KNOWN[id(workload)] = (weakref.ref(workload), text)
    return text


def _arguments(workload: object) -> dict[str, Any]:
    """Collect the attributes that are named like the parameters of the constructor, as most classes keep them."""
    try:
        names = list(inspect.signature(type(workload)).parameters)
    except (TypeError, ValueError):
        names = []
    try:
        kept = vars(workload)
    except TypeError:
        kept = {}
    found = {name: kept.get(name, kept.get(f"_{name}")) for name in names}
    return {"class": type(workload).__qualname__, **found}


def _local_files(module: ModuleType | None) -> set[Path]:
    """Collect the source files of a module and of its local imports."""
    start = _file_of(module)
    if start is None:
        return set()
    found, waiting = {start}, [start]
    while waiting:
        path = waiting.pop()
        for imported in _imports(path):
            if imported not in found:
                found.add(imported)
                waiting.append(imported)
    return found


def _imports(path: Path) -> Iterator[Path]:
    """Find the local files that a file imports, including imports within functions."""
    try:
        tree = _parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            stem = "." * node.level + (node.module or "")
            names = [stem, *(f"{stem}.{alias.name}" if node.module else stem + alias.name for alias in node.names)]
        else:
            continue
        for name in names:
            yield from filter(None, [_resolve(name, path)])


def _parse(source: bytes) -> ast.AST:
    """Parse without garbage collection: a finalizer that prints a traceback parses code, too, and CPython 3.11 cannot nest it."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if is_enabled:
            gc.enable()


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a syntax tree, except for imports that only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _statements(node)


def _resolve(name: str, importer: Path) -> Path | None:
    """Find the file of a module by its name, next to the importing file or among the loaded modules."""
    level = len(name) - len(name.lstrip("."))
    folder = importer.parent
    for _ in range(level - 1):
        folder = folder.parent
    parts = name[level:].split(".") if name[level:] else []
    beside = folder.joinpath(*parts)
    for candidate in (beside.with_suffix(".py") if parts else beside / "__init__.py", beside / "__init__.py"):
        if candidate.is_file() and _is_local(candidate.resolve()):
            return candidate.resolve()
    return _file_of(sys.modules.get(name)) if level == 0 else None


def _file_of(module: ModuleType | None) -> Path | None:
    """Return the source file of a module; None if it is built in, installed, or part of the harness."""
    name = None if module is None else module.__dict__.get("__file__")
    if not isinstance(name, str) or not name.endswith(".py"):
        return None
    path = Path(name).resolve()
    return path if path.is_file() and _is_local(path) else None


def _is_local(path: Path) -> bool:
    return not any(path.is_relative_to(folder) for folder in (*_INSTALLED, _HARNESS))


def _installed_folders() -> tuple[Path, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(path).resolve() for path in (*paths, *site.getsitepackages()) if path)


_INSTALLED = _installed_folders()


def _canonical(value: Any, *, depth: int) -> Any:
    """Describe a value by its content: equal in every process, unlike its address or identity."""
    name = type(value).__qualname__
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    if depth > _MOST_DEPTH:
        return name
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):  # an array
        return (name, str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest())
    contents = _contents(value, depth + 1)
    return name if contents is None else (name, contents)


def _contents(value: Any, depth: int) -> Any:
    """Describe the contents of a container or an object; None if they are unknown."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return sorted((repr(_canonical(k, depth=depth)), repr(_canonical(v, depth=depth))) for k, v in value.items())
    if isinstance(value, list | tuple):
        return [_canonical(each, depth=depth) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(_canonical(each, depth=depth)) for each in value)
    return _canonical(vars(value), depth=depth) if hasattr(value, "__dict__") else None
