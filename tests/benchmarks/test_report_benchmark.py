"""The size of a report and the time it takes to open run at toy size."""

from __future__ import annotations

import json
import shutil

import report_size


def test_page_is_written_measured_and_opened(tmp_path, capsys):
    page = tmp_path / "report.html"
    report_size.main(["--entries", "2", "--runs", "3", "--points", "5", "--rounds", "1", "--output", str(page)])
    report = json.loads(capsys.readouterr().out)
    assert (report["runs"], report["measurements"]) == (6, 30)
    assert report["megabytes"] == round(page.stat().st_size / 1e6, 2)
    if shutil.which("chromium"):
        assert report["seconds_until_drawn"][0] >= report["seconds_until_loaded"][0] > 0
