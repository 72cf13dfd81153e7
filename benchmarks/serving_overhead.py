r"""MAIN PATH: the time that `etesian serve` adds to the library's for one user, in interleaved pairs.

A pair is one prompt, which neither has seen before, answered greedily by the library in this process and by the server, streamed;
which of them begins changes from pair to pair. Pairs are short, so that both meet the same conditions. The overhead of a pair is
the quotient of the seconds, minus one. Its median has a 95% interval from the bootstrap over pairs. Example:

    python benchmarks/serving_overhead.py --out benchmarks/results/<date>_serving
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import serving


def ask(connection: http.client.HTTPConnection, prompt: str, n_tokens: int, *, speculate: bool) -> str:
    """Stream an answer from the server, as a client that keeps its connection."""
    body = {"prompt": prompt, "max_tokens": n_tokens, "temperature": 0, "stream": True, "speculate": speculate}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    chunks = [json.loads(line[6:]) for line in connection.getresponse() if line.startswith(b"data: {")]
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


def stream(library: serving.Library, prompt: str, n_tokens: int, *, speculate: bool) -> str:
    """Stream an answer from the library."""
    return "".join(piece.text for piece in library.decoder.stream(prompt, max_tokens=n_tokens, speculate=speculate))


def measure_pair(
    number: int, connection: http.client.HTTPConnection, library: serving.Library, n_tokens: int, *, speculate: bool
) -> dict[str, float]:
    """Return the seconds of the library and of the server for one prompt."""
    kind = number // 2 % len(serving.KINDS)
    prompt = serving.prompts_of(number, prefix=f"Session {time.time_ns()}. ")[kind]
    ways = {
        "library": lambda: stream(library, prompt, n_tokens, speculate=speculate),
        "server": lambda: ask(connection, prompt, n_tokens, speculate=speculate),
    }
    seconds, texts = {}, {}
    for name in list(ways) if number % 2 else reversed(list(ways)):
        began = time.perf_counter()
        texts[name] = ways[name]()
        seconds[name] = time.perf_counter() - began
    if texts["library"] != texts["server"]:
        raise RuntimeError("the texts of the server and of the library differ")
    return seconds


def summarize(pairs: Sequence[dict[str, float]], seed: int = 0) -> dict[str, Any]:
    """Return the median overhead with its interval, the quartiles, and the median seconds."""
    overheads = np.array([pair["server"] / pair["library"] - 1 for pair in pairs])
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(overheads, (10_000, len(overheads))), axis=1)
    return {
        "pairs": len(pairs),
        "overhead": float(np.median(overheads)),
        "interval": np.quantile(medians, [0.025, 0.975]).tolist(),
        "quartiles": np.quantile(overheads, [0.25, 0.75]).tolist(),
        "library_seconds": float(np.median([pair["library"] for pair in pairs])),
        "server_seconds": float(np.median([pair["server"] for pair in pairs])),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure with and without speculation, and write `overhead.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=64, help="longest answer, in tokens")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    library = serving.Library(options.model)
    command = f"{sys.executable} -m etesian serve --model {options.model} --port {{port}}"
    report: dict[str, Any] = {}
    with serving.started(command, model=options.model) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        for name, speculate in (("speculation", True), ("plain", False)):
            measure_pair(0, connection, library, options.tokens, speculate=speculate)  # loads and compiles
            pairs = [
                measure_pair(number, connection, library, options.tokens, speculate=speculate)
                for number in range(options.pairs)
            ]
            report[name] = summarize(pairs) | {"seconds": pairs}
            (options.out / "overhead.json").write_text(json.dumps(report, indent=1) + "\n")
            print(describe(name, report[name]), flush=True)
        connection.close()


def describe(name: str, found: dict[str, Any]) -> str:
    """Return a line about the overhead."""
    low, high = found["interval"]
    return (
        f"{name}: {100 * found['overhead']:.1f}% [{100 * low:.1f}%, {100 * high:.1f}%] over {found['pairs']} pairs, "
        f"library {found['library_seconds']:.3f} s, server {found['server_seconds']:.3f} s"
    )


if __name__ == "__main__":
    main()
