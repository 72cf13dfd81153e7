"""Check that speculative decoding generates the tokens of plain decoding: law B1 on the 164 prompts of HumanEval.

Each prompt is continued with plain and speculative decoding, greedy and sampled, in each type of weights. For each pair, a line of
`runs.jsonl` in the folder `--out` records whether all token ids are equal. Pairs already in the file are skipped, so that several
calls with `--seconds` add up. Example:

    python benchmarks/same_text.py smollm2 --dtypes auto q8_0 bf16 --data ../shared/data --out benchmarks/results/<date>_same_text
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from decoders.prompts import Prompts, read_human_eval

from etesian.bench import machine
from etesian.decode import GREEDY, Decoder, FixedPolicy, LoadOptions, Sampling
from etesian.decode.models.loading import NumberType, QuantizedType

TOP_K = 50
FIXED_NODES = 8
POLICIES = ("measured", "fixed")
Place = tuple[str, str, str, str]
"""Type of weights, choosing, policy and prompt."""


def compare(given: argparse.Namespace, prompts: Prompts, done: set[Place]) -> Iterator[dict[str, Any]]:
    """Yield a record for each missing pair of texts."""
    for dtype in given.dtypes:
        decoder = Decoder.load(given.models, options=load_options(dtype))
        measured = decoder.policy
        for seed, (name, prompt) in enumerate(prompts.items()):
            for choosing, sampling in samplings(seed).items():
                todo = [policy for policy in given.policies if (dtype, choosing, policy, name) not in done]
                if not todo:
                    continue
                plain = decoder.generate(prompt, sampling, max_tokens=given.tokens, speculate=False)
                for policy in todo:
                    decoder.policy = measured if policy == "measured" else FixedPolicy(FIXED_NODES)
                    staged = decoder.generate(prompt, sampling, max_tokens=given.tokens)
                    yield {
                        "dtype": dtype,
                        "choosing": choosing,
                        "policy": policy,
                        "prompt": name,
                        "tokens": len(plain.token_ids),
                        "passes": staged.stats.passes,
                        "identical": staged.token_ids == plain.token_ids,
                    }


def load_options(dtype: str) -> LoadOptions:
    """Return the options for a number type, or for a block type that matrices are rounded to."""
    if dtype in get_args(QuantizedType):
        return LoadOptions(quantize=dtype)
    return LoadOptions(dtype=dtype)


def samplings(seed: int) -> dict[str, Sampling]:
    """Return greedy decoding, and top-k 50 sampling at temperature 1 with a seed per prompt."""
    return {"greedy": GREEDY, f"top-k {TOP_K}": Sampling(temperature=1.0, top_k=TOP_K, seed=seed)}


def read_done(runs: Path) -> list[dict[str, Any]]:
    """Read the records of earlier calls."""
    return [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []


def as_text(records: list[dict[str, Any]]) -> str:
    """Format the counts of identical texts as a table."""
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for record in records:
        count = counts.setdefault((record["dtype"], record["choosing"], record["policy"]), Counter())
        count.update(texts=1, identical=record["identical"], tokens=record["tokens"], passes=record["passes"])
    lines = [
        "| weights | choosing | trees | identical | tokens | tokens per pass |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {' | '.join(name)} | {count['identical']} of {count['texts']} | {count['tokens']:,} "
        f"| {count['tokens'] / count['passes']:.2f} |"
        for name, count in sorted(counts.items())
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the missing pairs from the command line, and return all records."""
    types = [*get_args(NumberType), *get_args(QuantizedType)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="?", default="smollm2")
    parser.add_argument("--data", type=Path, required=True, help="folder with prompts/HumanEval.jsonl")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompts", type=int, help="number of prompts; default: all")
    parser.add_argument("--dtypes", nargs="+", choices=types, default=["bf16", "fp32"])
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time after which no pair starts")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    runs = given.out / "runs.jsonl"
    records = read_done(runs)
    done = {(record["dtype"], record["choosing"], record["policy"], record["prompt"]) for record in records}
    prompts = dict(list(read_human_eval(given.data).items())[: given.prompts])
    started = time.monotonic()
    with runs.open("a", buffering=1) as file:
        for record in compare(given, prompts, done):
            records.append(record)
            print(json.dumps(record), file=file)
            if time.monotonic() - started > given.seconds:
                break
    table = as_text(records)
    (given.out / "table.md").write_text(table + "\n")
    (given.out / "machine.json").write_text(json.dumps(machine.describe(), indent=1) + "\n")
    print(table)
    return records


if __name__ == "__main__":
    main()
