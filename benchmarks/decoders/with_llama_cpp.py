"""llama.cpp with the same weights, in bfloat16 and in 8 and 4 bits: plain, with prompt lookup, and with the draft model.

python -m decoders.with_llama_cpp MODELS THREADS     (in the folder benchmarks; `pip install xllamacpp` brings llama.cpp itself)
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import xllamacpp

from decoders.gguf_file import write_gguf
from decoders.serving import serve
from decoders.written import Choosing, Written

KINDS = ("BF16", "Q8_0", "Q4_0")
LONGEST = 1024
LOOKUP_NGRAM, LOOKUP_TOKENS = 3, 8
DRAFT_TOKENS = 3
SPECULATION = xllamacpp.common_speculative_type


def parameters(file: Path, threads: int) -> Any:
    """Return the settings of plain decoding of one text on the CPU."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = LONGEST, 1, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.cache_prompt, settings.cache_ram_mib = False, 0
    return settings


def with_lookup(file: Path, threads: int) -> Any:
    """Return the same settings with prompt lookup."""
    settings = parameters(file, threads)
    settings.speculative.types = [SPECULATION.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    settings.speculative.ngram_simple.size_n = LOOKUP_NGRAM
    settings.speculative.ngram_simple.size_m = LOOKUP_TOKENS
    return settings


def with_draft(file: Path, draft: Path, threads: int) -> Any:
    """Return the same settings with the draft model."""
    settings = parameters(file, threads)
    settings.speculative.types = [SPECULATION.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
    guessing = settings.speculative.draft
    guessing.mparams.path, guessing.n_max, guessing.n_gpu_layers = str(draft), DRAFT_TOKENS, 0
    guessing.cpuparams.n_threads = guessing.cpuparams_batch.n_threads = threads
    return settings


def write(server: Any, prompt: list[int], choosing: Choosing, n_tokens: int) -> Written:
    """Continue a prompt. The clock of llama.cpp starts at the first token and includes it."""
    options = {"top_k": choosing.top_k, "temperature": 1.0} if choosing.top_k else {"top_k": 1, "temperature": 0.0}
    body = {
        "prompt": prompt, "n_predict": n_tokens, "ignore_eos": True, "return_tokens": True, "cache_prompt": False,
        "samplers": ["top_k", "temperature"], "seed": choosing.seed, **options,
    }  # fmt: skip
    request = urllib.request.Request(
        f"{server.listening_address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        reply = json.load(answer)
    timings = reply["timings"]
    return Written(reply["tokens"], timings["predicted_n"] - 1, timings["predicted_ms"] / 1e3)


def main(models: str, threads: str) -> None:
    """Convert, load and serve."""
    writers, n = {}, int(threads)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.gguf"
        write_gguf(Path(models) / "draft", draft, "BF16")
        for kind in KINDS:
            file = Path(folder) / f"{kind}.gguf"
            write_gguf(Path(models) / "target", file, kind)
            settings = {"": parameters(file, n), " lookup": with_lookup(file, n)}
            if kind == "BF16":
                settings[" draft"] = with_draft(file, draft, n)
            for suffix, each in settings.items():
                writers[f"llama.cpp {kind}{suffix}"] = partial(write, xllamacpp.Server(each))
        serve(writers)


if __name__ == "__main__":
    main(*sys.argv[1:])
