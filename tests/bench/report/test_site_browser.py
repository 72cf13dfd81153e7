"""The published site in a real browser: its search, and both of its kinds of pages at two widths, light and dark."""

import pytest
from browser import NARROW_AND_DARK, WIDE_AND_LIGHT, needs_chromium, visit
from test_publish import race

from etesian.bench.report.publish import publish

pytestmark = needs_chromium

LAYOUT = """{
    width: document.documentElement.scrollWidth,
    window: innerWidth,
    ink: getComputedStyle(document.body).color,
    background: getComputedStyle(document.body).backgroundColor,
}"""
SEARCHED = """(() => {
    const query = document.getElementById("query");
    const search = (words) => {
        query.value = words;
        query.dispatchEvent(new Event("input"));
        const items = [...document.querySelectorAll(".races-of-site li")].filter((item) => item.offsetParent !== null);
        return {
            races: items.map((item) => item.querySelector("a").textContent),
            found: items.map((item) => item.querySelector(".found")).filter((line) => !line.hidden).map((line) => line.textContent),
            count: document.getElementById("count").textContent,
        };
    };
    return [search("SGD"), search("letters adam"), search("nobody"), search("")];
})()"""
LONG_NAME = "a_solver_with_aNameThatIs_much_longer_than_a_narrow_window_is_wide/and_a_second_part"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    times = {"adam": [10.0, 11.0, 12.0], "sgd": [10.5, 11.5, 12.5], LONG_NAME: [20.0, 21.0, 22.0]}
    others = {"adam": [30.0, 31.0], "lion": [40.0, 41.0]}
    races = race("mlperf-digits", times) + race("letters", others) + race("words", {"lion": [5.0, 6.0]})
    return publish(races, tmp_path_factory.mktemp("site"), title="My races")


@pytest.fixture(scope="module")
def index(site, tmp_path_factory):
    script = f"report({{ searched: {SEARCHED}, layout: {LAYOUT} }});"
    return visit(site[0], tmp_path_factory.mktemp("wide"), *WIDE_AND_LIGHT, script=script)


def test_search_finds_races_by_all_words_and_names_the_entries_found(index):
    sgd, adam, nobody, everything = index.reported["searched"]
    assert sgd == {"races": ["mlperf-digits"], "found": ["sgd"], "count": "1 of 3 races"}
    assert (adam["races"], adam["found"]) == (["letters"], ["adam"])
    assert (nobody["races"], nobody["count"]) == ([], "0 of 3 races")
    assert (everything["races"], everything["found"]) == (["letters", "mlperf-digits", "words"], [])
    assert "CONSOLE" not in index.log


def test_pages_fit_a_narrow_window_and_follow_the_dark_scheme(site, index, tmp_path):
    light = index.reported["layout"]
    assert light["width"] <= light["window"] == 1280
    for page in (site[0], next(page for page in site if page.name == "mlperf-digits.html")):
        visited = visit(page, tmp_path, *NARROW_AND_DARK, script=f"report({LAYOUT});")
        dark = visited.reported
        assert dark["width"] <= dark["window"] <= 500
        assert (dark["ink"], dark["background"]) != (light["ink"], light["background"])
        assert "CONSOLE" not in visited.log
