"""Caveats of all races, as a list."""

from __future__ import annotations

from etesian.bench.report.caveat_rules import caveats
from etesian.bench.report.context import PageContext
from etesian.bench.report.model import Section

PLACE = 210
SCOPE = "page"


def build(context: PageContext) -> Section | None:
    """Make the section; None without caveats."""
    found = caveats(context.analysis)
    return Section("caveats", "Caveats", points=found) if found else None
