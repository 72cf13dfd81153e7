"""Compiled loops run without a writable folder for compiled code, on a full disk, and after an upgrade."""

import errno
import pickle
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from numba import njit, typeof
from numba.core import caching

from etesian._shared import compiled_cache
from etesian._shared.compiled_cache import code_digest, imported_files
from etesian.decode.models.cpu import forward, products
from etesian.sparse._engine.kernels import is_cacheable
from etesian.sparse.problems import linear_merging, linear_sums, linear_updates
from etesian.sparse.problems.penalties import L2
from etesian.sparse.problems.penalties.functions import _REGISTERED

SOURCE = """
from numba import njit

@njit(cache=True)
def doubled(x):
    return 2 * x
"""


@pytest.fixture(autouse=True)
def fresh_notes():
    for cached in (compiled_cache.temporary_folder, compiled_cache._note):
        cached.cache_clear()
    yield
    for cached in (compiled_cache.temporary_folder, compiled_cache._note):
        cached.cache_clear()


def compiled_function(folder):
    """Return a function of a file of its own, as numba caches functions of files only."""
    (folder / "loops.py").write_text(SOURCE)
    namespace = {"__name__": "loops"}
    exec(compile(SOURCE, str(folder / "loops.py"), "exec"), namespace)
    return namespace["doubled"]


@pytest.mark.parametrize("has_temporary_folder", [True, False])
def test_without_a_writable_cache_functions_are_compiled_with_one_line(
    tmp_path, monkeypatch, caplog, has_temporary_folder
):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [compiled_cache.TemporaryLocator])
    if not has_temporary_folder:
        monkeypatch.setattr("tempfile.mkdtemp", lambda **_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))
    first, second = compiled_function(tmp_path), compiled_function(tmp_path)
    assert (first(3), second(4)) == (6, 8)
    assert len(caplog.messages) == 1, caplog.messages
    assert "compiled anew in each process" in caplog.text
    assert Path(first._cache.cache_path).is_dir() == has_temporary_folder


def test_standard_places_come_first():
    assert caching.CacheImpl._locator_classes[-1] is compiled_cache.TemporaryLocator
    assert len(caching.CacheImpl._locator_classes) > 1


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), pickle.UnpicklingError("cut")])
def test_failing_cache_costs_a_line_and_not_the_result(tmp_path, monkeypatch, caplog, failure):
    def fail(*_):
        raise failure

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", fail)
    monkeypatch.setattr(caching.IndexDataCacheFile, "load", fail)
    assert compiled_function(tmp_path)(3) == 6
    assert "cannot be used" in caplog.text


def test_every_package_with_compiled_loops_registers_the_fallback():
    """An ancestor's `__init__`, or the module itself, imports `compiled_cache` before numba compiles anything."""
    source = Path(compiled_cache.__file__).parents[1]
    for module in source.rglob("*.py"):
        if "import njit" not in module.read_text() and "import cfunc" not in module.read_text():
            continue
        packages = [folder / "__init__.py" for folder in module.parents if folder.is_relative_to(source)]
        assert any("compiled_cache" in each.read_text() for each in [module, *packages]), module


def test_numba_calls_the_wrapped_methods():
    assert njit(cache=True)(lambda x: x) is not None
    for name in ("save_overload", "load_overload"):
        assert getattr(caching.FunctionCache, name).__name__ == "access_or_compile"


FILES = {
    "loops.py": "from package.low import steps\nfrom package import (\n    middle,\n)\nfrom numpy import add\n",
    "low/__init__.py": "",
    "low/steps.py": "from package.low.instructions import load\n",
    "low/instructions.py": "load = 1\n",
    "middle.py": "import numpy\n",
    "other.py": "from package import loops\n",
}


@pytest.mark.parametrize("changed", FILES)
def test_outdated_is_what_imports_a_changed_module_directly_or_not(changed, tmp_path):
    digests = []
    for version, text in enumerate(("", "more = 2\n")):
        folder = tmp_path / str(version) / "package"
        for name, content in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content + text * (name == changed))
        digests.append(code_digest(folder / "loops.py", folder))
    assert (digests[0] == digests[1]) == (changed == "other.py")


def test_stamp_of_compiled_code_covers_what_it_imports():
    stamp = forward.run_pass._cache._impl.locator.get_source_stamp()
    assert stamp[1] == code_digest(Path(forward.__file__)) != code_digest(Path(products.__file__))


@pytest.mark.parametrize("loops", [linear_merging, linear_sums, linear_updates])
def test_loops_that_contain_the_code_of_penalties_are_outdated_when_it_changes(loops):
    penalties = {Path(sys.modules[kind.__module__].__file__) for kind in _REGISTERED if is_ours(kind)}
    assert len(penalties) == 3
    assert penalties <= imported_files(Path(loops.__file__)).keys()


def is_ours(kind):
    return kind.__module__.startswith("etesian.")


class Foreign(NamedTuple):
    """Stands for a penalty that another package registers."""

    weight: float = 1.0


def test_loops_that_contain_the_code_of_another_package_are_not_kept():
    ours, foreign = typeof((1, (L2(),))), typeof((1, (Foreign(),)))
    assert is_cacheable(linear_updates.update_rows, ours)
    assert not is_cacheable(linear_updates.update_rows, foreign)
    assert is_cacheable(is_ours, foreign)  # the cache notices changes of the function's own file


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_person_at_a_terminal_is_told_once_that_functions_are_compiled(tmp_path, monkeypatch, caplog, is_terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr(compiled_cache, "_PATIENCE", 0.0)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        compiled_function(tmp_path / name)(1)
        assert compiled_function(tmp_path / name)(2) == 4  # from the cache
        assert len([text for text in caplog.messages if "can take a minute" in text]) == is_terminal


def test_a_short_compilation_is_not_announced(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(compiled_cache, "_PATIENCE", 60.0)
    compiled_function(tmp_path)(1)
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        timer.join(timeout=1.0)
        assert not timer.is_alive()
    assert not caplog.messages
