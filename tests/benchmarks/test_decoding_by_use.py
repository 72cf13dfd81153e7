"""The race by kinds of use runs at toy size, and a second call continues it."""

from __future__ import annotations

import json

import decoding_by_use
import pytest
from tiny_bundle import byte_tokenizer, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_model(tmp_path_factory.mktemp("chat"))
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    return folder


def test_runs_add_up_over_calls_and_are_compared_with_plain(model, tmp_path):
    toy = ["toy", str(model), "--out", str(tmp_path), "--tokens", "6", "--uses", "chat", "translation", "--samplings"]
    decoding_by_use.main([*toy, "greedy", "--prompts", "1"])
    table = decoding_by_use.main([*toy, "greedy", "top-k 50", "--prompts", "2"])
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    runs = [line for line in lines if "entry" in line]
    assert len({tuple(run[name] for name in decoding_by_use.Run._fields) for run in runs}) == len(runs) == 2 * 2 * 2 * 2
    assert all(run["same_text"] for run in runs)
    assert len(lines) - len(runs) == 2  # sessions
    decoding_by_use.main([*toy, "greedy", "top-k 50", "--prompts", "2"])
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == len(lines)
    assert table.count("| lookup |") == 2


def test_peers_continue_the_same_tokens(model, tmp_path, monkeypatch):
    class Peer:
        names = ("peer", "peer lookup")

        def __init__(self, module, arguments, python):
            assert (module, arguments[0]) == ("toy_peer", str(model.resolve()))

        def write(self, name, prompt, choosing, n_tokens):
            received.append((name, tuple(prompt), choosing.top_k))
            return decoding_by_use.Written([1] * n_tokens, n_tokens - 1, 0.5)

        def close(self):
            received.append("closed")

    received = []
    monkeypatch.setattr(decoding_by_use, "Peer", Peer)
    toy = ["toy", str(model), "--out", str(tmp_path), "--tokens", "6", "--uses", "chat", "--prompts", "1"]
    table = decoding_by_use.main([*toy, "--samplings", "greedy", "top-p", "top-k 50", "--peers", "toy_peer"])
    assert received.pop() == "closed"
    text = json.loads(decoding_by_use.USES.read_text("utf-8"))["chat"][0]
    assert {(name, top_k) for name, prompt, top_k in received[2:]} == {
        ("peer", None), ("peer lookup", None), ("peer", 50), ("peer lookup", 50)
    }  # fmt: skip
    assert {len(prompt) for _, prompt, _ in received[2:]} == {len(text.encode())}
    assert table.count("| peer lookup |") == 2
    row = next(line for line in table.splitlines() if line.startswith("| peer |"))
    assert row.endswith("|  |  |  | 0 of 1 |")


def test_ratios_are_medians_over_prompts_of_tokens_per_second():
    def run(entry, prompt, seconds):
        return {
            "setting": "s", "sampling": "greedy", "use": "chat", "prompt": prompt, "entry": entry, "round": 0,
            "tokens": 10, "seconds": seconds, "passes": 5, "draft_seconds": 0.1, "verify_seconds": 0.1,
            "relative_weight_bytes": 0.5, "same_text": True,
        }  # fmt: skip

    runs = [run("plain", 0, 3.0), run("lookup", 0, 1.0), run("plain", 1, 2.0), run("lookup", 1, 2.0)]
    row = decoding_by_use.as_text(runs).splitlines()[-1]
    assert row.split(" | ")[:4] == ["| lookup", "2.00 [1.20, 2.80]", "2.00", "2.00"]
    assert "13.3%" in row  # 0.4 of 3 seconds
    assert row.endswith("2 of 2 |")


def test_there_are_eight_prompts_of_each_kind():
    uses = json.loads(decoding_by_use.USES.read_text("utf-8"))
    assert list(uses) == ["code", "summary", "chat", "json", "translation", "mathematics"]
    assert all(len(set(prompts)) == 8 for prompts in uses.values())
