"""Statistics that the README of a speedrun record states: mean and standard deviation of the loss and of the time, and p.

Records print them in one block of code, as ``p=0.0049``, ``acc: (tensor(0.0013), tensor(3.2791))`` and
``time: (tensor(0.0682), tensor(173.3594))``, the output of ``torch.std_mean``.
"""

from __future__ import annotations

import re
from pathlib import Path

from etesian.bench.io._reading.files import DAMAGES, document_of

_P_VALUE = re.compile(r"(?<![\w.])p(?:[ -]?value)? ?[=:] ?(\d*\.?\d+(?:e-?\d+)?)(?![\w.]*\d)", re.IGNORECASE)
_DEVIATION_AND_MEAN = re.compile(r"(\w+):? *\(tensor\(([\d.]+)\), *tensor\(([\d.]+)\)\)")
_RESULTS = ("acc", "accs", "loss", "losses", "val_loss", "val_losses")
_TIMES = ("time", "times")


def stated_statistics(folder: Path) -> dict[str, float]:
    """Return the statistics stated in the README of a folder, by the names of `PUBLISHED`; empty without a README.

    They are those of the block of code that states a p value. If blocks state different ones, such as one for the record
    and one for its baseline, none is returned.
    """
    try:
        file = next(each for each in sorted(folder.iterdir()) if each.name.lower() == "readme.md")
        blocks = document_of(file).split("```")
    except (StopIteration, *DAMAGES):
        return {}
    found = [(block, values) for block in blocks if (values := {*map(float, _P_VALUE.findall(block))})]
    if len({value for _, values in found for value in values}) != 1:
        return {}
    block, values = found[0]
    return {"p_value": values.pop(), **_moments(block)}


def _moments(block: str) -> dict[str, float]:
    stated = {name.lower(): (float(mean), float(spread)) for name, spread, mean in _DEVIATION_AND_MEAN.findall(block)}
    moments: dict[str, float] = {}
    for names, keys in (
        (_RESULTS, ("mean", "standard_deviation")),
        (_TIMES, ("seconds", "seconds_standard_deviation")),
    ):
        pair = next((stated[name] for name in names if name in stated), ())
        moments |= dict(zip(keys, pair, strict=False))
    return moments
