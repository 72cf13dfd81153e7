"""Time of `generate` with `custom_generate=speculative()`, relative to transformers' own loop, on SmolLM2.

Each round continues every prompt both ways, in alternating order, greedy and sampled. The first call of each prepares models and
is not counted. Runs are appended to `runs.jsonl` in the folder `--out`; rounds in that file are skipped. Example:

    python benchmarks/custom_generate.py --out benchmarks/results/<date>_custom_generate --dtypes fp32 bf16
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from etesian.bench import machine
from etesian.decode import speculative
from etesian.decode.models.loading.catalog import find_gguf
from etesian.decode.models.loading.gguf import load_gguf
from etesian.suite.prompts import REQUESTS, as_chatml

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CHOOSING: dict[str, dict[str, Any]] = {"greedy": {"do_sample": False}, "top-k 50": {"do_sample": True, "top_k": 50}}
WAYS = ("transformers", "custom_generate")


def rounds(given: argparse.Namespace, done: set[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    """Yield a record for each missing run."""
    file = find_gguf("smollm2")
    assert file is not None
    tokenizer = load_gguf(file)[1]
    prompts = [torch.tensor([tokenizer.encode(as_chatml(text))]) for text in REQUESTS[: given.prompts]]
    for dtype in given.dtypes:
        missing = [number for number in range(given.rounds) if (dtype, number) not in done]
        if not missing:
            continue
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=DTYPES[dtype]).eval()
        door = speculative()
        for way in WAYS:  # not counted
            write(model, prompts[0], way, door, CHOOSING["greedy"], given.tokens)
        for number in missing:
            for place, prompt in enumerate(prompts):
                for choosing, options in CHOOSING.items():
                    for way in WAYS if (number + place) % 2 else WAYS[::-1]:
                        torch.manual_seed(number)
                        seconds, tokens = write(model, prompt, way, door, options, given.tokens)
                        yield {
                            "dtype": dtype,
                            "round": number,
                            "prompt": place,
                            "choosing": choosing,
                            "way": way,
                            "seconds": seconds,
                            "tokens": tokens,
                        }


def write(
    model: Any, prompt: torch.Tensor, way: str, door: Any, options: dict[str, Any], n_tokens: int
) -> tuple[float, list[int]]:
    """Continue a prompt by a number of tokens; return the seconds and the tokens."""
    how = {"custom_generate": door} if way == "custom_generate" else {}
    given = {"max_new_tokens": n_tokens, "pad_token_id": 0, "attention_mask": torch.ones_like(prompt)}
    model.generation_config.eos_token_id = None  # so that all outputs have the same length
    started = time.perf_counter()
    out = model.generate(prompt, **given, **options, **how)
    return time.perf_counter() - started, out[0, prompt.shape[1] :].tolist()


def as_text(records: Sequence[dict[str, Any]]) -> str:
    """Format the ratios of each round as a table."""
    seconds: dict[tuple[str, str], dict[tuple[int, int], dict[str, dict[str, Any]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for record in records:
        seconds[record["dtype"], record["choosing"]][record["round"], record["prompt"]][record["way"]] = record
    lines = [
        "| numbers | choosing | time over transformers: median, quartiles | same text |",
        "| --- | --- | ---: | ---: |",
    ]
    for (dtype, choosing), pairs in seconds.items():
        whole = [pair for pair in pairs.values() if len(pair) == len(WAYS)]
        ratios = [pair["custom_generate"]["seconds"] / pair["transformers"]["seconds"] for pair in whole]
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        same = sum(pair["custom_generate"]["tokens"] == pair["transformers"]["tokens"] for pair in whole)
        shown = f"{same} of {len(whole)}" if choosing == "greedy" else "-"  # samples draw other noise
        lines.append(f"| {dtype} | {choosing} | {middle:.3f}, {low:.3f} to {high:.3f} | {shown} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> str:
    """Run the missing rounds from the command line, and return the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dtypes", nargs="+", choices=tuple(DTYPES), default=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=len(REQUESTS))
    parser.add_argument("--tokens", type=int, default=64)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    runs = given.out / "runs.jsonl"
    records = [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []
    done = {(record["dtype"], record["round"]) for record in records}
    with runs.open("a", buffering=1) as file:
        for record in rounds(given, done):
            records.append(record)
            print(json.dumps(record), file=file)
    table = as_text(records)
    (given.out / "table.md").write_text(table + "\n")
    (given.out / "machine.json").write_text(json.dumps(machine.describe(), indent=1) + "\n")
    print(table)
    return table


if __name__ == "__main__":
    main()
