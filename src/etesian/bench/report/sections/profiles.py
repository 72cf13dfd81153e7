"""Performance profiles over all races."""

from __future__ import annotations

from etesian.bench.report import chart
from etesian.bench.report.context import MOST_DRAWN, PageContext
from etesian.bench.report.model import Row, Section, Table, number_cell

PLACE = 200
SCOPE = "page"

_HORIZON = 4.0
_WITHIN = (1.0, 1.5, 2.0, 4.0)
_NOTE = (
    "Share of the races in which an entry takes at most a given multiple of the fastest time. The score is the mean height "
    "of the profile; a race that an entry did not enter or finish counts as zero."
)


def build(context: PageContext) -> Section | None:
    """Make the section; None when no entry is in several races."""
    ranked = sorted(context.analysis.profiles.items(), key=lambda each: -each[1].score)
    if not ranked:
        return None
    rows, lines = [], []
    for name, profile in ranked:
        steps = list(zip(profile.shares, profile.ratios, strict=True))
        within = [max([share for share, ratio in steps if ratio <= most], default=0.0) for most in _WITHIN]
        cells = [number_cell(profile.score), *(number_cell(each, "%") for each in within)]
        rows.append(Row(name, cells, mark=context.marks[name]))
        shares = [0.0, *profile.shares]
        ratios = [1.0, *profile.ratios, _HORIZON]
        lines.append(chart.line(ratios, [*shares, shares[-1]], name, context.marks[name], is_stepped=True))
    headings = ["entry", "score", "fastest", *(f"within {most:g}\u00d7" for most in _WITHIN[1:])]
    figure = chart.figure(
        340,
        chart.axis("time relative to the fastest", span=(1.0, _HORIZON)),
        chart.axis("share of the races", span=(0.0, 1.04), is_share=True),
        lines[:MOST_DRAWN],
    )
    return Section("profiles", "Performance profiles", Table("Performance profiles", headings, rows), figure, _NOTE)
