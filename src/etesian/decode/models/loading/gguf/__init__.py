"""Models from GGUF files: directory, hyperparameters, weights, tokenizer and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etesian.decode.models.loading.gguf.tokenizer import GgufTokenizer

if TYPE_CHECKING:
    from etesian.decode.models.cpu.model import CpuModel

__all__ = ["GgufTokenizer", "load_gguf"]


def load_gguf(path: str | Path, *, n_threads: int | None = None) -> tuple[CpuModel, GgufTokenizer]:
    """Load a model and its tokenizer from a GGUF file, or from all files of a split one.

    Parameters
    ----------
    path
    n_threads
        See `CpuModel`.

    Raises
    ------
    InputError
        For a file that is missing, damaged or not supported.
    """
    from etesian.decode.models.cpu.model import CpuModel
    from etesian.decode.models.loading.gguf.directory import open_gguf
    from etesian.decode.models.loading.gguf.network import read_network
    from etesian.decode.models.loading.gguf.tokenizer import read_tokenizer

    file = open_gguf(path)
    network, tokenizer = read_network(file), read_tokenizer(file)
    return CpuModel(network, n_threads=n_threads), tokenizer
