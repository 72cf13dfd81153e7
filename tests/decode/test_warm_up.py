"""After a warm-up no request compiles anything, and nothing that was seen in it counts."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from decode_fakes import VOCABULARY, Fake

from etesian.decode import (
    CombinedDrafter,
    Decoder,
    FixedPolicy,
    LookupDrafter,
    ModelDrafter,
    NgramDrafter,
    Sampling,
    Speculation,
    TableModel,
)
from etesian.decode.speculation.costs import PassCosts

COMPILED = (
    "sampling.noise",
    "speculation.calibration",
    "drafters.growth",
    "drafters.lookup",
    "drafters.ngram",
    "drafters.reading",
)
MODEL = TableModel(VOCABULARY, scale=2.0, seed=1)


def signatures():
    """How often each compiled function of drafting and choosing was compiled or loaded, by name."""
    modules = [importlib.import_module(f"etesian.decode.{name}") for name in COMPILED]
    functions = {f"{m.__name__}.{name}": each for m in modules for name, each in vars(m).items()}
    return {name: len(each.signatures) for name, each in functions.items() if hasattr(each, "signatures")}


def staged():
    ngram = NgramDrafter.count([np.random.default_rng(0).integers(0, VOCABULARY, 200)], VOCABULARY)
    return ModelDrafter(TableModel(VOCABULARY, scale=2.0, seed=2), CombinedDrafter([ngram, LookupDrafter()]))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.7, seed=3),
        Sampling(temperature=0.7, top_k=5, seed=3),
        Sampling(temperature=0.7, top_p=0.9, min_p=0.1, frequency_penalty=0.2, logprobs=2),
    ],
    ids=str,
)
def test_after_a_warm_up_no_request_compiles_anything(sampling):
    decoder = Decoder(MODEL, staged(), policy=FixedPolicy(12, 6))
    decoder.warm_up()
    before = signatures()
    decoder.generate([1, 2, 3, 1, 2], sampling, max_tokens=40)
    assert signatures() == before
    assert before["etesian.decode.drafters.growth.grow_ranked"] > 0


def test_nothing_that_was_seen_in_a_warm_up_counts():
    costs, draft_costs = PassCosts([1, 16], [1.0, 1.5]), PassCosts([1, 16], [0.1, 0.2])
    drafter = staged()
    drafter.costs = draft_costs
    decoder = Decoder(MODEL, drafter, policy=Speculation(costs))
    decoder.warm_up()
    assert costs.points == ([1, 16], [1.0, 1.5])
    assert draft_costs.points == ([1, 16], [0.1, 0.2])
    assert all(work.passes == 0 for work in drafter.stage_statistics().values())
    assert decoder.generate([1], max_tokens=1).stats.reused_tokens == 0


@pytest.mark.parametrize("model", [TableModel(1), TableModel(VOCABULARY, max_length=1), TableModel(3, max_length=4)])
def test_a_model_of_short_texts_or_few_tokens_is_warmed_up_as_far_as_it_goes(model):
    Decoder(model, LookupDrafter()).warm_up()


def test_a_drafter_that_cannot_be_made_anew_is_not_asked():
    class Untouchable(Fake):
        def propose(self, request):
            raise AssertionError("asked")

    Decoder(MODEL, Untouchable()).warm_up()
    Decoder(MODEL, CombinedDrafter([Untouchable()])).warm_up()
    Decoder(MODEL, ModelDrafter(MODEL, Untouchable())).warm_up()
