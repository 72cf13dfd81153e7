"""Format the records of `decoding.py` as tables: speed, ratio to plain decoding, and shares of the time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from timing import cell, spread

Record = dict[str, Any]
PLAIN = "plain"
INSIDE = ("target", "draft passes")  # parts of the time inside model passes
HEADER = (
    "entry", "tokens/s", "ratio to plain", "tokens per pass", "weights read / plain", "target", "draft passes",
    "draft, other", "ngram", "verification", "other", "outside passes", "same text",
)  # fmt: skip


class Round(NamedTuple):
    """Interleaved runs; the session distinguishes rounds of different calls."""

    session: int
    number: int


def as_text(lines: Sequence[Record]) -> str:
    """Format a table for each setting and sampling rule."""
    groups: defaultdict[tuple[str, str], defaultdict[Round, list[Record]]] = defaultdict(lambda: defaultdict(list))
    sessions: list[Record] = []
    for line in lines:
        if "session" in line:
            sessions.append(line)
        else:
            place = Round(len(sessions) - 1, line["round"])
            groups[line["setting"], line["choosing"]][place].append(line)
    return "\n\n".join(_section(*name, rounds, sessions) for name, rounds in groups.items())


def _section(setting: str, choosing: str, rounds: dict[Round, list[Record]], sessions: Sequence[Record]) -> str:
    entries = list(dict.fromkeys(run["entry"] for runs in rounds.values() for run in runs))
    rows = [_row(entry, rounds) for entry in entries]
    rule = ["---"] + ["---:"] * (len(HEADER) - 1)
    table = ["| " + " | ".join(row) + " |" for row in (HEADER, rule, *rows)]
    used = [sessions[number] for number in sorted({place.session for place in rounds})]
    missing = sorted({name for session in used for name in session["missing peers"]})
    return "\n".join(
        [
            f"## {setting}, {choosing}: {len(rounds)} rounds",
            "",
            *table,
            "",
            _against_floor(rounds, sessions),
            *([f"Left out: {', '.join(missing)}."] if missing else []),
        ]
    )


def _row(entry: str, rounds: dict[Round, list[Record]]) -> list[str]:
    """Format the row of one entry over all of its rounds."""
    runs = [run for of_round in rounds.values() for run in of_round if run["entry"] == entry]
    speeds, ratios = [], []
    for of_round in rounds.values():
        own = {run["prompt"]: run for run in of_round if run["entry"] == entry}
        if own:
            speeds.append(_seconds_a_token(own.values()) ** -1)
            plain = [run for run in of_round if run["entry"] == PLAIN and run["prompt"] in own]
            ratios += [_seconds_a_token(plain) * speeds[-1]] if plain else []
    same = sum(run["same text"] for run in runs)
    return [
        entry,
        cell(spread(speeds), 1),
        cell(spread(ratios), 2) if ratios else "",
        *(_details(runs) if "seconds by part" in runs[0] else [""] * 9),
        f"{same} of {len(runs)}",
    ]


def _details(runs: Sequence[Record]) -> list[str]:
    """Format the details of one of our entries over all runs together."""
    parts = {name: sum(run["seconds by part"][name] for run in runs) for name in runs[0]["seconds by part"]}
    seconds = sum(parts.values())
    tokens = sum(run["tokens"] for run in runs)
    passes = sum(run["tokens"] / run["tokens per pass"] for run in runs)
    weights = float(np.mean([run["relative weight bytes"] for run in runs]))
    outside = 1 - sum(parts[name] for name in INSIDE) / seconds
    shares = [f"{part / seconds:.1%}" for part in parts.values()]
    return [f"{tokens / passes:.2f}", f"{weights:.2f}", *shares, f"{outside:.1%}"]


def _against_floor(rounds: dict[Round, list[Record]], sessions: Sequence[Record]) -> str:
    """Compare plain decoding with reading the weights once per token at the measured bandwidth."""
    ratios = []
    for place, runs in rounds.items():
        plain = [run for run in runs if run["entry"] == PLAIN]
        session = sessions[place.session]
        if plain:
            floor = session["weight bytes"] / session["bytes a second"]
            ratios.append(_seconds_a_token(plain) / floor)
    used = [sessions[number] for number in sorted({place.session for place in rounds})]
    gigabytes = ", ".join(f"{session['bytes a second'] / 1e9:.0f}" for session in used)
    loads = ", ".join(f"{session['machine']['load_average'][0]:.1f}" for session in used)
    bound = f"reading {used[0]['weight bytes'] / 1e6:,.0f} MB of weights per token at {gigabytes} GB/s"
    comparison = f"Plain decoding takes {cell(spread(ratios), 2)} times as long as {bound}." if ratios else ""
    return f"{comparison} Load before: {loads}.".strip()


def _seconds_a_token(runs: Any) -> float:
    runs = list(runs)
    return sum(run["seconds"] for run in runs) / sum(run["tokens"] for run in runs)
