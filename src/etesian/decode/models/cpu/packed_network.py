"""Pack a network of plain numbers for the compiled pass: matrices in panels of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu import pass_arrays, products
from etesian.decode.models.cpu.architecture import Architecture, Linear, Network
from etesian.decode.models.cpu.packing import Packer, aligned_zeros, shape_of, whole_panels
from etesian.decode.models.cpu.tiles import PANEL


def pack_network(network: Network) -> tuple[pass_arrays.Shape, products.Weights]:
    """Pack all weights for `etesian.decode.models.cpu.forward.run_pass`.

    Parameters
    ----------
    network : Network
        Network with weights in float32 or bfloat16: tensors of torch, or arrays, in which bfloat16 is stored as uint16.

    Raises
    ------
    ValueError
        If the weights have another number type, or a width is not a multiple of the step.
    """
    architecture = network.architecture
    dtype = _as_array(network.embedding).dtype
    if dtype not in (np.uint16, np.float32):
        raise ValueError(f"the weights must be of type bfloat16 or float32; got {network.embedding.dtype}")
    scale = _rounded(architecture.embedding_scale, dtype)
    shape = shape_of(architecture, 2 if dtype == np.uint16 else 1, scale)
    packer = _PanelPacker(architecture, shape.lanes, dtype)
    return packer.add_network(network, shape), packer.finish(network)


class _PanelPacker(Packer):
    """Fills one array with matrices, panel by panel."""

    def __init__(self, architecture: Architecture, lanes: int, dtype: Any) -> None:
        super().__init__(architecture.n_layers)
        self._lanes = lanes
        self._packed = aligned_zeros(_count_packed(architecture), dtype)
        self._n_packed = 0

    def add_matrix(self, layer: int, kind: int, *parts: Linear) -> None:
        """See `Packer`."""
        panels = [self._cut(part.weight) for part in parts]
        size, stride = panels[0][0].size, len(parts)
        self.matrix_starts[layer, kind] = self._n_packed
        for turn, part in enumerate(panels):
            room = self._packed[self._n_packed :][: len(part) * stride * size].reshape(len(part), stride, size)
            room[:, turn] = part.reshape(len(part), size)
        self._n_packed += sum(part.size for part in panels)
        self.add_biases(layer, kind, *parts)

    def finish(self, network: Network) -> products.Weights:
        """Return all weights with the tables of tokens, positions and layers."""
        assert self._n_packed == len(self._packed)
        positions = network.positions
        return products.Weights(
            packed=self._packed,
            embedding=_as_array(network.embedding).reshape(-1),
            positions=np.zeros(1, self._packed.dtype) if positions is None else _as_array(positions).reshape(-1),
            **self.tables(network),
        )

    def _cut(self, weight: Any) -> NDArray[Any]:
        """Return panels of columns, shape (panel, step, column, lane), padded with zeros."""
        rows = _as_array(weight)
        n_out, n_in = rows.shape
        whole = rows
        if n_out % PANEL:
            whole = np.zeros((whole_panels(n_out), n_in), rows.dtype)
            whole[:n_out] = rows
        steps = whole.view(np.uint32).reshape(-1, PANEL, n_in // self._lanes)  # a step holds four bytes
        panels = np.ascontiguousarray(steps.swapaxes(1, 2))
        return panels.view(rows.dtype).reshape(*panels.shape, self._lanes)


def _as_array(weight: Any) -> NDArray[Any]:
    """Return an array, or a tensor of torch as an array; bfloat16 as its bits."""
    if isinstance(weight, np.ndarray):
        return np.ascontiguousarray(weight)
    import torch

    plain = weight.detach().contiguous()
    array: NDArray[Any] = (plain.view(torch.uint16) if plain.dtype == torch.bfloat16 else plain).numpy()
    return array


def _rounded(value: float, dtype: Any) -> np.float32:
    """Round a value as the model does."""
    bits = np.array(value, np.float32).view(np.uint32)
    if dtype == np.uint16:
        bits = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return np.float32(bits.astype(np.uint32).view(np.float32).item())


def _count_packed(architecture: Architecture) -> int:
    """Return the size of all panels."""
    attended = architecture.n_heads * architecture.head_width
    heads = (architecture.n_heads + 2 * architecture.n_key_heads) * architecture.head_width
    layer = (
        whole_panels(heads) + whole_panels(architecture.inner_width) * (1 + architecture.is_gated)
    ) * architecture.width
    layer += whole_panels(architecture.width) * (attended + architecture.inner_width)
    return architecture.n_layers * layer + whole_panels(architecture.vocabulary_size) * architecture.width
