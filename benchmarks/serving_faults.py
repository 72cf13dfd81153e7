r"""MAIN PATH: a thousand requests to `etesian serve`, some cancelled or malformed, and what they leave behind.

Users send requests of the six kinds of use one after another, greedy or sampled, streamed or whole. A tenth is cancelled: the
connection is closed while the answer is written. A twentieth is malformed and must be refused with status 400. Every finished text
is compared with plain decoding by the library. Memory, threads and open files of the server are recorded along the way, after a
first part that fills caches and pools. Example:

    python benchmarks/serving_faults.py --out benchmarks/results/<date>_serving
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import serving

from etesian.decode import Sampling

MALFORMED: list[Any] = [
    b'{"prompt": "a"',
    b'{"prompt": NaN}',
    {"prompt": "a", "max_tokens": -1},
    {"prompt": "a", "temperature": "warm"},
    {"prompt": "a", "unknown": 1},
    {"prompt": [10**9]},
    {"prompt": "a", "guided_grammar": "start: missing"},
    {"prompt": "a", "n": 10**6},
]
FINISHED, CANCELLED, MALFORMED_FATE = "finished", "cancelled", "malformed"


@dataclass(frozen=True)
class Asked:
    """One request, and what happens to it."""

    fate: str
    prompt: str
    n_tokens: int
    seed: int | None
    is_streamed: bool
    number: int

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object to send."""
        sampling: dict[str, Any] = {"temperature": 0} if self.seed is None else {"temperature": 1, "seed": self.seed}
        return {"prompt": self.prompt, "max_tokens": self.n_tokens, "stream": self.is_streamed, **sampling}

    @property
    def sampling(self) -> Sampling:
        """The same options for the library."""
        return Sampling() if self.seed is None else Sampling(temperature=1.0, seed=self.seed)


def draw_requests(n: int, n_users: int, n_tokens: tuple[int, int], seed: int) -> list[Asked]:
    """Return requests at random: a tenth cancelled and a twentieth malformed; the others repeat a few hundred texts."""
    rng = np.random.default_rng(seed)
    prompts = [prompt for user in range(n_users) for prompt in serving.prompts_of(user, prefix="")]
    fates = [CANCELLED] * (n // 10) + [MALFORMED_FATE] * (n // 20)
    fates += [FINISHED] * (n - len(fates))
    rng.shuffle(fates)
    asked = []
    for number, fate in enumerate(fates):
        place = int(rng.integers(len(prompts)))
        length = n_tokens[0] + place % (n_tokens[1] - n_tokens[0] + 1)
        text_seed = [None, 1, 2][rng.integers(3)]
        asked.append(Asked(fate, prompts[place], length, text_seed, bool(rng.integers(2)), number))
    return asked


def send(port: int, asked: Asked) -> tuple[str, Any]:
    """Send a request; return what became of it, and the text or the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = MALFORMED[asked.number % len(MALFORMED)] if asked.fate == MALFORMED_FATE else asked.body
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", "/v1/completions", raw, {"Content-Type": "application/json"})
    try:
        if asked.fate == CANCELLED and not asked.is_streamed:
            time.sleep(0.02)
            return CANCELLED, None
        response = connection.getresponse()
        if asked.fate == CANCELLED and response.status == 200:
            response.readline()
            return CANCELLED, None
        if response.status != 200:
            is_error = "message" in json.loads(response.read())["error"]
            return (MALFORMED_FATE if is_error else "broken"), response.status
        return FINISHED, _text(response, is_streamed=asked.is_streamed)
    finally:
        connection.close()


def _text(response: http.client.HTTPResponse, *, is_streamed: bool) -> str:
    if not is_streamed:
        return str(json.loads(response.read())["choices"][0]["text"])
    chunks = [json.loads(line[6:]) for line in response if line.startswith(b"data: {")]
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


def state_of(port: int, process: int) -> dict[str, Any]:
    """Return the memory in bytes, threads and open files of the server, and its running and waiting requests."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status if ":" in line)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/health")
    health = json.loads(connection.getresponse().read())
    connection.close()
    return {
        "memory_bytes": 1024 * int(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "open_files": len(os.listdir(f"/proc/{process}/fd")),
        "running": health["running"],
        "waiting": health["waiting"],
    }


def settled_state(port: int, process: int) -> dict[str, Any]:
    """Return the state once no request runs; connections that were closed are noticed within a pass."""
    deadline = time.monotonic() + 30
    while (state := state_of(port, process))["running"] + state["waiting"] and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # connections end
    return state_of(port, process)


def run(
    port: int, process: int, asked: Sequence[Asked], n_users: int, n_parts: int
) -> tuple[list[tuple[str, Any]], list[dict[str, Any]]]:
    """Send all requests, `n_users` at a time; return their results, and the server's state before and after each part."""
    results: list[tuple[str, Any]] = []
    states = [{"requests": 0, **settled_state(port, process)}]
    with ThreadPoolExecutor(n_users) as pool:
        for part in np.array_split(np.arange(len(asked)), n_parts):
            results += pool.map(lambda place: send(port, asked[place]), part)
            states.append({"requests": len(results), **settled_state(port, process)})
    return results, states


def judge(asked: Sequence[Asked], results: Sequence[tuple[str, Any]], library: serving.Library) -> dict[str, Any]:
    """Count what became of the requests, and the finished texts that equal the library's."""
    expected: dict[tuple[str, int, int | None], str] = {}
    n_equal = 0
    for each, (fate, found) in zip(asked, results, strict=True):
        if fate != FINISHED:
            continue
        key = each.prompt, each.n_tokens, each.seed
        if key not in expected:
            plain = library.decoder.generate(each.prompt, each.sampling, max_tokens=each.n_tokens, speculate=False)
            expected[key] = plain.text
        n_equal += found == expected[key]
    return {
        "results": dict(Counter(fate for fate, _ in results)),
        "as_asked": sum(each.fate == fate for each, (fate, _) in zip(asked, results, strict=True)),
        "statuses": dict(Counter(str(found) for fate, found in results if fate == MALFORMED_FATE)),
        "distinct_texts": len(expected),
        "equal_texts": n_equal,
    }


def as_table(states: Sequence[dict[str, Any]]) -> str:
    """Return a table of the states."""
    names = ["requests", "memory_bytes", "threads", "open_files", "running", "waiting"]
    lines = ["| requests | memory, MB | threads | open files | running | waiting |", "| --- " * len(names) + "|"]
    for state in states:
        cells = [f"{state[name] / 1e6:.1f}" if name == "memory_bytes" else str(state[name]) for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the requests, compare the texts, and write `faults.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--tokens", type=int, nargs=2, default=[16, 32], help="shortest and longest limit of an answer")
    parser.add_argument("--parts", type=int, default=10, help="the state is recorded after each part")
    parser.add_argument("--cache-mb", type=int, default=16, help="prefix cache; small, so that it is full early")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    asked = draw_requests(options.requests, options.users, tuple(options.tokens), seed=0)
    command = f"{sys.executable} -m etesian serve --model {options.model} --port {{port}} --cache-mb {options.cache_mb}"
    with serving.started(command, model=options.model) as (port, process):
        serving.load(port, options.users, 4, prefix="Warm up. ")
        began = time.perf_counter()
        results, states = run(port, process, asked, options.users, options.parts)
        seconds = time.perf_counter() - began
    found = judge(asked, results, serving.Library(options.model))
    report = {"requests": len(asked), "seconds": seconds, **found, "states": states}
    (options.out / "faults.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: value for name, value in report.items() if name != "states"}, indent=1))
    print(as_table(states))


if __name__ == "__main__":
    main()
