import importlib.metadata
import json
import subprocess
import sys

from packaging.requirements import Requirement


def modules_after(statement):
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_importing_etesian_imports_nothing_else():
    bare = modules_after("pass")
    assert modules_after("import etesian") - bare == {"etesian"}


def test_bench_is_imported_without_the_slow_libraries():
    slow = {"sqlalchemy", "lifelines", "pandas", "plotly", "jinja2", "matplotlib", "numba", "torch"}
    assert not slow & modules_after("import etesian.bench")


def test_help_needs_no_numerics():
    assert not {"numba", "scipy", "sqlalchemy", "lifelines"} & modules_after("import etesian.cli.app")


def test_importing_sparse_compiles_nothing():
    code = (
        "import etesian.sparse.schedules.conflicts as c, etesian.sparse._engine.kernels as k;"
        "fs = c.find_components, c.assign_components, c.sort_batches;"
        "print([f.signatures for f in fs], k.compile_update_range.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[[],", "[],", "[]]", "0"]


def test_plain_installation_brings_no_torch():
    requirements = map(Requirement, importlib.metadata.requires("etesian"))
    plain = {r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})}
    assert {"numpy", "scipy", "numba", "scikit-learn"} <= plain
    assert not plain & {"torch", "transformers", "plotly", "psycopg"}
