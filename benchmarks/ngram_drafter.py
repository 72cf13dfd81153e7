"""Time of an N-gram model to draft a tree, and its file size, for the source of the standard library split into words.

The compiled call is timed by itself and within `propose`, at places all over held-out source, so that contexts are not
in the processor's caches more often than in use. Example:

    python benchmarks/ngram_drafter.py --tokens 3000000
"""

from __future__ import annotations

import argparse
import json
import re
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from timing import spread

from etesian.decode.drafters import ngram
from etesian.decode.drafters.drafter import DraftRequest
from etesian.decode.drafters.ngram import NgramDrafter
from etesian.decode.sampling import Chooser, Sampling

WORDS = re.compile(r"\w+|\s+|[^\w\s]")
SAMPLINGS = {"greedy": Sampling(), "sampled": Sampling(temperature=1.0, seed=1)}
NODES = (8, 16, 32)
MAX_DEPTH = 8


def source_tokens(n_tokens: int, vocabulary_size: int) -> np.ndarray:
    """Words and runs of space of the standard library, numbered by frequency; rare ones share the last number."""
    words: list[str] = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        words += WORDS.findall(file.read_text(errors="replace"))
        if len(words) >= n_tokens:
            break
    frequent = Counter(words).most_common(vocabulary_size - 1)
    numbers = {word: number for number, (word, _) in enumerate(frequent)}
    return np.array([numbers.get(word, vocabulary_size - 1) for word in words[:n_tokens]], np.int32)


def measure(drafter: NgramDrafter, text: np.ndarray, sampling: Sampling, max_nodes: int, calls: int) -> dict[str, Any]:
    """Microseconds of each call at places drawn from `text`: of the whole proposal, and of its compiled part."""
    compiled: list[float] = []
    grow = ngram._grow

    def timed(*given: Any) -> Any:
        started = time.perf_counter()
        grown = grow(*given)
        compiled.append(time.perf_counter() - started)
        return grown

    chooser = Chooser(sampling, drafter.table.vocabulary_size, 0)
    whole, sizes = [], []
    ngram._grow = timed
    try:
        for end in np.random.default_rng(0).integers(2, len(text), calls + 1):
            request = DraftRequest(text[:end], max_nodes, MAX_DEPTH, chooser, 100.0)
            started = time.perf_counter()
            tree = drafter.propose(request)
            whole.append(time.perf_counter() - started)
            sizes.append(len(tree))
    finally:
        ngram._grow = grow
    return {
        "nodes": max_nodes,
        "mean nodes grown": round(float(np.mean(sizes)), 1),
        "compiled call, microseconds": spread(np.array(compiled[1:]) * 1e6, 2),
        "propose, microseconds": spread(np.array(whole[1:]) * 1e6, 2),
    }


def file_size(drafter: NgramDrafter) -> int:
    """Bytes of the saved table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ngram.npz"
        drafter.save(file)
        return file.stat().st_size


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Count, measure and print; return the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=3_000_000)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--calls", type=int, default=3000)
    given = parser.parse_args(arguments)
    tokens = source_tokens(given.tokens, given.vocabulary)
    cut = len(tokens) * 9 // 10
    started = time.perf_counter()
    drafter = NgramDrafter.count([tokens[:cut]], given.vocabulary)
    found: dict[str, Any] = {
        "tokens counted": cut,
        "seconds to count": round(time.perf_counter() - started, 2),
        "pairs kept": len(drafter.table.contexts),
        "file bytes": file_size(drafter),
    }
    for name, sampling in SAMPLINGS.items():
        found[name] = [measure(drafter, tokens[cut:], sampling, nodes, given.calls) for nodes in NODES]
    print(json.dumps(found, indent=2))
    return found


if __name__ == "__main__":
    main()
