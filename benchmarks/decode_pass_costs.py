"""Milliseconds of a forward pass by number of rows: the packed CPU model, transformers, products alone, and lower bounds.

A randomly initialized GPT-2 of the given shape in bfloat16, after a text of some tokens. The row counts of a round are timed
one after another, alternating between both models; ratios are computed within each round. Two lower bounds: the bytes of the
weights divided by the bandwidth of summing a large array, and two operations per weight and row divided by the rate of a
product that stays in the cache. Example:

    python benchmarks/decode_pass_costs.py --out benchmarks/results/2026-11-23_pass_costs
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from timing import cell, seconds_of, spread

from etesian import __version__
from etesian.bench import machine
from etesian.decode.models.cpu import forward, products
from etesian.decode.models.cpu.context import CpuContext
from etesian.decode.models.cpu.model import CpuModel
from etesian.decode.models.cpu.tiles import PANEL, TILE_ROWS

ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 64)
SHAPES = {"paper": (1280, 36, 20, 50_257), "toy": (64, 2, 2, 300)}  # width, layers, heads, vocabulary


def make_reference(shape: tuple[int, int, int, int], n_positions: int) -> Any:
    """Return a randomly initialized GPT-2 with `Linear` instead of `Conv1D`, which is faster in transformers."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config

    width, n_layers, n_heads, n_tokens = shape
    config = GPT2Config(
        n_embd=width, n_layer=n_layers, n_head=n_heads, vocab_size=n_tokens, n_positions=n_positions,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    with torch.device("meta"):  # regular initialization takes half a minute at the paper's scale
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model = model.to_empty(device="cpu").eval()
    model.tie_weights()
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.uniform_(-0.03, 0.03)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == "Conv1D":
                linear = torch.nn.Linear(1, 1)
                linear.weight = torch.nn.Parameter(child.weight.detach().T.contiguous(), requires_grad=False)
                linear.bias = child.bias
                setattr(module, name, linear)
    return model


def read_text(model: CpuModel, n_kept: int) -> CpuContext:
    """Read a random text of a given number of tokens."""
    context = model.context()
    context.extend(np.random.default_rng(0).integers(0, model.vocabulary_size, n_kept))
    return context


def packed_pass(context: CpuContext, n_tokens: int, n_rows: int) -> Callable[[], Any]:
    """Score a binary tree of random tokens after a text."""
    n_kept = context.length
    tokens = np.random.default_rng(n_rows).integers(0, n_tokens, n_rows)
    parents = (np.arange(n_rows) + 1) // 2 - 1

    def work() -> None:
        context.truncate(n_kept)
        context.score(tokens, parents)

    return work


def filled_cache(model: Any, n_kept: int) -> Any:
    """Return a transformers cache of keys and values for a text of the same length."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(torch.zeros(1, n_kept, dtype=torch.long), past_key_values=cache, logits_to_keep=1)
    return cache


def transformers_pass(model: Any, cache: Any, n_rows: int) -> Callable[[], Any]:
    """Score the same number of tokens with transformers."""
    import torch

    def work() -> None:
        with torch.inference_mode():
            model(torch.zeros(1, n_rows, dtype=torch.long), past_key_values=cache, use_cache=True)
        cache.crop(-n_rows)

    return work


def pack_for_onednn(model: Any) -> list[tuple[int, Any]]:
    """Return the input width and the oneDNN-packed weights of every product."""
    import torch

    weights = [m.weight.detach() for m in model.modules() if isinstance(m, torch.nn.Linear)]
    return [(w.shape[1], torch.ops.mkldnn._reorder_linear_weight(w, 16)) for w in weights]


def onednn_products(packed: list[tuple[int, Any]], n_rows: int) -> Callable[[], Any]:
    """Compute only the same products, on random inputs, one per width."""
    import torch

    multiply = torch.ops.mkldnn._linear_pointwise
    inputs = {width: torch.randn(n_rows, width, dtype=torch.bfloat16) for width, _ in packed}

    def work() -> None:
        with torch.inference_mode():
            for width, weight in packed:
                multiply(inputs[width], weight, None, "none", [], "")

    return work


def bandwidth(n_bytes: int) -> float:
    """Return the bytes per second of a sum."""
    import torch

    numbers = torch.ones(n_bytes // 4)
    numbers.sum()
    return n_bytes / min(seconds_of(numbers.sum) for _ in range(7))


def operations_a_second(model: CpuModel, repeats: int) -> float:
    """Return the operations per second of a panel that stays in the cache, on all threads together."""
    width, n_rows = 1_024, 8 * TILE_ROWS
    x = np.zeros(n_rows * products.stride_of(width), np.uint16)
    panel = np.zeros(width * PANEL, np.uint16)
    outs = [np.zeros(n_rows * PANEL, np.float32) for _ in range(model.n_threads)]

    def work(worker: int) -> None:
        for _ in range(repeats):
            products._multiply_panel(x, n_rows, width, 2, panel, 0, outs[worker], 0)

    with ThreadPoolExecutor(model.n_threads) as threads:

        def work_on_all() -> None:
            list(threads.map(work, range(model.n_threads)))

        work_on_all()
        seconds = min(seconds_of(work_on_all) for _ in range(7))
    return 2.0 * n_rows * width * PANEL * repeats * model.n_threads / seconds


def compare(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a record for each number of rows."""
    import torch

    torch.set_num_threads(given.threads)
    reference = make_reference(SHAPES["toy" if given.toy else "paper"], 2 * given.kept + max(ROWS))
    model = CpuModel.from_transformers(reference, n_threads=given.threads)
    n_bytes, n_repeats = (4_000_000, 2) if given.toy else (2_000_000_000, 50)
    read, rate = bandwidth(n_bytes), operations_a_second(model, n_repeats)
    context, cache = read_text(model, given.kept), filled_cache(reference, given.kept)
    packed = pack_for_onednn(reference) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None

    def works(n_rows: int) -> dict[str, Callable[[], Any]]:
        found = {
            "ours": packed_pass(context, model.vocabulary_size, n_rows),
            "one row": packed_pass(context, model.vocabulary_size, 1),
            "transformers": transformers_pass(reference, cache, n_rows),
        }
        return found if packed is None else found | {"onednn": onednn_products(packed, n_rows)}

    found = {n_rows: interleave(works(n_rows), given.rounds) for n_rows in ROWS}
    read, rate = max(read, bandwidth(n_bytes)), max(rate, operations_a_second(model, n_repeats))  # before and after
    return [as_record(model, n_rows, found[n_rows], bandwidth_reached=read, rate=rate) for n_rows in ROWS]


def interleave(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Return the seconds of each, round by round, after one warm-up round."""
    for work in works.values():
        work()
    seconds = [{name: seconds_after_rest(work) for name, work in works.items()} for _ in range(rounds)]
    return {name: np.array([row[name] for row in seconds]) for name in works}


def seconds_after_rest(work: Callable[[], Any]) -> float:
    """Return the seconds of a call that starts after torch's threads have stopped spinning."""
    time.sleep(0.02)
    return seconds_of(work)


def as_record(
    model: CpuModel, n_rows: int, seconds: dict[str, np.ndarray], *, bandwidth_reached: float, rate: float
) -> dict[str, Any]:
    """Return medians and spreads for one number of rows."""
    n_weights = len(model.weights.packed)
    return {
        "rows": n_rows,
        "rows are exact": model.traits.rows_are_exact,
        "ours ms": spread(1e3 * seconds["ours"]),
        "over one row": spread(seconds["ours"] / seconds["one row"]),
        "transformers ms": spread(1e3 * seconds["transformers"]),
        "transformers over ours": spread(seconds["transformers"] / seconds["ours"]),
        "onednn products ms": spread(1e3 * seconds["onednn"]) if "onednn" in seconds else None,  # needs bfloat16 units
        "memory floor ms": 1e3 * model.weight_bytes / bandwidth_reached,
        "arithmetic floor ms": 1e3 * 2 * n_weights * n_rows / rate,
        "gigabytes a second": bandwidth_reached / 1e9,
        "gigaoperations a second": rate / 1e9,
        "outside the kernel": share_outside(model, n_rows),
    }


def share_outside(model: CpuModel, n_rows: int) -> float:
    """Return the share of a pass outside the compiled loop in the calling thread, including waiting for other threads."""
    inside: list[float] = []
    run_pass = forward.run_pass

    def timed(worker: int, *arguments: Any) -> None:
        seconds = seconds_of(lambda: run_pass(worker, *arguments))
        if worker == 0:
            inside.append(seconds)

    work = packed_pass(read_text(model, 16), model.vocabulary_size, n_rows)
    work()
    forward.run_pass = timed
    try:
        whole = sum(seconds_of(work) for _ in range(9))
    finally:
        forward.run_pass = run_pass
    return 1 - sum(inside) / whole


def as_text(records: list[dict[str, Any]]) -> str:
    """Format the results as a table."""
    lines = [
        "| rows | ours ms | over one row | transformers ms | transformers / ours | oneDNN products alone ms "
        "| memory floor ms | arithmetic floor ms | outside the kernel |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['rows']} | {cell(r['ours ms'], 1)} | {cell(r['over one row'], 2)} | {cell(r['transformers ms'], 1)} "
        f"| {cell(r['transformers over ours'], 2)} | {'' if r['onednn products ms'] is None else cell(r['onednn products ms'], 1)} "
        f"| {r['memory floor ms']:.1f} | {r['arithmetic floor ms']:.1f} | {r['outside the kernel']:.1%} |"
        for r in records
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kept", type=int, default=200, help="tokens of the text before the tree")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--toy", action="store_true", help="tiny model for testing the script; the times are meaningless"
    )
    parser.add_argument("--out", type=Path, help="folder for records.json and table.md")
    given = parser.parse_args(arguments)
    records = compare(given)
    table = as_text(records)
    print(table)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        whole = {"version": __version__, "arguments": sys.argv[1:], "machine": machine.describe(), "results": records}
        (given.out / "records.json").write_text(json.dumps(whole, indent=1) + "\n")
        (given.out / "table.md").write_text(table + "\n")
    return records


if __name__ == "__main__":
    main()
