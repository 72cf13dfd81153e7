"""MAIN PATH: speed of drafts relative to plain decoding on six kinds of use, with eight prompts each and three samplings.

Each prompt is continued by all entries in turn, in an order that rotates, so that ratios are taken under the same load. Runs are
appended to `runs.jsonl` in `--out`; a call skips runs that are there already and stops after `--seconds`, so short calls add up.
`table.md` is regenerated from all runs. Peers, which are modules of `benchmarks/decoders`, continue the same tokens in processes of
their own, greedily or with top-k sampling. Examples:

    python benchmarks/decoding_by_use.py q4_1 smollm2 --out runs/uses --seconds 240
    python benchmarks/decoding_by_use.py bf16 runs/smollm2-bf16 --draft self --out runs/uses --seconds 240
    python benchmarks/decoding_by_use.py q4_1 smollm2 --peers gguf_with_llama_cpp --peer-python ../llama/bin/python --out runs/uses
    python benchmarks/decoding_by_use.py "762M bf16" runs/smollm2-762m --draft self --prompts 2 --out runs/uses --seconds 300
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from decoders.serving import Peer
from decoders.written import Choosing, Written
from timing import cell, spread

from etesian.bench import machine
from etesian.decode import GREEDY, Decoder, LoadOptions, LookupDrafter, Sampling, Speculation
from etesian.decode.models.loading.catalog import find_gguf
from etesian.decode.speculation.costs import cached_pass_costs

USES = Path(__file__).parent / "decoders" / "uses.json"
SAMPLINGS = {
    "greedy": GREEDY,
    "top-p": Sampling(temperature=0.8, top_p=0.95, seed=1),
    "top-k 50": Sampling(temperature=1.0, top_k=50, seed=1),
}
PEER_SAMPLINGS = {"greedy": Choosing(), "top-k 50": Choosing(50, 1)}
PLAIN = "plain"
WARM_UP_TOKENS = 48


class Run(NamedTuple):
    """What identifies a run."""

    setting: str
    sampling: str
    use: str
    prompt: int
    entry: str
    round: int


def main(arguments: list[str] | None = None) -> str:
    """Run what is missing until the time is over, and return the table."""
    asked = parse(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out / "runs.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {Run(*(line[name] for name in Run._fields)) for line in lines if "entry" in line}
    with ExitStack() as stack:
        peers = start_peers(asked, stack)
        missing = [run for run in planned(asked, list(peers)) if run not in done]
        if missing:
            decoders = load(asked)
            warm_up(decoders, peers, asked.tokens)
            lines.append(session(asked))
            append(file, lines[-1])
            for record in race(decoders, peers, missing, asked):
                lines.append(record)
                append(file, record)
    table = as_text([line for line in lines if "entry" in line])
    (asked.out / "table.md").write_text(table + "\n")
    print(table)
    return table


def start_peers(asked: argparse.Namespace, stack: ExitStack) -> dict[str, Peer]:
    """Start the peers, and return them by the names of their entries."""
    model = find_gguf(asked.model) or Path(asked.model)
    peers: dict[str, Peer] = {}
    for module in asked.peers:
        peer = Peer(module, [str(model.resolve()), str(asked.threads)], str(asked.peer_python or sys.executable))
        stack.callback(peer.close)
        peers |= dict.fromkeys(peer.names, peer)
    return peers


def planned(asked: argparse.Namespace, peers: Sequence[str] = ()) -> Iterator[Run]:
    """Yield all runs of a call, those of one prompt together, the kinds of use in turn."""
    ours = entries_of(asked)
    for number in range(asked.rounds):
        for prompt in range(asked.prompts):
            for sampling in asked.samplings:
                names = [*ours, *(peers if sampling in PEER_SAMPLINGS else ())]
                for turn, use in enumerate(asked.uses):
                    start = (number + prompt + turn) % len(names)
                    for entry in names[start:] + names[:start]:
                        yield Run(asked.setting, sampling, use, prompt, entry, number)


def entries_of(asked: argparse.Namespace) -> list[str]:
    """Return the names of the entries."""
    return [PLAIN, "lookup", *([f"lookup + {asked.draft_name or asked.draft}"] if asked.draft else [])]


def load(asked: argparse.Namespace) -> dict[str, Decoder]:
    """Load the target once, and give each entry its drafter."""
    options = LoadOptions(dtype=asked.dtype, quantize=asked.quantize)
    loaded = Decoder.load(asked.model, draft=asked.draft, options=options)

    def decoder(drafter: Any) -> Decoder:
        policy = Speculation(cached_pass_costs(loaded.target))
        return Decoder(
            loaded.target, drafter, loaded.tokenizer, end_tokens=loaded.end_tokens, policy=policy,
            chat_template=loaded.chat_template,
        )  # fmt: skip

    drafters = [None, LookupDrafter(), loaded.drafter]
    return {name: decoder(drafter) for name, drafter in zip(entries_of(asked), drafters, strict=False)}


def warm_up(decoders: dict[str, Decoder], peers: Mapping[str, Peer], n_tokens: int) -> None:
    """Continue one prompt with each entry, so that costs and acceptance are known."""
    for name, peer in peers.items():
        peer.write(
            name, prompt_tokens(decoders[PLAIN], "Name three rivers."), Choosing(), min(n_tokens, WARM_UP_TOKENS)
        )
    for decoder in decoders.values():
        for sampling in SAMPLINGS.values():
            decoder.chat([message("Name three rivers.")], sampling, max_tokens=min(n_tokens, WARM_UP_TOKENS))


def race(
    decoders: dict[str, Decoder], peers: Mapping[str, Peer], missing: Sequence[Run], asked: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield the records of missing runs until the time is over; runs of one prompt stay together."""
    prompts = json.loads(USES.read_text("utf-8"))
    started, texts = time.monotonic(), dict[tuple[Any, ...], tuple[int, ...]]()
    previous = None
    for run in missing:
        if run[:4] != previous and time.monotonic() - started > asked.seconds:
            return
        previous = run[:4]
        sampling, text = SAMPLINGS[run.sampling], prompts[run.use][run.prompt]
        if run.entry in peers:
            tokens = prompt_tokens(decoders[PLAIN], text)
            written: Written = peers[run.entry].write(run.entry, tokens, PEER_SAMPLINGS[run.sampling], asked.tokens)
            same = tuple(written.tokens) == texts.get((*run[:4], run.round), ())
            record = {"tokens": written.timed_tokens, "seconds": written.seconds, "same_text": same}
            yield {**run._asdict(), "is_peer": True, **record}
            continue
        out = decoders[run.entry].chat([message(text)], sampling, max_tokens=asked.tokens)
        expected = texts.setdefault((*run[:4], run.round), out.token_ids)
        stats = out.stats
        yield {
            **run._asdict(),
            "tokens": stats.tokens,
            "seconds": stats.seconds,
            "passes": stats.passes,
            "target_seconds": stats.target_seconds,
            "draft_seconds": stats.draft_seconds,
            "verify_seconds": stats.verify_seconds,
            "relative_weight_bytes": stats.relative_weight_bytes,
            "stages": [asdict(stage) for stage in stats.stages],
            "same_text": out.token_ids == expected,
        }


def prompt_tokens(decoder: Decoder, text: str) -> list[int]:
    """Return the tokens of a user's message in the chat template."""
    assert decoder.chat_template is not None
    return decoder.chat_template.encode([message(text)])


def message(text: str) -> dict[str, str]:
    """Return a user's message."""
    return {"role": "user", "content": text}


def session(asked: argparse.Namespace) -> dict[str, Any]:
    """Describe a call and the machine."""
    arguments = {name: named(value) for name, value in vars(asked).items()}
    return {
        "session": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "arguments": arguments,
        "machine": machine.describe(),
    }


def named(value: Any) -> Any:
    """Return a folder's name in place of its path, which says nothing on other machines."""
    is_path = isinstance(value, Path) or (isinstance(value, str) and Path(value).is_absolute())
    return Path(value).name if is_path else value


def append(file: Path, record: dict[str, Any]) -> None:
    """Append a line, so that an interrupted call loses no run."""
    with file.open("a") as lines:
        print(json.dumps(record), file=lines)


def as_text(runs: Sequence[dict[str, Any]]) -> str:
    """Format a table of ratios to plain decoding: median and quartiles over prompts, by use, and the mean over the uses."""
    groups: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        groups[run["setting"], run["sampling"]].append(run)
    sections = []
    for (setting, sampling), found in groups.items():
        uses = list(dict.fromkeys(run["use"] for run in found))
        entries = [entry for entry in dict.fromkeys(run["entry"] for run in found) if entry != PLAIN]
        header = ("entry", *uses, "mean", "tokens per pass", "weights read / plain", "draft and decisions", "same text")
        rows = [_row(entry, uses, found) for entry in entries]
        rule = ["---"] + ["---:"] * (len(header) - 1)
        table = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
        sections.append("\n".join([f"## {setting}, {sampling}", "", *table]))
    return "\n\n".join(sections)


def _row(entry: str, uses: Sequence[str], runs: Sequence[dict[str, Any]]) -> list[str]:
    speeds = {
        (run["use"], run["prompt"], run["round"], run["entry"]): run["tokens"] / run["seconds"]
        for run in runs
        if run["seconds"] > 0
    }
    cells, medians = [], []
    for use in uses:
        places = [key[:3] for key in speeds if key[0] == use and key[3] == entry and (*key[:3], PLAIN) in speeds]
        ratios = [speeds[(*place, entry)] / speeds[(*place, PLAIN)] for place in places]
        cells.append(cell(spread(ratios), 2) if ratios else "")
        medians += [float(np.median(ratios))] if ratios else []
    own = [run for run in runs if run["entry"] == entry]
    total = sum(run["seconds"] for run in own)
    mean = f"{np.mean(medians):.2f}" if medians else ""
    same = f"{sum(run['same_text'] for run in own)} of {len(own)}"
    if any(run.get("is_peer") for run in own):
        return [entry, *cells, mean, "", "", "", same]
    weights = [run["relative_weight_bytes"] for run in own if run["relative_weight_bytes"] is not None]
    return [
        entry,
        *cells,
        mean,
        f"{sum(run['tokens'] for run in own) / max(sum(run['passes'] for run in own), 1):.2f}",
        f"{np.mean(weights):.2f}" if weights else "",
        f"{sum(run['draft_seconds'] + run['verify_seconds'] for run in own) / max(total, 1e-9):.1%}",
        same,
    ]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    uses = list(json.loads(USES.read_text("utf-8")))
    add("setting", help="name under which the runs are stored")
    add("model", help="instruction-tuned target, as for Decoder.load")
    add("--draft", help="'self', a head or a draft model; default: lookup only")
    add("--draft-name", help="name of the draft in the table")
    add("--dtype", default="auto")
    add("--quantize", default=None)
    add("--peers", nargs="*", default=[], help="modules of benchmarks/decoders that continue prompts, too")
    add("--peer-python", type=Path, help="interpreter of the peers' environment; default: this one")
    add("--threads", type=int, default=2, help="threads of the peers")
    add("--out", type=Path, required=True)
    add("--uses", nargs="+", choices=uses, default=uses)
    add("--samplings", nargs="+", choices=list(SAMPLINGS), default=list(SAMPLINGS))
    add("--prompts", type=int, default=8, help="prompts of each kind")
    add("--tokens", type=int, default=96)
    add("--rounds", type=int, default=1)
    add("--seconds", type=float, default=float("inf"), help="time after which no further prompt starts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
