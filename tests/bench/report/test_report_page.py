"""The page shows the figures of the analysis, loads nothing from outside, and treats names as text."""

import builtins
import dataclasses
import html
import json
import math
import os
import re

import pytest
from made_runs import MACHINE, TARGET, make_run

from etesian._shared.text import printable
from etesian.bench import Point, Target, analyze
from etesian.bench.record import Run
from etesian.bench.report import Cell, Row, Section, Table, caveats, write_report
from etesian.bench.report.format import interval, number, p_value, value_and_interval
from etesian.bench.report.marks import assign_marks
from etesian.bench.report.sections.machines import machine_records
from etesian.bench.report.verdict import verdict
from etesian.bench.statistics import Estimate
from etesian.errors import OutputError


@pytest.fixture
def read(tmp_path):
    """Write a report and return its text without its scripts."""

    def read(runs, **options):
        page = write_report(runs, tmp_path / "report.html", **options).read_text("utf-8")
        return re.sub(r"<script>.*?</script>", "", page, flags=re.S)

    return read


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def figures(page):
    return data_of(page)["figures"]


def rows_of(page, anchor):
    """Rows of the table of a section: of each the heading and the text of the cells, without intervals."""
    section = re.search(rf'<section aria-labelledby="{anchor}">(.*?)</section>', page, re.S)[1]
    body = re.search(r"<tbody>\s*(<tr.*?)</tbody>", section, re.S)[1]
    lines = re.findall(r"<tr.*?</tr>", re.sub(r'<span class="interval">.*?</span>', "", body), re.S)
    return [
        [html.unescape(re.sub(r"<.*?>", "", cell)).strip() for cell in re.split("</t[hd]>", line)[:-1]]
        for line in lines
    ]


def rename(runs, names):
    return [dataclasses.replace(run, workload=names.get(run.workload, run.workload)) for run in runs]


def test_tables_hold_exactly_the_figures_of_the_analysis(runs, read):
    page = read(runs, baseline="serial")
    shown = {}
    for line in re.findall(r"<tr[^>]*><th scope=\"row\">.*?</tr>", page, re.S):
        name = html.unescape(re.sub(r"<.*?>", "", line[: line.index("</th>")])).strip()
        for key, value in re.findall(r'data-key="([^"]+)"[^>]*><data value="([^"]*)">', line):
            shown.setdefault((name, key), set()).add(float(value))
    analysis = analyze(runs, baseline="serial").as_dict()
    for entry in analysis["entries"]:
        for key, estimate in entry["estimates"].items():
            if estimate["value"] is not None:
                assert shown[entry["name"], key] == {estimate["value"]}, (entry["name"], key)
    for each in analysis["comparisons"]:
        assert shown[each["entry"], "ratio"] == {each["ratio"]["value"]}


def test_the_leaderboard_is_in_the_order_of_the_ranking(runs, read):
    rows = rows_of(read(runs), "leaderboard")
    ranking = analyze(runs).as_dict()["targets"][0]["ranking"]["entries"]
    assert [(row[0], row[1]) for row in rows] == [(each["name"], str(each["rank"])) for each in ranking]
    assert [row[2] for row in rows] == ["7 of 7", "4 of 7", "7 of 7"]


def test_nothing_is_loaded_from_outside(runs, read):
    page = read(runs)
    assert re.findall(r"""(?:src|action|srcset|data-src)\s*=|url\(|@import""", page) == []
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', page))
    assert "default-src 'none'" in page
    assert "connect-src" not in page


def test_a_small_report_is_a_small_file(runs, tmp_path):
    assert write_report(runs, tmp_path / "report.html").stat().st_size < 150_000


def test_names_errors_titles_and_commands_are_text_and_not_markup(runs, read):
    evil = "<script>alert(1)</script>"
    page = read(rename(runs, {"serial": evil}), title=evil, command=evil + " && make")
    assert evil not in page
    assert html.escape(evil) in page
    assert "<script>alert('x')" not in page
    assert "alert(&#39;x&#39;)" in page
    assert evil in {mark.get("name") for mark in figures(page)["arrivals"]["marks"]}  # escaped once, as JSON


def test_every_run_is_held_and_the_target_is_drawn_across(runs, read):
    page = read(runs)
    race = data_of(page)["races"]["results"]
    assert [mark["at"] for mark in figures(page)["curves"]["marks"]] == [TARGET.threshold]
    held = {(race["entries"][entry], seed): (seconds, values) for entry, seed, *_, seconds, values in race["runs"]}
    assert len(held) == len(runs)
    for run in runs:
        seconds, values = held[run.workload, run.seed]
        assert seconds == pytest.approx([point.seconds for point in run.points], rel=1e-5)
        assert values == pytest.approx([point.metrics["accuracy"] for point in run.points], rel=1e-5)


def test_run_without_a_time_is_drawn_at_the_margin(runs, read):
    marks = figures(read(runs))["times"]["marks"]
    (margin,) = [mark["at"] for mark in marks if mark["kind"] == "rule"]
    symbols = {mark["symbol"] for mark in marks if mark["kind"] == "dots"}
    without = [mark for mark in marks if mark["kind"] == "dots" and mark["symbol"] in ("arrow", "cross", "ban", "fork")]
    with_time = [mark for mark in marks if mark["kind"] == "dots" and mark not in without and mark["symbol"] != "tick"]
    dots = sorted(x for mark in with_time for x in mark["x"])
    assert dots == pytest.approx(sorted(run.seconds for run in runs if run.outcome == "reached"), rel=1e-5)
    assert all(x > margin for mark in without for x in mark["x"])
    assert {"arrow", "cross", "ban"} <= symbols  # out of time, exhausted, failed


def test_workloads_differ_in_color_and_without_color():
    marks = assign_marks([f"workload {k}" for k in range(12)]).values()
    assert len({(mark.color, mark.dash) for mark in marks}) == 12
    assert len({mark.dash for mark in marks}) == 5


def test_an_entry_has_one_color_all_over_the_page(runs, read):
    page = read(runs)
    color = assign_marks(["serial", "conflict-free", "lock-free"])["conflict-free"].color
    assert data_of(page)["marks"]["conflict-free"][0] == color
    assert f'style="background: {color}"></span><a href="#entry-conflict-free">conflict-<wbr>free' in page
    for figure in ("times", "arrivals"):
        own = [mark for mark in figures(page)[figure]["marks"] if mark.get("name") == "conflict-free"]
        assert {mark["color"] for mark in own} == {color}


def test_values_that_are_not_finite_leave_a_gap_and_valid_json(read):
    (run,) = data_of(read([make_run("plain", 0, 3.0, outcome="diverged")]))["races"]["results"]["runs"]
    assert run[-1][-1] is None


def test_an_unfinished_report_leaves_the_old_one_in_place(runs, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match=r"report\.html cannot be written: disk full"):
        write_report(runs, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_same_runs_give_the_same_page(runs, read):
    assert read(runs) == read(runs)


@pytest.mark.parametrize("missing", ["jinja2"])
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


def test_machines_and_command_are_shown(runs, read):
    other = {**MACHINE, "host": "bench-2"}
    page = read([*runs, make_run("serial", 7, 6.0, machine=other)], command="etesian bench run words")
    for text in (
        "cpu.model",
        "Example CPU",
        "21 runs on",
        "1 run on",
        "bench-2",
        "etesian bench run words</pre>",
    ):
        assert text in page


def test_every_figure_has_a_title_and_its_table(runs, read):
    page = read(runs)
    drawn = figures(page)
    assert set(drawn) == set(re.findall(r'data-figure="([^"]+)" role="img"', page)) >= {"curves", "times", "variation"}
    for anchor in drawn:
        assert f'role="img" aria-labelledby="{anchor}"' in page
        assert f'id="{anchor}"' in page
        assert re.search(
            rf'<details id="{anchor}-table"><summary>[^<]+</summary>\s*<div class="scroll[^>]*>\s*<table>', page
        )


def test_every_link_leads_somewhere_and_every_anchor_is_given_once(runs, read):
    renamed = rename(runs, {"serial": "Conflict free!"})  # beside "conflict-free": the same letters
    page = read(renamed)
    anchors = re.findall(r' id="([^"]+)"', page)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(anchors)
    assert {"entry-conflict-free", "entry-conflict-free-2", "leaderboard", "thresholds", "caveats"} <= set(anchors)


def test_every_control_has_a_label(runs, read):
    page = read(runs)
    ids = re.findall(r'<input type="(?:range|number)" id="([^"]+)"', page)
    assert len(ids) == 2
    assert all(f'<label for="{each}"' in page or f'for="{each}">' in page for each in ids)
    assert page.count('<label><input type="checkbox"') == 3


def test_each_target_has_a_part_of_the_page_and_profiles_join_them(runs, read):
    page = read([*runs, *(dataclasses.replace(run, target=Target("accuracy", 0.9)) for run in runs)])
    assert "2 races" in page
    for part in ("accuracy-leaderboard", "accuracy-2-leaderboard", "profiles"):
        assert f'id="{part}"' in page
    assert page.count('<p class="verdict">') == 2
    score = analyze([*runs, *(dataclasses.replace(r, target=Target("accuracy", 0.9)) for r in runs)]).profiles
    shown = dict(row[:2] for row in rows_of(page, "profiles"))
    assert {name: number(each.score) for name, each in score.items()} == shown


def test_caveats_are_given_in_full(runs, read):
    page = html.unescape(read(runs))
    found = caveats(analyze(runs))
    assert found
    assert all(sentence in page for sentence in found)


def test_costs_are_shown_if_a_price_is_known(runs, read):
    assert "cost" not in read(runs)[: read(runs).index("Sensitivity to the target</a>")]
    priced = [dataclasses.replace(run, details={"cost_per_hour": 3600.0}) for run in runs]
    costs = dict(re.findall(r'data-key="(cost|expected_cost)"[^>]*><data value="([^"]+)"', read(priced)))
    assert set(costs) == {"cost", "expected_cost"}


def test_generalization_and_use_of_time_have_parts_where_they_are_recorded(runs, read):
    def with_details(run):
        points = tuple(
            Point(p.slices, p.seconds, {**p.metrics, "fresh_accuracy": p.metrics["accuracy"] - 0.01})
            for p in run.points
        )
        spent = run.points[-1].seconds
        details = {"seconds_in": {"communication": 0.3 * spent, "input": 0.2 * spent}}
        return dataclasses.replace(run, points=points, details=details, units={"examples": 100.0})

    page = read([with_details(run) for run in runs], baseline="serial")
    assert {row[0]: row[2] for row in rows_of(page, "time-use")} == dict.fromkeys(
        ("serial", "conflict-free", "lock-free"), "20%"
    )
    assert {row[3] for row in rows_of(page, "generalization")} == {"-0.01"}
    speedup, less_work, pace = (
        float(text) for text in {row[0]: row[1:4] for row in rows_of(page, "attribution")}["conflict-free"]
    )
    assert speedup == pytest.approx(less_work * pace, rel=0.01)
    bars = [mark for mark in figures(page)["attribution"]["marks"] if mark["kind"] == "bars"]
    whole = figures(page)["attribution"]["marks"][-1]["x"]
    assert bars[0]["low"] == [0.0] * len(whole)
    assert bars[1]["low"] == bars[0]["high"]
    assert bars[1]["high"] == pytest.approx(whole, abs=1e-5)


def race_of(*paces, seeds=7, outcomes=("reached", "reached"), baseline=None):
    names = ("plain", "fancy")
    made = [
        make_run(name, seed, pace + 0.05 * seed, outcome=outcome)
        for name, pace, outcome in zip(names, paces, outcomes, strict=False)
        for seed in range(seeds)
    ]
    return analyze(made, baseline=baseline).races[0]


def verdict_of(*paces, **options):
    return verdict(race_of(*paces, **options), level=0.95)


def test_verdict_names_the_faster_of_two():
    sentence = verdict_of(6, 3, baseline="plain")
    assert re.match(r"To reach accuracy ≥ 0.93, fancy takes 0\.5\d* times as long as plain \(95% inter", sentence)


def timed(name, place, first):
    """Eight runs, 0.1 s apart, with seeds of their own."""
    times = [first + 0.1 * k for k in range(8)]
    points = [(Point(1, time, {"accuracy": 0.95}),) for time in times]
    return [Run(name, 100 * place + k, TARGET, "reached", at) for k, at in enumerate(points)]


def test_verdict_on_the_fastest_of_several_is_corrected_for_the_choice():
    two = timed("plain", 0, 10.0) + timed("lucky", 1, 9.65)
    alone = analyze(two, baseline="plain").races[0]
    assert 0.0056 < alone.comparisons[0].test.p_value < 0.05
    assert verdict(alone, level=0.95).startswith("To reach accuracy ≥ 0.93, lucky takes 0.9")
    more = [run for place in range(2, 10) for run in timed(f"entry {place}", place, 11.0)]
    sentence = verdict(analyze(two + more, baseline="plain").races[0], level=0.95)
    assert sentence.startswith("No entry is shown to reach accuracy ≥ 0.93 sooner than plain: lucky takes 0.9")
    assert sentence.endswith("and the fastest of 9 entries requires 0.0056.")


def test_verdict_names_the_fastest_and_its_lead():
    sentence = verdict_of(6, 3)
    assert re.match(
        r"fancy reaches accuracy ≥ 0.93 first, in [\d.]+\ss; plain, the next, takes 1\.\d+ times as long \(", sentence
    )


def test_verdict_claims_no_difference_that_is_not_shown():
    assert "plain is not shown to be slower" in verdict_of(4.05, 4) or "tie" in verdict_of(4.05, 4)


def test_verdict_names_ties():
    assert verdict_of(4, 4).startswith("plain and fancy tie: each reaches accuracy ≥ 0.93 in")


def test_verdict_of_single_runs_claims_nothing():
    assert verdict_of(6, 3, seeds=1).endswith("so few runs give no interval.")


def test_verdict_when_no_run_arrived():
    assert verdict_of(6, 3, outcomes=("exhausted", "exhausted")) == "No run reached accuracy ≥ 0.93."


def test_verdict_when_the_other_does_not_arrive():
    assert verdict_of(6, 3, outcomes=("exhausted", "reached")).endswith(
        "no other entry does in more than half of its runs."
    )


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


@pytest.mark.parametrize(
    ("estimate", "unit", "texts"),
    [
        (Estimate(141.0843, 141.0128, 141.1611, 7), "s", ("141.08\u00a0s", "141.01 to 141.16\u00a0s")),
        (Estimate(3.2795, 3.2771, 3.2819, 9), "", ("3.280", "3.277 to 3.282")),
        (Estimate(1.0092, 1.0087, 1.0097, 7), "", ("1.0092", "1.0087 to 1.0097")),
        (Estimate(13.42, 11.7, 15.21, 7), "s", ("13.4\u00a0s", "11.7 to 15.2\u00a0s")),
        (Estimate(2.0, 2.0, 2.0, 7), "", ("2", "")),
        (Estimate(0.118, 0.075, 0.264, 7), "%", ("11.8%", "7.5 to 26.4%")),
        (Estimate(20.0, 10.0, 1000.0, 7), "s", ("20\u00a0s", "10 to 1,000\u00a0s")),
        (Estimate(7.6378e-5, 7.6374e-5, 7.6383e-5, 7), "s", ("7.6378e-05\u00a0s", "7.6374e-05 to 7.6383e-05\u00a0s")),
        (Estimate(1.23e-7, 1.1e-7, 1.41e-7, 7), "s", ("1.23e-07\u00a0s", "1.10e-07 to 1.41e-07\u00a0s")),
        (Estimate(3_000_000.0, 0.0, 4_000_000.0, 7), "s", ("3.00e+06\u00a0s", "0 to 4.00e+06\u00a0s")),
    ],
)
def test_decimals_follow_the_width_of_the_interval(estimate, unit, texts):
    assert value_and_interval(estimate, unit) == texts


@pytest.mark.parametrize(
    ("p", "alpha", "text"),
    [
        (0.0102, 0.01, "0.0102"),
        (0.00998, 0.01, "0.00998"),
        (0.01, 0.01, "0.01"),
        (1.08e-5, None, "1.1e-05"),
        (0.38, 0.01, "0.38"),
    ],
)
def test_rounding_moves_no_p_value_to_its_limit(p, alpha, text):
    assert p_value(p, alpha=alpha) == text


def test_control_characters_are_printed_in_escaped_form():
    assert printable("\x1b[31mred\x1b]0;x\x07") == "\\x1b[31mred\\x1b]0;x\\x07"
    assert printable("caf\u00e9\u00a0\u65e5\u672c \u2265") == "caf\u00e9\u00a0\u65e5\u672c \u2265"


def test_a_page_accepts_extra_sections(runs, read):
    extra = Section(
        "extra", "Text by <four> decoders", Table("", ["decoder", "tokens/s"], [Row("plain", [Cell("20")])])
    )
    page = read(runs, extra_sections=[extra])
    assert rows_of(page, "extra") == [["plain", "20"]]
    assert "Text by &lt;four&gt; decoders" in page
    assert page.index('id="endings"') < page.index('id="extra"') < page.index('id="reproduce"')


def test_an_interval_without_an_upper_end():
    assert interval(Estimate(2.0, 1.5, math.inf, 5), "s") == "1.5\u00a0s or more"


def test_runs_on_one_machine_share_its_record_at_any_load():
    runs = [
        make_run("one", seed, 1.0, machine=MACHINE | {"load_average": [load, 1.0, 1.0]})
        for seed, load in enumerate((0.5, 2.0))
    ]
    ((count, record),) = machine_records(runs)
    assert count == 2
    assert dict(record)["load_average"].startswith("0.50 to 2.00")
