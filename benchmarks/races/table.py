"""README of the records: the method, and a table for each race, with statistics of `etesian.bench`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etesian.bench import Run, analyze, read_jsonl
from etesian.bench.analysis import RaceAnalysis
from etesian.bench.report.format import number, target_words, value_and_interval
from etesian.bench.statistics import Estimate

TITLE = "# Time to target of `etesian.sparse` and its peers\n"
METHOD = """
Seconds to the target. Each run has a fresh process, and the runs of all entries are interleaved. On the clock:
sampling an order, planning, data layout and all epochs, or the whole fit of a peer. Off the clock: loading,
compilation, warm-up and scoring. Brackets contain 95% intervals. `serial` is Etesian on one core; `lock_free` is
HOGWILD! with the same update code, streaming data that was shuffled in advance. "Same bits" states whether each run
had the bits of the serial run with the same seed after every epoch that both completed.

Step sizes were tuned in advance, off the clock, with a different seed. For each entry, the step size with the fewest
epochs was chosen from the same grid of powers of two, times a base value (1 / L for linear problems, where L is the
largest smoothness constant of a row; 0.02 for our word vectors; 1 for our ratings, which multiplies automatic steps;
0.1, the default of `eta`, for LIBMF). Exact schedules share one tuning. scikit-learn's saga and eigsh choose their own
step sizes. For peers that only run a given number of iterations, the smallest number that reaches the target was determined off the
clock, and one fit with this number was timed. Entries that reached the target with no step size during tuning were not
timed, and are listed as such.
"""

COLUMNS = ("entry", "reached", "epochs", "seconds", "time / serial", "time / lock-free", "same bits", "step", "plan")


def write_readme(folder: Path) -> Path:
    """Write README.md from all races in the folder; what was written before the method is kept."""
    races = sorted(path.parent for path in folder.glob("*/runs.jsonl"))
    path = folder / "README.md"
    before = path.read_text() if path.exists() else ""
    claim = before.partition(METHOD)[0] if METHOD in before else TITLE
    path.write_text("\n".join([claim + METHOD, *(_race(race) for race in races)]))
    return path


def _race(folder: Path) -> str:
    about = json.loads((folder / "tuning.json").read_text())
    runs = [entry.run for entry in read_jsonl(folder / "runs.jsonl")]
    machine = runs[0].machine
    lines = [
        f"## {about['title']}",
        f"\nTarget {target_words(runs[0].target)}; workers: {about['workers']}; seeds: {len({run.seed for run in runs})}.",
        f"`{about['command']}` on {machine['cpu']}, {machine['cores']} cores, commit {machine['git_commit']}, "
        f"load before {', '.join(number(run) for run in _load_range(runs))}.",
        *about["notes"],
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | --- |",
        *_rows(runs, {each["name"]: each for each in about["tuned"]}),
    ]
    return "\n".join(lines) + "\n"


def _load_range(runs: Sequence[Run]) -> tuple[float, float]:
    loads = [run.machine["load_average"][0] for run in runs if run.machine.get("load_average")]
    return (min(loads), max(loads)) if loads else (float("nan"), float("nan"))


def _rows(runs: Sequence[Run], tuned: dict[str, dict[str, Any]]) -> list[str]:
    names = {run.workload for run in runs}
    over = {base: analyze(runs, baseline=base).races[0] for base in ("serial", "lock_free") if base in names}
    entries = {each.name: each for each in (over.get("serial") or analyze(runs).races[0]).entries}
    rows = []
    for name, about in tuned.items():
        if name not in names:
            has_step_size = len(about["work"]) > 1
            suffix = " at any step size" if has_step_size else ""
            cell = f"not reached within {about['limit']} epochs{suffix}"
            rows.append(f"| {name} | {cell} | | | | | | | {about['plan']} |")
            continue
        ratios = " | ".join(_ratio(over.get(base), name)
                            for base in ("serial", "lock_free"))  # fmt: skip
        step = "own" if about["exponent"] is None else f"2^{about['exponent']}"
        rows.append(
            f"| {name} | {entries[name].reached} of {entries[name].runs} | {_epochs(runs, name)} "
            f"| {_estimate(entries[name].median)} | {ratios} | {_same_bits(runs, name)} | {step} | {about['plan']} |"
        )
    return rows


def _ratio(race: RaceAnalysis | None, name: str) -> str:
    if race is None:
        return ""
    if race.baseline == name:
        return "1"
    comparison = race.comparison(name)
    return "" if comparison is None or comparison.ratio is None else _estimate(comparison.ratio.estimate)


def _estimate(estimate: Estimate) -> str:
    text, ends = value_and_interval(estimate)
    return f"{text} [{ends}]" if ends else text


def _epochs(runs: Sequence[Run], name: str) -> str:
    """Return the updates counted by the harness divided by those of one epoch, for slices and for complete fits alike."""
    reached = [run for run in runs if run.workload == name and run.passing is not None]
    one = min((run.units["updates"] for run in runs if run.workload == "serial" and run.units), default=0.0)
    epochs = sorted(round(run.passing[1].slices * run.units["updates"] / one) for run in reached if one and run.passing)
    if not epochs:
        return ""
    return str(epochs[0]) if epochs[0] == epochs[-1] else f"{epochs[0]} to {epochs[-1]}"


def _same_bits(runs: Sequence[Run], name: str) -> str:
    def prints(workload: str) -> dict[int, list[float]]:
        return {run.seed: [p.metrics["fingerprint"] for p in run.points if "fingerprint" in p.metrics]
                for run in runs if run.workload == workload}  # fmt: skip

    mine, serial = prints(name), prints("serial")
    pairs = [list(zip(mine[seed], serial.get(seed, []), strict=False)) for seed in mine]
    if name == "serial" or not any(pairs):
        return ""
    return "yes" if all(a == b for pair in pairs for a, b in pair) else "no"
