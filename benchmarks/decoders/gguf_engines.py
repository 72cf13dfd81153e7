"""One engine on one GGUF file: load time, time to first token, prefill, plain decoding, rows and memory, as a line of JSON.

`gguf_race.py` calls it with the interpreter of each engine; nothing heavy is imported before the engine is known:

    python benchmarks/decoders/gguf_engines.py etesian model.gguf --threads 2
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

PROMPT, N_DECODED = 64, 64
ROUNDS = 5
"""Passes of each number of rows."""


class Text(Protocol):
    """One text of an engine."""

    def clear(self) -> None:
        """Forget all tokens."""

    def read(self, tokens: Sequence[int]) -> int:
        """Read and keep tokens; return the most probable next token."""

    def score(self, tokens: Sequence[int]) -> None:
        """Compute logits after each of some tokens, which are not kept."""


class EtesianText:
    """A text of the compiled engine."""

    def __init__(self, model: Path, n_threads: int, longest: int) -> None:
        from etesian.decode.models.loading.gguf import load_gguf

        self._context = load_gguf(model, n_threads=n_threads)[0].context()

    def clear(self) -> None:
        """See `Text`."""
        self._context.truncate(0)

    def read(self, tokens: Sequence[int]) -> int:
        """See `Text`."""
        self._context.extend(np.asarray(tokens[:-1], np.int64))
        logits = self._context.score(np.asarray(tokens[-1:]), np.array([-1])).logits
        self._context.keep(np.array([0]))
        return int(logits[0].argmax())

    def score(self, tokens: Sequence[int]) -> None:
        """See `Text`."""
        self._context.score(np.asarray(tokens), np.arange(-1, len(tokens) - 1))
        self._context.truncate(self._context.length)


class LlamaCppText:
    """A text of llama.cpp, through the functions of its own interface."""

    def __init__(self, model: Path, n_threads: int, longest: int) -> None:
        import llama_cpp

        self._library = llama_cpp
        self._llama = llama_cpp.Llama(
            str(model), n_ctx=longest, n_batch=512, n_threads=n_threads, n_threads_batch=n_threads, verbose=False
        )
        self._batch = llama_cpp.llama_batch_init(512, 0, 1)
        self._memory = llama_cpp.llama_get_memory(self._llama.ctx)
        self._n_logits = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(self._llama.ctx))
        )
        self._length = 0

    def clear(self) -> None:
        """See `Text`."""
        self._library.llama_memory_clear(self._memory, True)
        self._length = 0

    def read(self, tokens: Sequence[int]) -> int:
        """See `Text`."""
        for start in range(0, len(tokens), 512):
            part = tokens[start : start + 512]
            self._decode(part, has_all_logits=False)
            self._length += len(part)
        logits = self._library.llama_get_logits_ith(self._llama.ctx, -1)
        return int(np.ctypeslib.as_array(logits, shape=(self._n_logits,)).argmax())

    def score(self, tokens: Sequence[int]) -> None:
        """See `Text`."""
        self._decode(tokens, has_all_logits=True)
        self._library.llama_memory_seq_rm(self._memory, 0, self._length, -1)

    def _decode(self, tokens: Sequence[int], *, has_all_logits: bool) -> None:
        batch, last = self._batch, len(tokens) - 1
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, self._length + place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = has_all_logits or place == last
        if self._library.llama_decode(self._llama.ctx, batch):
            raise RuntimeError("llama_decode failed")
        self._library.llama_synchronize(self._llama.ctx)


class TransformersText:
    """A text of transformers, which converts the weights to bfloat16."""

    def __init__(self, model: Path, n_threads: int, longest: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, DynamicCache

        torch.set_num_threads(n_threads)
        self._torch, self._new_cache = torch, DynamicCache
        self._model = AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.bfloat16)
        self._model.eval()
        self.clear()

    def clear(self) -> None:
        """See `Text`."""
        self._cache = self._new_cache()

    def read(self, tokens: Sequence[int]) -> int:
        """See `Text`."""
        return int(self._logits(tokens, n_kept=1)[0, -1].argmax())

    def score(self, tokens: Sequence[int]) -> None:
        """See `Text`."""
        self._logits(tokens, n_kept=0)
        self._cache.crop(-len(tokens))

    def _logits(self, tokens: Sequence[int], n_kept: int) -> Any:
        """Return the logits after the last tokens, or after all of them."""
        with self._torch.inference_mode():
            ids = self._torch.tensor([list(tokens)])
            return self._model(ids, past_key_values=self._cache, use_cache=True, logits_to_keep=n_kept).logits


class OpenVinoText:
    """A text of OpenVINO, with the model that OpenVINO GenAI makes from a GGUF file."""

    def __init__(self, model: Path, n_threads: int, longest: int) -> None:
        import openvino
        import openvino_genai

        options: dict[str, Any] = {"INFERENCE_NUM_THREADS": n_threads}
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / model.name
            link.symlink_to(model.resolve())
            openvino_genai.LLMPipeline(
                link, "CPU", enable_save_ov_model=True, **options
            )  # writes the model next to the link
            self._model = openvino.Core().compile_model(Path(folder) / "openvino_model.xml", "CPU", options)
        self._request = self._model.create_infer_request()
        self._length = 0

    def clear(self) -> None:
        """See `Text`."""
        self._request.reset_state()
        self._length = 0

    def read(self, tokens: Sequence[int]) -> int:
        """See `Text`."""
        return int(self._logits(tokens)[0, -1].argmax())

    def score(self, tokens: Sequence[int]) -> None:
        """See `Text`; the tokens are kept, because the state cannot be shortened."""
        self._logits(tokens)

    def _logits(self, tokens: Sequence[int]) -> Any:
        start, self._length = self._length, self._length + len(tokens)
        inputs = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, self._length), np.int64),
            "position_ids": np.arange(start, self._length)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        return self._request.infer(inputs)[self._model.outputs[0]]


ENGINES: dict[str, Callable[[Path, int, int], Text]] = {
    "etesian": EtesianText,
    "llama.cpp": LlamaCppText,
    "openvino": OpenVinoText,
    "transformers": TransformersText,
}


def measure(engine: str, model: Path, n_threads: int, prefill: Sequence[int], rows: Sequence[int]) -> dict[str, Any]:
    """Measure everything once."""
    started = time.perf_counter()
    text = ENGINES[engine](model, n_threads, max(*prefill, PROMPT + N_DECODED) + max(rows))
    loaded = time.perf_counter()
    text.read(tokens_of(128))
    first = time.perf_counter()
    return {
        "engine": engine,
        "model": model.name,
        "threads": n_threads,
        "load seconds": round(loaded - started, 3),
        "first token seconds": round(first - loaded, 3),
        "prefill tokens per second": {n: round(n / seconds_of_prefill(text, n), 1) for n in prefill},
        "tokens per second": round(N_DECODED / seconds_of_decoding(text), 2),
        "row milliseconds": {n: round(1e3 * seconds_of_rows(text, n), 2) for n in rows},
        "peak megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def tokens_of(n: int) -> list[int]:
    """Return some tokens that no model treats specially."""
    return [1_000 + 7 * place % 5_000 for place in range(n)]


def seconds_of_prefill(text: Text, n: int) -> float:
    """Time the reading of a text."""
    text.clear()
    return _seconds(lambda: text.read(tokens_of(n)))


def seconds_of_decoding(text: Text) -> float:
    """Time greedy decoding, one token per pass."""
    text.clear()
    token = text.read(tokens_of(PROMPT))

    def decode() -> None:
        following = token
        for _ in range(N_DECODED):
            following = text.read([following])

    return _seconds(decode)


def seconds_of_rows(text: Text, n: int) -> float:
    """Time a pass of several rows after a short text: the median of some passes."""
    text.clear()
    text.read(tokens_of(PROMPT))
    return statistics.median(_seconds(lambda: text.score(tokens_of(n))) for _ in range(ROUNDS))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line names, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=tuple(ENGINES))
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prefill", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 6, 8, 16, 32])
    given = parser.parse_args(arguments)
    print(json.dumps(measure(given.engine, given.model, given.threads, given.prefill, given.rows)))


if __name__ == "__main__":
    main()
