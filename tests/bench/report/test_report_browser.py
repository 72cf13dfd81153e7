"""The report page in a real browser, at two widths, light and dark.

A browser takes seconds to start, so one visit collects everything that can be observed in one window.
"""

import dataclasses
import json
import math
import re

import pytest
from browser import NARROW_AND_DARK, WIDE_AND_LIGHT, needs_chromium, printed, visit
from made_runs import suite_runs

from etesian.bench import analyze
from etesian.bench.report import write_report
from etesian.bench.report.embed import embed_race

RULES = ("first_passage", "stays_above")

pytestmark = needs_chromium

AXIS = ".chart .axis-text"
COLORS = f"[getComputedStyle(document.querySelector({AXIS!r})).fill, getComputedStyle(document.body).color]"
SLIDER = """(() => {
    const slider = document.getElementById("thresholds-slider");
    const result = () => document.getElementById("thresholds-result").textContent;
    const before = result();
    slider.focus();
    slider.value = 0;
    slider.dispatchEvent(new Event("input"));
    const easiest = result();
    document.getElementById("thresholds-reset").click();
    return { before, easiest, after: result(), focused: document.activeElement.id, isDisabled: slider.disabled };
})()"""
SORTED = """(() => {
    const table = document.querySelector('section[aria-labelledby="leaderboard"] table');
    const button = [...table.tHead.querySelectorAll("button")].find((each) => each.textContent.startsWith("median time"));
    const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim());
    button.click();
    const up = names();
    button.click();
    return { up, down: names() };
})()"""
FILTERED = """(() => {
    const details = document.getElementById("curves-table");
    const input = details.querySelector("input[type=search]");
    input.value = "lock-free";
    input.dispatchEvent(new Event("input"));
    return [...details.querySelectorAll("tbody tr")].filter((row) => !row.hidden).length;
})()"""
LIT = """(() => {
    const box = document.querySelector('[data-figure="curves"]');
    const button = box.querySelector(".legend button");
    button.click();
    const lit = box.querySelectorAll("g.lit").length;
    const before = box.classList.contains("muted");
    button.click();
    return { lit, before, after: box.classList.contains("muted") };
})()"""
LINES = "document.querySelectorAll('[data-figure=\"curves\"]  .curve').length"


def ranked_by_the_page(analyses):
    """JavaScript that ranks the entries at every threshold at which the analysis did."""
    races = [
        [embed_race(each.races[0], rule=each.options.rule, most=None), [row.threshold for row in rows_of(each)]]
        for each in analyses
    ]
    rank = "thresholds.rank(thresholds.prepare(race), height)"
    return f"{json.dumps(races)}.map(([race, heights]) => heights.map((height) => {rank}))"


def rows_of(analysis):
    return analysis.races[0].sensitivity.rows


def written_report(folder):
    return write_report(suite_runs(), folder / "report.html", title="Three schedules")


def visit_report(folder, *flags, **options):
    """Visit a report of three schedules."""
    return visit(written_report(folder), folder, *flags, ready=f"document.querySelector({AXIS!r})", **options)


@pytest.fixture(scope="module")
def wavering():
    """Runs that continue after the target, end at several budgets, diverge or fail: everything that determines a median."""
    easier = dataclasses.replace(suite_runs()[0].target, threshold=0.9)
    runs = [dataclasses.replace(run, target=easier, budget_seconds=9.0 + run.seed % 3) for run in suite_runs()]
    return [analyze(runs, rule=rule) for rule in RULES]


@pytest.fixture(scope="module")
def wide(tmp_path_factory, wavering):
    """Visit with a window so high that every figure is drawn."""
    script = f"""
        const found = {{ colors: {COLORS}, slider: {SLIDER}, ranked: {ranked_by_the_page(wavering)}, all: {LINES},
            sorted: {SORTED}, filtered: {FILTERED}, lit: {LIT} }};
        document.querySelector('input[value="serial"]').click();
        setTimeout(() => report({{ ...found, without: {LINES} }}), 500);
    """
    return visit_report(tmp_path_factory.mktemp("wide"), *WIDE_AND_LIGHT, script=script)


@pytest.fixture(scope="module")
def narrow_and_dark(tmp_path_factory):
    script = f"""report({{
        colors: {COLORS}, width: document.documentElement.scrollWidth, window: innerWidth,
        isOpen: document.getElementById("curves-table").open,
    }});"""
    folder = tmp_path_factory.mktemp("narrow")
    return visit_report(folder, *NARROW_AND_DARK, script=script, fragment="#curves-table")


def test_every_figure_is_drawn_without_an_error(wide):
    document, log, _ = wide
    boxes = re.findall(r'<div class="figure[^"]*" data-figure="[^"]+"[^>]*>', document)
    assert len(boxes) >= 5
    assert all('data-drawn="yes"' in box for box in boxes)
    assert "CONSOLE" not in log


def test_figures_take_the_colors_of_the_page_light_and_dark(wide, narrow_and_dark):
    inks = set()
    for visited in (wide, narrow_and_dark):
        of_figure, of_page = visited.reported["colors"]
        assert of_figure == of_page
        inks.add(of_page)
    assert len(inks) == 2


@pytest.mark.parametrize("index", range(len(RULES)), ids=RULES)
def test_the_ranking_at_any_threshold_is_that_of_the_analysis(wide, wavering, index):
    names = wavering[index].races[0].sensitivity.entries
    for row, ranked in zip(rows_of(wavering[index]), wide.reported["ranked"][index], strict=True):
        found = {each["name"]: math.inf if each["seconds"] is None else each["seconds"] for each in ranked}
        assert [found[name] for name in names] == pytest.approx(list(row.seconds), rel=2e-5)
        shares = {each["name"]: each["reached"] / each["runs"] for each in ranked}
        assert [shares[name] for name in names] == pytest.approx(list(row.reached))
        winners = {each["name"] for each in ranked if each["place"] == 1 and each["seconds"] is not None}
        assert winners == set(row.winners)


def test_slider_keeps_the_focus_and_its_result_follows(wide):
    slider = wide.reported["slider"]
    assert slider["before"].startswith("At accuracy ≥ 0.93 conflict-free leads with ")
    assert slider["easiest"] != slider["before"] == slider["after"]
    assert (slider["focused"], slider["isDisabled"]) == ("thresholds-slider", False)


def test_checkboxes_select_the_entries_drawn(wide):
    assert (wide.reported["all"], wide.reported["without"]) == (21, 14)


def test_tables_are_sorted_by_their_values_and_filtered_by_name(wide):
    assert wide.reported["sorted"]["up"] == ["conflict-free", "lock-free", "serial"]
    assert wide.reported["sorted"]["down"] == ["serial", "lock-free", "conflict-free"]
    assert wide.reported["filtered"] == 7


def test_the_runs_of_an_entry_are_highlighted_on_demand(wide):
    assert wide.reported["lit"] == {"lit": 7, "before": True, "after": False}


def test_link_to_a_collapsed_table_opens_it(narrow_and_dark):
    assert narrow_and_dark.reported["isOpen"] is True


def test_nothing_is_wider_than_a_narrow_window(narrow_and_dark):
    found = narrow_and_dark.reported
    assert found["width"] <= found["window"] <= 500
    assert "CONSOLE" not in narrow_and_dark.log


def test_page_prints(tmp_path):
    pdf = printed(written_report(tmp_path), tmp_path)
    assert pdf.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 10
