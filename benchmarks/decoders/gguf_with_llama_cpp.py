"""llama.cpp on a GGUF file: plain, and with prompt lookup of two lengths. It stops at the end of text.

python -m decoders.gguf_with_llama_cpp MODEL.gguf THREADS     (in the folder benchmarks; needs llama-cpp-python, built natively)
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from llama_cpp import Llama
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from decoders.serving import serve
from decoders.written import BlockClock, Choosing, Written

LONGEST = 2048
LOOKUP_TOKENS = (2, 10)  # the guide of llama-cpp-python: 2 on a CPU; 10 is its default


def load(model: str, threads: int, n_drafted: int | None = None) -> Any:
    """Load the model, with prompt lookup if a number of draft tokens is given."""
    draft = None if n_drafted is None else LlamaPromptLookupDecoding(num_pred_tokens=n_drafted)
    return Llama(model, n_ctx=LONGEST, n_threads=threads, n_threads_batch=threads, draft_model=draft, verbose=False)


def write(llama: Any, prompt: list[int], choosing: Choosing, n_tokens: int) -> Written:
    """Continue a prompt; reading it is off the clock."""
    clock, end = BlockClock(), llama.token_eos()
    llama.reset()
    if choosing.top_k is None:
        options = {"temp": 0.0, "top_k": 1}
    else:
        llama.set_seed(choosing.seed)
        options = {"temp": 1.0, "top_k": choosing.top_k, "top_p": 1.0, "min_p": 0.0}
    for token in llama.generate(prompt, repeat_penalty=1.0, **options):
        clock.take([int(token)])
        if token == end or len(clock.tokens) == n_tokens:
            break
    return clock.written()


def main(model: str, threads: str) -> None:
    """Load and serve."""
    numbers: tuple[int | None, ...] = (None, *LOOKUP_TOKENS)
    serve(
        {
            "llama.cpp" if n is None else f"llama.cpp lookup {n}": partial(write, load(model, int(threads), n))
            for n in numbers
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
