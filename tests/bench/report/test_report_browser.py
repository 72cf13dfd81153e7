"""The page in a real browser, cut off from every network. Skipped where chromium is not installed."""

import dataclasses
import json
import math
import re
import shutil
import subprocess

import pytest

from etesian.bench import analyse
from etesian.bench.report import write_report

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=127.0.0.1:9",  # nothing listens there: a request to anywhere fails
    "--virtual-time-budget=10000",
    "--window-size=1280,9000",  # figures are drawn when they come near the window
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on the PATH")


@pytest.fixture
def browse(tmp_path):
    """Open a page, with a script of the test's own at its end; what that returns comes back, beside the document."""

    def browse(page, *flags, script="", fragment=""):
        if script:
            run = f"<script>addEventListener('load', () => setTimeout(() => {{ {script} }}, 500));"
            run += " const tell = (found) => document.body.append(`TOLD${JSON.stringify(found)}TOLD`);</script>"
            page.write_text(page.read_text("utf-8").replace("</body>", run + "</body>"), "utf-8")
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, page.as_uri() + fragment]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        document = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.S)
        told = re.search(r"TOLD(.*?)TOLD", document, re.S)
        return document, done.stderr, json.loads(told[1].replace("&amp;", "&")) if told else None

    return browse


@pytest.fixture
def page(runs, tmp_path):
    return write_report(runs, tmp_path / "report.html", title="Three schedules")


def test_every_figure_is_drawn_without_an_error(page, browse):
    document, log, _ = browse(page, "--enable-logging=stderr", "--dump-dom")
    boxes = re.findall(r'<div class="figure[^"]*" data-figure="[^"]+"[^>]*>', document)
    assert len(boxes) >= 5
    assert all('data-drawn="yes"' in box for box in boxes)
    assert len(re.findall(r'<path class="js-line"', document)) >= 21
    assert "CONSOLE" not in log


@pytest.mark.parametrize("flags", [[], ["--blink-settings=preferredColorScheme=0"]], ids=["light", "dark"])
def test_figures_take_the_colors_of_the_page(page, browse, flags):
    ink = "getComputedStyle(document.querySelector('.xtick text')).fill"
    paper = "getComputedStyle(document.body).color"
    _, _, (of_figure, of_page) = browse(page, "--dump-dom", *flags, script=f"tell([{ink}, {paper}])")
    assert of_figure == of_page


@pytest.mark.parametrize("rule", ["first_passage", "stays_above"])
def test_the_ranking_at_any_threshold_is_that_of_the_analysis(runs, browse, tmp_path, rule):
    """Runs on after the target, cut off at several budgets, diverging and failing: everything that decides a median."""
    from etesian.bench.report import write_page

    wavering = [dataclasses.replace(run, target=dataclasses.replace(run.target, threshold=0.9)) for run in runs]
    tight = [dataclasses.replace(run, budget_seconds=9.0 + run.seed % 3) for run in wavering]
    analysis = analyse(tight, rule=rule)
    page = write_page(analysis, tmp_path / "report.html")
    rows = analysis.races[0].sensitivity.rows
    script = f"""
        const race = thresholds.prepare(Object.values(JSON.parse(document.getElementById("data").textContent).races)[0]);
        tell({json.dumps([row.threshold for row in rows])}.map((threshold) => thresholds.rank(race, threshold)));
    """
    _, _, told = browse(page, "--dump-dom", script=script)
    names = analysis.races[0].sensitivity.entries
    for row, ranked in zip(rows, told, strict=True):
        found = {each["name"]: math.inf if each["seconds"] is None else each["seconds"] for each in ranked}
        assert [found[name] for name in names] == pytest.approx(list(row.seconds), rel=2e-5)
        assert {each["name"]: each["reached"] / each["runs"] for each in ranked} == pytest.approx(
            dict(zip(names, row.reached, strict=True))
        )
        assert tuple(sorted(each["name"] for each in ranked if each["place"] == 1 and each["seconds"])) == tuple(
            sorted(row.winners)
        )


def test_the_slider_is_moved_by_keys_and_says_what_changes(page, browse):
    script = """
        const slider = document.getElementById("thresholds-slider");
        const said = () => document.getElementById("thresholds-said").textContent;
        const before = said();
        slider.focus();
        slider.value = 0;
        slider.dispatchEvent(new Event("input"));
        const easiest = said();
        const first = document.querySelector("#thresholds-ranking tbody a").textContent;
        document.getElementById("thresholds-reset").click();
        tell([before, easiest, first, said(), document.activeElement.id, slider.disabled]);
    """
    _, _, (before, easiest, first, after, focused, is_disabled) = browse(page, "--dump-dom", script=script)
    assert before == after
    assert before.startswith("At accuracy ≥ 0.93 conflict-free leads with ")
    assert easiest != before
    assert (first, focused, is_disabled) == ("conflict-free", "thresholds-slider", False)


def test_the_entries_drawn_are_chosen(page, browse):
    script = """
        const lines = () => document.querySelectorAll('[data-figure="curves"] .js-line').length;
        const all = lines();
        document.querySelector('input[value="serial"]').click();
        setTimeout(() => tell([all, lines()]), 500);
    """
    assert browse(page, "--dump-dom", script=script)[2] == [21, 14]


def test_a_link_to_something_closed_opens_it(page, browse):
    script = "tell(document.getElementById('curves-table').open)"
    assert browse(page, "--dump-dom", script=script, fragment="#curves-table")[2] is True


def test_nothing_is_wider_than_a_narrow_window(page, browse):
    script = "tell([document.documentElement.scrollWidth, innerWidth])"
    _, _, (width, window) = browse(page, "--dump-dom", "--window-size=400,9000", script=script)
    assert width <= max(window, 500)  # headless windows are no narrower than 500


def test_the_page_prints(page, browse, tmp_path):
    browse(page, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 10
