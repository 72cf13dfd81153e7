"""The sections of a report, one file each.

A module of this folder defines `PLACE`, its position; `SCOPE`, either ``"race"`` or ``"page"``; and
``build(context) -> Section | None``, which is called for each race, or once. A new section is one new file.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from types import ModuleType

from etesian.bench.report.context import PageContext, RaceContext
from etesian.bench.report.model import Section


def race_sections(context: RaceContext) -> list[Section]:
    """Make the sections of one race, in order."""
    made = [module.build(context) for module in _modules() if module.SCOPE == "race"]
    return [section for section in made if section is not None]


def page_sections(context: PageContext) -> list[Section]:
    """Make the sections about the analysis as a whole, in order."""
    made = [module.build(context) for module in _modules() if module.SCOPE == "page"]
    return [section for section in made if section is not None]


@lru_cache(maxsize=1)
def _modules() -> list[ModuleType]:
    names = [info.name for info in pkgutil.iter_modules(__path__)]
    return sorted((importlib.import_module(f"{__name__}.{name}") for name in names), key=lambda each: each.PLACE)
