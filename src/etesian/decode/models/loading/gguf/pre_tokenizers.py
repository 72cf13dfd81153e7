"""Pre-tokenizers, which split text before byte-pair encoding, by their names in GGUF files.

The regular expressions are those of the models' own tokenizers; llama.cpp uses the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_3 = _WORDS % "{1,3}"
QWEN_2 = _WORDS % ""
GPT_4O = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
TEKKEN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


@dataclass(frozen=True)
class PreTokenization:
    """A method of splitting text before byte-pair encoding.

    Parameters
    ----------
    pattern
        A regular expression whose matches are pieces; None for GPT-2's own.
    splits_digits
        True if each digit is a piece.
    ignores_merges
        True if a piece that is a token stays whole, whatever the merges say.
    adds_start
        True if texts start with the start token unless the file says otherwise.
    """

    pattern: str | None = None
    splits_digits: bool = False
    ignores_merges: bool = False
    adds_start: bool = False

    def build(self) -> Any:
        """Return a pre-tokenizer of the `tokenizers` package."""
        from tokenizers import Regex, pre_tokenizers

        if self.pattern is not None:
            split = pre_tokenizers.Split(Regex(self.pattern), behavior="isolated")
            return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        by_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        if self.splits_digits:
            return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), by_words])
        return by_words


_GPT_2, _DIGITS = PreTokenization(), PreTokenization(splits_digits=True)
_LLAMA_3 = PreTokenization(LLAMA_3, ignores_merges=True, adds_start=True)
PRE_TOKENIZATIONS = {
    "gpt-2": _GPT_2,
    "phi-2": _GPT_2,
    "olmo": _GPT_2,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "command-r": _DIGITS,
    "llama3": _LLAMA_3,
    "llama-v3": _LLAMA_3,
    "llama-bpe": _LLAMA_3,
    "falcon3": _LLAMA_3,
    "pixtral": _LLAMA_3,
    "dbrx": PreTokenization(LLAMA_3),
    "smaug-bpe": PreTokenization(LLAMA_3),
    "qwen2": PreTokenization(QWEN_2),
    "deepseek-r1-qwen": PreTokenization(QWEN_2),
    "stablelm2": PreTokenization(QWEN_2),
    "gpt-4o": PreTokenization(GPT_4O),
    "tekken": PreTokenization(TEKKEN, ignores_merges=True, adds_start=True),
}
