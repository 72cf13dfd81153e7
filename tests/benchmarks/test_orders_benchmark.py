"""The benchmarks of orders and of planning run at toy size."""

from __future__ import annotations

import json

import orders
import planning


def test_every_kind_of_order_is_counted(tmp_path):
    options = ["--rows", "2000", "--ratings", "2000", "--blocks", "5", "--dealt", "2", "--epochs", "3", "--seeds", "1"]
    results = orders.main([*options, "--rating-epochs", "2", "--out", str(tmp_path)])
    assert list(results) == ["2,000 one-hot rows", "2,000 ratings"]
    assert all(len(kinds) == 5 for kinds in results.values())
    assert (tmp_path / "table.md").read_text().count("\n") == 2 + 5 + 5
    assert json.loads((tmp_path / "records.json").read_text())["results"].keys() == results.keys()


def test_epochs_on_the_clock_have_the_serial_bits(tmp_path):
    options = ["--ratings", "20000", "--ranks", "4", "--rounds", "1", "--out", str(tmp_path)]
    (result,) = planning.main(options)
    assert result["bitwise the serial result"]
    assert (tmp_path / "table.md").read_text().count("\n") == 2 + 3
