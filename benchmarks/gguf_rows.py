"""Processor seconds of passes of 1 to 16 rows over a GGUF file, on one thread, by Etesian or by llama.cpp.

Processor time leaves out the time that other programs take, so it can be compared on a shared machine; it leaves out the gain from
several threads, too. Each pass follows a text of 64 tokens. A line of JSON says what was found. Run it once with each engine,
llama.cpp in an environment of its own (built with `CMAKE_ARGS=-DGGML_NATIVE=ON`):

    python benchmarks/gguf_rows.py model.gguf
    ../llama/bin/python benchmarks/gguf_rows.py model.gguf --engine llama.cpp
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TEXT, PREFILL = 64, 128


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--engine", choices=("etesian", "llama.cpp"), default="etesian")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 6, 16])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(arguments)
    open_text, read = (open_etesian if given.engine == "etesian" else open_llama_cpp)(given.model)
    milliseconds = {n: measure(open_text, read, TEXT, n, given.rounds) for n in given.rows}
    (prefill,) = measure(open_text, read, 0, PREFILL, 1)
    found = {
        "model": given.model.name,
        "engine": given.engine,
        "milliseconds": {
            n: {"median": round(statistics.median(v), 2), "least": min(v), "most": max(v)}
            for n, v in milliseconds.items()
        },
        "prefill_tokens_per_second": round(1000 * PREFILL / prefill),
    }
    print(json.dumps(found))


def measure(
    open_text: Callable[[int], None], read: Callable[[int], None], n_before: int, n_rows: int, rounds: int
) -> list[float]:
    """Milliseconds of processor time of one pass, several times over."""
    found = []
    for _ in range(rounds):
        open_text(n_before)
        started = time.process_time()
        read(n_rows)
        found.append(round(1000 * (time.process_time() - started), 2))
    return found


def open_etesian(model: Path) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """Functions that read a text of some tokens, and that score some rows after it."""
    import numpy as np

    from etesian.decode.models.loading.gguf import load_gguf

    context = load_gguf(model, n_threads=1)[0].context()

    def open_text(n: int) -> None:
        context.truncate(0)
        context.extend(np.arange(n))

    def read(n: int) -> None:
        context.score(np.arange(n), np.arange(-1, n - 1))

    open_text(1)
    read(1)
    return open_text, read


def open_llama_cpp(model: Path) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """The same for llama.cpp."""
    import llama_cpp

    llama = llama_cpp.Llama(str(model), n_ctx=512, n_batch=512, n_threads=1, n_threads_batch=1, verbose=False)

    def read(n: int) -> None:
        if n:
            llama.eval(list(range(n)))
            llama_cpp.llama_synchronize(llama.ctx)

    def open_text(n: int) -> None:
        llama.reset()
        read(n)

    open_text(1)
    return open_text, read


if __name__ == "__main__":
    main()
