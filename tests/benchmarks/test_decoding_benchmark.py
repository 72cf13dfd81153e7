"""The races of decoders run at toy size, and their tables are made of the records alone."""

from __future__ import annotations

import json

import decoding
import pytest
import same_text
from decoders.prompts import HUMAN_EVAL, mixed_prompts
from decoders.serving import Peer
from decoders.table import as_text
from decoders.written import BlockClock

from etesian.decode import FixedPolicy


@pytest.fixture
def always_speculating(monkeypatch):
    """Small models gain nothing by drafts; they shall be drafted for all the same."""
    monkeypatch.setattr("etesian.decode.speculation.Speculation", lambda costs: FixedPolicy(8, 4))


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "data" / HUMAN_EVAL
    file.parent.mkdir(parents=True)
    tasks = [{"task_id": f"HumanEval/{n}", "prompt": f"the {n} "} for n in range(3)]
    file.write_text("\n".join(json.dumps(task) for task in tasks))
    return tmp_path / "data"


def raced(bundle, out, *further):
    toy = ["--tokens", "12", "--prompts", "2", "--rounds", "2", "--threads", "1", "--bandwidth-bytes", "400000"]
    table = decoding.main(["toy", str(bundle), "--out", str(out), *toy, *further])
    return table, [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


def test_our_decoders_generate_the_same_text_and_record_timings(bundle, tmp_path, always_speculating):
    table, lines = raced(bundle, tmp_path, "--peers")
    runs = [line for line in lines if "session" not in line]
    assert len(runs) == 2 * 2 * 2 * len(decoding.OURS)  # rounds, ways of choosing, prompts
    assert all(run["same text"] and run["tokens"] == 12 for run in runs)
    for run in runs:
        parts = run["seconds by part"]
        assert sum(parts.values()) == pytest.approx(run["seconds"])
        assert min(parts.values()) >= -1e-9
        assert (parts["draft passes"] > 0) == (run["entry"] != "plain")
        assert (parts["ngram"] > 0) == (run["entry"] == "staged")
    assert "ratio to plain" in table
    assert {run["choosing"] for run in runs} == {"greedy", "top-k 50"}


def test_transformers_runs_in_its_own_process_and_a_missing_peer_is_reported(bundle, tmp_path):
    options = ["--peers", "with_transformers", "nobody", "--choosing", "greedy", "--entries", "plain"]
    table, lines = raced(bundle, tmp_path, *options)
    names = {line["entry"] for line in lines if "entry" in line}
    assert names == {"plain", "transformers", "transformers assisted", "transformers lookup"}
    assert all(line["seconds"] > 0 and 0 < line["tokens"] <= 12 for line in lines if "entry" in line)
    assert "Left out: nobody" in table


def test_peer_that_cannot_start_is_an_error():
    with pytest.raises(RuntimeError, match="nobody ended with exit code 1"):
        Peer("nobody", [])


def test_clock_starts_with_the_first_block():
    clock = BlockClock()
    clock.take([3, 1, 4])
    clock.take([1, 5])
    written = clock.written()
    assert (written.tokens, written.timed_tokens) == ([3, 1, 4, 1, 5], 2)
    assert written.seconds > 0
    assert BlockClock().written().timed_tokens == 0


def test_ratios_are_taken_within_rounds_and_over_the_same_prompts():
    session = {
        "session": "now", "weight bytes": 2e9, "bytes a second": 1e10, "missing peers": [],
        "machine": {"load_average": [0.5]},
    }  # fmt: skip

    def run(entry, number, prompt, seconds):
        place = {"setting": "s", "choosing": "greedy", "round": number, "prompt": prompt}
        return {**place, "entry": entry, "tokens": 10, "seconds": seconds, "same text": True}

    lines = [session, run("plain", 0, "a", 4.0), run("plain", 0, "b", 8.0), run("peer", 0, "a", 2.0)]
    lines += [session, run("plain", 0, "a", 40.0), run("plain", 0, "b", 8.0), run("peer", 0, "a", 10.0)]
    text = as_text(lines)
    assert text.startswith("## s, greedy: 2 rounds")  # of two calls, though their numbers are alike
    peer = next(line for line in text.splitlines() if line.startswith("| peer")).split(" | ")
    assert peer[1] == "3.0 [1.4, 4.6]"  # 5 and 1 tokens a second
    assert peer[2] == "3.00 [2.20, 3.80]"  # 2 and 4, by the prompt that both ran
    assert "Plain decoding takes 7.50 [3.90, 11.10] times as long as reading" in text  # 0.6 and 2.4 s a token, of 0.2


def test_prompts_alternate_and_default_to_our_own(data, tmp_path):
    assert list(mixed_prompts(data, 4)) == ["HumanEval/0", "own/0", "HumanEval/1", "own/1"]
    assert list(mixed_prompts(tmp_path, 2)) == ["own/0", "own/1"]


def test_texts_are_compared_for_each_draft(bundle, data, tmp_path):
    asked = [str(bundle), "--data", str(data), "--out", str(tmp_path / "out"), "--tokens", "10", "--prompts", "1"]
    records = same_text.main(
        [*asked, "--dtypes", "bf16", "--policies", "fixed", "--drafts", "lookup", "self", "perfect"]
    )
    assert [record["draft"] for record in records] == 3 * ["lookup", "self", "perfect"]
    assert all(record["identical"] and record["same cache"] in (True, None) for record in records)
    for record in records[2::3]:
        assert record["accepted"] == record["proposed"] == record["tokens"] - record["passes"] > 0


def test_texts_are_compared_once_each(bundle, data, tmp_path, always_speculating):
    asked = [str(bundle), "--data", str(data), "--out", str(tmp_path / "out"), "--tokens", "10"]
    first = same_text.main([*asked, "--prompts", "2"])
    assert len(first) == 2 * 3 * 2 * 2  # number types, ways of choosing, policies, prompts
    whole = same_text.main(asked)
    assert whole[: len(first)] == first
    assert len(whole) == 3 * 3 * 2 * 2
    assert all(record["identical"] for record in whole)
    assert sum(record["passes"] < record["tokens"] for record in whole) > 0
    assert "| bf16 | auto | greedy | fixed | 3 of 3 | 3 of 3 |" in (tmp_path / "out" / "table.md").read_text()
