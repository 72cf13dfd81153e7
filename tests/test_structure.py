"""Rules of the source code: protocols state everything they ask for, names do not shadow modules, imports have no cycles."""

import ast
import graphlib
import importlib
import pkgutil
from functools import cache
from pathlib import Path

import grimp
import pytest

import etesian

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "etesian"

FOREIGN = {
    # Objects of other libraries, whose versions and model families differ in their attributes.
    "decode/custom_generate.py",
    "decode/models/loading",
    "decode/models/transformers",
    "decode/models/cpu/architecture.py",
    "sparse/frames.py",  # tables of pandas, polars and pyarrow
    "sparse/ids.py",
    # Modules, workloads and their attributes, which users write.
    "bench/source_code.py",
    "bench/load.py",
}
"""Files in which attributes of objects from elsewhere may be looked up by name."""

ALLOWED = {
    ("cli/sparse.py", "outcome_"),  # scikit-learn: an attribute that only a fitted estimator has
    ("cli/sparse_tasks.py", "features_"),  # models read from files that arrays were fitted on have none
    ("cli/sparse_tasks.py", "first_index_"),
    ("_shared/files.py", "O_NOFOLLOW"),  # constants of the operating system
    ("_shared/files.py", "O_CLOEXEC"),
    ("_shared/files.py", "O_DIRECTORY"),
    ("bench/machine.py", "sched_getaffinity"),
    ("decode/models/cpu/threads.py", "sched_getaffinity"),
    ("decode/models/cpu/quantized/tiles.py", "type"),  # values of llvmlite
    ("bench/serve.py", "errno"),  # errors of the operating system
    ("sparse/estimators/classifier.py", "classes_"),  # scikit-learn: attributes that only a fitted estimator has
    ("sparse/estimators/embedding.py", "vectors_"),
    ("sparse/estimators/factorization.py", "user_factors_"),
    ("sparse/estimators/regressor.py", "coef_"),
    ("sparse/problems/check.py", "py_func"),  # numba: functions that are compiled already
    ("sparse/problems/custom.py", "py_func"),
    ("sparse/problems/compile_errors.py", "__name__"),
}
"""Single look-ups elsewhere, each with its reason."""


def look_ups(path):
    """Yield the attribute names that a file looks up by a constant string."""
    for node in ast.walk(ast.parse(path.read_text())):
        is_call = (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr")
        )
        if is_call and len(node.args) >= 2 and isinstance(node.args[1], ast.Constant):
            yield node.args[1].value


@cache
def found_look_ups(folder):
    names = {path: path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    return {
        (name, attribute)
        for path, name in names.items()
        if not any(name == each or name.startswith(f"{each}/") for each in FOREIGN)
        for attribute in look_ups(path)
    }


def test_no_member_of_a_protocol_is_found_by_getattr():
    assert not found_look_ups(SOURCE) - ALLOWED


def test_the_list_of_exceptions_holds_nothing_that_is_gone():
    assert not ALLOWED - found_look_ups(SOURCE)
    assert all((SOURCE / name).exists() for name in FOREIGN)


def test_look_up_by_name_is_found(tmp_path):
    (tmp_path / "drafter.py").write_text("def stages(d):\n    return getattr(d, 'stages', ()) or hasattr(d, 'x')\n")
    assert found_look_ups(tmp_path) == {("drafter.py", "stages"), ("drafter.py", "x")}


def packages():
    return ["etesian", *(each.name for each in pkgutil.walk_packages(etesian.__path__, "etesian.") if each.ispkg)]


@pytest.mark.parametrize("name", packages())
def test_no_module_shares_its_name_with_an_export(name):
    package = importlib.import_module(name)
    modules = {each.name for each in pkgutil.iter_modules(package.__path__)}
    shared = modules & set(getattr(package, "__all__", ()))
    functions = {each for each in shared if callable(getattr(package, each))}
    assert not functions


def test_imports_have_no_cycles():
    graph = grimp.build_graph("etesian", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError
