"""The costs of passes are measured at toy size."""

from __future__ import annotations

import decode_pass_costs


def test_every_number_of_rows_is_timed_against_its_floors(tmp_path):
    records = decode_pass_costs.main(["--toy", "--rounds", "2", "--kept", "20", "--out", str(tmp_path)])
    assert [record["rows"] for record in records] == list(decode_pass_costs.ROWS)
    assert all(record["rows are exact"] for record in records)
    assert all(0 < record["outside the kernel"] < 1 for record in records)
    assert len((tmp_path / "table.md").read_text().splitlines()) == 2 + len(records)
