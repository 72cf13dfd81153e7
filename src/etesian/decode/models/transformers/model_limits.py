"""What a configuration of transformers says of a model's texts: how long, seen through which window, and what cannot be undone.

Knows no weights. What it cannot tell is left to `self_check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from etesian.errors import InputError

_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len")
# Names under which models look at nearby keys only, in ways that a tree's mask does not reproduce.
_UNKNOWN_WINDOWS = ("attention_chunk_size", "window_size", "attention_window", "attention_window_size", "block_size")
_FULL, _SLIDING = "full_attention", "sliding_attention"
_ATTENTION_LAYERS = {_FULL, _SLIDING, "chunked_attention"}
_TAKES_ANY_MASK = ("sdpa", "eager")


@dataclass(frozen=True)
class ModelLimits:
    """How far a model's texts may reach, and what its layers see of them.

    Parameters
    ----------
    max_length
        The longest text in tokens; None where there is no limit.
    window
        How many tokens a layer of sliding attention sees, the row's own among them; None without such layers.
    mixes_layers
        Whether other layers see everything, so that each kind needs a mask of its own.
    """

    max_length: int | None
    window: int | None
    mixes_layers: bool

    def without_window(self) -> ModelLimits:
        """The same for texts that fit into the window, where it hides nothing."""
        lengths = [length for length in (self.max_length, self.window) if length is not None]
        return ModelLimits(min(lengths, default=None), None, False)


def model_limits(config: Any) -> ModelLimits:
    """Read the limits from a configuration.

    Where only the length is known within which a model's attention is full, that is the longest text: beyond it a tree could be
    scored wrongly. So it is with frequencies of rotary positions that change once a text is long: cached keys would be stale.
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
    """Refuse what this adapter cannot run, by the model's own type.

    Raises
    ------
    InputError
        For encoder-decoders, recurrent models, models without an output layer, in pieces on several devices, or whose attention
        takes no mask.
    """
    config = model.config.get_text_config()
    kind = f"model type {model.config.model_type!r}"
    if model.config.is_encoder_decoder:
        raise InputError(f"{kind} is an encoder-decoder; give a causal language model, such as GPT-2 or Llama")
    recurrent = sorted(set(getattr(config, "layer_types", None) or ()) - _ATTENTION_LAYERS)
    if recurrent or getattr(model, "_is_stateful", False):
        detail = f" (layers: {', '.join(recurrent)})" if recurrent else ""
        raise InputError(
            f"{kind} keeps a running state that cannot go back to an earlier token{detail}, so drafted tokens cannot be dropped; "
            "give a model whose layers are all attention"
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
    """Text lengths at which rotary frequencies change; `rope` may hold one description for each kind of layer."""
    if any(isinstance(value, dict) for value in rope.values()):
        return [n for value in rope.values() if isinstance(value, dict) for n in _changing_frequencies(value)]
    changes = rope.get("rope_type") in ("dynamic", "longrope")
    length = rope.get("original_max_position_embeddings")
    return [length] if changes and length is not None else []
