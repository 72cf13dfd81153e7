"""A suite's worth of runs for every test of the report."""

import pytest
from made_runs import suite_runs


@pytest.fixture
def runs():
    return suite_runs()
