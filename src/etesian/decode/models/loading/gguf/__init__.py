"""Models from GGUF files: directory, hyperparameters, weights, tokenizer and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etesian.decode.models.loading.gguf.tokenizer import GgufTokenizer
from etesian.decode.models.loading.options import LoadOptions
from etesian.errors import InputError

if TYPE_CHECKING:
    from etesian.decode.models.cpu.architecture import Network
    from etesian.decode.models.cpu.model import CpuModel
    from etesian.decode.models.loading.gguf.directory import Gguf

__all__ = ["GgufTokenizer", "load_gguf"]


def load_gguf(
    path: str | Path, options: LoadOptions | None = None, *, n_threads: int | None = None
) -> tuple[CpuModel, GgufTokenizer]:
    """Load a model and its tokenizer from a GGUF file, or from all files of a split one.

    Parameters
    ----------
    path : str or Path
    options : LoadOptions, optional
        By default, weights keep the precision in which they are stored. `dtype` converts all weights; `quantize` rounds the
        matrices.
    n_threads : int, optional
        See `CpuModel`.

    Raises
    ------
    InputError
        If the file is missing, damaged or not supported, or an option does not apply to GGUF files.
    """
    from etesian.decode.models.cpu.model import CpuModel
    from etesian.decode.models.loading.gguf.directory import open_gguf
    from etesian.decode.models.loading.gguf.network import read_network
    from etesian.decode.models.loading.gguf.tokenizer import read_tokenizer

    options = options or LoadOptions()
    _check_options(path, options)
    file = open_gguf(path)
    network, tokenizer = read_network(file), read_tokenizer(file)
    n_tokens, n_rows = tokenizer.backend.get_vocab_size(), network.architecture.vocabulary_size
    if n_tokens > n_rows:
        raise InputError(f"{str(path)!r} has {n_tokens} tokens and embeddings for {n_rows}; convert the model again")
    return CpuModel(_converted(network, file, options), n_threads=n_threads), tokenizer


def _converted(network: Network, file: Gguf, options: LoadOptions) -> Network:
    from etesian.decode.models.cpu.quantized.rounding import bfloat16_bits, dequantized, quantized

    if options.quantize is not None:
        return quantized(network, options.quantize.upper())
    is_bfloat16 = all(tensor.type_name == "BF16" for tensor in file.tensors.values() if len(tensor.shape) == 2)
    if options.dtype in ("auto", "bf16") and is_bfloat16 and network.positions is None:
        return bfloat16_bits(network)
    if options.dtype == "auto":
        return network
    import torch

    return dequantized(network, torch.bfloat16 if options.dtype == "bf16" else torch.float32)


def _check_options(path: str | Path, options: LoadOptions) -> None:
    """Refuse options that do not apply to GGUF files, which run on the CPU."""
    for name, value, allowed in (
        ("dtype", options.dtype, ("auto", "bf16", "fp32")),
        ("device", options.device, ("auto", "cpu")),
    ):
        if value not in allowed:
            raise InputError(
                f"{name} must be {' or '.join(map(repr, allowed))} for the GGUF file {str(path)!r}, which runs on the CPU; got "
                f"{value!r}"
            )
    if options.quantize is not None and options.dtype != "auto":
        raise InputError(
            f"dtype must be 'auto' if quantize is given for the GGUF file {str(path)!r}; got {options.dtype!r}"
        )
