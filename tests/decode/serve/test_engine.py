"""Law B6: the tokens of a request are the same alone and among others, in any order of arrival, with any cache and drafter."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from toy_decoder import END, Caller, Shuffled, byte_tokens, english_like, make_decoder, remembering

from etesian.decode import Decoder, Sampling
from etesian.decode.sampling import GREEDY
from etesian.decode.serve import Busy, Failed
from etesian.errors import InputError

STEM = "the cat of the hat " * 3
PROMPTS = [STEM + each for each in ("a", "b", "abc", "hidge", "")] + ["abc", "j", "fade a cab " * 9]
SAMPLINGS = [
    GREEDY,
    Sampling(temperature=1.0, seed=3),
    Sampling(temperature=0.8, top_p=0.9, repetition_penalty=1.2, seed=4, logprobs=2),
    Sampling(temperature=1.2, top_k=5, stop=["ab"], seed=5),
]


def plain(prompt, sampling, max_tokens=24):
    return make_decoder(drafter="none").generate(prompt, sampling, max_tokens=max_tokens)


def outcome(generation):
    return (
        generation.token_ids,
        generation.texts,
        generation.finish_reason,
        generation.logprobs,
        generation.alternatives,
    )


@pytest.mark.parametrize("cache_bytes", [0, 1_000, 1 << 20])
@pytest.mark.parametrize("seed", [0, 1])
def test_b6_tokens_do_not_depend_on_company_order_or_cache(make_engine, seed, cache_bytes):
    rng = np.random.default_rng(seed)
    model = remembering()
    engine = make_engine(
        make_decoder(model), slots=3, queue=100, chunk=int(rng.integers(3, 40)), cache_bytes=cache_bytes
    )
    asked = [(PROMPTS[rng.integers(len(PROMPTS))], SAMPLINGS[rng.integers(len(SAMPLINGS))]) for _ in range(24)]
    callers = []
    for prompt, sampling in asked:
        speculate, owner = bool(rng.integers(4)), f"user {rng.integers(2)}"
        callers.append(Caller(engine, prompt, sampling, speculate=speculate, owner=owner))
        time.sleep(float(rng.exponential(0.002)))
    for caller, (prompt, sampling) in zip(callers, asked, strict=True):
        alone = make_decoder(model, drafter="none").generate(prompt, sampling, max_tokens=24)
        assert outcome(caller.result()) == outcome(alone)
    assert (engine.counters.reused_tokens > 0) == (cache_bytes > 0)


def test_requests_share_passes(make_engine):
    model, has_all = remembering(), threading.Event()
    logits_of = model.logits_of

    def waiting(tokens):
        has_all.wait(timeout=30)
        return logits_of(tokens)

    engine = make_engine(make_decoder(model), slots=4)
    model.logits_of = waiting  # after the engine's own first pass
    callers = [Caller(engine, prompt, max_tokens=50, speculate=False) for prompt in PROMPTS[:4]]
    has_all.set()
    total = sum(len(caller.result().token_ids) for caller in callers)
    assert engine.counters.rows == total
    assert engine.counters.passes < total


def test_a_continued_conversation_is_not_read_again(make_engine):
    engine = make_engine()
    first = Caller(engine, STEM * 3).result()
    text = STEM * 3 + first.text
    again = Caller(engine, text + "ab").result()
    n_known = len(byte_tokens(text)) - 1
    assert again.stats.reused_tokens >= n_known - 16
    assert again.token_ids == plain(text + "ab", GREEDY).token_ids


def test_the_text_of_a_running_request_is_not_read_again(make_engine):
    engine = make_engine(slots=2)
    endless = Caller(engine, STEM * 3, Sampling(banned_tokens=[END]), max_tokens=100_000, speculate=False, owner="one")
    for _ in range(16):  # tokens, so that the block in which the prompt ends is full
        endless.events.get(timeout=30)
    again = Caller(engine, STEM * 3, owner="one").result()
    other = Caller(engine, STEM * 3, owner="other").result()
    endless.task.cancel()
    assert again.stats.reused_tokens == len(byte_tokens(STEM * 3)) - 1
    assert other.stats.reused_tokens == 0
    assert outcome(again) == outcome(plain(STEM * 3, GREEDY))


def test_owners_share_no_cache(make_engine):
    engine = make_engine()
    Caller(engine, STEM, owner="one").result()
    assert Caller(engine, STEM, owner="other").result().stats.reused_tokens == 0
    assert Caller(engine, STEM, owner="one").result().stats.reused_tokens > 0


def test_a_cancelled_task_frees_its_slot_within_one_pass(make_engine):
    engine = make_engine(slots=1, queue=4)
    endless = Caller(engine, "ab", Sampling(banned_tokens=[END]), max_tokens=100_000, speculate=False)
    endless.events.get(timeout=30)
    waiting = Caller(engine, "abc", max_tokens=1)
    endless.task.cancel()
    passes = engine.counters.passes
    assert waiting.result().token_ids
    assert engine.counters.passes - passes <= 2  # one that may have been running, and its own


def test_the_queue_is_bounded_and_owners_take_turns(make_engine):
    engine = make_engine(slots=1, queue=3)
    blocker = Caller(engine, "ab", Sampling(banned_tokens=[END]), max_tokens=100_000)
    blocker.events.get(timeout=30)
    order: list[str] = []
    for owner in ("many", "many", "few"):
        request = engine.open("a", GREEDY, max_tokens=0)
        engine.submit(request, lambda _, owner=owner: order.append(owner), owner=owner)
    with pytest.raises(Busy) as refusal:
        Caller(engine, "a", owner="many")
    assert refusal.value.retry_after >= 1
    blocker.task.cancel()
    Caller(engine, "a", max_tokens=0, owner="last").result() if engine.n_waiting < 3 else time.sleep(0.2)
    deadline = time.monotonic() + 10
    while len(order) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert order == ["many", "few", "many"]


def test_late_tasks_fail_by_their_time_limit(make_engine):
    engine = make_engine(slots=1)
    endless = Sampling(banned_tokens=[END])
    running = Caller(engine, "ab", endless, max_tokens=1_000_000, time_limit=0.05)
    waiting = Caller(engine, "ab", time_limit=0.02)
    assert waiting.result() == Failed("the request waited longer than its time limit", "timeout")
    assert running.result() == Failed("the request ran longer than its time limit", "timeout")


def test_drafters_never_see_the_texts_of_two_owners(make_engine):
    engine = make_engine(slots=2)
    for owner in ("one", "other", "one", "third"):
        Caller(engine, STEM, owner=owner).result()
        served = {slot.owner: slot.decoder.drafter for slot in engine._slots}
        assert owner in served
    before = {slot.owner: slot.decoder.drafter for slot in engine._slots}
    Caller(engine, STEM, owner="third").result()
    assert {slot.owner: slot.decoder.drafter for slot in engine._slots} == before  # what it has learned is kept
    Caller(engine, STEM, owner="fourth").result()
    assert {slot.owner: slot.decoder.drafter for slot in engine._slots}["fourth"] not in before.values()


def test_b6_holds_on_the_compiled_engine(make_engine, monkeypatch):
    """A random network, whose rows share passes and whose keys and values are copied between contexts."""
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "models"))
    import tiny_models

    from etesian.decode import CpuModel, LookupDrafter

    model = CpuModel.from_transformers(tiny_models.tiny_model("llama").to(torch.bfloat16), n_threads=1)
    rng = np.random.default_rng(0)
    stem = rng.integers(3, 300, 40).tolist()
    prompts = [stem + rng.integers(3, 300, n).tolist() for n in (1, 2, 20, 70)] + [[5, 6, 7] * 9]
    end = rng.integers(3, 300, 17).tolist()  # a block whose keys depend on the block before it
    prompts += [[9] * 16 + end, [8] * 16 + end, [8] * 16 + stem, [9] * 16 + stem]
    engine = make_engine(Decoder(model, LookupDrafter()), slots=3, chunk=23)
    asked = [(prompts[place], SAMPLINGS[rng.integers(3)]) for place in rng.permutation(18) % len(prompts)]
    callers = [Caller(engine, prompt, sampling, max_tokens=12) for prompt, sampling in asked]
    for caller, (prompt, sampling) in zip(callers, asked, strict=True):
        expected = Decoder(model).generate(prompt, sampling, max_tokens=12)
        result = caller.result()
        assert (result.token_ids, result.logprobs) == (expected.token_ids, expected.logprobs)
    assert engine.counters.reused_tokens > 0
    assert engine.counters.passes < engine.counters.tokens


class Failing(Shuffled):
    """Fails at the third draft."""

    n_left = 2

    def propose(self, request):
        self.n_left -= 1
        if self.n_left < 0:
            raise RuntimeError("a broken drafter")
        return super().propose(request)

    def fresh(self):
        return Failing()


def test_an_error_ends_one_task_alone(make_engine, capsys):
    decoder = make_decoder()
    engine = make_engine(Decoder(decoder.target, Failing(), decoder.tokenizer, end_tokens=[END]), slots=2)
    failing, other = Caller(engine, "ab"), Caller(engine, "abc", speculate=False)
    assert failing.result() == Failed("internal error; see the log of the server", "internal")
    assert "a broken drafter" in capsys.readouterr().err
    assert other.result().token_ids == plain("abc", GREEDY).token_ids


class Asked(Shuffled):
    """Records how many drafts may use passes, in all copies together."""

    def __init__(self, counts=None):
        super().__init__()
        self.counts = {True: 0, False: 0} if counts is None else counts

    def propose(self, request):
        self.counts[request.allows_passes] += 1
        return super().propose(request)

    def fresh(self):
        return Asked(self.counts)


@pytest.mark.parametrize(("n_users", "with_passes"), [(1, True), (4, False)])
def test_draft_models_run_for_few_requests_at_a_time(make_engine, n_users, with_passes):
    decoder, drafter, has_all = make_decoder(), Asked(), threading.Event()
    engine = make_engine(Decoder(decoder.target, drafter, decoder.tokenizer, end_tokens=[]), slots=4)
    logits_of = decoder.target.logits_of

    def waiting(tokens):
        has_all.wait(timeout=30)
        return logits_of(tokens)

    decoder.target.logits_of = waiting
    callers = [Caller(engine, prompt, max_tokens=30) for prompt in PROMPTS[:n_users]]
    has_all.set()
    for caller in callers:
        caller.result()
    assert drafter.counts[with_passes] > drafter.counts[not with_passes]


def test_a_text_that_no_token_can_continue_is_the_clients_mistake(make_engine):
    everything = Sampling(banned_tokens=list(range(257)))
    failure = Caller(make_engine(), "ab", everything).result()
    assert failure.reason == "input"
    assert "no token can follow" in failure.message


def test_bad_prompts_are_refused_before_they_are_queued(make_engine):
    with pytest.raises(InputError, match="prompt must hold at least one token"):
        make_engine().open([], GREEDY, max_tokens=3)


def test_closing_drains_accepted_requests_and_refuses_new_ones(make_engine):
    engine = make_engine(slots=1)
    callers = [Caller(engine, prompt, max_tokens=200) for prompt in PROMPTS[:3]]
    engine.close(drain_seconds=30)
    assert [caller.result().finish_reason is not None for caller in callers] == [True] * 3
    with pytest.raises(Busy, match="shutting down"):
        Caller(engine, "a")


def test_closing_at_once_fails_what_runs(make_engine):
    engine = make_engine(slots=1)
    endless = Sampling(banned_tokens=[END])
    callers = [Caller(engine, "ab", endless, max_tokens=1_000_000) for _ in range(2)]
    engine.close()
    assert [caller.result().reason for caller in callers] == ["shutdown", "shutdown"]
    assert not any(thread.name == "etesian-engine" and thread is engine._thread for thread in threading.enumerate())


def test_the_longest_text_of_the_model_is_respected(make_engine):
    engine = make_engine(make_decoder(english_like(max_length=40)))
    generation = Caller(engine, "a" * 30, Sampling(banned_tokens=[END]), max_tokens=100).result()
    assert (len(generation.token_ids), generation.finish_reason) == (10, "length")
