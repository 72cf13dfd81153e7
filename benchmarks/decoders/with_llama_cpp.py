"""llama.cpp on the same weights, in bfloat16 and in 8 and 4 bits: plain, and by prompt lookup.

python -m decoders.with_llama_cpp MODELS THREADS     (in the folder benchmarks)
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path

from llama_cpp import Llama
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from decoders.gguf_file import write_gguf
from decoders.serving import serve
from decoders.written import BlockClock, Choosing, Written

KINDS = ("BF16", "Q8_0", "Q4_0")
LONGEST = 1024
LOOKUP_TOKENS = 4  # its rows are dear: longer guesses were slower


def write(llama: Llama, lookup: bool, prompt: list[int], choosing: Choosing, n_tokens: int) -> Written:
    """Continue a prompt by a loaded model."""
    llama.reset()
    llama.set_seed(choosing.seed)
    llama.draft_model = LlamaPromptLookupDecoding(num_pred_tokens=LOOKUP_TOKENS) if lookup else None
    options = {"top_k": choosing.top_k, "top_p": 1.0, "temp": 1.0} if choosing.top_k else {"top_k": 1, "temp": 0.0}
    clock = BlockClock()
    for token in islice(llama.generate(prompt, min_p=0.0, repeat_penalty=1.0, **options), n_tokens):
        clock.take([token])
    return clock.written()


def main(models: str, threads: str) -> None:
    """Convert, load and serve."""
    writers = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            file = Path(folder) / f"{kind}.gguf"
            write_gguf(Path(models) / "target", file, kind)
            llama = Llama(
                str(file), n_ctx=LONGEST, n_threads=int(threads), n_threads_batch=int(threads), use_mmap=False,
                logits_all=True, verbose=False,
            )  # fmt: skip
            file.unlink()
            writers[f"llama.cpp {kind}"] = partial(write, llama, False)
            writers[f"llama.cpp {kind} lookup"] = partial(write, llama, True)
    serve(writers)


if __name__ == "__main__":
    main(*sys.argv[1:])
