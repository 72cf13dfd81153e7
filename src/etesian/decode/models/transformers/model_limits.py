"""Limits of a model according to its configuration: text length, sliding windows, and unsupported architectures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from etesian.errors import InputError

_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len")
# Entries of models with local attention that a tree's mask does not reproduce.
_UNKNOWN_WINDOWS = ("attention_chunk_size", "window_size", "attention_window", "attention_window_size", "block_size")
_FULL, _SLIDING = "full_attention", "sliding_attention"
_ATTENTION_LAYERS = {_FULL, _SLIDING, "chunked_attention"}
_TAKES_ANY_MASK = ("sdpa", "eager")


@dataclass(frozen=True)
class ModelLimits:
    """Text length and attention window of a model.

    Parameters
    ----------
    max_length : int or None
        Length of the longest text in tokens; None if unlimited.
    window : int or None
        Number of tokens that sliding layers see, including the row's own; None without such layers.
    mixes_layers : bool
        True if other layers see the whole text, so that each kind needs its own mask.
    """

    max_length: int | None
    window: int | None
    mixes_layers: bool

    def without_window(self) -> ModelLimits:
        """Return limits for texts that fit into the window."""
        lengths = [length for length in (self.max_length, self.window) if length is not None]
        return ModelLimits(min(lengths, default=None), None, False)


def model_limits(config: Any) -> ModelLimits:
    """Read the limits from a configuration.

    Texts end where attention stops being full in a way that trees do not reproduce, and where rotary frequencies change with the
    length of the text, because cached keys would become stale.
    """
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if kinds and _SLIDING not in kinds:
        window = None
    names = (*_LENGTHS, *_UNKNOWN_WINDOWS)
    lengths = [value for name in names if isinstance(value := getattr(config, name, None), int) and value > 0]
    lengths += _changing_frequencies(getattr(config, "rope_parameters", None) or {})
    return ModelLimits(min(lengths, default=None), window, {_FULL, _SLIDING} <= kinds)


def check_is_decoder(model: Any) -> None:
    """Refuse models that the adapter cannot run.

    Raises
    ------
    InputError
        If the model is an encoder-decoder or recurrent, has no output layer, is split over several devices, or its attention takes
        no mask.
    """
    config = model.config.get_text_config()
    kind = f"model type {model.config.model_type!r}"
    if model.config.is_encoder_decoder:
        raise InputError(f"{kind} is an encoder-decoder; give a causal language model, such as GPT-2 or Llama")
    recurrent = sorted(set(getattr(config, "layer_types", None) or ()) - _ATTENTION_LAYERS)
    if recurrent or getattr(model, "_is_stateful", False):
        detail = f" (layers: {', '.join(recurrent)})" if recurrent else ""
        raise InputError(
            f"{kind} keeps a running state that cannot return to an earlier token{detail}, so drafted tokens cannot be dropped; "
            "use a model with attention layers only"
        )
    if model.get_output_embeddings() is None:
        raise InputError(f"{type(model).__name__} has no output layer; load it through AutoModelForCausalLM")
    _check_placement(model, kind)


def _check_placement(model: Any, kind: str) -> None:
    devices = sorted({str(parameter.device) for parameter in model.parameters()})
    if len(devices) > 1 or devices == ["meta"]:
        raise InputError(f"{kind} lies on {', '.join(devices)}; load it whole on one device")
    attention = model.config.get_text_config()._attn_implementation
    if attention not in _TAKES_ANY_MASK:
        raise InputError(
            f"attention {attention!r} of {kind} takes no tree's mask; load it with attn_implementation='sdpa' or 'eager'"
        )


def _changing_frequencies(rope: Any) -> list[int]:
    """Return text lengths at which rotary frequencies change; `rope` may hold one entry per kind of layer."""
    if any(isinstance(value, dict) for value in rope.values()):
        return [n for value in rope.values() if isinstance(value, dict) for n in _changing_frequencies(value)]
    changes = rope.get("rope_type") in ("dynamic", "longrope")
    length = rope.get("original_max_position_embeddings")
    return [length] if changes and length is not None else []
