"""Read a GGUF file as a network for the compiled pass."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu.architecture import Architecture, Layer, Linear, Network
from etesian.decode.models.cpu.quantized.matrix import stack
from etesian.decode.models.loading.gguf.directory import Gguf
from etesian.decode.models.loading.gguf.families import FAMILIES, Family
from etesian.decode.models.loading.gguf.metadata import Metadata
from etesian.decode.models.loading.gguf.rotation import DEFAULT_BASE, rotation, unscaled_speeds
from etesian.decode.models.loading.gguf.tensors import matrix, vector
from etesian.errors import InputError

_LAYER_TENSOR = re.compile(
    r"blk\.(\d+)\.((attn|ffn|post_attention|post_ffw)_norm|attn_(q|k|v|qkv|output|q_norm|k_norm)|ffn_(gate|up|down))\.(weight|bias)"
)
_OTHER_TENSOR = re.compile(
    r"(token_embd|position_embd|rope_freqs|rope_factors_(long|short)|output(_norm)?)\.(weight|bias)"
)


def read_network(file: Gguf) -> Network:
    """Return shape and weights of a model; weights stay in the memory-mapped file until a layer is packed.

    Raises
    ------
    InputError
        If the architecture is not supported, or tensors or metadata do not fit it.
    """
    name = file.entries("general").text("architecture")
    family = FAMILIES.get(name)
    if family is None:
        raise InputError(
            f"{str(file.path)!r} is of architecture {name!r}, which is not supported; supported are {', '.join(FAMILIES)}"
        )
    return _Reader(file, family, file.entries(name)).network()


@dataclass(frozen=True)
class _Reader:
    file: Gguf
    family: Family
    numbers: Metadata

    def network(self) -> Network:
        self._refuse_unknown()
        architecture = self._architecture()
        width = architecture.width
        table = matrix(self.file, "token_embd.weight", architecture.vocabulary_size, width)
        is_tied = "output.weight" not in self.file.tensors
        output = table if is_tied else matrix(self.file, "output.weight", architecture.vocabulary_size, width)
        speeds, scale = None, 1.0
        if architecture.rotary_width is not None:
            speeds, scale = rotation(self.file, self.numbers, architecture.rotary_width)
        return Network(
            architecture=architecture,
            embedding=table,
            positions=self._positions(architecture),
            final_norm=self._norm("output_norm", width),
            output=Linear(stack([output]), self._bias("output", architecture.vocabulary_size)),
            rotation_speeds=speeds,
            rotation_scale=scale,
            second_rotation_speeds=self._second_speeds(architecture),
            read_layer=partial(self._layer, architecture),
        )

    def _refuse_unknown(self) -> None:
        """Refuse tensors and switches that the network has no place for: ignoring them would change the result."""
        n_layers = self.numbers.whole("block_count")
        if n_layers > len(self.file.tensors):
            raise InputError(
                f"{str(self.file.path)!r} claims {n_layers} layers and holds {len(self.file.tensors)} tensors"
            )
        for name in self.file.tensors:
            layer = _LAYER_TENSOR.fullmatch(name)
            if _OTHER_TENSOR.fullmatch(name) is None and (layer is None or int(layer[1]) >= n_layers):
                raise InputError(
                    f"{str(self.file.path)!r} holds tensor {name!r}, which models of architecture "
                    f"{self.numbers.prefix!r} with {n_layers} layers are not known to have"
                )
        for switch in ("expert_count", "attention.max_alibi_bias"):
            if self.numbers.number(switch, 0):
                raise InputError(f"{self.numbers.entry(switch)} is set, which is not supported")
        if not self.numbers.flag("attention.causal", True):
            raise InputError(f"{str(self.file.path)!r} reads texts in both directions and cannot continue them")

    def _architecture(self) -> Architecture:
        numbers, family = self.numbers, self.family
        width, n_heads = numbers.whole("embedding_length"), numbers.whole_in_all_layers("attention.head_count")
        head_width = numbers.whole("attention.key_length", max(width // n_heads, 1))
        if numbers.whole("attention.value_length", head_width) != head_width:
            raise InputError(f"keys and values of {str(self.file.path)!r} differ in width, which is not supported")
        if head_width % 2:
            raise InputError(
                f"{str(self.file.path)!r} has heads of {head_width} numbers, an odd number, which is not supported"
            )
        n_key_heads = numbers.whole_in_all_layers("attention.head_count_kv", n_heads)
        if n_heads % n_key_heads:
            raise InputError(
                f"{str(self.file.path)!r} has {n_heads} heads, not a multiple of its {n_key_heads} key heads"
            )
        n_layers, max_length = numbers.whole("block_count"), numbers.whole("context_length")
        if "rope_factors_short.weight" in self.file.tensors:  # those for longer texts are others
            max_length = min(max_length, numbers.whole("rope.scaling.original_context_length", max_length))
        rms = "attention.layer_norm_rms_epsilon" if family.norm == "rms" else "attention.layer_norm_epsilon"
        return Architecture(
            family=numbers.prefix,
            vocabulary_size=len(self._rows("token_embd.weight")),
            max_length=max_length,
            n_layers=n_layers,
            n_heads=n_heads,
            n_key_heads=n_key_heads,
            head_width=head_width,
            width=width,
            inner_width=numbers.whole_in_all_layers("feed_forward_length"),
            norm=family.norm,
            norm_epsilon=numbers.number(rms),
            activation=family.activation,
            is_gated=family.is_gated,
            is_parallel=False,
            rotary_width=self._rotary_width(head_width),
            attention_scale=self._attention_scale(head_width),
            embedding_scale=width**0.5 if family.scales_embedding else numbers.number("embedding_scale", 1.0),
            windows=self._windows(n_layers),
            residual_scale=numbers.number("residual_scale", 1.0),
            logit_scale=1 / (numbers.number("logit_scale", 1.0) or 1.0),
            attention_cap=numbers.number("attn_logit_softcapping") if family.caps_scores else None,
            logit_cap=self._logit_cap(),
            second_rotation=self._unrotated_layers(n_layers),
        )

    def _windows(self, n_layers: int) -> tuple[int | None, ...]:
        window, period = self.numbers.whole("attention.sliding_window", 0, at_least=0), self.family.window_period
        if not window:
            return (None,) * n_layers
        pattern = self.numbers.get("attention.sliding_window_pattern")
        if isinstance(pattern, np.ndarray) and pattern.dtype.kind in "bui":  # True for layers with a window
            if pattern.shape != (n_layers,):
                raise InputError(
                    f"{str(self.file.path)!r} states windows for {len(pattern)} layers; it has {n_layers} layers"
                )
            return tuple(window if has_window else None for has_window in pattern)
        if pattern is not None:
            period = self.numbers.whole("attention.sliding_window_pattern")
        return tuple(None if period and layer % period == period - 1 else window for layer in range(n_layers))

    def _attention_scale(self, head_width: int) -> float:
        numbers = self.numbers
        if numbers.whole("block_count") in self.family.wide_head_layers:
            return (numbers.whole("embedding_length") / numbers.whole_in_all_layers("attention.head_count")) ** -0.5
        return numbers.number("attention.scale", head_width**-0.5)

    def _logit_cap(self) -> float | None:
        is_there = self.family.caps_scores or self.numbers.number("final_logit_softcapping", 0)
        return self.numbers.number("final_logit_softcapping") if is_there else None

    def _second_speeds(self, architecture: Architecture) -> NDArray[np.float32] | None:
        """Return the unscaled rotary frequencies of layers with a window, or zeros for layers without rotation."""
        width, base = architecture.rotary_width, self.family.window_base
        if width is not None and architecture.second_rotation is not None:
            return np.zeros(width // 2, np.float32)
        if width is None or base is None:
            return None
        if base == "common":
            base = self.numbers.above(1, "rope.freq_base", DEFAULT_BASE)
        return unscaled_speeds(self.numbers.above(1, "rope.freq_base_swa", base), width).astype(np.float32)

    def _unrotated_layers(self, n_layers: int) -> tuple[bool, ...] | None:
        period = self.family.unrotated_period
        return None if period is None else tuple(layer % period == period - 1 for layer in range(n_layers))

    def _rotary_width(self, head_width: int) -> int | None:
        if self.family.rotated_pairs is None:
            return None
        width = self.numbers.whole("rope.dimension_count", head_width)
        if width > head_width or width % 2 or (self.family.rotated_pairs == "neighbors" and width != head_width):
            raise InputError(
                f"{str(self.file.path)!r} rotates {width} of {head_width} numbers of a head, which is not supported"
            )
        return width

    def _rows(self, name: str) -> NDArray[np.uint8]:
        if name not in self.file.tensors:
            raise InputError(f"{str(self.file.path)!r} has no tensor {name!r}; convert the model again")
        return self.file.tensors[name].rows

    def _positions(self, architecture: Architecture) -> NDArray[np.float32] | None:
        if architecture.rotary_width is not None:
            return None
        return (
            matrix(self.file, "position_embd.weight", architecture.max_length, architecture.width).floats().reshape(-1)
        )

    def _layer(self, architecture: Architecture, index: int) -> Layer:
        layer, width, inner = f"blk.{index}.", architecture.width, architecture.inner_width
        attended = architecture.n_heads * architecture.head_width
        up, gate = self._up(f"{layer}ffn_", architecture)
        return Layer(
            first_norm=self._norm(f"{layer}attn_norm", width) if self.family.has_in_norms else None,
            second_norm=self._norm(f"{layer}ffn_norm", width) if self.family.has_in_norms else None,
            query_norm=self._optional_norm(f"{layer}attn_q_norm", architecture.n_heads, architecture.head_width),
            key_norm=self._optional_norm(f"{layer}attn_k_norm", architecture.n_key_heads, architecture.head_width),
            attention_in=self._attention_in(f"{layer}attn_", architecture),
            attention_out=self._linear(f"{layer}attn_output", width, attended),
            up=up,
            gate=gate,
            down=self._linear(f"{layer}ffn_down", width, inner),
            attention_out_norm=self._norm(f"{layer}post_attention_norm", width) if self.family.has_out_norms else None,
            down_norm=self._norm(f"{layer}post_ffw_norm", width) if self.family.has_out_norms else None,
        )

    def _attention_in(self, prefix: str, architecture: Architecture) -> Linear:
        """Return queries, keys and values of all heads as one product."""
        head, width = architecture.head_width, architecture.width
        heads = {"q": architecture.n_heads, "k": architecture.n_key_heads, "v": architecture.n_key_heads}
        if f"{prefix}qkv.weight" in self.file.tensors:
            return self._linear(f"{prefix}qkv", sum(heads.values()) * head, width)
        parts, biases = [], []
        for name, n_heads in heads.items():
            n_out = n_heads * head
            part = matrix(self.file, f"{prefix}{name}.weight", n_out, width)
            bias = self._bias(f"{prefix}{name}", n_out)
            if self.family.rotated_pairs == "neighbors" and name != "v":
                order = _halves_order(n_heads, head)
                part, bias = part.take(order), None if bias is None else bias[order]
            parts.append(part)
            biases.append(np.zeros(n_out, np.float32) if bias is None else bias)
        return Linear(stack(parts), np.concatenate(biases))

    def _up(self, prefix: str, architecture: Architecture) -> tuple[Linear, Linear | None]:
        """Return the products before the activation; if one tensor holds both, the gate comes first."""
        inner, width = architecture.inner_width, architecture.width
        if not architecture.is_gated:
            return self._linear(f"{prefix}up", inner, width), None
        if f"{prefix}gate.weight" in self.file.tensors:
            return self._linear(f"{prefix}up", inner, width), self._linear(f"{prefix}gate", inner, width)
        both = matrix(self.file, f"{prefix}up.weight", 2 * inner, width)
        gate, up = (both.take(slice(start, start + inner)) for start in (0, inner))
        return Linear(stack([up]), None), Linear(stack([gate]), None)

    def _linear(self, name: str, n_out: int, n_in: int) -> Linear:
        return Linear(stack([matrix(self.file, f"{name}.weight", n_out, n_in)]), self._bias(name, n_out))

    def _norm(self, name: str, n: int) -> Linear:
        return Linear(vector(self.file, f"{name}.weight", n), self._bias(name, n))

    def _optional_norm(self, name: str, n_heads: int, head_width: int) -> Linear | None:
        """Return a norm of each head, or of all heads at once."""
        tensor = self.file.tensors.get(f"{name}.weight")
        if tensor is None:
            return None
        return self._norm(name, head_width if tensor.shape == (head_width,) else n_heads * head_width)

    def _bias(self, name: str, n: int) -> NDArray[np.float32] | None:
        return vector(self.file, f"{name}.bias", n) if f"{name}.bias" in self.file.tensors else None


def _halves_order(n_heads: int, width: int) -> NDArray[np.int64]:
    """Return the order of rows that turns neighboring pairs into halves: first all even rows of a head, then all odd ones."""
    within = np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2)])
    return (np.arange(n_heads)[:, None] * width + within).reshape(-1)
