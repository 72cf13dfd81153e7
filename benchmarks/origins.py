"""Record an answer of SmolLM2 with the origin of each token, for a picture in the documentation.

The staged decoder of the demo answers: lookup drafts for the 4-bit copy, which drafts for the weights in bfloat16. Example:

    python benchmarks/origins.py --out benchmarks/results/<date>_origins
    python benchmarks/pictures.py origins benchmarks/results/<date>_origins docs/assets/origins.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from etesian.bench import machine
from etesian.decode import FixedPolicy, Sampling
from etesian.suite.decoding import SMOLLM2, load_models, make_decoder
from etesian.suite.prompts import REQUESTS, as_chatml


def answer(models: str, request: str, n_tokens: int) -> dict[str, Any]:
    """Answer a request, with drafts in every pass."""
    decoder = make_decoder("staged", models)
    decoder.policy = FixedPolicy(max_nodes=8, max_depth=8)
    sampling = Sampling(stop_tokens=load_models(models).end_tokens)
    out = decoder.generate(as_chatml(request), sampling, max_tokens=n_tokens)
    plain = decoder.generate(as_chatml(request), sampling, max_tokens=n_tokens, speculate=False)
    assert decoder.drafter is not None
    return {
        "request": request,
        "stages": [*decoder.drafter.stages, "target"],
        "texts": out.texts,
        "origins": out.origins,
        "passes": out.stats.passes,
        "identical to plain": out.token_ids == plain.token_ids,
        "machine": machine.describe(),
    }


def main(arguments: list[str] | None = None) -> None:
    """Record the answer to a request of the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default=SMOLLM2)
    parser.add_argument("--request", type=int, default=0, help="number of the request in etesian.suite.prompts")
    parser.add_argument("--tokens", type=int, default=96)
    given = parser.parse_args(arguments)
    record = answer(given.models, REQUESTS[given.request], given.tokens)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "records.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
