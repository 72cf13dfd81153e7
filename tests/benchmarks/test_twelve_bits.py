from __future__ import annotations

import twelve_bits


def test_twelve_bits_give_the_products_of_sixteen(tmp_path):
    records = twelve_bits.main(
        ["--out", str(tmp_path), "--inputs", "64", "--outputs", "2048", "--rounds", "2", "--threads", "2"]
    )
    assert [record["rows"] for record in records] == list(twelve_bits.ROWS)
    for record in records:
        assert record["same bits"]
        assert record["escapes"] > 0  # so that the patching was tested
        assert record["bytes 12 / 16"] < 0.78
