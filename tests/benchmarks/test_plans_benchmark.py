"""The comparison of plans runs at toy size."""

from __future__ import annotations

import json

import plans


def test_exact_plans_have_the_serial_bits_and_rounds_are_counted(tmp_path):
    options = ["--ratings", "100000", "--ranks", "4", "--rounds", "1", "--out", str(tmp_path)]
    results = plans.main(options)
    assert len(results) == 2
    for result in results:
        equal = result["bitwise the serial result"]
        exact = [name for name in equal if name.startswith(("serial", "conflict_free", "levels"))]
        assert all(equal[name] for name in exact)
        assert result["quiet rounds"] <= result["rounds"] <= plans.PATIENCE
    assert json.loads((tmp_path / "records.json").read_text())["given"]["rounds"] == 1
    assert (tmp_path / "table.md").read_text().count("\n") == 4


def test_predictions_are_written_without_timing(tmp_path):
    assert plans.main(["--ratings", "3000", "--predict", "--out", str(tmp_path)]) == []
    predictions = json.loads((tmp_path / "predictions.json").read_text())
    assert all(report["verdict"] for report in predictions.values())
