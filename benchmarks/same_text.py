"""Check that speculative decoding generates the tokens of plain decoding, on the prompts of HumanEval and of six kinds of use.

Each prompt is continued with plain and speculative decoding, with three kinds of sampling, in each type of weights and with each
draft. For each pair, a line of `runs.jsonl` in the folder `--out` records whether all token ids are equal (B1). Greedy pairs also
record whether keys and values equal those of the text read anew (B3). The draft `perfect` predicts the plain text, so that all of
it must be accepted (B4). Pairs already in the file are skipped, so that several calls with `--seconds` add up. Example:

    python benchmarks/same_text.py smollm2 --dtypes auto q8_0 bf16 --data ../shared/data --out benchmarks/results/<date>_same_text
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from decoders.prompts import Prompts, read_human_eval

from etesian.bench import machine
from etesian.decode import GREEDY, CallableDrafter, Decoder, Drafter, FixedPolicy, LoadOptions, LookupDrafter, Sampling
from etesian.decode.drafters.ngram import build_ngram
from etesian.decode.models.batching import CopiesBlocks
from etesian.decode.models.loading import NumberType, QuantizedType

USES = Path(__file__).parent / "decoders" / "uses.json"
TOP_K, TOP_P = 50, 0.95
FIXED_NODES = 8
POLICIES = ("measured", "fixed")
DRAFTS = ("auto", "lookup", "ngram", "self", "head", "perfect")
COPY = "self:q4_0"
NGRAM_TOKENS = 6_000
Place = tuple[str, str, str, str, str]
"""Type of weights, draft, choosing, policy and prompt."""


def compare(given: argparse.Namespace, prompts: Prompts, done: set[Place]) -> Iterator[dict[str, Any]]:
    """Yield a record for each missing pair of texts."""
    for dtype in given.dtypes:
        decoder = Decoder.load(given.models, options=load_options(dtype))
        measured, drafters = decoder.policy, {"auto": decoder.drafter}
        for seed, (name, prompt) in enumerate(prompts.items()):
            for choosing, sampling in samplings(seed).items():
                todo = [
                    (draft, policy)
                    for draft in given.drafts
                    for policy in given.policies
                    if (dtype, draft, choosing, policy, name) not in done
                ]
                if not todo:
                    continue
                plain = decoder.generate(prompt, sampling, max_tokens=given.tokens, speculate=False)
                for draft, policy in todo:
                    if draft == "perfect":
                        decoder.drafter = perfect(decoder, prompt, plain.token_ids)
                    else:
                        decoder.drafter = drafters.setdefault(draft, None) or new_drafter(draft, decoder, given, dtype)
                        drafters[draft] = decoder.drafter
                    decoder.can_speculate = True
                    decoder.policy = measured if policy == "measured" else FixedPolicy(FIXED_NODES)
                    staged = decoder.generate(prompt, sampling, max_tokens=given.tokens)
                    yield {
                        "dtype": dtype,
                        "draft": draft,
                        "choosing": choosing,
                        "policy": policy,
                        "prompt": name,
                        "tokens": len(plain.token_ids),
                        "passes": staged.stats.passes,
                        "proposed": sum(stage.proposed for stage in staged.stats.stages),
                        "accepted": sum(stage.accepted for stage in staged.stats.stages),
                        "identical": staged.token_ids == plain.token_ids,
                        "same cache": has_fresh_cache(decoder) if sampling.is_greedy else None,
                    }


def new_drafter(draft: str, decoder: Decoder, given: argparse.Namespace, dtype: str) -> Drafter:
    """Create a drafter by name."""
    if draft == "lookup":
        return LookupDrafter()
    if draft == "ngram":
        starts = (
            [decoder.tokenizer.encode(text) for text in ("def ", "The ", "{", "1. ")] if decoder.tokenizer else [[1]]
        )
        return build_ngram(decoder.target, n_tokens=NGRAM_TOKENS, starts=starts)
    if draft == "head" and given.head is None:
        raise SystemExit("--drafts head needs --head FOLDER")
    loaded = Decoder.load(given.models, draft=COPY if draft == "self" else given.head, options=load_options(dtype))
    assert loaded.drafter is not None
    return loaded.drafter


def perfect(decoder: Decoder, prompt: str, written: Sequence[int]) -> Drafter:
    """Return a drafter that predicts the plain text."""
    assert decoder.tokenizer is not None
    n_prompt = len(decoder.tokenizer.encode(prompt))
    return CallableDrafter(lambda tokens: list(written[len(tokens) - n_prompt :]), name="perfect")


def has_fresh_cache(decoder: Decoder) -> bool | None:
    """Return whether the last request left the keys and values of its text read anew; None if the model cannot copy them."""
    assert decoder._spare is not None
    context, tokens = decoder._spare
    fresh = decoder.target.context()
    fresh.extend(tokens)
    if not (isinstance(context, CopiesBlocks) and isinstance(fresh, CopiesBlocks)):
        return None
    kept, expected = (each.copy_block(0, len(tokens)).arrays for each in (context, fresh))
    return all(np.array_equal(one, other) for one, other in zip(kept, expected, strict=True))


def load_options(dtype: str) -> LoadOptions:
    """Return the options for a number type, or for a block type that matrices are rounded to."""
    if dtype in get_args(QuantizedType):
        return LoadOptions(quantize=dtype)
    return LoadOptions(dtype=dtype)


def samplings(seed: int) -> dict[str, Sampling]:
    """Return greedy decoding, top-p sampling at temperature 0.8 and top-k 50 at temperature 1, with a seed per prompt."""
    return {
        "greedy": GREEDY,
        f"top-p {TOP_P}": Sampling(temperature=0.8, top_p=TOP_P, seed=seed),
        f"top-k {TOP_K}": Sampling(temperature=1.0, top_k=TOP_K, seed=seed),
    }


def read_uses() -> Prompts:
    """Return our own prompts of six kinds of use."""
    kinds = json.loads(USES.read_text("utf-8"))
    return {f"{use}/{number}": text for use, texts in kinds.items() for number, text in enumerate(texts)}


def read_done(runs: Path) -> list[dict[str, Any]]:
    """Read the records of earlier calls."""
    return [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []


def as_text(records: list[dict[str, Any]]) -> str:
    """Format the counts of identical texts as a table."""
    counts: dict[tuple[str, str, str, str], Counter[str]] = {}
    for record in records:
        count = counts.setdefault((record["dtype"], record["draft"], record["choosing"], record["policy"]), Counter())
        names = ("identical", "tokens", "passes", "proposed", "accepted")
        count.update({"texts": 1} | {name: record[name] for name in names})
        if record["same cache"] is not None:
            count.update({"caches": 1, "same caches": record["same cache"]})
    lines = [
        "| weights | draft | choosing | trees | identical | same caches | tokens | tokens per pass | accepted |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {' | '.join(name)} | {count['identical']} of {count['texts']} "
        f"| {count['same caches']} of {count['caches']} | {count['tokens']:,} "
        f"| {count['tokens'] / count['passes']:.2f} | {count['accepted'] / max(count['proposed'], 1):.0%} |"
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
    parser.add_argument("--drafts", nargs="+", choices=DRAFTS, default=["auto"])
    parser.add_argument("--head", type=Path, help="folder of a draft head, for --drafts head")
    parser.add_argument("--uses", action="store_true", help="also the prompts of six kinds of use")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time after which no pair starts")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    runs = given.out / "runs.jsonl"
    records = read_done(runs)
    done = {tuple(record[name] for name in ("dtype", "draft", "choosing", "policy", "prompt")) for record in records}
    prompts = dict(list(read_human_eval(given.data).items())[: given.prompts])
    if given.uses:
        prompts = read_uses() | prompts
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
