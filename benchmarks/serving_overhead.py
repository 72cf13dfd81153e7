r"""MAIN PATH: the time that `etesian serve` adds to the library's for one user, in interleaved pairs.

A pair is one prompt, which neither has seen before, answered greedily by the library and by the server, streamed; which of them
begins changes from pair to pair. Pairs are short, so that both meet the same conditions. The library runs in a process of its own,
because the speed of a process depends on how its memory is laid out; both processes are started anew for each block of pairs, and
which of them starts first changes from block to block. The overhead of a pair is the quotient of the seconds, minus one. Its median
has a 95% interval from the bootstrap over blocks. Example:

    python benchmarks/serving_overhead.py --out benchmarks/results/<date>_serving
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import serving

Answerer = Callable[[str, bool], tuple[float, str]]
"""Returns the seconds and the text of an answer to a prompt, with or without speculation."""
IDLE_SECONDS = 4.0  # before the server closes an idle connection
MODES = {"speculation": True, "plain": False}


@contextmanager
def served(model: str, n_tokens: int) -> Iterator[Answerer]:
    """Start a server, and yield a function that streams answers as a client that keeps its connection."""
    command = f"{sys.executable} -m etesian serve --model {model} --port {{port}}"
    with serving.started(command, model=model) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        last = time.perf_counter()

        def answer(prompt: str, speculate: bool) -> tuple[float, str]:
            nonlocal last
            if time.perf_counter() - last > IDLE_SECONDS:
                connection.close()  # opened anew by the next request
            body = {"prompt": prompt, "max_tokens": n_tokens, "temperature": 0, "stream": True, "speculate": speculate}
            began = time.perf_counter()
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            chunks = [json.loads(line[6:]) for line in connection.getresponse() if line.startswith(b"data: {")]
            text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
            last = time.perf_counter()
            return last - began, text

        yield answer
        connection.close()


@contextmanager
def called(model: str, n_tokens: int) -> Iterator[Answerer]:
    """Start a process that loads the library, and yield a function that lets it stream answers and measure them."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_call, args=(theirs, model, n_tokens), daemon=True)
    process.start()

    def answer(prompt: str, speculate: bool) -> tuple[float, str]:
        ours.send((prompt, speculate))
        found: tuple[float, str] = ours.recv()
        return found

    yield answer
    ours.send(None)
    process.join()


def _call(connection: Connection, model: str, n_tokens: int) -> None:
    decoder = serving.Library(model).decoder
    while (request := connection.recv()) is not None:
        prompt, speculate = request
        began = time.perf_counter()
        text = "".join(piece.text for piece in decoder.stream(prompt, max_tokens=n_tokens, speculate=speculate))
        connection.send((time.perf_counter() - began, text))


def measure_pair(number: int, ways: dict[str, Answerer], *, speculate: bool) -> dict[str, float]:
    """Return the seconds of the library and of the server for one prompt."""
    kind = number // 2 % len(serving.KINDS)
    prefix = f"{str(time.time_ns())[::-1]} begins this session. "  # shares no beginning with another
    prompt = serving.prompts_of(number, prefix=prefix)[kind]
    seconds, texts = {}, {}
    for name in sorted(ways, reverse=bool(number % 2)):
        seconds[name], texts[name] = ways[name](prompt, speculate)
    if texts["library"] != texts["server"]:
        raise RuntimeError("the texts of the server and of the library differ")
    return seconds


def measure_block(block: int, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Start both sides, and return the seconds of pairs with and without speculation."""
    starts = {"library": called, "server": served}
    with ExitStack() as stack:
        ways = {
            name: stack.enter_context(starts[name](options.model, options.tokens))
            for name in sorted(starts, reverse=bool(block % 2))
        }
        for speculate in MODES.values():
            measure_pair(0, ways, speculate=speculate)  # the first one compiles
        first = block * options.pairs
        return {
            name: [measure_pair(first + number, ways, speculate=speculate) for number in range(options.pairs)]
            for name, speculate in MODES.items()
        }


def summarize(blocks: Sequence[Sequence[dict[str, float]]], seed: int = 0) -> dict[str, Any]:
    """Return the median overhead with its interval, the quartiles, and the median seconds."""
    overheads = [np.array([pair["server"] / pair["library"] - 1 for pair in block]) for block in blocks]
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(blocks), (4_000, len(blocks)))
    medians = [np.median(np.concatenate([overheads[place] for place in draw])) for draw in draws]
    pairs = [pair for block in blocks for pair in block]
    return {
        "blocks": len(blocks),
        "pairs": len(pairs),
        "overhead": float(np.median(np.concatenate(overheads))),
        "interval": np.quantile(medians, [0.025, 0.975]).tolist(),
        "quartiles": np.quantile(np.concatenate(overheads), [0.25, 0.75]).tolist(),
        "library_seconds": float(np.median([pair["library"] for pair in pairs])),
        "server_seconds": float(np.median([pair["server"] for pair in pairs])),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure with and without speculation, and write `overhead.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--blocks", type=int, default=12, help="starts of both processes")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of a block, for each mode")
    parser.add_argument("--tokens", type=int, default=64, help="longest answer, in tokens")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    blocks: list[dict[str, list[dict[str, float]]]] = []
    for block in range(options.blocks):
        blocks.append(measure_block(block, options))
        report = {name: summarize([found[name] for found in blocks]) for name in MODES}
        (options.out / "overhead.json").write_text(json.dumps(report | {"seconds": blocks}, indent=1) + "\n")
        for name, found in report.items():
            print(describe(name, found), flush=True)


def describe(name: str, found: dict[str, Any]) -> str:
    """Return a line about the overhead."""
    low, high = found["interval"]
    return (
        f"{name}: {100 * found['overhead']:.1f}% [{100 * low:.1f}%, {100 * high:.1f}%] over {found['pairs']} pairs in "
        f"{found['blocks']} blocks, library {found['library_seconds']:.3f} s, server {found['server_seconds']:.3f} s"
    )


if __name__ == "__main__":
    main()
