"""Passes on a CUDA device, recorded as CUDA graphs once per shape and replayed, which avoids the cost of kernel launches.

A recording contains the addresses of one cache. Contexts that are no longer used pass their cache, with its recordings, on to new
ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from etesian.decode.models.transformers.key_value_cache import KeyValueCache
from etesian.decode.models.transformers.model_limits import ModelLimits
from etesian.decode.models.transformers.padded_passes import ROW_COUNTS, PaddedPasses, PassInputs, PassShape

_WARM_UPS = 2  # libraries choose kernels and allocate memory in the first calls


@dataclass
class Recording:
    """A recorded pass of one shape.

    Parameters
    ----------
    inputs : PassInputs
        Tensors that the pass reads.
    graph : torch.cuda.CUDAGraph or None
        None until the first pass.
    logits : tensor or None
        Output of the graph.
    """

    inputs: PassInputs
    graph: torch.cuda.CUDAGraph | None = None
    logits: torch.Tensor | None = None


@dataclass
class Recordings:
    """Recordings with the addresses of one cache, valid while it has this capacity."""

    capacity: int
    by_shape: dict[PassShape, Recording] = field(default_factory=dict)


class ReplayedPasses(PaddedPasses):
    """Padded passes replayed from CUDA graphs; models that cannot be recorded run normally."""

    def __init__(self, model: Any, limits: ModelLimits) -> None:
        self._recordings: WeakKeyDictionary[KeyValueCache, Recordings] = WeakKeyDictionary()
        self._unused: list[KeyValueCache] = []
        self._can_record = True
        super().__init__(model, limits)
        # Recordings share working memory: they never run concurrently, and logits are fetched before the next one runs.
        self._memory = torch.cuda.graph_pool_handle()
        self._host = torch.empty((max(ROW_COUNTS), self.vocabulary_size), dtype=torch.float32, pin_memory=True)

    def open_cache(self) -> KeyValueCache:
        """Return a cache of an earlier text, or allocate one."""
        return self._unused.pop() if self._unused else super().open_cache()

    def close_cache(self, cache: KeyValueCache) -> None:
        """Keep the cache for the next text."""
        self._unused.append(cache)

    def _inputs(self, shape: PassShape, cache: KeyValueCache) -> PassInputs:
        return self._recording(shape, cache).inputs

    def _recording(self, shape: PassShape, cache: KeyValueCache) -> Recording:
        recordings = self._recordings.get(cache)
        if recordings is None or recordings.capacity != cache.capacity:
            recordings = self._recordings[cache] = Recordings(cache.capacity)
        if shape not in recordings.by_shape:
            inputs = PassInputs.empty(shape, dtype=self.dtype, device=self.device)
            recordings.by_shape[shape] = Recording(inputs)
        return recordings.by_shape[shape]

    def _run_padded(self, inputs: PassInputs, shape: PassShape, cache: KeyValueCache) -> torch.Tensor:
        recording = self._recording(shape, cache)
        if recording.graph is None and self._can_record:
            self._record(recording, shape, cache)
        if recording.graph is None or recording.logits is None:
            return super()._run_padded(inputs, shape, cache)
        recording.graph.replay()
        return recording.logits

    def _record(self, recording: Recording, shape: PassShape, cache: KeyValueCache) -> None:
        """Record a pass. It writes the same keys several times."""
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                super()._run_padded(recording.inputs, shape, cache)
        torch.cuda.current_stream(self.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._memory):
                recording.logits = super()._run_padded(recording.inputs, shape, cache)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # the model synchronizes with the device, as mixtures of experts may
            self._can_record = False
            recording.logits = None
            return
        recording.graph = graph

    def _to_host(self, logits: torch.Tensor) -> NDArray[np.float32]:
        rows = self._host[: len(logits)]
        rows.copy_(logits)
        return rows.numpy()
