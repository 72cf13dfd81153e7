"""MAIN PATH of serving: one thread admits requests to slots, reads prompts in chunks, and advances all slots in common passes."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from etesian.decode.decoder import Decoder
from etesian.decode.models.batching import BatchedModel, ScoreRequest
from etesian.decode.models.language_model import Context, Scores
from etesian.decode.request import Prompt, Request
from etesian.decode.sampling import Sampling
from etesian.decode.serve.budget import share_rows
from etesian.decode.serve.options import Counters, EngineOptions
from etesian.decode.serve.prefix_cache import prefix_cache
from etesian.decode.serve.slots import Slot, score_slots
from etesian.decode.serve.tasks import Busy, Event, Failed, FairQueue, Finished, Task
from etesian.decode.speculation.adaptive import Speculation
from etesian.decode.tree import ROOT, TokenTree
from etesian.errors import InputError

_T = TypeVar("_T")
MOST_DRAFTING = 2
"""Running requests up to which draft models run: each drafts for one request at a time, while a pass of the target serves all."""
_IDLE_SECONDS = 0.05  # in which the last answer leaves
_SHORTEST_RETRY, _LONGEST_RETRY = 1.0, 60.0  # seconds


class Engine:
    """Run many requests on one model. All model work happens in one thread, which `start` begins and `close` ends.

    Parameters
    ----------
    decoder : Decoder
        Model, drafter, policy and tokenizer; not to be used by others while the engine runs.
    options : EngineOptions
    """

    def __init__(self, decoder: Decoder, options: EngineOptions | None = None) -> None:
        self.decoder = decoder
        self.options = options or EngineOptions()
        self.counters = Counters()
        self._model = decoder.target
        self._slots = [Slot(decoder.fork()) for _ in range(self.options.slots)]
        self._cache = prefix_cache(
            self._model,
            most_bytes=self.options.cache_bytes,
            n_contexts=self.options.slots,
            may_reuse=decoder.may_reuse,
        )
        self._costs = decoder.policy.costs if isinstance(decoder.policy, Speculation) else None
        self._queue = FairQueue(self.options.queue)
        self._changed = threading.Condition()
        self._is_open, self._is_running = True, True
        self._ended: list[
            tuple[Task, Context]
        ] = []  # their keys and values are copied when a request needs them, or when idle
        self._mean_seconds = 1.0  # of recent requests in a slot
        self._thread = threading.Thread(target=self._run, name="etesian-engine", daemon=True)

    def start(self) -> Engine:
        """Compile common passes, begin to serve, and return the engine."""
        if isinstance(self._model, BatchedModel) and len(self._slots) > 1:
            contexts = [self._model.context() for _ in range(2)]
            self._model.score_together([ScoreRequest(context, [0], [ROOT]) for context in contexts])
        self._thread.start()
        return self

    @property
    def n_running(self) -> int:
        """Number of tasks in slots."""
        return sum(slot.task is not None for slot in self._slots)

    @property
    def n_waiting(self) -> int:
        """Number of tasks in the queue."""
        return len(self._queue)

    @property
    def max_length(self) -> int | None:
        """Maximum length of prompt and output, in tokens; None for no limit."""
        limits = (self.options.context, self._model.max_length)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def is_accepting(self) -> bool:
        """True until the engine is closed."""
        return self._is_open

    def open(self, prompt: Prompt, sampling: Sampling, *, max_tokens: int, speculate: bool = True) -> Request:
        """Check a prompt and its options; see `Decoder.open`. May be called in any thread.

        Raises
        ------
        InputError
            Also if the prompt is longer than the context.
        """
        request = self.decoder.open(prompt, sampling, max_tokens=max_tokens, speculate=speculate)
        longest, n_prompt = self.options.context, request.chooser.prompt_length
        if longest is None or n_prompt + max_tokens <= longest:
            return request
        if n_prompt >= longest:
            raise InputError(f"prompt must be shorter than the context of {longest} tokens; got {n_prompt}")
        tokens = request.text.tokens.tolist()
        return self.decoder.open(tokens, sampling, max_tokens=longest - n_prompt, speculate=speculate)

    def submit(
        self, request: Request, on_event: Callable[[Event], None], *, owner: str = "", time_limit: float | None = None
    ) -> Task:
        """Queue a request; see `Task`. May be called in any thread.

        Raises
        ------
        Busy
            If the queue is full, or the engine is closed.
        """
        return self.submit_all([request], [on_event], owner=owner, time_limit=time_limit)[0]

    def submit_all(
        self,
        requests: Sequence[Request],
        receivers: Sequence[Callable[[Event], None]],
        *,
        owner: str = "",
        time_limit: float | None = None,
    ) -> list[Task]:
        """Queue several requests, or none of them; see `submit`."""
        tasks = [
            Task(request, receive, owner, time_limit) for request, receive in zip(requests, receivers, strict=True)
        ]
        with self._changed:
            if not self._is_open:
                raise Busy("the server is shutting down", _SHORTEST_RETRY)
            n_free = len(self._slots) - self.n_running
            if len(tasks) > n_free + self._queue.capacity - len(self._queue):
                raise Busy(f"{len(self._queue)} requests are waiting; try again later", self._retry_after())
            for task in tasks:
                self._queue.push(task)
            self._changed.notify_all()
        return tasks

    def close(self, *, drain_seconds: float = 0.0) -> None:
        """Accept no more requests, let the accepted ones run for up to `drain_seconds`, then end the thread."""
        until = time.monotonic() + drain_seconds
        with self._changed:
            self._is_open = False
            while (self.n_running or len(self._queue)) and time.monotonic() < until and self._thread.is_alive():
                self._changed.wait(0.05)
            self._is_running = False
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _retry_after(self) -> float:
        rounds = (len(self._queue) + 1) / len(self._slots)
        return min(max(rounds * self._mean_seconds, _SHORTEST_RETRY), _LONGEST_RETRY)

    def _run(self) -> None:
        while self._waits_for_work():
            self._drop_abandoned()
            self._admit()
            self._read_prompt()
            ready = [slot for slot in self._slots if slot.is_ready]
            if ready:
                self._advance(ready)
        self._fail_everything()

    def _waits_for_work(self) -> bool:
        """Sleep until there is something to do; return False at the end."""
        with self._changed:
            self._changed.notify_all()  # for `close`
            while self._is_running and not self.n_running and not len(self._queue):
                if not self._changed.wait(_IDLE_SECONDS if self._ended else None):
                    self._give_back_ended()
            return self._is_running

    def _admit(self) -> None:
        """Move waiting tasks to free slots. A drafter never sees the texts of two owners, whose timing would reveal them."""
        while free := [slot for slot in self._slots if slot.task is None]:
            with self._changed:
                if not len(self._queue):
                    return
                task = self._queue.pop()
                slot = next((slot for slot in free if slot.owner == task.owner), free[0])
                slot.task = task
            if slot.owner is not None and slot.owner != task.owner:
                slot.decoder = self.decoder.fork()
            slot.owner = task.owner
            slot.decoder.adopt(slot.request)

    def _drop_abandoned(self) -> None:
        """Free the slots and places of tasks that were cancelled or are late."""
        with self._changed:
            abandoned = [task for task in self._queue if task.is_cancelled or task.is_late]
            for task in abandoned:
                self._queue.remove(task)
        for task in abandoned:
            task.send(Failed("the request waited longer than its time limit", "timeout"))
        for slot in self._slots:
            if slot.task is not None and (slot.task.is_cancelled or slot.task.is_late):
                if slot.context is not None:
                    self._ended.append((slot.task, slot.context))
                self._fail(slot, Failed("the request ran longer than its time limit", "timeout"))

    def _read_prompt(self) -> None:
        """Read the next chunk of the oldest prompt that is not read yet; its last token belongs to the first pass."""
        reading = [slot for slot in self._slots if slot.task is not None and not slot.is_ready]
        if not reading:
            return
        slot = min(reading, key=lambda each: each.task.submitted if each.task else 0.0)
        try:
            with slot.request.recorder.prompt:
                self._read_chunk(slot)
        except Exception as error:
            self._fail(slot, _failure(error))

    def _read_chunk(self, slot: Slot) -> None:
        assert slot.task is not None
        request, owner = slot.request, slot.task.owner
        prompt = request.text.tokens[:-1]
        if slot.context is None:
            self._give_back_ended()
            self._store_running(owner)
            slot.context = self._cache.take(owner, prompt)
            request.recorder.reused_tokens = slot.context.length
        n_read = slot.context.length
        n_new = min(self.options.chunk, len(prompt) - n_read) if self.decoder.may_reuse else len(prompt) - n_read
        if n_new:
            request.add_hidden_states(slot.context.extend(prompt[n_read : n_read + n_new]))
        if n_read + n_new == len(prompt):
            self.counters.prompt_tokens += len(prompt) + 1
            self.counters.reused_tokens += request.recorder.reused_tokens
            slot.decoder.policy.begin()
            slot.is_ready = True
            if request.output.finish_reason is not None:  # no tokens were requested
                self._finish(slot)

    def _store_running(self, owner: str) -> None:
        """Let a new request use the texts of the owner's running ones; without one, the copies would be made in vain."""
        for slot in self._slots:
            if slot.is_ready and slot.owner == owner and slot.context is not None:
                self._cache.store(owner, slot.context, slot.request.text.tokens[: slot.context.length])

    def _advance(self, ready: Sequence[Slot]) -> None:
        """Draft for every slot, score all trees in one pass, and let every slot decide."""
        began = time.perf_counter()
        propose = partial(self._propose, allows_passes=len(ready) <= MOST_DRAFTING)
        drafted = [(slot, tree) for slot in ready if (tree := self._attempt(slot, propose)) is not None]
        trees = [tree for _, tree in drafted]
        slots = [slot for slot, _ in drafted]
        if len(slots) > 1:
            trees = share_rows(trees, self._costs, draft_seconds=time.perf_counter() - began)
        try:
            scores = score_slots(self._model, slots, trees, self._costs, self.counters)
        except Exception as error:
            for slot in slots:
                self._fail(slot, _failure(error))
            return
        for slot, tree, scored in zip(slots, trees, scores, strict=True):
            self._attempt(slot, partial(self._settle, tree=tree, scores=scored))
        seconds = time.perf_counter() - began
        for slot in slots:
            if slot.task is not None:
                self._report(slot, seconds)

    def _propose(self, slot: Slot, *, allows_passes: bool) -> TokenTree:
        return slot.decoder.propose(slot.request, allows_passes=allows_passes)

    def _settle(self, slot: Slot, *, tree: TokenTree, scores: Scores) -> None:
        assert slot.context is not None
        slot.decoder.settle(slot.request, slot.context, tree, scores)

    def _report(self, slot: Slot, seconds: float) -> None:
        """Send the new tokens, and finish the task if the output ended."""
        request = slot.request
        assert slot.task is not None
        request.recorder.all.add(seconds)
        piece = request.output.piece()
        self.counters.tokens += len(piece.token_ids)
        slot.task.send(piece)
        if request.output.finish_reason is not None:
            self._finish(slot)

    def _finish(self, slot: Slot) -> None:
        task, request, context = slot.task, slot.request, slot.context
        assert task is not None
        slot.clear()
        generation = request.output.generation(request.recorder.statistics(len(request.output)))
        self.counters.drafted_tokens += sum(stage.proposed for stage in generation.stats.stages)
        self.counters.accepted_tokens += sum(stage.accepted for stage in generation.stats.stages)
        self._mean_seconds += 0.1 * (time.monotonic() - task.submitted - self._mean_seconds)
        task.send(Finished(generation))
        if context is not None:
            self._ended.append((task, context))

    def _give_back_ended(self) -> None:
        """Return the contexts of ended tasks to the cache."""
        for task, context in self._ended:
            self._cache.give_back(task.owner, context, task.request.text.tokens[: context.length])
        self._ended.clear()

    def _attempt(self, slot: Slot, step: Callable[[Slot], _T]) -> _T | None:
        """Run a step of one slot; an error ends its task alone."""
        try:
            return step(slot)
        except Exception as error:
            self._fail(slot, _failure(error))
            return None

    def _fail(self, slot: Slot, failure: Failed) -> None:
        """End a task; its context is dropped, because a pass may have failed halfway."""
        task = slot.task
        slot.clear()
        if failure.reason == "internal":  # the drafter may be in any state
            slot.decoder = self.decoder.fork()
        if task is not None:
            task.send(failure)

    def _fail_everything(self) -> None:
        failure = Failed("the server is shutting down", "shutdown")
        for slot in self._slots:
            self._fail(slot, failure)
        with self._changed:
            waiting = list(self._queue)
            for task in waiting:
                self._queue.remove(task)
        for task in waiting:
            task.send(failure)


def _failure(error: Exception) -> Failed:
    """Describe an error to the client; unexpected ones are printed to the server's log only."""
    if isinstance(error, InputError):
        return Failed(str(error), "input")
    traceback.print_exception(error, file=sys.stderr)
    return Failed("internal error; see the log of the server", "internal")
