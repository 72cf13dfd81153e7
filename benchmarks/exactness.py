"""Check laws A1 and B1 on many random problems: any number of threads gives the serial bits, any drafter the plain tokens.

Sparse: random ratings, word pairs and linear problems are run for two epochs with each schedule on 1, 2, 3 and 7 threads, and the
variables are compared bit for bit with a single thread's. A record counts the fits in which a batch really was shared by several
threads. Decoding: random requests, greedy and sampled, are decoded with and without drafts by tiny models of several families in
several number types, and the token ids are compared.

Work that the folder `--out` already holds is skipped, so that the command can be repeated until it is done. Example:

    python benchmarks/exactness.py --out benchmarks/results/<date>_exactness --minutes 10
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from records import report
from scipy.sparse import random_array

THREADS = (1, 2, 3, 7)
SAME_BITS = ("conflict_free", "levels")
OWN_ORDER = {"Ratings": ("blocked",), "Linear": ("merged",), "WordPairs": ()}
FAMILIES = ("llama", "qwen2", "gemma2", "gpt2")
NUMBER_TYPES = ("fp32", "bf16", "q8_0", "q4_0")
TESTS = Path(__file__).parents[1] / "tests"


def random_problem(number: int) -> Any:
    """Return random problem `number`; a third each are ratings, word pairs and linear."""
    from etesian.sparse import Linear, Ratings, WordPairs
    from etesian.sparse.problems.losses import CLASSIFICATION, REGRESSION
    from etesian.sparse.problems.penalties import L1, L2

    rng = np.random.default_rng([1, number])
    n = int(rng.integers(300, 40_000 if number % 3 == 0 else 6_000))  # a schedule in blocks needs thousands per block
    n_left, n_right = (int(each) for each in rng.integers(n // 20 + 8, n, 2))
    skew = rng.uniform(1.0, 1.6)
    left = (n_left * rng.random(n) ** skew).astype(np.int64)
    if number % 3 == 0:
        dtype = ("float32", "float64")[rng.integers(2)]
        right, rating = (n_right * rng.random(n) ** skew).astype(np.int64), rng.normal(3, 1, n).astype(dtype)
        return Ratings(left, right, rating, n_left, n_right, n_factors=8, penalty=0.02, biased=bool(rng.integers(2)))
    if number % 3 == 1:
        right = (left + 1 + rng.integers(0, n_left - 1, n)) % n_left
        return WordPairs(left, right, rng.integers(1, 90, n).astype(float), n_left, n_dimensions=8, dtype=np.float32)
    X = random_array((n, n_right), density=rng.uniform(1, 5) / n_right, rng=rng, format="csr")
    penalty = (L2(1e-3), L1(1e-3))[rng.integers(2)]
    target = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    reduction = (None, "saga")[rng.integers(2)]
    return Linear(
        X, target, (CLASSIFICATION["logistic"], REGRESSION["squared"])[rng.integers(2)], penalty, reduction=reduction
    )


def fit(problem: Any, schedule: str, n_threads: int, seed: int) -> tuple[list[bytes], bool]:
    """Return the bytes of all variables after two epochs, and whether several threads shared a batch."""
    from etesian.sparse import SGD, Epochs, Workers

    with Workers(n_threads) as workers:
        run = Epochs(problem, workers, method=SGD(0.01), schedule=schedule, random_state=seed)
        is_shared = False
        for _ in range(2):
            run.advance()
            is_shared |= any(sum(len(part) > 0 for part in batch) > 1 for batch in run.plan.batches())
        return [variable.tobytes() for variable in run.variables], is_shared


def sparse_records(numbers: range) -> Iterator[dict[str, Any]]:
    """Yield one record for each problem and schedule."""
    for number in numbers:
        problem = random_problem(number)
        for schedule in (*SAME_BITS, *OWN_ORDER[type(problem).__name__]):
            reference, _ = fit(problem, "serial" if schedule in SAME_BITS else schedule, 1, number)
            found = [fit(problem, schedule, n_threads, number) for n_threads in THREADS]
            yield {
                "part": "sparse",
                "number": number,
                "kind": type(problem).__name__,
                "schedule": schedule,
                "fits": len(found),
                "shared": sum(is_shared for _, is_shared in found),
                "different": sum(variables != reference for variables, _ in found),
            }


def decoding_records(numbers: range) -> Iterator[dict[str, Any]]:
    """Yield one record for each request."""
    from etesian.decode import GREEDY

    for number in numbers:
        rng = np.random.default_rng([2, number])
        place = FAMILIES[number % len(FAMILIES)], NUMBER_TYPES[number // len(FAMILIES) % len(NUMBER_TYPES)]
        plain, staged = tiny_decoder(*place)
        prompt = rng.integers(3, 60, rng.integers(1, 60)).tolist()
        sampling = random_sampling(rng)
        one, other = (each.generate(prompt, sampling, max_tokens=40) for each in (plain, staged))
        yield {
            "part": "decoding",
            "number": number,
            "kind": " ".join(place),
            "schedule": "greedy" if sampling == GREEDY else "sampled",
            "fits": 1,
            "shared": int(other.stats.passes < len(other.token_ids)),
            "different": int(one.token_ids != other.token_ids),
        }


def random_sampling(rng: np.random.Generator) -> Any:
    """Return greedy decoding for a third of the requests, and random sampling options for the others."""
    from etesian.decode import GREEDY, Sampling

    if rng.random() < 1 / 3:
        return GREEDY
    return Sampling(
        temperature=float(rng.uniform(0.3, 1.5)),
        top_k=int(rng.integers(1, 40)) if rng.random() < 0.5 else None,
        top_p=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.5 else None,
        seed=int(rng.integers(1 << 30)),
    )


@cache
def tiny_decoder(family: str, number_type: str) -> tuple[Any, Any]:
    """Return a plain decoder, and one that drafts by lookup and by a similar model, of a random model of a family."""
    sys.path.insert(0, str(TESTS / "decode" / "models"))
    import torch
    from tiny_models import tiny_model

    from etesian.decode import CombinedDrafter, CpuModel, Decoder, FixedPolicy, LookupDrafter, ModelDrafter

    shape = {"n_embd": 64} if family == "gpt2" else {"hidden_size": 64, "intermediate_size": 96}
    model = tiny_model(family, **shape)
    quantize = number_type if number_type.startswith("q") else None

    def packed(source: Any) -> Any:
        dtype = torch.bfloat16 if number_type == "bf16" else torch.float32
        return CpuModel.from_transformers(source.to(dtype), quantize=quantize)

    target = packed(model)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    drafter = CombinedDrafter([ModelDrafter(packed(model), None), LookupDrafter()])
    return Decoder(target), Decoder(target, drafter, policy=FixedPolicy())


PARTS: dict[str, Callable[[range], Iterator[dict[str, Any]]]] = {"sparse": sparse_records, "decoding": decoding_records}


def table_of(records: list[dict[str, Any]]) -> str:
    """Format the counts by part and schedule."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for record in records:
        count = counts.setdefault((record["part"], record["schedule"]), Counter())
        count.update(cases=1, **{name: record[name] for name in ("fits", "shared", "different")})
    lines = [
        "| part | schedule or choosing | cases | runs | in parallel or drafted | different |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {' | '.join(name)} | {count['cases']:,} | {count['fits']:,} | {count['shared']:,} | {count['different']:,} |"
        for name, count in sorted(counts.items())
    ]
    return "\n".join(lines)


def read_done(path: Path) -> list[dict[str, Any]]:
    """Read the records of earlier calls."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the missing cases from the command line, and return all records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=2_000)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after this time; the next call continues"
    )
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    cases = asked.out / "cases.jsonl"
    records, deadline = read_done(cases), time.monotonic() + 60 * asked.minutes
    with cases.open("a", buffering=1) as file:
        for part, count in (("decoding", asked.requests), ("sparse", asked.problems)):
            first = max((record["number"] + 1 for record in records if record["part"] == part), default=0)
            for number in range(first, count):
                if time.monotonic() > deadline:
                    break
                new = list(PARTS[part](range(number, number + 1)))
                records += new
                file.write("".join(json.dumps(record) + "\n" for record in new))
    report(
        [{"cases": len(records), "different": sum(record["different"] for record in records)}],
        table_of(records),
        asked.out,
    )
    return records


if __name__ == "__main__":
    main()
