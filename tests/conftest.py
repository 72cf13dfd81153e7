"""Fixtures that several parts share, and programs whose absence fails a test in continuous integration."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

# The tests run in one process per core. Threads of PyTorch and BLAS would compete for the same cores and triple the time.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

REQUIRED = os.environ.get("ETESIAN_REQUIRED", "").split()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that is skipped because a required program is missing."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if any(program in reason for program in REQUIRED):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} must not be skipped here: {reason}"
    return report


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random target, its draft and an N-gram."""
    from tiny_bundle import write_bundle

    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Measured pass costs are kept for all tests of a process, in a temporary folder instead of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def schedule_warnings_as_in_a_new_process() -> None:
    """Small data is warned of once per process; each test is as if it were alone."""
    serial = sys.modules.get("etesian.sparse.schedules.serial")
    if serial is not None:
        serial._warned_of_small_data.clear()
