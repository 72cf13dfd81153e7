"""A site of several races: what is tied is called a tie, and the published statistic stands next to ours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from command_line import run_command

from etesian.bench import InputError, Point, Run, Store, StoredRun, Target
from etesian.bench.report.publish import publish

ACCURACY = Target("accuracy", 0.9)


def race(suite: str, times: dict[str, list[float]]) -> list[StoredRun]:
    return [
        StoredRun(
            suite,
            Run(
                name, seed, ACCURACY, "reached", (Point(0, 0.0, {"accuracy": 0.1}), Point(1, time, {"accuracy": 0.95}))
            ),
        )
        for name, of_entry in times.items()
        for seed, time in enumerate(of_entry)
    ]


def text_of(page: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text().replace("<wbr>", "")))


def published(page: Path) -> str:
    return text_of(page).split("Published statistic and ours #")[1].split("overlapping intervals are ties.")[0]


def test_index_links_to_a_page_per_suite_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    entries = (
        race("one", {"adam": [10.0, 11.0]})
        + race("Two / odd?", {"sgd": [20.0, 21.0]})
        + race("index", {"x": [1.0, 2.0]})
    )
    index, *pages = publish(entries, tmp_path / "new" / "site", title="My races")
    content = index.read_text()
    assert set(re.findall(r'href="([^"]+)"', content)) == {page.name for page in pages}
    assert {page.name for page in pages} == {"one.html", "two-odd.html", "index-2.html"}
    assert "My races" in content
    for page in (index, *pages):
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', page.read_text())


def test_suites_with_long_names_have_pages_that_differ(tmp_path: Path) -> None:
    entries = [entry for end in "ab" for entry in race("x" * 5000 + end, {"adam": [10.0, 11.0]})]
    _, *pages = publish(entries, tmp_path)
    assert [page.name for page in pages] == ["x" * 100 + ".html", "x" * 100 + "-2.html"]


def test_search_text_holds_entries_and_organizations(tmp_path: Path) -> None:
    index, _ = publish(race("one", {"Adam <b>": [10.0, 11.0]}), tmp_path)
    (searched,) = re.findall(r'data-search="([^"]*)"', index.read_text())
    assert "adam &lt;b&gt;" in searched
    assert "<b>" not in index.read_text()


def test_ties_are_ties_although_the_published_statistic_ranks(tmp_path: Path) -> None:
    times = {"a": [10.0, 12.0, 11.0, 13.0, 9.0], "b": [10.1, 12.1, 11.1, 12.9, 9.2]}
    (_, page) = publish(race("mlperf-v1.0-x", times), tmp_path)
    shown = published(page)
    assert "Olympic mean of the runs" in shown
    assert shown.count("1 to 2 (tie)") == 2
    assert "a is first by the published statistic; its runs support ranks 1 to 2. b is tied with it." in text_of(page)


def test_clear_winner_is_shown(tmp_path: Path) -> None:
    times = {"a": [10.0 + k / 10 for k in range(8)], "b": [20.0 + k / 10 for k in range(8)]}
    (_, page) = publish(race("mlperf-v1.0-x", times), tmp_path)
    assert "a is first by the published statistic, and its runs show that it is fastest." in text_of(page)
    assert "tie)" not in published(page)


def test_olympic_mean_drops_the_best_and_the_worst(tmp_path: Path) -> None:
    (_, page) = publish(race("mlperf-v1.0-x", {"a": [1.0, 10.0, 11.0, 12.0, 99.0], "b": [50.0] * 5}), tmp_path)
    assert re.search(r"\ba 11(\.0)? s 1 ", published(page))


def test_single_runs_have_no_interval_and_no_shown_winner(tmp_path: Path) -> None:
    (_, page) = publish(race("dawnbench-x-train", {"a": [10.0], "b": [10.1]}), tmp_path)
    assert published(page).count("one run: no interval") == 2
    assert "It has one run, so that a tie cannot be excluded." in text_of(page)


def schedule(
    name: str, losses: np.ndarray, seconds: float, target: Target, published: dict[str, float] | None = None
) -> list[StoredRun]:
    details = {"design": "fixed_schedule", "scheduled_steps": 10} | ({"published": published} if published else {})
    return [
        StoredRun(
            "speedrun",
            Run(
                name,
                seed,
                target,
                "reached" if loss <= target.threshold else "exhausted",
                (Point(0, 0.0, {"loss": 9.0}), Point(10, seconds + seed / 100, {"loss": float(loss)})),
                details=details,
            ),
        )
        for seed, loss in enumerate(losses)
    ]


SPREAD = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
LOSSES = 0.25714 + 0.00523 * SPREAD / SPREAD.std(ddof=1)
"""7 runs of mean 0.25714 and standard deviation 0.00523: against 0.256525, t = 0.311 with 6 degrees, one-sided p = 0.38."""


def test_record_whose_runs_do_not_show_it_is_named(tmp_path: Path) -> None:
    target = Target("loss", 0.256525, "at_least")
    records = schedule("record", LOSSES, 80.0, target) + schedule("good", LOSSES + 0.02, 90.0, target)
    (_, page) = publish(records, tmp_path)
    assert "0.38 (not shown)" in published(page)
    assert "Not shown to reach the target by the mean of their runs: record." in text_of(page)
    assert "computed from the runs by the rule of the leaderboard" in text_of(page)


def test_statistics_that_a_record_states_are_shown_next_to_ours(tmp_path: Path) -> None:
    """The stated mean and deviation give p = 0.38, although the runs that come with the record do reach the target."""
    target = Target("loss", 0.256525, "at_least")
    stated = {"mean": 0.25714, "standard_deviation": 0.00523, "seconds": 77.5}
    records = schedule("record", LOSSES + 0.02, 80.0, target, stated)
    records += schedule("other", LOSSES + 0.02, 90.0, target, {"p_value": 0.0049})
    (_, page) = publish(records, tmp_path)
    row = published(page).split("our rank")[1]
    assert re.match(r" record 77\.5 s 1 0\.25714 standard deviation 0\.00523 0\.38 \(not shown\) 0\.277 ", row)
    assert re.search(r" other 90 s 2 \S 0\.0049 0\.277 ", row)
    assert "Not shown to reach the target by their published statistics: record." in text_of(page)
    assert "by the mean of their runs" not in text_of(page)
    assert "Published figures are those that the records state" in text_of(page)


def test_suites_of_ones_own_have_no_published_statistic(tmp_path: Path) -> None:
    (_, page) = publish(race("mine", {"a": [10.0, 11.0]}), tmp_path)
    assert "Published statistic" not in text_of(page)


def test_command_writes_the_site_and_names_mistakes(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    with Store(store) as opened:
        opened.add_all(race("one", {"a": [10.0, 11.0]}))
    done = run_command("bench", "publish", str(tmp_path / "site"), "--store", str(store))
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()
    done = run_command("bench", "publish", str(store), "--store", str(store))
    assert (done.exit_code, "FOLDER must be a folder" in done.stderr) == (2, True)
    with pytest.raises(InputError, match="there are no runs to publish"):
        publish([], tmp_path)
