"""Models from GGUF files: directory, hyperparameters, weights, tokenizer and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etesian.decode.models.loading.gguf.tokenizer import GgufTokenizer
from etesian.decode.models.loading.options import LoadOptions
from etesian.errors import InputError

if TYPE_CHECKING:
    from etesian.decode.models.cpu.model import CpuModel

__all__ = ["GgufTokenizer", "check_gguf_options", "load_gguf"]


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
    n_tokens, n_rows = tokenizer.backend.get_vocab_size(), network.architecture.vocabulary_size
    if n_tokens > n_rows:
        raise InputError(f"{str(path)!r} has {n_tokens} tokens and embeddings for {n_rows}; convert the model again")
    return CpuModel(network, n_threads=n_threads), tokenizer


def check_gguf_options(path: Path, options: LoadOptions | None) -> None:
    """Refuse options that cannot hold for a GGUF file, whose weights stay as they are stored.

    Raises
    ------
    InputError
        For a number type, a quantization, or a device other than the CPU.
    """
    if options is None:
        return
    for name, value, allowed in (
        ("dtype", options.dtype, ("auto",)),
        ("quantize", options.quantize, (None,)),
        ("device", options.device, ("auto", "cpu")),
    ):
        if value not in allowed:
            raise InputError(
                f"{name} must be {' or '.join(map(repr, allowed))} for a GGUF file, whose weights stay as they are stored and run "
                f"on the CPU; got {value!r} for {str(path)!r}"
            )
