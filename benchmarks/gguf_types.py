"""Convert a GGUF file to other types with llama.cpp, for comparisons of speed and of arithmetic.

Run it with an interpreter that has llama-cpp-python:

    ../llama/bin/python benchmarks/gguf_types.py model.gguf runs/types --types Q8_0 Q4_0 BF16

A file made from quantized weights has the errors of both types, so it says nothing about the quality of its type.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import llama_cpp

TYPES = (
    "BF16",
    "F16",
    "Q8_0",
    "Q5_1",
    "Q5_0",
    "Q4_1",
    "Q4_0",
    "IQ4_NL",
    "Q6_K",
    "Q5_K_S",
    "Q4_K_S",
    "Q3_K_S",
    "Q2_K",
)


def convert(model: Path, out: Path, type_name: str) -> None:
    """Write a copy of a file with matrices of another type."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{type_name}")
    parameters.allow_requantize = True
    if llama_cpp.llama_model_quantize(str(model).encode(), str(out).encode(), parameters):
        raise RuntimeError(f"llama.cpp could not write {out}")


def base_name(model: Path) -> str:
    """Return the name of a file without its ending and its type."""
    base, _, last = model.stem.rpartition(".")
    return base if last in TYPES else model.stem


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert to the types that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    for type_name in given.types:
        out = given.folder / f"{base_name(given.model)}.{type_name}.gguf"
        if not out.exists():
            convert(given.model, out, type_name)
        print(out)


if __name__ == "__main__":
    main()
