"""Tensors of a GGUF file as matrices and vectors, checked against the expected shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu.quantized.formats import FORMATS
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, as_floats
from etesian.decode.models.loading.gguf.directory import Gguf, Tensor
from etesian.errors import InputError


def matrix(file: Gguf, name: str, n_out: int | None, n_in: int) -> BlockMatrix:
    """Return a tensor of two dimensions.

    Parameters
    ----------
    file, name
    n_out
        None for any number.
    n_in

    Raises
    ------
    InputError
        If the tensor is missing, or has another shape or an unsupported type.
    """
    tensor = _tensor(file, name)
    expected = (tensor.shape[0] if n_out is None else n_out, n_in)
    if tensor.shape != expected:
        raise InputError(f"tensor {name!r} of {str(file.path)!r} must have the shape {expected}; got {tensor.shape}")
    return BlockMatrix(tensor.type_name, tensor.rows, n_in)


def vector(file: Gguf, name: str, n: int) -> NDArray[np.float32]:
    """Return a tensor of one dimension as float32; see `matrix`."""
    tensor = _tensor(file, name)
    if tensor.shape != (n,):
        raise InputError(f"tensor {name!r} of {str(file.path)!r} must have the shape ({n},); got {tensor.shape}")
    return as_floats(tensor.type_name, tensor.rows).reshape(-1)


def _tensor(file: Gguf, name: str) -> Tensor:
    if name not in file.tensors:
        raise InputError(f"{str(file.path)!r} has no tensor {name!r}; convert the model again")
    tensor = file.tensors[name]
    if tensor.type_name not in FORMATS:
        raise InputError(
            f"tensor {name!r} of {str(file.path)!r} is of type {tensor.type_name}; supported are {', '.join(FORMATS)}"
        )
    return tensor
