"""A suite's worth of runs for every test of the report."""

import pytest
from made_runs import make_run


@pytest.fixture
def runs():
    endings = {("lock-free", 2): "out_of_time", ("lock-free", 4): "exhausted", ("lock-free", 6): "diverged"}
    paces = {"serial": 6.0, "conflict-free": 3.0, "lock-free": 4.5}
    made = [
        make_run(name, seed, pace + 0.2 * ((seed * 5) % 7), outcome=endings.get((name, seed), "reached"))
        for seed in range(7)
        for name, pace in paces.items()
    ]
    return [
        *made[:-1],
        make_run("lock-free", 6, 4.0, outcome="failed", error="ValueError: <script>alert('x')</script> & co"),
    ]
