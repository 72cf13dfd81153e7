"""OpenVINO GenAI with the same weights, stored as float16 and multiplied in bfloat16: plain, and with prompt lookup.

python -m decoders.with_openvino MODELS THREADS     (in the folder benchmarks)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from decoders.gguf_file import write_gguf
from decoders.serving import serve
from decoders.written import BlockClock, Choosing, Written

LOOKUP_TOKENS, LOOKUP_NGRAM = 10, 3


def write(pipeline: Any, prompt: list[int], choosing: Choosing, n_tokens: int, **settings: Any) -> Written:
    """Continue a prompt with a pipeline and its generation settings."""
    config = genai.GenerationConfig()
    config.max_new_tokens, config.ignore_eos = n_tokens, True
    if choosing.top_k is not None:
        config.do_sample, config.top_k, config.temperature = True, choosing.top_k, 1.0
        config.rng_seed = choosing.seed
    for name, value in settings.items():
        setattr(config, name, value)
    clock = BlockClock()

    class Streamer(genai.StreamerBase):  # type: ignore[misc]
        def write(self, token: int | list[int]) -> Any:
            clock.take(list(token) if isinstance(token, list) else [token])
            return genai.StreamingStatus.RUNNING

        def end(self) -> None:
            pass

    ids = np.array([prompt], np.int64)
    tokenized = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
    pipeline.generate(tokenized, config, Streamer())
    return clock.written()


def main(models: str, threads: str) -> None:
    """Convert, load and serve."""
    device = {"INFERENCE_NUM_THREADS": int(threads), "INFERENCE_PRECISION_HINT": "bf16"}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.gguf" for name in ("target", "draft")}
        for name, file in files.items():
            write_gguf(Path(models) / name, file, "F16")
        plain = genai.LLMPipeline(files["target"], "CPU", **device)
        lookup = genai.LLMPipeline(files["target"], "CPU", prompt_lookup=True, **device)
    serve(
        {
            "OpenVINO": lambda *arguments: write(plain, *arguments),
            "OpenVINO lookup": lambda *arguments: write(
                lookup, *arguments, num_assistant_tokens=LOOKUP_TOKENS, max_ngram_size=LOOKUP_NGRAM
            ),
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
