"""MAIN PATH: tokens per second of our decoders, which generate the same text, and of peers with the same weights.

Each round continues each prompt with every entry, in an order that rotates from round to round; ratios are computed within
each round. Processing the prompt is off the clock. Runs are appended to `runs.jsonl` in the folder `--out`, so that several
short calls add up, and `table.md` is regenerated from all of them. Peers that do not start are skipped and listed. Example:

    python benchmarks/widen.py bundled/target runs/wide/target --times 4 --layers 36
    python benchmarks/widen.py bundled/draft runs/wide/draft --times 4 --layers 14
    cp bundled/ngram.npz runs/wide
    python benchmarks/decoding.py paper runs/wide --data ../shared/data --out benchmarks/results/<date>_decoding
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from decode_pass_costs import bandwidth
from decoders.ours import load_ours
from decoders.prompts import mixed_prompts
from decoders.serving import Peer
from decoders.table import as_text
from decoders.written import Choosing, Written

from etesian.bench import machine
from etesian.decode import Decoder

OURS = ("plain", "chain 4", "tree", "staged")
TOP_K = 50
WARM_UP, PEER_WARM_UP = 96, 16  # tokens
WARM_UP_SEED = 1_000_000
BANDWIDTH_BYTES = 2_000_000_000


class Entry(Protocol):
    """A program that continues prompts."""

    name: str

    def write(self, prompt: list[int], choosing: Choosing, n_tokens: int) -> Written:
        """Continue prompt tokens by a number of tokens."""


@dataclass(frozen=True)
class PeerEntry:
    """One mode in which the process of a peer can continue prompts."""

    name: str
    peer: Peer

    def write(self, prompt: list[int], choosing: Choosing, n_tokens: int) -> Written:
        """Continue prompt tokens by a number of tokens."""
        return self.peer.write(self.name, prompt, choosing, n_tokens)


def race(given: argparse.Namespace, out: Path) -> None:
    """Load, warm up, and run rounds until their number or the time limit is reached."""
    import torch

    torch.set_num_threads(given.threads)
    started = time.monotonic()
    with ExitStack() as stack:
        plain, ours = load_ours(list(given.entries), str(given.models))
        peers, missing = start_peers(given, stack)
        entries: list[Entry] = [*ours, *peers]
        prompts = read_prompts(plain, given.data, given.prompts)
        for entry in entries:  # one text beforehand, so that our drafters have observed acceptance
            for choosing in choosings(given.choosing, seed=WARM_UP_SEED):
                n_tokens = PEER_WARM_UP if isinstance(entry, PeerEntry) else WARM_UP
                entry.write(next(iter(prompts.values())), choosing, min(n_tokens, given.tokens))
        append(out, session(given, plain, missing))
        for number in range(given.first_round, given.first_round + given.rounds):
            for choosing in choosings(given.choosing, seed=number):
                for record in one_round(entries, prompts_of(number, prompts, given.at_once), choosing, given, number):
                    append(out, record)
            if time.monotonic() - started > given.seconds:
                return


def prompts_of(number: int, prompts: dict[str, list[int]], at_once: int | None) -> dict[str, list[int]]:
    """Return the prompts of a round: all, or a given number, which differ from round to round."""
    if at_once is None:
        return prompts
    names = list(prompts)
    return {name: prompts[name] for name in (names[(number * at_once + k) % len(names)] for k in range(at_once))}


def choosings(names: Sequence[str], seed: int) -> Iterator[Choosing]:
    """Return the requested sampling rules."""
    for name in names:
        yield Choosing() if name == "greedy" else Choosing(TOP_K, seed)


def one_round(
    entries: Sequence[Entry], prompts: dict[str, list[int]], choosing: Choosing, given: argparse.Namespace, number: int
) -> Iterator[dict[str, Any]]:
    """Continue every prompt with every entry; peers continue only the first few."""
    for place, (name, prompt) in enumerate(prompts.items()):
        racing = [entry for entry in entries if place < given.peer_prompts or not isinstance(entry, PeerEntry)]
        turn = (number + place) % len(racing)
        written = {e.name: e.write(prompt, choosing, given.tokens) for e in racing[turn:] + racing[:turn]}
        expected = written["plain"].tokens if "plain" in written else None
        for entry, result in written.items():
            yield {
                "setting": given.setting,
                "choosing": "greedy" if choosing.top_k is None else f"top-k {choosing.top_k}",
                "round": number,
                "prompt": name,
                "entry": entry,
                "tokens": result.timed_tokens,
                "seconds": result.seconds,
                "same text": expected is not None and result.tokens == expected,
                **result.details,
            }


def start_peers(given: argparse.Namespace, stack: ExitStack) -> tuple[list[PeerEntry], list[str]]:
    """Return the entries of the peers that start, and the names of those that do not."""
    entries: list[PeerEntry] = []
    missing: list[str] = []
    for module in given.peers:
        python = given.peer_python if given.peer_python and module != "with_transformers" else sys.executable
        try:
            peer = Peer(module, [str(given.models.resolve()), str(given.threads)], str(python))
        except RuntimeError as error:
            missing.append(str(error))
            continue
        stack.callback(peer.close)
        entries += [PeerEntry(name, peer) for name in peer.names]
    return entries, missing


def read_prompts(plain: Decoder, data: Path | None, count: int) -> dict[str, list[int]]:
    """Return the prompts as token ids."""
    assert plain.tokenizer is not None
    return {name: plain.tokenizer.encode(text) for name, text in mixed_prompts(data, count).items()}


def session(given: argparse.Namespace, plain: Decoder, missing: list[str]) -> dict[str, Any]:
    """Describe the machine of a call, including its memory bandwidth."""
    weight_bytes = getattr(plain.target, "weight_bytes", 0)
    return {
        "session": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "setting": given.setting,
        "arguments": {name: value.name if isinstance(value, Path) else value for name, value in vars(given).items()},
        "weight bytes": weight_bytes,
        "bytes a second": bandwidth(given.bandwidth_bytes),
        "missing peers": missing,
        "machine": machine.describe(),
    }


def append(out: Path, record: dict[str, Any]) -> None:
    """Append a line, so that an interrupted call loses no run."""
    with out.open("a") as file:
        print(json.dumps(record), file=file)


def main(arguments: list[str] | None = None) -> str:
    """Run the benchmark from the command line, and return the table."""
    given = parse(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    runs = given.out / "runs.jsonl"
    race(given, runs)
    table = as_text([json.loads(line) for line in runs.read_text().splitlines()])
    (given.out / "table.md").write_text(table + "\n")
    print(table)
    return table


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("setting", help="name under which the runs are stored")
    add("models", type=Path, help="folder with target, draft and ngram.npz, or 'bundled'")
    add("--out", type=Path, required=True)
    add("--data", type=Path, help="folder with prompts/HumanEval.jsonl")
    add("--entries", nargs="+", default=OURS, help="our decoders; 'chain 5' drafts chains of 5 tokens")
    add("--peers", nargs="*", default=["with_transformers"], help="modules of benchmarks/decoders")
    add("--peer-python", type=Path, help="interpreter for peers other than transformers")
    add("--choosing", nargs="+", choices=["greedy", "top-k"], default=["greedy", "top-k"])
    add("--prompts", type=int, default=4)
    add("--at-once", type=int, help="number of prompts per round, in rotation; default: all")
    add("--peer-prompts", type=int, default=1, help="number of prompts per round for peers, which are slow")
    add("--tokens", type=int, default=128)
    add("--rounds", type=int, default=5)
    add("--first-round", type=int, default=0, help="number of the first round; also the seed of its noise")
    add("--seconds", type=float, default=float("inf"), help="time after which no round starts")
    add("--threads", type=int, default=2)
    add("--bandwidth-bytes", type=int, default=BANDWIDTH_BYTES)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
