"""The tokenizer inside a GGUF file, rebuilt with the `tokenizers` package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from etesian.decode.checks import check_text
from etesian.decode.models.loading.gguf.directory import Gguf, Strings
from etesian.decode.models.loading.gguf.pre_tokenizers import PRE_TOKENIZATIONS, PreTokenization
from etesian.errors import InputError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Kinds of tokens."""
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""Stands for a space in the tokens of SentencePiece."""
MOST_CUT_CHARACTERS = 2**27
"""Limit of the characters in all ways to cut tokens in two; a million tokens of 11 characters are below it."""
END_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "</s>",
)
"""Texts of special tokens that end an answer, whichever of them the file names as its end."""


@dataclass(frozen=True)
class GgufTokenizer:
    """A tokenizer of a GGUF file.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
    end_tokens
        Tokens that end a text.
    chat_template
        Source of the Jinja template; None if the file has none.
    special
        Texts of the tokens that a template may name, by the names that transformers gives them, such as ``"bos_token"``.
    """

    backend: Any
    end_tokens: tuple[int, ...] = ()
    chat_template: str | None = None
    special: dict[str, str] = field(default_factory=dict)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the tokens of a text, after one start token if the model has one, even if the text begins with it.

        Raises
        ------
        InputError
            If the text is not valid Unicode.
        """
        check_text("the text", text)
        tokens: list[int] = self.backend.encode(text, add_special_tokens=add_special_tokens).ids
        is_twice = add_special_tokens and self._start is not None and tokens[:2] == [self._start] * 2
        return tokens[1:] if is_twice else tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        return str(self.backend.decode(list(tokens), skip_special_tokens=True))

    def serialized(self) -> str:
        """Return the tokenizer as JSON of the `tokenizers` package."""
        return str(self.backend.to_str())

    def name_of(self, token: int) -> str | None:
        """Return a token as the vocabulary writes it; None if there is no such token."""
        name: str | None = self.backend.id_to_token(token)
        return name

    def get_vocab(self) -> dict[str, int]:
        """Return the numbers of all tokens."""
        vocabulary: dict[str, int] = self.backend.get_vocab()
        return vocabulary

    def get_added_vocab(self) -> dict[str, int]:
        """Return the added tokens, such as special ones, with their numbers."""
        return {token.content: number for number, token in self.backend.get_added_tokens_decoder().items()}

    @cached_property
    def _start(self) -> int | None:
        start: int | None = self.backend.token_to_id(self.special.get("bos_token", ""))
        return start

    @cached_property
    def for_transformers(self) -> Any:
        """The same tokenizer as a class of transformers, whose `apply_chat_template` runs the template in a sandbox."""
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast(tokenizer_object=self.backend, **self.special)
        tokenizer.chat_template = self.chat_template
        return tokenizer


def read_tokenizer(file: Gguf) -> GgufTokenizer:
    """Rebuild the tokenizer of a file.

    Raises
    ------
    InputError
        If the file has no tokenizer, or one of a kind that is not supported.
    """
    vocabulary = _Vocabulary(file)
    kind = vocabulary.metadata.text("model")
    if kind == "gpt2":
        backend = _byte_pairs(vocabulary)
    elif kind == "llama":
        backend = _sentence_pieces(vocabulary)
    else:
        raise InputError(
            f"{str(file.path)!r} has a tokenizer of kind {kind!r}; supported are 'gpt2' (byte pairs) and 'llama' (SentencePiece)"
        )
    _add_special_tokens(backend, vocabulary)
    return GgufTokenizer(
        backend,
        end_tokens=vocabulary.end_tokens(),
        chat_template=file.entries("tokenizer").text("chat_template", "") or None,
        special=vocabulary.special(),
    )


class _Vocabulary:
    """Tokens with kinds and scores, and the tokens with a role."""

    def __init__(self, file: Gguf) -> None:
        self.file = file
        self.metadata = file.entries("tokenizer.ggml")
        self.tokens = list(self._strings("tokens"))
        self.kinds = self._array("token_type", np.full(len(self.tokens), NORMAL))
        self.numbers = {token: number for number, token in enumerate(self.tokens)}

    def strings(self, name: str) -> Iterable[str]:
        return self._strings(name)

    def scores(self) -> Any:
        return self._array("scores", None)

    def token(self, role: str) -> int | None:
        """Return the token with a role, such as ``"bos"``; None if there is none."""
        name = f"{role}_token_id"
        if self.metadata.get(name) is None:
            return None
        return self.metadata.whole(name, at_least=0, at_most=len(self.tokens) - 1)

    def end_tokens(self) -> tuple[int, ...]:
        """Return all tokens that end a text: those with such a role, and special tokens known to end a turn."""
        named = [self.token(role) for role in ("eos", "eot", "eom")]
        known = [self.numbers.get(text) for text in END_OF_TURN]
        special = [number for number in known if number is not None and self.kinds[number] in (CONTROL, USER_DEFINED)]
        return tuple(sorted({number for number in (*named, *special) if number is not None}))

    def special(self) -> dict[str, str]:
        roles = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
        found = {name: self.token(role) for role, name in roles.items()}
        return {name: self.tokens[number] for name, number in found.items() if number is not None}

    def _strings(self, name: str) -> Strings:
        value = self.metadata.get(name)
        if not isinstance(value, Strings):
            raise InputError(
                f"{str(self.file.path)!r} has no list of strings 'tokenizer.ggml.{name}'; convert the model again"
            )
        return value

    def _array(self, name: str, default: Any) -> Any:
        value = self.metadata.get(name)
        value = default if value is None else value
        if not isinstance(value, np.ndarray) or len(value) != len(self.tokens):
            raise InputError(f"{self.metadata.entry(name)} must hold {len(self.tokens)} numbers")
        return value


def _byte_pairs(vocabulary: _Vocabulary) -> Any:
    from tokenizers import Tokenizer, decoders, models

    ways = _pre_tokenization(vocabulary)
    merges = [_pair(vocabulary, merge) for merge in vocabulary.strings("merges")]
    try:
        model = models.BPE(vocabulary.numbers, merges, ignore_merges=ways.ignores_merges)
    except Exception as error:  # the package raises plain exceptions
        raise InputError(f"the merges of {str(vocabulary.file.path)!r} do not fit its tokens: {error}") from error
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ways.build()
    tokenizer.decoder = decoders.ByteLevel()
    _add_start(tokenizer, vocabulary, vocabulary.metadata.flag("add_bos_token", ways.adds_start))
    return tokenizer


def _pair(vocabulary: _Vocabulary, merge: str) -> tuple[str, str]:
    left, space, right = merge[1:].partition(" ")  # the first character may be a space itself
    if not space:
        raise InputError(
            f"{str(vocabulary.file.path)!r} has the merge {merge!r}, which is not a pair of tokens separated by a space"
        )
    return merge[:1] + left, right


def _pre_tokenization(vocabulary: _Vocabulary) -> PreTokenization:
    name = vocabulary.metadata.text("pre", "missing")
    if name not in PRE_TOKENIZATIONS:
        raise InputError(
            f"{str(vocabulary.file.path)!r} has the unsupported pre-tokenizer {name!r} ('tokenizer.ggml.pre'); "
            f"supported are {', '.join(PRE_TOKENIZATIONS)}"
        )
    return PRE_TOKENIZATIONS[name]


def _sentence_pieces(vocabulary: _Vocabulary) -> Any:
    """Build SentencePiece's byte-pair encoding: the pair with the best score is merged first; unknown characters become bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    unknown = vocabulary.token("unknown")
    model = models.BPE(
        vocabulary.numbers,
        _merges_by_score(vocabulary),
        unk_token=None if unknown is None else vocabulary.tokens[unknown],
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    has_prefix = vocabulary.metadata.flag("add_space_prefix", True)
    replace = normalizers.Replace(" ", SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), replace]) if has_prefix else replace
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if has_prefix else steps)
    _add_start(tokenizer, vocabulary, vocabulary.metadata.flag("add_bos_token", True))
    return tokenizer


def _merges_by_score(vocabulary: _Vocabulary) -> list[tuple[str, str]]:
    """Return all pairs of tokens that form a token, best score first, in the order in which SentencePiece tries them."""
    scores, numbers, ranked = vocabulary.scores(), vocabulary.numbers, []
    size = sum(len(token) ** 2 for token in vocabulary.tokens)
    if size > MOST_CUT_CHARACTERS:
        raise InputError(
            f"the tokens of {str(vocabulary.file.path)!r} are too long: the squares of their lengths add up to {size}, and at most "
            f"{MOST_CUT_CHARACTERS} are supported; convert the model again"
        )
    for number, token in enumerate(vocabulary.tokens):
        if vocabulary.kinds[number] not in (NORMAL, USER_DEFINED, UNUSED):
            continue
        pairs = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        known = [(numbers[left], numbers[right]) for left, right in pairs if left in numbers and right in numbers]
        ranked += [(-float(scores[number]), *pair) for pair in sorted(known)]
    ranked.sort(key=lambda each: each[0])
    return [(vocabulary.tokens[left], vocabulary.tokens[right]) for _, left, right in ranked]


def _add_start(tokenizer: Any, vocabulary: _Vocabulary, is_added: bool) -> None:
    from tokenizers import processors

    start = vocabulary.token("bos")
    if is_added and start is not None:
        # a fixed name, because the text may hold characters that have a meaning in a template
        special = {"id": "start", "ids": [start], "tokens": [vocabulary.tokens[start]]}
        tokenizer.post_processor = processors.TemplateProcessing(
            single="start $A", pair="start $A start $B", special_tokens=[special]
        )


def _add_special_tokens(tokenizer: Any, vocabulary: _Vocabulary) -> None:
    """Add control tokens as special tokens, and user-defined ones as tokens that are never split."""
    from tokenizers import AddedToken

    for kind in (CONTROL, USER_DEFINED):
        texts = [vocabulary.tokens[number] for number in np.flatnonzero(vocabulary.kinds == kind).tolist()]
        tokens = [AddedToken(text, normalized=False, special=kind == CONTROL) for text in texts if text]
        tokenizer.add_special_tokens(tokens) if kind == CONTROL else tokenizer.add_tokens(tokens)
