import dataclasses
import io
import json
import re
from html import unescape

import pytest
from command_line import run_command
from rich.console import Console

from etesian import demo
from etesian._shared.text import printable
from etesian.bench import InputError, Store
from etesian.bench.report import write_report
from etesian.decode import FixedPolicy
from etesian.decode.models.loading.catalog import CatalogModel
from etesian.demo import decoding
from etesian.demo.decoding_section import decoding_section
from etesian.suite.words import load_counts, save_counts

PROMPTS = ("the wind", "over the sea")
DECODERS = ["plain", "chain", "tree", "staged"]


@pytest.fixture(scope="module")
def text_demo(bundle, tmp_path_factory):
    """The decoding half on random models, with drafts that are always tried."""
    folder = tmp_path_factory.mktemp("decoding")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "MODELS", str(bundle))
        patch.setattr(decoding, "N_TOKENS", 6)
        patch.setattr(decoding, "SHOWN_REQUEST", "<the> & wind")
        patch.setattr(decoding, "SHOWN_TOKENS", 30)
        patch.setattr("etesian.suite.decoding.PROMPTS", PROMPTS)
        patch.setattr("etesian.decode.speculation.Speculation", lambda costs: FixedPolicy(8, 4))
        found = decoding.race_decoders(folder / "runs.db", n_seeds=2, console=Console(file=io.StringIO()))
    with Store(folder / "runs.db") as store:
        assert {(entry.suite, entry.run.workload) for entry in store.entries()} == {
            (suite, decoder) for suite in ("decoding", "decoding-sampled") for decoder in DECODERS
        }
    return found


@pytest.fixture(scope="module")
def folder_and_output(text_demo, tmp_path_factory):
    """The whole demo, with the decoding half made beforehand."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "race_decoders", lambda *_, **__: text_demo)
        patch.setattr(demo, "why_no_decoding", lambda: None)
        done = run_command("demo", "--seeds", "1", "--json", "--folder", str(folder))
    assert done.exit_code == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_demo_prints_the_time_and_the_bits_of_each_schedule(folder_and_output):
    _, found = folder_and_output
    assert list(found["schedules"]) == ["serial", "conflict_free", "lock_free"]
    for schedule in found["schedules"].values():
        assert (schedule["runs"], schedule["reached"]) == (1, 1)
        assert schedule["seconds_to_target"] > 0
    assert found["schedules"]["conflict_free"]["bitwise_equal_to_serial"] is True


def test_demo_counts_the_words_of_the_standard_library(folder_and_output):
    folder, _ = folder_and_output
    counts = load_counts(save_counts(folder))
    assert counts.word_counts.sum() > 150_000
    assert all(word.isascii() and word.islower() for word in counts.words)


def test_demo_finds_words_that_belong_together(folder_and_output):
    _, found = folder_and_output
    assert {"week", "month", "year"} & set(found["neighbors"]["day"])


def test_demo_writes_its_report(folder_and_output):
    folder, found = folder_and_output
    page = (folder / "report.html").read_text()
    assert "conflict_free" in page
    assert "Word vectors by three schedules, text by four decoders" in page
    assert list(found["decoding"]["greedy"]) == DECODERS


def test_demo_without_the_report_extra_fails_before_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "jinja2" else object())
    with pytest.raises(InputError, match=r"needs jinja2: pip install 'etesian\[report\]'"):
        demo.demo(tmp_path, n_seeds=1, console=None)


def changed(found):
    """The same with another text by one decoder."""
    *races, last = found.races
    run = last.runs[-1]
    points = [dataclasses.replace(p, metrics={**p.metrics, "fingerprint": 1.0}) for p in run.points]
    runs = [*last.runs[:-1], dataclasses.replace(run, points=tuple(points))]
    return dataclasses.replace(found, races=[*races, dataclasses.replace(last, runs=runs)])


def printed(found):
    console = Console(file=io.StringIO(), width=120)
    decoding.print_decoding(found, console)
    return console.file.getvalue()


def test_decoders_are_raced_greedy_and_sampled_and_write_the_same(text_demo):
    report = text_demo.as_dict()
    assert list(report) == ["greedy", "sampled"]
    for race in report.values():
        assert list(race) == DECODERS
        assert all(each["identical_to_plain"] for each in race.values())
        assert race["plain"]["speedups"] == [1.0, 1.0]
        assert (race["plain"]["tokens_per_pass"], len(race["staged"]["speedups"])) == (1.0, 2)
    assert text_demo.is_identical
    text = printed(text_demo)
    assert re.search(r"plain +greedy +[\d.]+ +1 +1\.00 +yes", text)
    assert "DIFFER" not in text
    assert text_demo.sample.text.splitlines()[0] in text


def test_decoder_with_different_text_is_reported(text_demo):
    wrong = changed(text_demo)
    assert not wrong.is_identical
    assert "THE TEXTS DIFFER" in printed(wrong)
    assert "The texts differ" in decoding_section(wrong).points[0]


@pytest.mark.parametrize("is_right", [True, False])
def test_demo_fails_if_a_decoder_writes_another_text(text_demo, is_right, tmp_path, monkeypatch):
    words = demo.WordsDemo([], None, {})
    found = demo.Demo(words, text_demo if is_right else changed(text_demo), tmp_path / "report.html")
    monkeypatch.setattr(demo, "demo", lambda *_, **__: found)
    monkeypatch.setattr(demo, "print_words", lambda *_: None)
    result = run_command("demo")
    assert (result.exit_code, "THE TEXTS DIFFER" in result.stdout) == ((0, False) if is_right else (1, True))


def test_section_shows_each_token_by_its_source(text_demo, tmp_path):
    run = text_demo.races[0].runs[0]
    page = write_report([run], tmp_path / "report.html", extra_sections=[decoding_section(text_demo)])
    html = page.read_text("utf-8")
    assert 'id="decoding"' in html
    shown = re.findall(r'<span class="colored" style="--span: (#\w+)" title="(\w+)">(.*?)</span>', html, re.DOTALL)
    assert [(origin, unescape(text)) for _, origin, text in shown] == list(
        zip(text_demo.sample.origins, map(printable, text_demo.sample.texts), strict=True)
    )
    colors = {origin: color for color, origin, _ in shown}
    assert len(set(colors.values())) == len(colors) > 1
    assert "&lt;the&gt; &amp; wind" in html


def test_demo_names_missing_models_and_libraries(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "torch" else object())
    assert demo.why_no_decoding() == "it needs torch: pip install 'etesian[decode]'"
    monkeypatch.undo()
    monkeypatch.setattr(CatalogModel, "find", lambda _: None)
    assert "`etesian models pull smollm2`" in demo.why_no_decoding()
