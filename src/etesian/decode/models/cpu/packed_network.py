"""Pack the weights of a network for the compiled pass: matrices in panels of columns, biases and norms in one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu import forward, products
from etesian.decode.models.cpu.architecture import Architecture, Layer, Linear, Network
from etesian.decode.models.cpu.tiles import LINE, PANEL

if TYPE_CHECKING:
    from torch import Tensor

UNLIMITED = 2**62


def pack_network(network: Network) -> tuple[forward.Shape, products.Weights]:
    """Pack all weights for `etesian.decode.models.cpu.forward.run_pass`.

    Parameters
    ----------
    network
        With weights in float32, or in bfloat16, whose bits are stored as uint16.

    Raises
    ------
    ValueError
        If the weights have another number type, or a width is not a multiple of the step.
    """
    architecture = network.architecture
    dtype = _numpy_type(network.embedding.dtype)
    scale = _rounded(architecture.embedding_scale, network.embedding.dtype)
    shape = shape_of(architecture, 2 if dtype == np.uint16 else 1, scale)
    packer = _Packer(architecture, shape.lanes, dtype)
    for index in range(architecture.n_layers):
        layer = network.read_layer(index)
        packer.add_matrix(index, forward.ATTENTION_IN, layer.attention_in)
        packer.add_matrix(index, forward.ATTENTION_OUT, layer.attention_out)
        packer.add_matrix(index, forward.UP, *([layer.up] if layer.gate is None else [layer.gate, layer.up]))
        packer.add_matrix(index, forward.DOWN, layer.down)
        packer.add_norm(index, forward.FIRST_NORM, layer.first_norm)
        packer.add_norm(index, forward.SECOND_NORM, layer.second_norm)
        packer.add_norm(index, forward.QUERY_NORM, layer.query_norm)
        packer.add_norm(index, forward.KEY_NORM, layer.key_norm)
        packer.add_norm(index, forward.ATTENTION_OUT_NORM, layer.attention_out_norm)
        packer.add_norm(index, forward.DOWN_NORM, layer.down_norm)
        shape = with_norms(shape, layer)
    packer.add_matrix(architecture.n_layers, forward.OUTPUT, network.output)
    packer.add_norm(architecture.n_layers, forward.FINAL_NORM, network.final_norm)
    return shape, packer.finish(network)


def as_array(tensor: Tensor) -> NDArray[Any]:
    """Return a flat numpy array of a tensor; bfloat16 as its bits."""
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    array: NDArray[Any] = flat.view(torch.uint16).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()
    return array


def aligned_zeros(n: int, dtype: Any) -> NDArray[Any]:
    """Return zeros aligned to a cache line."""
    raw = np.zeros(n * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + n * np.dtype(dtype).itemsize].view(dtype)


def _numpy_type(dtype: Any) -> Any:
    import torch

    types = {torch.bfloat16: np.uint16, torch.float32: np.float32}
    if dtype not in types:
        raise ValueError(f"the weights must be torch.bfloat16 or torch.float32; got {dtype}")
    return types[dtype]


def shape_of(architecture: Architecture, lanes: int, embedding_scale: np.float32) -> forward.Shape:
    """The numbers that the pass needs.

    Raises
    ------
    ValueError
        For widths that do not come in whole steps of `lanes` numbers.
    """
    attended = architecture.n_heads * architecture.head_width
    for name, width in (("width", architecture.width), ("inner_width", architecture.inner_width), ("heads", attended)):
        if width % lanes or architecture.head_width % 2:
            raise ValueError(f"{name} must be even in bfloat16, as must head_width; got {width}")
    return forward.Shape(
        n_layers=architecture.n_layers,
        n_heads=architecture.n_heads,
        n_key_heads=architecture.n_key_heads,
        head_width=architecture.head_width,
        value_width=_whole_panels(architecture.head_width),
        width=architecture.width,
        inner_width=architecture.inner_width,
        vocabulary_size=architecture.vocabulary_size,
        rotary_width=architecture.rotary_width or 0,
        lanes=lanes,
        activation=forward.ACTIVATIONS.index(architecture.activation),
        is_rms=architecture.norm == "rms",
        is_gated=architecture.is_gated,
        is_parallel=architecture.is_parallel,
        has_head_norms=False,
        norms_all_heads=False,
        has_first_norms=True,
        has_out_norms=False,
        norm_epsilon=np.float32(architecture.norm_epsilon),
        attention_scale=np.float32(architecture.attention_scale),
        embedding_scale=embedding_scale,
        residual_scale=np.float32(architecture.residual_scale),
        logit_scale=np.float32(architecture.logit_scale),
        attention_cap=np.float32(architecture.attention_cap or 0),
        logit_cap=np.float32(architecture.logit_cap or 0),
    )


def with_norms(shape: forward.Shape, layer: Layer) -> forward.Shape:
    """Note which norms a layer has; all layers have the same."""
    n_normed = 0 if layer.query_norm is None else len(layer.query_norm.weight)
    return shape._replace(
        has_head_norms=n_normed > 0,
        norms_all_heads=n_normed > shape.head_width,
        has_first_norms=layer.first_norm is not None,
        has_out_norms=layer.attention_out_norm is not None,
    )


def _rounded(value: float, dtype: Any) -> np.float32:
    """Round a value as the model does."""
    import torch

    return np.float32(torch.tensor(value).to(dtype).float().item())


def _whole_panels(n: int) -> int:
    return -(-n // PANEL) * PANEL


def rotation_tables(network: Network) -> NDArray[np.int64]:
    """Return the table of rotations of each layer: by default the second one, if it exists, for layers with a window."""
    if network.architecture.second_rotation is not None:
        return np.array(network.architecture.second_rotation, np.int64)
    has_second = network.second_rotation_speeds is not None
    return np.array([has_second and window is not None for window in network.architecture.windows], np.int64)


class _Packer:
    """Fills one array with matrices, panel by panel, and one with vectors, and records where each begins."""

    def __init__(self, architecture: Architecture, lanes: int, dtype: Any) -> None:
        self._lanes = lanes
        self._packed = aligned_zeros(_count_packed(architecture), dtype)
        self._n_packed = 0
        self._vectors: list[NDArray[np.float32]] = []
        self._n_vectors = 0
        self._matrix_starts = np.zeros((architecture.n_layers + 1, 4), np.int64)
        self._vector_starts = np.zeros((architecture.n_layers + 1, forward.N_VECTORS), np.int64)

    def add_matrix(self, layer: int, kind: int, *parts: Linear) -> None:
        """Add weights and biases; the panels of several parts alternate."""
        panels = [self._cut(part.weight) for part in parts]
        size, stride = panels[0][0].size, len(parts)
        self._matrix_starts[layer, kind] = self._n_packed
        for turn, part in enumerate(panels):
            room = self._packed[self._n_packed :][: len(part) * stride * size].reshape(len(part), stride, size)
            room[:, turn] = part.reshape(len(part), size)
        self._n_packed += sum(part.size for part in panels)
        biases = np.stack([_padded_bias(part).reshape(-1, PANEL) for part in parts], axis=1)
        self._add_vector(layer, kind, biases.reshape(-1))

    def add_norm(self, layer: int, kind: int, norm: Linear | None) -> None:
        """Add factors, then terms."""
        if norm is None:
            return
        factor = norm.weight.float().numpy()
        term = np.zeros_like(factor) if norm.bias is None else norm.bias.float().numpy()
        self._add_vector(layer, kind, np.concatenate([factor, term]))

    def finish(self, network: Network) -> products.Weights:
        """Return all weights with the tables of tokens, positions and layers."""
        assert self._n_packed == len(self._packed)
        positions = network.positions
        return products.Weights(
            packed=self._packed,
            vectors=np.concatenate(self._vectors),
            embedding=as_array(network.embedding),
            positions=np.zeros(1, self._packed.dtype) if positions is None else as_array(positions),
            matrix_starts=self._matrix_starts,
            vector_starts=self._vector_starts,
            windows=np.array([window or UNLIMITED for window in network.architecture.windows], np.int64),
            rotations=rotation_tables(network),
        )

    def _add_vector(self, layer: int, kind: int, vector: NDArray[np.float32]) -> None:
        self._vector_starts[layer, kind] = self._n_vectors
        self._vectors.append(vector.astype(np.float32, copy=False))
        self._n_vectors += len(vector)

    def _cut(self, weight: Tensor) -> NDArray[Any]:
        """Return panels of columns, shape (panel, step, column, lane), padded with zeros."""
        import torch

        n_out, n_in = weight.shape
        whole = torch.zeros(_whole_panels(n_out), n_in, dtype=weight.dtype)
        whole[:n_out] = weight
        panels = whole.reshape(-1, PANEL, n_in // self._lanes, self._lanes).transpose(1, 2)
        return as_array(panels).reshape(panels.shape)


def _padded_bias(part: Linear) -> NDArray[np.float32]:
    n_out = len(part.weight)
    bias = np.zeros(_whole_panels(n_out), np.float32)
    if part.bias is not None:
        bias[:n_out] = part.bias.float().numpy()
    return bias


def _count_packed(architecture: Architecture) -> int:
    """Return the size of all panels."""
    attended = architecture.n_heads * architecture.head_width
    heads = (architecture.n_heads + 2 * architecture.n_key_heads) * architecture.head_width
    layer = (
        _whole_panels(heads) + _whole_panels(architecture.inner_width) * (1 + architecture.is_gated)
    ) * architecture.width
    layer += _whole_panels(architecture.width) * (attended + architecture.inner_width)
    return architecture.n_layers * layer + _whole_panels(architecture.vocabulary_size) * architecture.width
