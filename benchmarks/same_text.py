"""Whether decoding in stages writes plain decoding's tokens, counted on real prompts: law B1 on HumanEval's 164.

Each prompt is continued twice, plainly and speculating, greedily and sampled, in each type of numbers; a line of `runs.jsonl` in
the folder `--out` says for each pair whether all token ids are equal. What the file holds already is not run again. Example:

    python benchmarks/same_text.py bundled --data ../shared/data --out benchmarks/results/<date>_same_text
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decoders.prompts import Prompts, read_human_eval

from etesian.bench import machine
from etesian.decode import GREEDY, Decoder, FixedPolicy, LoadOptions, Sampling
from etesian.decode.models.loading import NumberType

TOP_K = 50
POLICIES = ("measured", "fixed")
Place = tuple[str, str, str, str]
"""Number type, choosing, policy and prompt."""


def compare(asked: argparse.Namespace, prompts: Prompts, done: set[Place]) -> Iterator[dict[str, Any]]:
    """One record for each pair of texts that is not done."""
    for dtype in asked.dtypes:
        decoder = Decoder.load(asked.models, options=LoadOptions(dtype=dtype))
        measured = decoder.policy
        for seed, (name, prompt) in enumerate(prompts.items()):
            for choosing, sampling in samplings(seed).items():
                todo = [policy for policy in POLICIES if (dtype, choosing, policy, name) not in done]
                if not todo:
                    continue
                plain = decoder.generate(prompt, sampling, max_tokens=asked.tokens, speculate=False)
                for policy in todo:
                    decoder.policy = measured if policy == "measured" else FixedPolicy()
                    staged = decoder.generate(prompt, sampling, max_tokens=asked.tokens)
                    yield {
                        "dtype": dtype,
                        "choosing": choosing,
                        "policy": policy,
                        "prompt": name,
                        "tokens": len(plain.token_ids),
                        "passes": staged.stats.passes,
                        "identical": staged.token_ids == plain.token_ids,
                    }


def samplings(seed: int) -> dict[str, Sampling]:
    """Greedy, and from the likeliest 50 at a temperature of 1 with a prompt's own noise."""
    return {"greedy": GREEDY, f"top-k {TOP_K}": Sampling(temperature=1.0, top_k=TOP_K, seed=seed)}


def read_done(runs: Path) -> list[dict[str, Any]]:
    """Records of earlier calls."""
    return [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []


def as_text(records: list[dict[str, Any]]) -> str:
    """Counts of identical texts."""
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for record in records:
        count = counts.setdefault((record["dtype"], record["choosing"], record["policy"]), Counter())
        count.update(texts=1, identical=record["identical"], tokens=record["tokens"], passes=record["passes"])
    lines = [
        "| numbers | choosing | trees | identical | tokens | tokens a pass |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {' | '.join(name)} | {count['identical']} of {count['texts']} | {count['tokens']:,} "
        f"| {count['tokens'] / count['passes']:.2f} |"
        for name, count in sorted(counts.items())
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run what the command line asks for and what is not done; returns all records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="?", default="bundled")
    parser.add_argument("--data", type=Path, required=True, help="folder with prompts/HumanEval.jsonl")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompts", type=int, help="the first so many alone")
    parser.add_argument("--dtypes", nargs="+", choices=NumberType.__args__, default=["bf16", "fp32"])
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    runs = asked.out / "runs.jsonl"
    records = read_done(runs)
    done = {(record["dtype"], record["choosing"], record["policy"], record["prompt"]) for record in records}
    prompts = dict(list(read_human_eval(asked.data).items())[: asked.prompts])
    with runs.open("a", buffering=1) as file:
        for record in compare(asked, prompts, done):
            records.append(record)
            print(json.dumps(record), file=file)
    table = as_text(records)
    (asked.out / "table.md").write_text(table + "\n")
    (asked.out / "machine.json").write_text(json.dumps(machine.describe(), indent=1) + "\n")
    print(table)
    return records


if __name__ == "__main__":
    main()
