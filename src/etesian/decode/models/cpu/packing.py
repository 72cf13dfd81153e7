"""Layout of a network for the compiled pass, shared by plain numbers and blocks: places of matrices, biases and norms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu import pass_arrays
from etesian.decode.models.cpu.architecture import Architecture, Layer, Linear, Network
from etesian.decode.models.cpu.tiles import LINE, PANEL

UNLIMITED = 2**62


class Packer(ABC):
    """Collects the vectors of a network, and records where each matrix and vector begins.

    Parameters
    ----------
    n_layers : int
    """

    def __init__(self, n_layers: int) -> None:
        self.matrix_starts = np.zeros((n_layers + 1, 4), np.int64)
        self.vector_starts = np.zeros((n_layers + 1, pass_arrays.N_VECTORS), np.int64)
        self._vectors: list[NDArray[np.float32]] = []
        self._n_vectors = 0

    @abstractmethod
    def add_matrix(self, layer: int, kind: int, *parts: Linear) -> None:
        """Add the matrices of one product, whose panels alternate, and their biases."""

    def add_network(self, network: Network, shape: pass_arrays.Shape) -> pass_arrays.Shape:
        """Add all matrices and norms, layer by layer; return the shape with the norms that the layers have."""
        n_layers = network.architecture.n_layers
        for index in range(n_layers):
            layer = network.read_layer(index)
            self.add_matrix(index, pass_arrays.ATTENTION_IN, layer.attention_in)
            self.add_matrix(index, pass_arrays.ATTENTION_OUT, layer.attention_out)
            self.add_matrix(index, pass_arrays.UP, *([layer.up] if layer.gate is None else [layer.gate, layer.up]))
            self.add_matrix(index, pass_arrays.DOWN, layer.down)
            self._add_norm(index, pass_arrays.FIRST_NORM, layer.first_norm)
            self._add_norm(index, pass_arrays.SECOND_NORM, layer.second_norm)
            self._add_norm(index, pass_arrays.QUERY_NORM, layer.query_norm)
            self._add_norm(index, pass_arrays.KEY_NORM, layer.key_norm)
            self._add_norm(index, pass_arrays.ATTENTION_OUT_NORM, layer.attention_out_norm)
            self._add_norm(index, pass_arrays.DOWN_NORM, layer.down_norm)
            shape = _with_norms(shape, layer)
        self.add_matrix(n_layers, pass_arrays.OUTPUT, network.output)
        self._add_norm(n_layers, pass_arrays.FINAL_NORM, network.final_norm)
        return shape

    def add_biases(self, layer: int, kind: int, *parts: Linear) -> None:
        """Add the biases of one product, panel by panel in the order of its matrices; zeros where there are none."""
        biases = np.stack([_padded_bias(part).reshape(-1, PANEL) for part in parts], axis=1)
        self._add_vector(layer, kind, biases.reshape(-1))

    def tables(self, network: Network) -> dict[str, Any]:
        """Return the fields that `Weights` and `BlockWeights` share, without matrices and embeddings."""
        return {
            "vectors": np.concatenate(self._vectors),
            "matrix_starts": self.matrix_starts,
            "vector_starts": self.vector_starts,
            "windows": np.array([window or UNLIMITED for window in network.architecture.windows], np.int64),
            "rotations": _rotation_tables(network),
        }

    def _add_norm(self, layer: int, kind: int, norm: Linear | None) -> None:
        """Add factors, then terms."""
        if norm is None:
            return
        factors = floats_of(norm.weight)
        terms = np.zeros_like(factors) if norm.bias is None else floats_of(norm.bias)
        self._add_vector(layer, kind, np.concatenate([factors, terms]))

    def _add_vector(self, layer: int, kind: int, vector: NDArray[np.float32]) -> None:
        self.vector_starts[layer, kind] = self._n_vectors
        self._vectors.append(vector)
        self._n_vectors += len(vector)


def floats_of(vector: Any) -> NDArray[np.float32]:
    """Return an array, or a tensor of torch, as an array of float32."""
    floats = vector if isinstance(vector, np.ndarray) else vector.detach().float().numpy()
    return np.asarray(floats, np.float32)


def aligned_zeros(n: int, dtype: Any) -> NDArray[Any]:
    """Return zeros aligned to a cache line."""
    raw = np.zeros(n * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + n * np.dtype(dtype).itemsize].view(dtype)


def whole_panels(n: int) -> int:
    """Round a number of columns up to whole panels."""
    return -(-n // PANEL) * PANEL


def shape_of(architecture: Architecture, lanes: int, embedding_scale: np.float32) -> pass_arrays.Shape:
    """Return the numbers that the pass needs.

    Raises
    ------
    ValueError
        If a width is not a multiple of `lanes`.
    """
    attended = architecture.n_heads * architecture.head_width
    for name, width in (("width", architecture.width), ("inner_width", architecture.inner_width), ("heads", attended)):
        if width % lanes or architecture.head_width % 2:
            raise ValueError(f"{name} must be even in bfloat16, as must head_width; got {width}")
    return pass_arrays.Shape(
        n_layers=architecture.n_layers,
        n_heads=architecture.n_heads,
        n_key_heads=architecture.n_key_heads,
        head_width=architecture.head_width,
        value_width=whole_panels(architecture.head_width),
        width=architecture.width,
        inner_width=architecture.inner_width,
        vocabulary_size=architecture.vocabulary_size,
        rotary_width=architecture.rotary_width or 0,
        lanes=lanes,
        activation=pass_arrays.ACTIVATIONS.index(architecture.activation),
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


def _with_norms(shape: pass_arrays.Shape, layer: Layer) -> pass_arrays.Shape:
    """Record which norms a layer has; all layers have the same."""
    n_normed = 0 if layer.query_norm is None else len(layer.query_norm.weight)
    return shape._replace(
        has_head_norms=n_normed > 0,
        norms_all_heads=n_normed > shape.head_width,
        has_first_norms=layer.first_norm is not None,
        has_out_norms=layer.attention_out_norm is not None,
    )


def _rotation_tables(network: Network) -> NDArray[np.int64]:
    """Return the table of rotations of each layer: by default the second one, if it exists, for layers with a window."""
    if network.architecture.second_rotation is not None:
        return np.array(network.architecture.second_rotation, np.int64)
    has_second = network.second_rotation_speeds is not None
    return np.array([has_second and window is not None for window in network.architecture.windows], np.int64)


def _padded_bias(part: Linear) -> NDArray[np.float32]:
    n_out = len(part.weight)
    bias = np.zeros(whole_panels(n_out), np.float32)
    if part.bias is not None:
        bias[:n_out] = floats_of(part.bias)
    return bias
