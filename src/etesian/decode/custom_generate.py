"""transformers' own door: `model.generate(..., custom_generate=speculative(...))` gives plain decoding's tokens, sooner.

What `generate` was asked for arrives here as logits processors and stopping criteria; each is told as a `Sampling`, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from etesian.decode.decoder import Decoder
from etesian.decode.drafters.drafter import Drafter
from etesian.decode.drafters.lookup import LookupDrafter
from etesian.decode.drafters.model import ModelDrafter
from etesian.decode.drafters.ngram import NgramDrafter
from etesian.decode.models.loading.text_tokenizer import TextTokenizer
from etesian.decode.sampling import Sampling
from etesian.decode.speculation.adaptive import Speculation
from etesian.decode.speculation.costs import cached_pass_costs
from etesian.errors import InputError

_HARMLESS = {"use_cache", "cache_position", "position_ids", "logits_to_keep", "synced_gpus"}


def speculative(
    *, draft: Any = None, ngram: str | Path | None = None, drafter: Drafter | None = None, tokenizer: Any = None
) -> SpeculativeGenerate:
    """Return what `custom_generate` takes. Make it once: the models are prepared when it is first used.

    Parameters
    ----------
    draft : transformers.PreTrainedModel, optional
        A smaller model of the same tokens.
    ngram
        A file of `NgramDrafter.save`, which drafts for `draft`.
    drafter
        Any other, in place of both. With none of the three, the text's own repetitions draft.
    tokenizer : transformers.PreTrainedTokenizerBase, optional
        Needed for `stop_strings`.
    """
    return SpeculativeGenerate(lambda: drafter or _drafter(draft, ngram), tokenizer)


class SpeculativeGenerate:
    """Decodes as `model.generate` was asked to; see `speculative`.

    Sampling takes its seed from torch's generator: after `torch.manual_seed` it gives the same text again, which has the same
    distribution as transformers' own, and is not the same text. `generate` does not pass a streamer on to it.
    """

    def __init__(self, make_drafter: Callable[[], Drafter], tokenizer: Any) -> None:
        self._make_drafter = make_drafter
        self._tokenizer = TextTokenizer(tokenizer) if tokenizer is not None else None
        self._prepared: tuple[Any, Decoder] | None = None

    def __call__(
        self,
        model: Any,
        input_ids: Any,
        logits_processor: Iterable[Any],
        stopping_criteria: Iterable[Any],
        generation_config: Any,
        **model_inputs: Any,
    ) -> Any:
        """Continue each row of `input_ids`, one after another."""
        mask = model_inputs.pop("attention_mask", None)
        _check(generation_config, model_inputs)
        max_length, end_tokens, stop = _endings(stopping_criteria)
        options = _sampling_options(logits_processor, generation_config.do_sample, input_ids.shape[1])
        decoder = self._decoder(model)
        outputs = []
        for row, tokens in enumerate(input_ids):
            sampling = Sampling(**options, stop=stop, stop_tokens=end_tokens, seed=_seed(generation_config.do_sample))
            prompt = tokens if mask is None else tokens[mask[row].bool()]
            out = decoder.generate(prompt.tolist(), sampling, max_tokens=max_length - input_ids.shape[1])
            outputs.append(out.token_ids)
        return _padded(input_ids, outputs, generation_config)

    def _decoder(self, model: Any) -> Decoder:
        from etesian.decode.models.transformers.model import HuggingFaceModel

        if self._prepared is None or self._prepared[0] is not model:
            target = HuggingFaceModel(model)
            policy = Speculation(cached_pass_costs(target))
            decoder = Decoder(target, self._make_drafter(), self._tokenizer, policy=policy)
            decoder.warm_up()
            self._prepared = model, decoder
        return self._prepared[1]


def _drafter(draft: Any, ngram: str | Path | None) -> Drafter:
    from etesian.decode.models.transformers.model import HuggingFaceModel

    inner = NgramDrafter.load(ngram) if ngram is not None else None
    if draft is None:
        return inner or LookupDrafter()
    model = HuggingFaceModel(draft)
    return ModelDrafter(model, inner, costs=cached_pass_costs(model))


def _check(config: Any, model_inputs: dict[str, Any]) -> None:
    """Refuse what cannot be done, rather than leave it out."""
    cache = model_inputs.pop("past_key_values", None)
    if cache is not None and cache.get_seq_length() > 0:
        raise InputError("past_key_values must be empty: speculative decoding keeps a cache of its own")
    given = [name for name, value in model_inputs.items() if value is not None and name not in _HARMLESS]
    if given:
        raise InputError(f"speculative decoding continues tokens alone; model inputs given besides: {', '.join(given)}")
    if (config.num_beams or 1) > 1:
        raise InputError(f"num_beams must be 1 for speculative decoding; got {config.num_beams}")
    wanted = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")
    for name in (*wanted, "return_dict_in_generate"):
        if getattr(config, name, None):
            raise InputError(f"{name} must be off for speculative decoding, which returns tokens alone")


def _endings(criteria: Iterable[Any]) -> tuple[int, list[int], tuple[str, ...]]:
    """The longest text, the end tokens and the stop strings."""
    from transformers.generation import stopping_criteria as known

    max_length, end_tokens, stop = None, list[int](), tuple[str, ...]()
    for criterion in criteria:
        if isinstance(criterion, known.MaxLengthCriteria):
            max_length = criterion.max_length
        elif isinstance(criterion, known.EosTokenCriteria):
            end_tokens += criterion.eos_token_id.tolist()
        elif isinstance(criterion, known.StopStringCriteria):
            stop += tuple(criterion.stop_strings)
        else:
            raise InputError(f"speculative decoding does not know the stopping criterion {type(criterion).__name__}")
    if max_length is None:
        raise InputError("speculative decoding needs max_new_tokens or max_length")
    return max_length, end_tokens, stop


def _sampling_options(processors: Iterable[Any], do_sample: bool, prompt_length: int) -> dict[str, Any]:
    """Fields of `Sampling` that do what these processors do."""
    options: dict[str, Any] = {"temperature": 1.0 if do_sample else None}
    for processor in processors:
        name = type(processor).__name__
        if name not in _FIELDS:
            raise InputError(
                f"speculative decoding does not know the logits processor {name}; known are {', '.join(_FIELDS)}"
            )
        for field, value in _FIELDS[name](processor, prompt_length).items():
            if field in options and field != "temperature":
                raise InputError(f"speculative decoding takes one {name}; got several")
            options[field] = value
    return options


def _single_tokens(words: Iterable[Any], name: str) -> list[int]:
    words = list(words)
    if any(len(word) != 1 for word in words):
        raise InputError(f"{name} must be of one token each for speculative decoding; got {words}")
    return [int(word[0]) for word in words]


def _biases(processor: Any, _: int) -> dict[str, Any]:
    tokens = _single_tokens(processor.sequence_bias, "sequences of sequence_bias")
    return {"logit_bias": dict(zip(tokens, map(float, processor.sequence_bias.values()), strict=True))}


def _forced_end(processor: Any, prompt_length: int) -> dict[str, Any]:
    """Of several end tokens the lowest has the highest logit by the rule of ties."""
    return {"forced_tokens": {processor.max_length - 1 - prompt_length: int(processor.eos_token_id.min())}}


_FIELDS: dict[str, Callable[[Any, int], dict[str, Any]]] = {
    "TemperatureLogitsWarper": lambda processor, _: {"temperature": processor.temperature},
    "TopKLogitsWarper": lambda processor, _: {"top_k": processor.top_k},
    "TopPLogitsWarper": lambda processor, _: {"top_p": processor.top_p},
    "MinPLogitsWarper": lambda processor, _: {"min_p": processor.min_p},
    "RepetitionPenaltyLogitsProcessor": lambda processor, _: {"repetition_penalty": processor.penalty},
    "SequenceBiasLogitsProcessor": _biases,
    "SuppressTokensLogitsProcessor": lambda processor, _: {"banned_tokens": processor.suppress_tokens.tolist()},
    "NoBadWordsLogitsProcessor": lambda processor, _: {
        "banned_tokens": _single_tokens(processor.sequence_bias, "bad_words_ids")
    },
    "ForcedEOSTokenLogitsProcessor": _forced_end,
    "LogitNormalization": lambda *_: {},  # changes no choice
}


def _seed(do_sample: bool) -> int:
    import torch

    return int(torch.randint(2**62, (1,))) if do_sample else 0


def _padded(input_ids: Any, outputs: list[tuple[int, ...]], config: Any) -> Any:
    """Prompts with their outputs, as long as the longest."""
    import torch

    longest = max(map(len, outputs))
    if any(len(output) < longest for output in outputs) and config.pad_token_id is None:
        raise InputError("pad_token_id must be given where outputs differ in length")
    rows = [[*output, *[config.pad_token_id] * (longest - len(output))] for output in outputs]
    return torch.cat([input_ids, torch.tensor(rows, dtype=input_ids.dtype, device=input_ids.device)], dim=1)
