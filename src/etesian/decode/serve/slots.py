"""Slots: places for running tasks, whose trees are scored in common passes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from etesian.decode.decoder import Decoder
from etesian.decode.models.batching import BatchedModel, ScoreRequest
from etesian.decode.models.language_model import Context, LanguageModel, Scores
from etesian.decode.request import Request, rows_of
from etesian.decode.serve.options import Counters
from etesian.decode.serve.tasks import Task
from etesian.decode.speculation.costs import PassCosts
from etesian.decode.tree import TokenTree


class Slot:
    """A place for one running task, with a drafter and a policy of its own."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.owner: str | None = None  # of the texts that the drafter has seen
        self.task: Task | None = None
        self.context: Context | None = None
        self.is_ready = False  # the prompt is read

    @property
    def request(self) -> Request:
        """The request of the task in this slot."""
        assert self.task is not None
        return self.task.request

    def clear(self) -> None:
        """Free the slot."""
        self.task = self.context = None
        self.is_ready = False


def score_slots(
    model: LanguageModel, slots: Sequence[Slot], trees: Sequence[TokenTree], costs: PassCosts | None, counters: Counters
) -> list[Scores]:
    """Score the trees of all slots: in common passes if the model can, otherwise one after another."""
    requests = []
    for slot, tree in zip(slots, trees, strict=True):
        assert slot.context is not None
        requests.append(ScoreRequest(slot.context, *rows_of(slot.request, tree)))
    counters.rows += sum(len(each.tokens) for each in requests)
    if len(requests) > 1 and isinstance(model, BatchedModel):
        counters.passes += 1
        return _score_together(model, slots, requests, costs)
    scores = []
    for slot, each in zip(slots, requests, strict=True):
        with slot.request.recorder.target:
            scores.append(each.context.score(each.tokens, each.parents))
        counters.passes += 1
    return scores


def _score_together(
    model: BatchedModel, slots: Sequence[Slot], requests: Sequence[ScoreRequest], costs: PassCosts | None
) -> list[Scores]:
    began = time.perf_counter()
    scores = model.score_together(requests)
    seconds = time.perf_counter() - began
    if costs is not None:
        costs.observe(sum(len(each.tokens) for each in requests), seconds)
    for slot in slots:
        slot.request.recorder.target.add(seconds)
        slot.request.recorder.target.latest = 0.0  # a common pass does not show what this request's rows cost
    return scores
