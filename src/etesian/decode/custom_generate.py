"""Speculative decoding inside transformers: `model.generate(..., custom_generate=speculative(...))`.

`generate` passes its options as logits processors and stopping criteria. Each is translated to a `Sampling` option or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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

_HARMLESS = {
    "attention_mask",
    "past_key_values",
    "use_cache",
    "cache_position",
    "position_ids",
    "logits_to_keep",
    "synced_gpus",
}


def speculative(
    *,
    draft: Any = None,
    ngram: str | Path | None = None,
    drafter: Drafter | None = None,
    tokenizer: Any = None,
    stop_strings: str | Sequence[str] = (),
    hands_over: bool = True,
) -> SpeculativeGenerate:
    """Return a decoding method for the `custom_generate` argument of transformers' `generate`.

    Create it once per model: the models are prepared at the first call. Where speculation cannot keep the text, or exact passes are
    slower than those of transformers on this machine, the loop of transformers continues the text.

    Parameters
    ----------
    draft : transformers.PreTrainedModel, optional
        A smaller model with the same tokens.
    ngram : str or Path, optional
        A file written by `NgramDrafter.save`, which drafts for `draft`.
    drafter : Drafter, optional
        Replaces `draft` and `ngram`. Without any of the three, a `LookupDrafter` drafts.
    tokenizer : transformers.PreTrainedTokenizerBase, optional
        Tokenizer for stop strings; the argument `tokenizer` of `generate` can be used instead.
    stop_strings : str or sequence of str
        Stop strings of every call, in addition to the argument `stop_strings` of `generate`. The output ends with the token that
        completes one of them.
    hands_over : bool
        If False, use speculative decoding even where transformers' own loop is faster.

    Returns
    -------
    SpeculativeGenerate

    Raises
    ------
    InputError
        If stop strings are given without a tokenizer.

    Examples
    --------
    >>> model.generate(**inputs, max_new_tokens=100, custom_generate=speculative())  # doctest: +SKIP
    """
    stop = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
    if stop and tokenizer is None:
        raise InputError("stop_strings need a tokenizer: speculative(tokenizer=..., stop_strings=...)")
    _pass_tokenizers_on()
    return SpeculativeGenerate(lambda: drafter or _drafter(draft, ngram), tokenizer, stop, hands_over=hands_over)


def _pass_tokenizers_on() -> None:
    """Let `generate` keep its argument `tokenizer` for `SpeculativeGenerate`.

    transformers 5.23 drops it for custom methods, and then refuses stop strings because there is no tokenizer.
    """
    from transformers import GenerationMixin

    extract = getattr(GenerationMixin, "_extract_generation_mode_kwargs", None)
    if extract is None or extract.__module__ == __name__:
        return

    def keep_tokenizer(self: Any, custom_generate: Any, kwargs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        tokenizer = kwargs.get("tokenizer")
        found = extract(self, custom_generate, kwargs, *rest, **named)
        is_ours = isinstance(custom_generate, SpeculativeGenerate) and tokenizer is not None
        return {**found, "tokenizer": tokenizer} if is_ours else found

    GenerationMixin._extract_generation_mode_kwargs = keep_tokenizer  # type: ignore[method-assign]


class SpeculativeGenerate:
    """Decode as `model.generate` asks; see `speculative`.

    Sampling takes its seed from torch's generator. After `torch.manual_seed` it repeats a text, whose distribution is that of
    transformers although the text itself differs. `generate` does not pass streamers to custom methods.
    """

    def __init__(
        self,
        make_drafter: Callable[[], Drafter],
        tokenizer: Any,
        stop: tuple[str, ...] = (),
        *,
        hands_over: bool = True,
    ) -> None:
        self._make_drafter = make_drafter
        self._stop = stop
        self._tokenizer = tokenizer
        self._hands_over = hands_over
        self._prepared: tuple[Any, Decoder | None] | None = None

    def __call__(
        self,
        model: Any,
        input_ids: Any,
        logits_processor: Iterable[Any],
        stopping_criteria: Iterable[Any],
        generation_config: Any,
        tokenizer: Any = None,
        **model_inputs: Any,
    ) -> Any:
        """Continue the rows of `input_ids`."""
        _check(generation_config, model_inputs)
        max_length, end_tokens, stop = _endings(stopping_criteria)
        options = _sampling_options(logits_processor, generation_config.do_sample, input_ids.shape[1])
        seeds = [_seed(generation_config.do_sample) for _ in input_ids]
        mask = model_inputs.get("attention_mask")
        prompts = [row if mask is None else row[mask[number].bool()] for number, row in enumerate(input_ids)]
        tokenizer = tokenizer if tokenizer is not None else self._tokenizer
        decoder = self._decoder(model, prompts[0])
        if decoder is None:
            from etesian.decode.models.transformers.plain_loop import continue_plainly

            criteria = self._with_own_stops(stopping_criteria)
            return continue_plainly(
                model, input_ids, logits_processor, criteria, generation_config, seeds, model_inputs
            )
        decoder.tokenizer = None if tokenizer is None else TextTokenizer(tokenizer)
        outputs = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            sampling = Sampling(**options, stop=(*self._stop, *stop), stop_tokens=end_tokens, seed=seed)
            out = decoder.generate(prompt.tolist(), sampling, max_tokens=max_length - input_ids.shape[1])
            outputs.append(out.token_ids)
        return _padded(input_ids, outputs, generation_config)

    def _decoder(self, model: Any, prompt: Any) -> Decoder | None:
        """Return the decoder; None where transformers' own loop is at least as fast."""
        if self._prepared is None or self._prepared[0] is not model:
            self._prepared = model, self._prepare(model, prompt)
        return self._prepared[1]

    def _prepare(self, model: Any, prompt: Any) -> Decoder | None:
        from etesian.decode.models.transformers.model import HuggingFaceModel
        from etesian.decode.models.transformers.plain_loop import seconds_over_plain

        target = HuggingFaceModel(model)
        if self._hands_over and not target.traits.rows_are_exact:
            return None
        decoder = Decoder(target, self._make_drafter(), policy=Speculation(cached_pass_costs(target)))
        decoder.warm_up()

        def decode_plainly(tokens: list[int], n_tokens: int) -> object:
            return decoder.generate(tokens, max_tokens=n_tokens, speculate=False)

        is_slower = self._hands_over and seconds_over_plain(model, prompt, decode_plainly) > 1
        return None if is_slower else decoder

    def _with_own_stops(self, criteria: Iterable[Any]) -> Any:
        from transformers.generation.stopping_criteria import StoppingCriteriaList, StopStringCriteria

        own = [StopStringCriteria(self._tokenizer, list(self._stop))] if self._stop else []
        return StoppingCriteriaList([*criteria, *own])


def _drafter(draft: Any, ngram: str | Path | None) -> Drafter:
    from etesian.decode.models.transformers.model import HuggingFaceModel

    inner = NgramDrafter.load(ngram) if ngram is not None else None
    if draft is None:
        return inner or LookupDrafter()
    model = HuggingFaceModel(draft)
    return ModelDrafter(model, inner, costs=cached_pass_costs(model))


def _check(config: Any, model_inputs: dict[str, Any]) -> None:
    """Refuse options that cannot be honored."""
    cache = model_inputs.get("past_key_values")
    if cache is not None and cache.get_seq_length() > 0:
        raise InputError("past_key_values must be empty: speculative decoding keeps a cache of its own")
    given = [name for name, value in model_inputs.items() if value is not None and name not in _HARMLESS]
    if given:
        raise InputError(
            f"speculative decoding continues tokens alone; other model inputs were given: {', '.join(given)}"
        )
    if (config.num_beams or 1) > 1:
        raise InputError(f"num_beams must be 1 for speculative decoding; got {config.num_beams}")
    wanted = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")
    for name in (*wanted, "return_dict_in_generate"):
        if getattr(config, name, None):
            raise InputError(f"{name} must be off for speculative decoding, which returns tokens alone")


def _endings(criteria: Iterable[Any]) -> tuple[int, list[int], tuple[str, ...]]:
    """Return the maximum length, the end tokens and the stop strings."""
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
    """Translate logits processors to fields of `Sampling`."""
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
    """Among several end tokens, all forced to the same logit, the lowest wins."""
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
    """Return prompts and outputs, padded to the longest."""
    import torch

    longest = max(map(len, outputs))
    if any(len(output) < longest for output in outputs) and config.pad_token_id is None:
        raise InputError("pad_token_id must be given where outputs differ in length")
    rows = [[*output, *[config.pad_token_id] * (longest - len(output))] for output in outputs]
    return torch.cat([input_ids, torch.tensor(rows, dtype=input_ids.dtype, device=input_ids.device)], dim=1)
