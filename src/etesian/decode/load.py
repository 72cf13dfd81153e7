"""A decoder from files: the target, and the stages that draft for it. Where models come from is in `models/loading.py`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etesian.decode.decoder import Decoder
from etesian.decode.drafters.combined import CombinedDrafter
from etesian.decode.drafters.drafter import Drafter
from etesian.decode.drafters.lookup import LookupDrafter
from etesian.decode.drafters.model import ModelDrafter
from etesian.decode.drafters.ngram import NgramDrafter
from etesian.decode.models.language_model import LanguageModel
from etesian.decode.models.loading import LoadOptions, load_tokenizer, load_transformers_model
from etesian.decode.models.loading.catalog import find_gguf
from etesian.decode.models.loading.gguf import GgufTokenizer, check_gguf_options, load_gguf
from etesian.decode.models.loading.model_folder import check_location
from etesian.decode.models.loading.tokenizer import check_same_tokens
from etesian.decode.speculation.adaptive import Speculation
from etesian.decode.speculation.costs import cached_pass_costs
from etesian.errors import InputError

Source = str | Path
AUTO, BUNDLED, LOOKUP = "auto", "bundled", "lookup"


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer of transformers as the decoder asks for it.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
    """

    tokenizer: Any

    def encode(self, text: str) -> list[int]:
        """Tokens of a prompt, with the beginning of text where the model's own tokenizer puts it."""
        tokens: list[int] = self.tokenizer.encode(text)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of some tokens, special ones left out."""
        compiled = getattr(self.tokenizer, "backend_tokenizer", None)  # a tenth of the time
        if compiled is not None:
            return str(compiled.decode(list(tokens), skip_special_tokens=True))
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def get_vocab(self) -> dict[str, int]:
        """Numbers of all tokens."""
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        return vocabulary


def load_decoder(
    name_or_path: Source,
    *,
    draft: Source | None = AUTO,
    ngram: Source | None = AUTO,
    stages: Sequence[Source] | None = None,
    options: LoadOptions | None = None,
    exact: bool = True,
) -> Decoder:
    """Load a target, and what drafts for it; see `Decoder.load`."""
    folder = _bundle(name_or_path)
    target_place = folder / "target" if folder else name_or_path
    if stages is None:
        stages = _stages(folder or Path(name_or_path), draft, ngram)
    _check_files(stages)
    target = _load(target_place, options)
    drafter: Drafter | None = None
    for stage in stages:
        drafter = _stage(stage, drafter, target, options)
    policy = Speculation(cached_pass_costs(target.model)) if drafter else None
    decoder = Decoder(target.model, drafter, target.tokenizer, end_tokens=target.end_tokens, policy=policy, exact=exact)
    decoder.warm_up()
    return decoder


@dataclass(frozen=True)
class Loaded:
    """A model with what belongs to it."""

    model: LanguageModel
    tokenizer: TextTokenizer | GgufTokenizer
    end_tokens: Sequence[int]


def _bundle(name: Source) -> Path | None:
    """The folder that holds a target beside what drafts for it."""
    from etesian.decode.bundled import bundled_folder

    folder = bundled_folder() if os.fspath(name) == BUNDLED else Path(name).expanduser()
    if (folder / "target").is_dir():
        return folder
    if os.fspath(name) == BUNDLED:
        raise InputError("this installation has no bundled models; give a folder or a hub name")
    return None


def _stages(folder: Path, draft: Source | None, ngram: Source | None) -> list[Source]:
    """What drafts, the innermost first; beside the folder's N-gram, the text's own repetitions, which cost nothing."""
    beside: list[Source] = [folder / "ngram.npz"] if (folder / "ngram.npz").is_file() else []
    inner = [*beside, LOOKUP] if ngram == AUTO else [ngram] if ngram is not None else []
    in_bundle: list[Source] = [folder / "draft"] if (folder / "target").is_dir() and (folder / "draft").is_dir() else []
    outer = in_bundle if draft == AUTO else [draft] if draft is not None else []
    return [*inner, *outer]


def _check_files(stages: Sequence[Source]) -> None:
    """Tell what is missing before anything heavy is loaded."""
    for stage in stages:
        if _is_ngram(stage) and not Path(stage).expanduser().is_file():
            raise InputError(f"there is no N-gram file {os.fspath(stage)!r}; `etesian ngram build` makes one")
        if not _is_ngram(stage) and os.fspath(stage) != LOOKUP and find_gguf(stage) is None:
            check_location(stage)


def _is_ngram(stage: Source) -> bool:
    return Path(stage).suffix == ".npz"


def _stage(stage: Source, inner: Drafter | None, target: Loaded, options: LoadOptions | None) -> Drafter:
    """The drafter of a stage, for which those before it draft; what has no model joins them."""
    if os.fspath(stage) == LOOKUP or _is_ngram(stage):
        leaf = LookupDrafter() if os.fspath(stage) == LOOKUP else NgramDrafter.load(Path(stage).expanduser())
        return CombinedDrafter([inner, leaf]) if inner else leaf
    draft = _load(stage, options, target)
    n_drafts = sum(name.startswith("draft") for name in inner.stages) if inner else 0
    name = "draft" if n_drafts == 0 else f"draft {n_drafts + 1}"
    return ModelDrafter(draft.model, inner, name=name, costs=cached_pass_costs(draft.model))


def _load(place: Source, options: LoadOptions | None, target: Loaded | None = None) -> Loaded:
    """A model; as a draft for `target` it must have the same tokens."""
    file = find_gguf(place)
    if file is None:
        return _load_from_folder(place, options, target)
    check_gguf_options(file, options)
    model, tokenizer = load_gguf(file)
    if target is not None:
        check_same_tokens(target.tokenizer, tokenizer, draft_name=os.fspath(place))
    return Loaded(model, tokenizer, tokenizer.end_tokens)


def _load_from_folder(place: Source, options: LoadOptions | None, target: Loaded | None) -> Loaded:
    """A model of a folder or hub name: packed for the CPU where its family is known there, else as transformers runs it."""
    tokenizer = TextTokenizer(load_tokenizer(place, options))  # first: it is read in no time
    if target is not None:
        check_same_tokens(target.tokenizer, tokenizer, draft_name=os.fspath(place))
    from etesian.decode.models.cpu.model import CpuModel
    from etesian.decode.models.transformers.model import HuggingFaceModel

    model = load_transformers_model(Path(place) if not isinstance(place, str) else place, options)
    ends = model.generation_config.eos_token_id
    end_tokens = ends if isinstance(ends, list) else [] if ends is None else [ends]
    quantize = None if options is None else options.quantize
    if model.device.type == "cpu":
        try:
            return Loaded(CpuModel.from_transformers(model, quantize=quantize), tokenizer, end_tokens)
        except ValueError as error:  # no packed form of this family or number type
            if quantize is not None:
                raise InputError(f"{os.fspath(place)!r} cannot be quantized: {error}") from error
    if quantize is not None:
        raise InputError(f"quantize={quantize!r} needs device 'cpu'; got {str(model.device)!r}")
    return Loaded(HuggingFaceModel(model), tokenizer, end_tokens)
