"""Training text from installed Python source code, selected by license, without duplicates and tables.

This module selects packages and files, and the files to hold out. It is independent of tokens and models.

    python benchmarks/bundled_models/corpus.py --out runs/bundled
"""

import hashlib
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

# Permissively licensed according to their metadata; `corpus.json` records version and license.
PACKAGES = (
    "Jinja2", "Markdown", "Pygments", "SQLAlchemy", "anyio", "autograd", "click", "fonttools", "formulaic", "fsspec",
    "griffelib", "h11", "huggingface_hub", "idna", "importlib_metadata", "joblib", "lifelines", "llvmlite",
    "markdown-it-py", "matplotlib", "mkdocs", "mpmath", "mypy", "narwhals", "networkx", "numba", "numpy", "optype",
    "packaging", "pandas", "pillow", "pip", "platformdirs", "plotly", "pluggy", "pydantic", "pymdown-extensions",
    "pyparsing", "pytest", "python-dateutil", "requests", "rich", "scikit-learn", "scipy", "setuptools",
    "sortedcontainers", "sympy", "torch", "transformers", "typer", "urllib3", "watchdog", "wrapt",
)  # fmt: skip
NOT_PERMISSIVE = ("GPL", "Mozilla", "MPL")  # LGPL too
TEST_FOLDERS = frozenset({"test", "tests", "testing", "idle_test", "conftest.py", "lib2to3"})
# Generated files, or copies of other distributions.
GENERATED_FOLDERS = frozenset({"_vendor", "vendor", "_vendored", "validators", "lextab", "parsetab", "_aten_wrappers"})

BYTES_PER_PACKAGE = 12_000_000
LARGEST_FILE = 150_000  # bytes; longer files are nearly always tables
SMALLEST_FILE = 400
DIGIT_SHARE = 0.10
LONGEST_LINE = 300
SEEN_LINES = 0.4  # share of long lines that occur in earlier files, above which a file is a copy
HELD_OUT_PERCENT = 2


@dataclass(frozen=True)
class Source:
    """One package and the location of its files."""

    name: str
    version: str
    license: str
    files: list[tuple[str, Path]]  # the path inside the package, and on disk


@dataclass
class Corpus:
    """Training and held-out texts, with a record of their sources."""

    training: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)
    held_out_names: list[str] = field(default_factory=list)
    packages: list[dict[str, object]] = field(default_factory=list)


def standard_library() -> Source:
    """Return the modules of the standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    version = sysconfig.get_python_version()
    return Source("python", version, "PSF-2.0", [(f"python/{path.relative_to(root)}", path) for path in paths])


def installed(name: str) -> Source | None:
    """Return the Python files of an installed distribution, or None if it is missing or its license is not permissive."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    named = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    classifiers = [c for c in found.metadata.get_all("Classifier") or [] if c.startswith("License")]
    license_name = " ".join(
        [named.strip().split("\n")[0][:60], *(c.split("::")[-1].strip() for c in classifiers)]
    ).strip()
    if any(word in license_name for word in NOT_PERMISSIVE):
        return None
    paths = sorted((str(file), Path(str(file.locate()))) for file in found.files or [] if file.suffix == ".py")
    return Source(name, found.version, license_name, paths)


def is_wanted(name: str) -> bool:
    """Return True if a file is neither a test, which is mostly data, nor in a folder of generated files."""
    parts = Path(name).parts
    if any(part in TEST_FOLDERS or part in GENERATED_FOLDERS for part in parts):
        return False
    return not parts[-1].startswith("test_")


def reads_like_code(text: str) -> bool:
    """Return True if a text is code rather than a table with many digits, very long lines and little plain text."""
    if not SMALLEST_FILE <= len(text) <= LARGEST_FILE or not text.isascii():
        return False
    digits = sum(map(text.count, "0123456789"))
    return digits < DIGIT_SHARE * len(text) and max(map(len, text.splitlines())) <= LONGEST_LINE


def is_copy(text: str, seen: set[int]) -> bool:
    """Return True if most long lines occur in earlier files; adds the lines of this file."""
    lines = {hash(line.strip()) for line in text.splitlines() if len(line.strip()) >= 25}
    copied = len(lines & seen)
    if copied > SEEN_LINES * len(lines):
        return True
    seen |= lines
    return False


def is_held_out(name: str) -> bool:
    """If True, hold out a module, decided by its path alone, independent of versions and order."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 100 < HELD_OUT_PERCENT


def by_hash(item: tuple[str, Path]) -> bytes:
    """Return a sort key such that a cap selects a sample of a package, not its first folders."""
    return hashlib.sha256(item[0].encode()).digest()


def texts(source: Source, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Yield name and text of the selected files, up to the cap."""
    taken = 0
    for name, path in sorted(source.files, key=by_hash):
        if taken >= BYTES_PER_PACKAGE:
            return
        if not is_wanted(name) or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        text = "\n".join(line.rstrip() for line in text.expandtabs(4).splitlines()).strip() + "\n"
        if reads_like_code(text) and not is_copy(text, seen):
            taken += len(text)
            yield name, text


def collect() -> Corpus:
    """Read all sources, the standard library first, so that later copies of it are dropped."""
    corpus, seen = Corpus(), set[int]()
    for source in [standard_library(), *filter(None, map(installed, PACKAGES))]:
        n_files = n_bytes = 0
        for name, text in texts(source, seen):
            n_files, n_bytes = n_files + 1, n_bytes + len(text)
            if is_held_out(name):
                corpus.held_out.append(text)
                corpus.held_out_names.append(name)
            else:
                corpus.training.append(text)
        facts = {"name": source.name, "version": source.version, "license": source.license}
        corpus.packages.append({**facts, "files": n_files, "bytes": n_bytes})
    return corpus


def main(out: Annotated[Path, typer.Option(help="folder to write to")]) -> None:
    """Write training.jsonl, held_out.jsonl (one JSON string per line) and corpus.json (a description)."""
    out.mkdir(parents=True, exist_ok=True)
    corpus = collect()
    for name, documents in (("training", corpus.training), ("held_out", corpus.held_out)):
        (out / f"{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in documents))
    account = {"packages": corpus.packages, "held_out": corpus.held_out_names}
    (out / "corpus.json").write_text(json.dumps(account, indent=1))
    sizes = [sum(map(len, documents)) / 1e6 for documents in (corpus.training, corpus.held_out)]
    typer.echo(f"{sizes[0]:.1f} MB to learn from, {sizes[1]:.2f} MB held out")


if __name__ == "__main__":
    typer.run(main)
