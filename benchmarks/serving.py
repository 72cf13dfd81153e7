r"""MAIN PATH: tokens per second, time to first token and time per token of our server and of peers, with 1 to 8 users.

Every user sends prompts of six kinds of use, one after another, and streams the answers greedily. Each combination of server,
number of users and prefix (cold: never seen; warm: sent before) is one run, appended to `runs.jsonl` in the folder `--out`;
combinations that are there already are skipped, so that an interrupted benchmark resumes. Our answers are compared with plain
decoding by the library, whose rate for one user is an entry of its own. A peer is any OpenAI-compatible server. Example:

    python benchmarks/serving.py --out benchmarks/results/<date>_serving \
        --peer 'llama.cpp=llama-server -m {model} --port {port} -np 8 -c 16384'
"""

from __future__ import annotations

import argparse
import http.client
import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etesian.bench import machine
from etesian.decode import Decoder
from etesian.decode.models.loading.catalog import find_gguf

KINDS = {
    "chat": "Answer the question in two sentences. Question: why does the sea look blue? Answer:",
    "code": "def mean(values):\n    return sum(values) / len(values)\n\n\ndef variance(values):\n    m = mean(values)\n",
    "summary": "The ferry left the harbor at noon. The ferry carried forty passengers and two cars. The wind was strong, and the "
    "ferry arrived an hour late. Summary of the text above:",
    "json": '[{"name": "Naxos", "area": 430, "capital": "Naxos"}, {"name": "Paros", "area": 196, "capital": "Parikia"}, {"name":',
    "edit": "Rewrite the sentence in the past tense. Sentence: The boats leave the harbor and the children wave. Rewritten:",
    "story": "Once upon a time there was a lighthouse keeper who counted the waves. Every evening",
}
"""Prompts by kind of use."""
OURS, LIBRARY, PLAIN = "etesian serve", "library", "etesian serve, plain"
_START_SECONDS = 180


@dataclass(frozen=True)
class Answer:
    """One streamed answer: its text, and the times of its events since the request, in seconds."""

    text: str
    times: list[float]


def prompts_of(user: int, *, prefix: str) -> list[str]:
    """Return the prompts of a user, which begin with a text of the user's own."""
    return [f"{prefix}Notes of user {user}.\n\n{text}" for text in KINDS.values()]


def ask(port: int, prompt: str, n_tokens: int) -> Answer:
    """Stream the continuation of a prompt from a server on this machine."""
    body = {"prompt": prompt, "max_tokens": n_tokens, "temperature": 0, "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    began = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {response.read()[:300]!r}")
    texts, times = [], []
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        choices = json.loads(line[6:])["choices"]
        if choices and choices[0]["text"]:
            texts.append(choices[0]["text"])
            times.append(time.perf_counter() - began)
    connection.close()
    return Answer("".join(texts), times)


def load(port: int, n_users: int, n_tokens: int, *, prefix: str) -> tuple[list[Answer], float]:
    """Let users send their prompts at the same time; return all answers, by user and prompt, and the seconds."""

    def visit(user: int) -> list[Answer]:
        return [ask(port, prompt, n_tokens) for prompt in prompts_of(user, prefix=prefix)]

    began = time.perf_counter()
    with ThreadPoolExecutor(n_users) as pool:
        answers = [answer for found in pool.map(visit, range(n_users)) for answer in found]
    return answers, time.perf_counter() - began


def summarize(answers: Sequence[Answer], seconds: float, count_tokens: Any) -> dict[str, Any]:
    """Return the figures of a run; `count_tokens` counts the tokens of a text, for every server alike."""
    counts = [count_tokens(answer.text) for answer in answers]
    first = [answer.times[0] for answer in answers if answer.times]
    per_token = [
        (answer.times[-1] - answer.times[0]) / (count - 1)
        for answer, count in zip(answers, counts, strict=True)
        if count > 1 and len(answer.times) > 1
    ]
    return {
        "tokens": sum(counts),
        "seconds": seconds,
        "tokens_per_second": sum(counts) / seconds,
        "first_token_seconds": _quantiles(first),
        "seconds_per_token": _quantiles(per_token),
    }


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {name: float(np.quantile(values, level)) for name, level in (("p50", 0.5), ("p99", 0.99))}


@contextmanager
def started(command: str, *, model: str) -> Iterator[tuple[int, int]]:
    """Start a server, and yield its port and process number once it responds."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = find_gguf(model)
    words = shlex.split(command.format(model=file or model, port=port))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_ready(port, process)
            yield port, process.pid
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{shlex.join(process.args)} ended with exit code {process.returncode}")  # type: ignore[arg-type]
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/v1/models")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"no response from port {port} within {_START_SECONDS} s")


def memory_bytes(process: int) -> int | None:
    """Return the peak memory of a process in bytes; None where the system does not report it."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def run_server(
    name: str, command: str, options: argparse.Namespace, record: Any, is_done: Any, library: Library
) -> None:
    """Record all runs of one server that are missing."""
    missing = [
        (users, prefix) for users in options.users for prefix in ("cold", "warm") if not is_done(name, users, prefix)
    ]
    if not missing:
        return
    with started(command, model=options.model) as (port, process):
        ask(port, "Warm up.", 8)
        load(port, max(options.users), 4, prefix="Warm up. ")  # compiles passes over several texts
        for users in sorted({users for users, _ in missing}):
            prefix = f"Session {time.time_ns()} with {users} users. "
            for state in ("cold", "warm"):
                answers, seconds = load(port, users, options.tokens, prefix=prefix)
                if (users, state) not in missing:
                    continue
                figures = summarize(answers, seconds, library.count)
                if name in (OURS, PLAIN):
                    expected = library.texts(users, prefix, options.tokens)
                    figures["equal_texts"] = sum(a.text == text for a, text in zip(answers, expected, strict=True))
                    figures["texts"] = len(expected)
                record(
                    {"server": name, "users": users, "prefix": state, "memory_bytes": memory_bytes(process)} | figures
                )


class Library:
    """The same model in this process, for comparison."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._loaded: Decoder | None = None
        self._known: dict[tuple[str, int], str] = {}

    @property
    def decoder(self) -> Decoder:
        """The decoder, loaded at first use."""
        self._loaded = self._loaded or Decoder.load(self._model)
        return self._loaded

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        tokenizer = self.decoder.tokenizer
        assert tokenizer is not None
        return len(tokenizer.encode(text)) if text else 0

    def texts(self, users: int, prefix: str, n_tokens: int) -> list[str]:
        """Return what plain decoding writes for all prompts."""
        prompts = [prompt for user in range(users) for prompt in prompts_of(user, prefix=prefix)]
        for prompt in prompts:
            if (prompt, n_tokens) not in self._known:
                plain = self.decoder.generate(prompt, max_tokens=n_tokens, speculate=False)
                self._known[prompt, n_tokens] = plain.text
        return [self._known[prompt, n_tokens] for prompt in prompts]

    def run(self, n_tokens: int) -> dict[str, Any]:
        """Return the figures of one user who calls the library directly."""
        self.decoder.generate(" ".join(KINDS.values()), max_tokens=n_tokens)  # loads and compiles
        answers = []
        began = time.perf_counter()
        for prompt in prompts_of(0, prefix=f"Session {time.time_ns()}. "):
            start, times, texts = time.perf_counter(), [], []
            for piece in self.decoder.stream(prompt, max_tokens=n_tokens):
                if piece.text:
                    texts.append(piece.text)
                    times.append(time.perf_counter() - start)
            answers.append(Answer("".join(texts), times))
        return summarize(answers, time.perf_counter() - began, self.count)


def as_table(runs: Sequence[dict[str, Any]]) -> str:
    """Return a table of all runs."""
    lines = [
        "| server | users | prefix | tokens/s | first token p50 / p99, s | per token p50 / p99, ms | memory, MB | equal texts |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        first, each = run["first_token_seconds"], run["seconds_per_token"]
        memory = "" if run.get("memory_bytes") is None else f"{run['memory_bytes'] / 1e6:.0f}"
        equal = f"{run['equal_texts']} of {run['texts']}" if "texts" in run else ""
        lines.append(
            f"| {run['server']} | {run['users']} | {run['prefix']} | {run['tokens_per_second']:.1f} | {_pair(first, 1)} | "
            f"{_pair(each, 1000)} | {memory} | {equal} |"
        )
    return "\n".join(lines)


def _pair(quantiles: dict[str, float] | None, factor: float) -> str:
    return "" if quantiles is None else f"{quantiles['p50'] * factor:.3g} / {quantiles['p99'] * factor:.3g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything that is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--users", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--tokens", type=int, default=64, help="longest answer, in tokens")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=COMMAND", help="may name {model} and {port}"
    )
    parser.add_argument("--without-plain", action="store_true", help="skip our server without speculation")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "runs.jsonl"
    runs = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    (options.out / "machine.json").write_text(json.dumps(machine.describe(), indent=1) + "\n")

    def record(run: dict[str, Any]) -> None:
        runs.append(run)
        with file.open("a") as opened:
            opened.write(json.dumps(run) + "\n")
        (options.out / "table.md").write_text(as_table(runs) + "\n")

    def is_done(server: str, users: int, prefix: str) -> bool:
        return any((run["server"], run["users"], run["prefix"]) == (server, users, prefix) for run in runs)

    library = Library(options.model)
    if not is_done(LIBRARY, 1, "cold"):
        record({"server": LIBRARY, "users": 1, "prefix": "cold"} | library.run(options.tokens))
    ours = f"{sys.executable} -m etesian serve --model {options.model} --port {{port}}"
    servers = {OURS: ours} | ({} if options.without_plain else {PLAIN: f"{ours} --plain"})
    servers |= dict(peer.split("=", 1) for peer in options.peer)
    for name, command in servers.items():
        run_server(name, command, options, record, is_done, library)
    print(as_table(runs))


if __name__ == "__main__":
    main()
