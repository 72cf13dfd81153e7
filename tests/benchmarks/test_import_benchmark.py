"""The benchmark of importing runs at toy size, on a log written here."""

from __future__ import annotations

from pathlib import Path

import import_mlperf

LOG = """\
:::MLPv0.5.0 ncf 1541736888.5 (ncf.py:242) run_start
:::MLPv0.5.0 ncf 1541736892.5 (ncf.py:450) eval_accuracy: {"epoch": 1, "value": 0.636}
:::MLPv0.5.0 ncf 1541736892.75 (ncf.py:460) run_stop: {"success": true}
"""


def test_every_copied_log_is_imported(tmp_path: Path) -> None:
    folder = tmp_path / "v0.5" / "acme" / "results" / "box" / "ncf"
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"result_{number}.txt").write_text(LOG)
    measured = import_mlperf.measure(tmp_path, 5, 1)
    assert (measured["logs"], measured["rounds"]) == (5, 1)
    assert measured["median_seconds"] > 0
