"""Grammars: restrict each position of the output to the tokens that a JSON schema, a Lark grammar or a regular expression allows.

The masks come from the package llguidance. A constraint follows the target's decisions, which are never revoked, so that it acts
at every position exactly as in plain decoding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from etesian.decode.checks import check_text
from etesian.decode.tree import ROOT, TokenTree
from etesian.errors import InputError

GRAMMAR = "grammar"
"""The origin of tokens that a grammar forces."""
JSON_STYLE: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""White space in JSON: only after separators, as `json.dumps` writes it, because small models may add white space without end."""
LONGEST_CHAIN = 32  # forced tokens in one pass; more follow in the next one


@dataclass(frozen=True)
class Grammar:
    """Syntax that an output must follow.

    Parameters
    ----------
    kind : {'json_schema', 'lark', 'regex'}
    source : str
        The schema as JSON text, a grammar in the Lark dialect of llguidance, or a regular expression.

    Raises
    ------
    InputError
        If the kind is unknown, or the source is not UTF-8 text.
    """

    kind: Literal["json_schema", "lark", "regex"]
    source: str

    def __post_init__(self) -> None:
        if self.kind not in ("json_schema", "lark", "regex"):
            raise InputError(f"kind of a grammar must be 'json_schema', 'lark' or 'regex'; got {self.kind!r}")
        check_text("source of a grammar", self.source)

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | bool) -> Grammar:
        """Return the grammar of JSON values that conform to a schema, without white space except after separators.

        Raises
        ------
        InputError
            If the schema is False, to which no value conforms, or cannot be written as JSON.
        """
        if schema is False:
            raise InputError("no value conforms to the JSON schema false")
        try:
            source = json.dumps({} if schema is True else schema, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"the JSON schema cannot be written as JSON: {error}") from None
        return cls("json_schema", source)

    @classmethod
    def json_object(cls) -> Grammar:
        """Return the grammar of JSON objects."""
        return cls.json_schema({"type": "object"})


@runtime_checkable
class SerializableTokenizer(Protocol):
    """A tokenizer that a grammar can be compiled for."""

    def serialized(self) -> str:
        """Return the tokenizer as JSON of the `tokenizers` package."""


class Grammars:
    """Compile grammars for one tokenizer, which is converted at the first use.

    Parameters
    ----------
    tokenizer : SerializableTokenizer or other object
        Other objects are refused when a grammar is used.
    vocabulary_size : int
        Number of logits per row.
    end_tokens : sequence of int
        Tokens that end the output; allowed where the grammar may end.
    """

    def __init__(self, tokenizer: object, vocabulary_size: int, end_tokens: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        self._end_tokens = list(end_tokens)
        self._converted: Any = None

    def constraint(self, grammar: Grammar | None, *, is_overruled: bool = False) -> Constraint | None:
        """Return a constraint for a new request; None without a grammar. `is_overruled` as for `Constraint`.

        Raises
        ------
        InputError
            If the grammar is invalid or too complex, llguidance is not installed, or the tokenizer is not supported.
        """
        if grammar is None:
            return None
        try:
            from llguidance import LLMatcher
        except ImportError:
            raise InputError("grammars need llguidance: pip install 'etesian[serve]'") from None
        matcher = LLMatcher(self._convert(), _compiled(grammar), log_level=0)
        if matcher.is_error():
            raise InputError(f"the {_NAMES[grammar.kind]} cannot be used: {_first_line(matcher.get_error())}")
        return Constraint(matcher, self._vocabulary_size, is_overruled=is_overruled)

    def _convert(self) -> Any:
        if self._converted is None:
            from llguidance import LLTokenizer

            if not isinstance(self._tokenizer, SerializableTokenizer):
                raise InputError(
                    "grammars need a tokenizer of the tokenizers package; the decoder has another one or none"
                )
            if not self._end_tokens:
                raise InputError("grammars need a model with an end-of-text token; this one has none")
            self._converted = LLTokenizer(
                self._tokenizer.serialized(), n_vocab=self._vocabulary_size, eos_token=self._end_tokens
            )
        return self._converted


class Constraint:
    """A grammar at work in one request.

    Parameters
    ----------
    matcher : llguidance.LLMatcher
    vocabulary_size : int
    is_overruled : bool
        True if tokens may be forced against the grammar, which ends the constraint. Otherwise, all decided tokens are allowed, so
        that an error of the matcher is a limit that it has reached.
    """

    def __init__(self, matcher: Any, vocabulary_size: int, *, is_overruled: bool = False) -> None:
        self._matcher = matcher
        self._vocabulary_size = vocabulary_size
        self._is_overruled = is_overruled
        self._n_read = 0

    def apply(self, row: NDArray[np.float32], output: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits of the token after `output`, with -inf for tokens that the grammar forbids.

        Raises
        ------
        InputError
            If the grammar is too complex to be followed any further.
        """
        self._follow(output)
        if self._has_failed():
            return row  # tokens that were forced against the grammar: nothing is left to enforce
        allowed = np.frombuffer(self._matcher.compute_logit_bias(), np.uint8)[: len(row)] > 0
        if self._has_failed():
            return row
        masked = np.full(len(row), -np.inf, np.float32)
        masked[: len(allowed)][allowed] = row[: len(allowed)][allowed]
        return masked

    def forced(self, output: NDArray[np.int32]) -> list[int]:
        """Return the tokens that spell the only continuation the grammar allows after `output`; usually none."""
        self._follow(output)
        return [] if self._has_failed() else list(self._matcher.compute_ff_tokens())[:LONGEST_CHAIN]

    def pruned(self, tree: TokenTree, output: NDArray[np.int32]) -> TokenTree:
        """Return the nodes of a draft that the grammar allows."""
        self._follow(output)
        if self._has_failed():
            return tree
        is_allowed = np.zeros(len(tree), bool)
        inner = {int(parent) for parent in tree.parents if parent != ROOT}
        for leaf in set(range(len(tree))) - inner:
            path = tree.path_to(leaf)
            if not is_allowed[path].all():
                n_valid = self._matcher.validate_tokens(tree.tokens[path].tolist())
                is_allowed[path[:n_valid]] = True
        return tree if is_allowed.all() else tree.subtree(np.flatnonzero(is_allowed))

    def _follow(self, output: NDArray[np.int32]) -> None:
        """Read the tokens that were decided since the last call."""
        decided = output[self._n_read :].tolist()
        self._n_read = len(output)
        if decided and not self._matcher.is_error():
            self._matcher.consume_tokens(decided)

    def _has_failed(self) -> bool:
        if not self._matcher.is_error():
            return False
        if not self._is_overruled:
            raise InputError(
                f"the grammar is too complex to be followed beyond {self._n_read} tokens "
                f"({_first_line(self._matcher.get_error())}); use a simpler one"
            )
        return True


_NAMES = {"json_schema": "JSON schema", "lark": "grammar", "regex": "regular expression"}


def _compiled(grammar: Grammar) -> str:
    from llguidance import LLMatcher

    if grammar.kind == "regex":
        return str(LLMatcher.grammar_from_regex(grammar.source))
    if grammar.kind == "lark":
        return str(LLMatcher.grammar_from_lark(grammar.source))
    try:
        return str(LLMatcher.grammar_from_json_schema(grammar.source, defaults=JSON_STYLE))
    except ValueError as error:
        raise InputError(f"the JSON schema cannot be used: {_first_line(str(error))}") from None


def _first_line(message: str) -> str:
    """Return the first line, with the cause that errors in regular expressions state on a later one."""
    first, *others = (message.strip() or "unknown reason").splitlines()
    causes = [line.removeprefix("error: ") for line in others if line.startswith("error: ")]
    return f"{first.removesuffix(':')}: {causes[0]}" if causes else first
