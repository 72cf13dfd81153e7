from __future__ import annotations

import re

from harness_overhead import main


def test_share_that_the_harness_adds_is_printed(capsys):
    main(["--rounds", "1", "--slices", "3"])
    assert re.match(r"overhead on slices of 10 ms: -?\d+\.\d+%", capsys.readouterr().out)
