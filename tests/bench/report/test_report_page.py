"""The page says what the summary says, loads nothing from outside, and takes names as text."""

import builtins
import dataclasses
import html
import json
import math
import os
import re

import pytest
from made_runs import MACHINE, TARGET, make_run

from etesian.bench.record import Run
from etesian.bench.report import write_report
from etesian.bench.report.figures import POINTS_DRAWN
from etesian.bench.report.marks import assign_marks
from etesian.bench.report.tables import machine_records
from etesian.bench.report.wording import interval, number, verdict
from etesian.bench.statistics import Estimate, summarize


@pytest.fixture
def read(tmp_path):
    """Write a report and give its text without plotly's own."""

    def read(runs, **options):
        page = write_report(runs, tmp_path / "report.html", **options).read_text("utf-8")
        return re.sub(r"<script>/\*\*\n\* plotly\.js.*?</script>", "", page, flags=re.S)

    return read


def figures(page):
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)[1])


def rename(runs, names):
    return [dataclasses.replace(run, workload=names.get(run.workload, run.workload)) for run in runs]


def test_table_holds_exactly_the_figures_of_the_summary(runs, read):
    page = read(runs)
    cells = re.findall(r'<td data-key="([^"]+)"[^>]*><data value="([^"]*)">', page)
    found = iter(cells)
    for workload in summarize(runs).as_dict()["workloads"]:
        for key in ("reached", "median", "ratio", "restricted_mean", "expected_running_time", "variation.time"):
            value = workload[key.split(".")[0]]
            value = value[key.split(".")[1]] if "." in key else value
            name, shown = next(cell for cell in found if cell[0] == key)
            expected = value["value"] if value else None
            assert (float(shown) if shown else None) == expected, name


def test_nothing_is_loaded_from_outside(runs, read):
    page = read(runs)
    assert re.findall(r"""(?:src|href|action|srcset|data-src)\s*=|url\(|@import""", page) == []
    assert "default-src 'none'" in page


def test_plotly_is_inlined_once(runs, tmp_path):
    page = write_report(runs, tmp_path / "report.html").read_text("utf-8")
    assert len(re.findall(r"\* plotly\.js v", page)) == 1
    assert len(page) < 5_200_000


def test_names_errors_titles_and_commands_are_text_and_not_markup(runs, read):
    evil = "<script>alert(1)</script>"
    page = read(rename(runs, {"serial": evil}), title=evil, command=evil + " && make")
    assert evil not in page
    assert html.escape(evil) in page
    assert "<script>alert('x')" not in page
    assert "alert(&#39;x&#39;)" in page
    drawn = figures(page)
    assert {trace["name"] for trace in drawn["curves"]["data"]} >= {"&lt;script&gt;alert(1)&lt;/script&gt;"}


def test_every_run_is_a_curve_with_the_target_across(runs, read):
    curves = figures(read(runs))["curves"]
    assert len(curves["data"]) == len(runs)
    assert curves["layout"]["shapes"][0]["y0"] == TARGET.threshold
    for run, trace in zip(runs, curves["data"], strict=True):
        assert trace["x"] == pytest.approx([point.seconds for point in run.points], rel=1e-5)


def test_a_run_without_a_time_stands_at_the_margin_and_never_at_its_longest_time(runs, read):
    times = figures(read(runs))["times"]
    margin = times["layout"]["shapes"][0]["x0"]
    reached = [trace for trace in times["data"] if "error_x" in trace]
    dots = [x for trace in reached for x in trace["x"]]
    assert sorted(dots) == pytest.approx(sorted(run.seconds for run in runs if run.outcome == "reached"), rel=1e-5)
    others = [trace for trace in times["data"] if "seed" in "".join(trace.get("text", [])) and trace not in reached]
    assert all(x > margin for trace in others for x in trace["x"])
    assert len({trace["marker"]["symbol"] for trace in others}) == 3  # out of time, exhausted, failed
    assert max(times["layout"]["xaxis"]["tickvals"]) < margin


def test_workloads_differ_in_color_and_without_color():
    marks = assign_marks([f"workload {k}" for k in range(12)]).values()
    assert len({(mark.color, mark.dash) for mark in marks}) == 12
    assert len({mark.dash for mark in marks}) == 5


def test_a_workload_has_one_color_all_over_the_page(runs, read):
    page = read(runs)
    color = assign_marks(["serial", "conflict-free", "lock-free"])["conflict-free"].color
    drawn = figures(page)
    assert {t["line"]["color"] for t in drawn["curves"]["data"] if t["name"] == "conflict-free"} == {color}
    assert f'style="background: {color}"></span>conflict-free' in page
    assert any(trace["marker"]["color"] == color for trace in drawn["times"]["data"])


def test_long_runs_are_thinned_but_keep_where_they_passed(read):
    short = make_run("long", 0, 3.0)
    points = [dataclasses.replace(short.points[0], seconds=float(k), slices=k) for k in range(5000)]
    points[-1] = dataclasses.replace(short.points[-1], seconds=5000.0, slices=5000)
    (trace,) = figures(read([dataclasses.replace(short, points=tuple(points))]))["curves"]["data"]
    assert len(trace["x"]) <= POINTS_DRAWN + 2
    assert trace["x"][-2:] == [4998.0, 5000.0]


def test_values_that_are_not_finite_leave_a_gap_and_valid_json(read):
    (trace,) = figures(read([make_run("plain", 0, 3.0, outcome="diverged")]))["curves"]["data"]
    assert trace["y"][-1] is None


def test_an_unfinished_report_leaves_the_old_one_in_place(runs, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(runs, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_same_runs_give_the_same_page(runs, read):
    assert read(runs) == read(runs)


@pytest.mark.parametrize("missing", ["jinja2", "plotly"])
def test_a_missing_library_is_named_with_what_installs_it(runs, tmp_path, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf"needs {missing}: pip install etesian\[report\]"):
        write_report(runs, tmp_path / "report.html")


def test_no_runs(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        write_report([], tmp_path / "report.html")


def test_runs_that_all_failed_before_a_measurement(read):
    page = read([Run("plain", 0, TARGET, "failed", (), error="no data")])
    assert "No run reached accuracy ≥ 0.93." in page
    assert "no data" in page


def test_runs_that_were_at_the_target_at_once(read):
    first = dataclasses.replace(make_run("plain", 0, 3.0).points[-1], slices=0, seconds=0.0)
    assert "reached accuracy ≥ 0.93 in 1 of 1 runs" in read([Run("plain", 0, TARGET, "reached", (first,))])


def test_machines_and_command_are_told(runs, read):
    other = {**MACHINE, "host": "bench-2"}
    page = read([*runs, make_run("serial", 7, 6.0, machine=other)], command="etesian bench run words")
    for text in (
        "cpu.model",
        "Example CPU",
        "21 runs on",
        "1 runs on",
        "bench-2",
        "<pre>etesian bench run words</pre>",
    ):
        assert text in page


def test_figures_have_titles_and_tables(runs, read):
    page = read(runs)
    assert page.count("<details>") == 2
    assert page.count('role="img" aria-labelledby') == 2


def verdict_of(*paces, seeds=7, outcomes=("reached", "reached")):
    names = ("plain", "fancy")
    return verdict(
        summarize(
            [
                make_run(name, seed, pace + 0.05 * seed, outcome=outcome)
                for name, pace, outcome in zip(names, paces, outcomes, strict=False)
                for seed in range(seeds)
            ]
        )
    )


def test_verdict_says_which_is_faster():
    assert re.match(
        r"To reach accuracy ≥ 0.93, fancy takes 0\.5\d* times as long as plain \(95% inter", verdict_of(6, 3)
    )


def test_verdict_says_when_nothing_is_faster():
    assert verdict_of(3, 6).startswith("Nothing reaches accuracy ≥ 0.93 sooner than plain: fancy, the closest, takes ")


def test_verdict_claims_no_difference_that_is_not_shown():
    assert verdict_of(4, 4).startswith("No workload is shown to reach accuracy ≥ 0.93 sooner than plain")


def test_verdict_of_single_runs_claims_nothing():
    assert verdict_of(6, 3, seeds=1).endswith("with so few runs there is no interval to that.")


def test_verdict_when_no_run_arrived():
    assert verdict_of(6, 3, outcomes=("exhausted", "exhausted")) == "No run reached accuracy ≥ 0.93."


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (12.345, "s", "12.3\u00a0s"),
        (0.0123456, "s", "0.0123\u00a0s"),
        (123456.0, "s", "123,456\u00a0s"),
        (0.857, "%", "85.7%"),
        (0.0, "%", "0%"),
        (2.0, "", "2"),
        (100.0, "", "100"),
        (3e-7, "", "3.00e-07"),
        (math.inf, "s", "∞"),
        (None, "s", "\u2013"),
    ],
)
def test_numbers_have_three_digits(value, unit, text):
    assert number(value, unit) == text


def test_an_interval_without_an_upper_end():
    assert interval(Estimate(2.0, 1.5, math.inf, 5), "s") == "1.5\u00a0s or more"


def test_runs_on_one_machine_share_its_record_whatever_its_load():
    runs = [
        make_run("one", seed, 1.0, machine=MACHINE | {"load_average": [load, 1.0, 1.0]})
        for seed, load in enumerate((0.5, 2.0))
    ]
    ((count, record),) = machine_records(runs)
    assert count == 2
    assert dict(record)["load_average"].startswith("0.50 to 2.00")
