"""Load the parts of a decoder: the target, its tokenizer and the drafting stages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etesian.decode.drafters.combined import CombinedDrafter
from etesian.decode.drafters.drafter import Drafter
from etesian.decode.drafters.head.folder import is_head_folder, read_head
from etesian.decode.drafters.head.recognition import installed_head
from etesian.decode.drafters.lookup import LookupDrafter
from etesian.decode.drafters.model import ModelDrafter
from etesian.decode.drafters.ngram import NgramDrafter
from etesian.decode.drafters.registry import drafter_factory
from etesian.decode.models.language_model import LanguageModel, TargetOfHeads
from etesian.decode.models.loading import LoadOptions, load_tokenizer, load_transformers_model
from etesian.decode.models.loading.catalog import find_gguf
from etesian.decode.models.loading.gguf import GgufTokenizer, load_gguf
from etesian.decode.models.loading.model_folder import check_location
from etesian.decode.models.loading.text_tokenizer import (
    GgufChatTemplate,
    TextTokenizer,
    TransformersChatTemplate,
)
from etesian.decode.models.loading.tokenizer import tokens_not_shared
from etesian.decode.output_text import ChatTemplate, Tokenizer
from etesian.decode.self_draft import SELF, copy_format, expected_gain, is_candidate, is_worthwhile, load_copy
from etesian.decode.speculation.adaptive import Speculation
from etesian.decode.speculation.costs import cached_pass_costs
from etesian.decode.speculation.policy import Policy
from etesian.errors import InputError

if TYPE_CHECKING:
    from etesian.decode.drafters.head.model import HeadModel

Source = str | Path
AUTO, BUNDLED, LOOKUP, HEAD = "auto", "bundled", "lookup", "head"
HEAD_AGREEMENT, LEAST_HEAD_GAIN = 0.5, 1.2
"""A head of the package is used by default if a chain of which each token is accepted with this rate would gain so much."""


@dataclass(frozen=True, kw_only=True)
class DecoderParts:
    """Arguments of `Decoder`."""

    target: LanguageModel
    tokenizer: Tokenizer
    end_tokens: Sequence[int]
    drafter: Drafter | None
    policy: Policy | None
    chat_template: ChatTemplate | None


@dataclass(frozen=True)
class LoadedModel:
    """A model, its tokenizer and the tokens that end a text."""

    model: LanguageModel
    tokenizer: TextTokenizer | GgufTokenizer
    end_tokens: Sequence[int]


def load_parts(
    name_or_path: Source,
    *,
    draft: Source | None = AUTO,
    ngram: Source | None = AUTO,
    stages: Sequence[Source] | None = None,
    options: LoadOptions | None = None,
) -> DecoderParts:
    """Load a target and its drafters; see `Decoder.load`."""
    folder = _bundle(name_or_path)
    is_automatic = stages is None and draft == AUTO
    if stages is None:
        stages = _default_stages(folder or Path(name_or_path), draft, ngram)
    _check_sources(stages)
    source = folder / "target" if folder else name_or_path
    target = _load_model(source, options)
    drafter = _build_drafter(stages, target, source, options)
    if is_automatic and not any(_is_model(stage) for stage in stages):
        drafter = _with_automatic_draft(drafter, target, source, options)
    return DecoderParts(
        target=target.model,
        tokenizer=target.tokenizer,
        end_tokens=target.end_tokens,
        drafter=drafter,
        policy=Speculation(cached_pass_costs(target.model)) if drafter else None,
        chat_template=_chat_template(target.tokenizer),
    )


def _chat_template(tokenizer: TextTokenizer | GgufTokenizer) -> ChatTemplate | None:
    if isinstance(tokenizer, GgufTokenizer):
        return GgufChatTemplate(tokenizer) if tokenizer.chat_template else None
    return TransformersChatTemplate(tokenizer.tokenizer) if tokenizer.tokenizer.chat_template else None


def target_source(name: Source) -> Source:
    """Return where the target of a name is: a subfolder of a folder that also holds drafters, or the name itself."""
    folder = _bundle(name)
    return name if folder is None else folder / "target"


def _bundle(name: Source) -> Path | None:
    """Return the folder that holds a target together with its drafters; None for a single model."""
    from etesian.decode.bundled import bundled_folder

    folder = bundled_folder() if os.fspath(name) == BUNDLED else Path(name).expanduser()
    if (folder / "target").is_dir():
        return folder
    if os.fspath(name) == BUNDLED:
        raise InputError("this installation has no bundled models; give a folder or a hub name")
    return None


def _default_stages(folder: Path, draft: Source | None, ngram: Source | None) -> list[Source]:
    """Return the drafting stages, innermost first. Lookup costs almost nothing, so it accompanies every N-gram."""
    found: list[Source] = [folder / "ngram.npz"] if (folder / "ngram.npz").is_file() else []
    inner: list[Source] = []
    if ngram is not None:
        inner = [*(found if ngram == AUTO else [ngram]), LOOKUP]
    in_bundle: list[Source] = [folder / "draft"] if (folder / "target").is_dir() and (folder / "draft").is_dir() else []
    outer = in_bundle if draft == AUTO else [draft] if draft is not None else []
    return [*inner, *outer]


def _check_sources(stages: Sequence[Source]) -> None:
    """Report missing files before any weights are loaded."""
    for stage in stages:
        if _is_ngram(stage):
            if not Path(stage).expanduser().is_file():
                raise InputError(
                    f"N-gram file {os.fspath(stage)!r} does not exist; create it with `etesian ngram build`"
                )
        elif _is_model(stage) and find_gguf(stage) is None:
            check_location(stage)


def _is_ngram(stage: Source) -> bool:
    return Path(stage).suffix == ".npz"


def _is_model(stage: Source) -> bool:
    name = os.fspath(stage)
    return not (
        _is_ngram(stage) or name in (LOOKUP, HEAD) or copy_format(name) or _is_head(stage) or drafter_factory(name)
    )


def _is_head(stage: Source) -> bool:
    return is_head_folder(Path(stage).expanduser())


def _build_drafter(
    stages: Sequence[Source], target: LoadedModel, source: Source, options: LoadOptions | None
) -> Drafter | None:
    """Build the drafting stages, each of which drafts for the next; those without a model are combined."""
    drafts = {stage: _load_draft(stage, target, options) for stage in stages if _is_model(stage)}
    sizes = {len(target.tokenizer.get_vocab()), target.model.vocabulary_size}
    sizes |= {model.vocabulary_size for model, _ in drafts.values()}
    drafter: Drafter | None = None
    for stage in stages:
        factory = drafter_factory(os.fspath(stage))
        if stage in drafts:
            drafter = _model_drafter(*drafts[stage], drafter)
        elif (form := copy_format(os.fspath(stage))) is not None:
            drafter = _copy_drafter(load_copy(source, target.model, form, options), drafter)
        elif _is_head(stage):
            drafter = _head_drafter(_load_head(Path(stage).expanduser(), target.model), drafter)
        elif os.fspath(stage) == HEAD:
            drafter = _head_drafter(_load_head(_installed_head(target.model, source), target.model), drafter)
        elif factory is not None:
            drafter = factory(target.model, drafter)
        else:
            leaf = _load_ngram(Path(stage).expanduser(), sizes) if _is_ngram(stage) else LookupDrafter()
            drafter = CombinedDrafter([drafter, leaf]) if drafter else leaf
    return drafter


def _load_draft(stage: Source, target: LoadedModel, options: LoadOptions | None) -> tuple[LanguageModel, list[int]]:
    """Load a draft model, and the tokens that it must not propose because the target does not share them."""
    draft = _load_model(stage, options)
    return draft.model, tokens_not_shared(target.tokenizer, draft.tokenizer, draft_name=os.fspath(stage))


def _model_drafter(model: LanguageModel, excluded_tokens: Sequence[int], inner: Drafter | None) -> ModelDrafter:
    n_drafts = sum(name.startswith("draft") for name in inner.stages) if inner else 0
    name = "draft" if n_drafts == 0 else f"draft {n_drafts + 1}"
    return ModelDrafter(model, inner, name=name, costs=cached_pass_costs(model), excluded_tokens=excluded_tokens)


def _copy_drafter(copy: LanguageModel, inner: Drafter | None) -> ModelDrafter:
    return ModelDrafter(copy, inner, name=SELF, costs=cached_pass_costs(copy))


def _with_automatic_draft(
    inner: Drafter | None, target: LoadedModel, source: Source, options: LoadOptions | None
) -> Drafter | None:
    """Add the head that comes with the package for this target, or a copy of a large target."""
    from etesian.decode.models.cpu.model import CpuModel

    folder = installed_head(target.model)
    if folder is not None and isinstance(target.model, CpuModel):
        head = _load_head(folder, target.model)
        gain = expected_gain(cached_pass_costs(target.model), cached_pass_costs(head), HEAD_AGREEMENT)
        return _head_drafter(head, inner) if gain >= LEAST_HEAD_GAIN else inner
    return _with_copy(inner, target, source, options) if is_candidate(target.model) else inner


def _with_copy(
    inner: Drafter | None, target: LoadedModel, source: Source, options: LoadOptions | None
) -> Drafter | None:
    """Add a copy of the target in fewer bits if the measured pass costs predict a speed-up."""
    form = copy_format(SELF)
    assert form is not None
    copy = load_copy(source, target.model, form, options)
    if not is_worthwhile(cached_pass_costs(target.model), cached_pass_costs(copy)):
        return inner
    return _copy_drafter(copy, inner)


def _load_head(folder: Path, target: LanguageModel) -> HeadModel:
    """Load a draft head for this target."""
    from etesian.decode.drafters.head.model import HeadModel

    weights = read_head(folder)
    if not isinstance(target, TargetOfHeads):
        raise InputError(f"draft head {str(folder)!r} needs a target that runs in the CPU engine")
    sizes = weights.config.vocabulary_size, weights.config.feature_width
    if sizes != (target.vocabulary_size, target.width):
        raise InputError(
            f"draft head {str(folder)!r} is for a target with {sizes[0]} tokens and hidden states of {sizes[1]}; this one has "
            f"{target.vocabulary_size} and {target.width}"
        )
    try:
        target.keep_layers(weights.config.layers_of(target.n_layers))
    except ValueError as error:
        raise InputError(f"draft head {str(folder)!r} does not fit this target: {error}") from error
    return HeadModel(weights, target.embed, max_length=target.max_length)


def _head_drafter(head: HeadModel, inner: Drafter | None) -> Drafter:
    from etesian.decode.drafters.head.drafter import HeadDrafter

    return HeadDrafter(head, inner, costs=cached_pass_costs(head))


def _installed_head(target: LanguageModel, source: Source) -> Path:
    """Return the folder of the head that comes with the package for this target."""
    folder = installed_head(target)
    if folder is None:
        raise InputError(
            f"no draft head for {os.fspath(source)!r} comes with this package; train one with `etesian draft train`"
        )
    return folder


def _load_ngram(file: Path, vocabulary_sizes: set[int]) -> NgramDrafter:
    """Load an N-gram; refuse one that was counted over another vocabulary. Padded sizes of the loaded models are accepted."""
    ngram = NgramDrafter.load(file)
    size = ngram.table.vocabulary_size
    if size not in vocabulary_sizes:
        known = " or ".join(map(str, sorted(vocabulary_sizes)))
        raise InputError(
            f"N-gram {os.fspath(file)!r} has a vocabulary of {size} tokens, the model one of {known}; build one for this model "
            "with `etesian ngram build`"
        )
    return ngram


def _load_model(source: Source, options: LoadOptions | None) -> LoadedModel:
    """Load a GGUF file, a folder or a hub name."""
    file = find_gguf(source)
    if file is None:
        return _load_from_folder(source, options)
    model, tokenizer = load_gguf(file, options)
    return LoadedModel(model, tokenizer, tokenizer.end_tokens)


def _load_from_folder(source: Source, options: LoadOptions | None) -> LoadedModel:
    """Load a folder or hub name: into the compiled engine where it knows the family, else through transformers."""
    from etesian.decode.models.cpu.model import CpuModel
    from etesian.decode.models.transformers.model import HuggingFaceModel

    tokenizer = TextTokenizer(load_tokenizer(source, options))  # before the weights: it loads fast
    model = load_transformers_model(source, options)
    end_tokens = _end_tokens(model.generation_config.eos_token_id, source)
    quantize = None if options is None else options.quantize
    if model.device.type == "cpu":
        try:
            return LoadedModel(CpuModel.from_transformers(model, quantize=quantize), tokenizer, end_tokens)
        except ValueError as error:  # unknown family or number type
            if quantize is not None:
                raise InputError(f"{os.fspath(source)!r} cannot be quantized: {error}") from error
    if quantize is not None:
        raise InputError(f"quantize={quantize!r} needs device 'cpu'; got {str(model.device)!r}")
    return LoadedModel(HuggingFaceModel(model), tokenizer, end_tokens)


def _end_tokens(stated: Any, source: Source) -> list[int]:
    """Return the tokens that end a text, as a model's generation settings state them."""
    listed: list[Any] = stated if isinstance(stated, list) else [] if stated is None else [stated]
    if not all(type(each) is int for each in listed):
        raise InputError(
            f"eos_token_id of {os.fspath(source)!r} must be a token or a list of tokens; got {stated!r:.60}"
        )
    return listed
