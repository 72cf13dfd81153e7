"""The records of `decoding.py` as tables: speed, ratio to plain decoding, and where the time went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from timing import cell, spread

Record = dict[str, Any]
PLAIN = "plain"
INSIDE = ("target", "draft passes")  # a share of the time that models themselves take
HEADER = (
    "entry", "tokens/s", "ratio to plain", "tokens a pass", "weights read, of plain's", "target", "draft passes",
    "draft, else", "ngram", "verification", "else", "outside passes", "same text",
)  # fmt: skip


class Round(NamedTuple):
    """What ran interleaved: numbers of two calls of the program are told apart."""

    session: int
    number: int


def as_text(lines: Sequence[Record]) -> str:
    """Tables of all settings and ways of choosing, each with what it ran on."""
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
    """One entry over all rounds in which it ran."""
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
    """What our own entries tell, over all runs together."""
    parts = {name: sum(run["seconds by part"][name] for run in runs) for name in runs[0]["seconds by part"]}
    seconds = sum(parts.values())
    tokens = sum(run["tokens"] for run in runs)
    passes = sum(run["tokens"] / run["tokens per pass"] for run in runs)
    weights = float(np.mean([run["relative weight bytes"] for run in runs]))
    outside = 1 - sum(parts[name] for name in INSIDE) / seconds
    shares = [f"{part / seconds:.1%}" for part in parts.values()]
    return [f"{tokens / passes:.2f}", f"{weights:.2f}", *shares, f"{outside:.1%}"]


def _against_floor(rounds: dict[Round, list[Record]], sessions: Sequence[Record]) -> str:
    """Plain decoding against reading the weights once a token at the bandwidth that was measured."""
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
    floor_text = f"{cell(spread(ratios), 2)} times" if ratios else "not run against"
    return (
        f"Plain takes {floor_text} the floor of {used[0]['weight bytes'] / 1e6:,.0f} MB of weights a token "
        f"at {gigabytes} GB/s. Load before: {loads}."
    )


def _seconds_a_token(runs: Any) -> float:
    runs = list(runs)
    return sum(run["seconds"] for run in runs) / sum(run["tokens"] for run in runs)
