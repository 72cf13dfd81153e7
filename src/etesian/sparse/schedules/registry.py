"""Registry of schedules: each file of this folder registers the function that makes its plans."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse import schedules
from etesian.sparse.schedules.plan import Plan, Sizes

MakePlan = Callable[[csr_array, NDArray[np.int64], Sizes], Plan]
"""``make(touches, order, sizes)``: plan an order of all updates. The plan may take over `order` and sort it in place."""


class Maker(NamedTuple):
    """A registered schedule.

    Parameters
    ----------
    make
        Function that makes its plans.
    keeps_order
        True if two updates that share a variable run in the sampled order. Otherwise a plan has a serial order of its
        own.
    """

    make: MakePlan
    keeps_order: bool


_REGISTERED: dict[str, Maker] = {}


def register(name: str, *, keeps_order: bool = True) -> Callable[[MakePlan], MakePlan]:
    """Register the decorated function as the maker of the plans of a schedule; see `Maker`."""

    def add(make: MakePlan) -> MakePlan:
        _REGISTERED[name] = Maker(make, keeps_order)
        return make

    return add


@cache
def makers() -> dict[str, Maker]:
    """Import all files of this folder, and return the registered schedules by name, in alphabetical order."""
    for module in pkgutil.iter_modules(schedules.__path__, f"{schedules.__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(_REGISTERED.items()))
