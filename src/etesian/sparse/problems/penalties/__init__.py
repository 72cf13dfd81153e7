"""Penalties on coefficients. A new one is one file, which registers its compiled functions; see `functions.register`.

Compiled loops import the functions that choose by penalty from here and not from `functions`: their code contains that of the
penalties, so it must be compiled anew when one of these files changes.
"""

from etesian.sparse.problems.penalties.functions import (
    Penalty,
    prepare_steps,
    sets_zeros,
    slope_of,
    take_step,
    take_steps,
    value_of,
)
from etesian.sparse.problems.penalties.l1 import L1
from etesian.sparse.problems.penalties.l2 import L2
from etesian.sparse.problems.penalties.mixed import ElasticNet

__all__ = [
    "L1",
    "L2",
    "ElasticNet",
    "Penalty",
    "elastic_net",
    "prepare_steps",
    "sets_zeros",
    "slope_of",
    "take_step",
    "take_steps",
    "value_of",
]


def elastic_net(alpha: float, l1_ratio: float = 0.0) -> Penalty:
    """Return the penalty alpha ((1 - l1_ratio) / 2 |w|^2 + l1_ratio |w|_1), as an `L2` or `L1` where it is one."""
    if l1_ratio == 0:
        return L2(alpha)
    return L1(alpha) if l1_ratio == 1 else ElasticNet(alpha * (1 - l1_ratio), alpha * l1_ratio)
