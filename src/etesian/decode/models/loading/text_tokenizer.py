"""Tokenizers of transformers as the decoder uses them: text to tokens, tokens to text, and conversations to prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etesian.decode.checks import check_text
from etesian.decode.models.loading.gguf.tokenizer import GgufTokenizer
from etesian.errors import InputError


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer of transformers as a `Tokenizer`.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
    """

    tokenizer: Any

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt, with at most one beginning-of-text token.

        Raises
        ------
        InputError
            If the text is not valid Unicode.
        """
        check_text("the text", text)
        tokens: list[int] = self.tokenizer.encode(text)
        start = self.tokenizer.bos_token_id
        return tokens[1:] if start is not None and tokens[:2] == [start, start] else tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""
        if self.tokenizer.is_fast:  # the compiled tokenizer itself takes a tenth of the time
            return str(self.tokenizer.backend_tokenizer.decode(list(tokens), skip_special_tokens=True))
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def serialized(self) -> str:
        """Return the tokenizer as JSON of the `tokenizers` package."""
        if not self.tokenizer.is_fast:
            raise InputError("grammars need a fast tokenizer; this model has a slow one")
        return str(self.tokenizer.backend_tokenizer.to_str())

    def name_of(self, token: int) -> str | None:
        """Return a token as the vocabulary writes it; None if there is no such token."""
        name: str | None = self.tokenizer.convert_ids_to_tokens(token)
        return name

    def get_vocab(self) -> dict[str, int]:
        """Return all tokens with their numbers."""
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        return vocabulary

    def get_added_vocab(self) -> dict[str, int]:
        """Return the added tokens, such as special ones, with their numbers."""
        vocabulary: dict[str, int] = self.tokenizer.get_added_vocab()
        return vocabulary


@dataclass(frozen=True)
class TransformersChatTemplate:
    """The chat template of a tokenizer, rendered in the sandbox of transformers (jinja2's `ImmutableSandboxedEnvironment`).

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        With a chat template.
    """

    tokenizer: Any

    def encode(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the tokens of a prompt that asks for the assistant's next message.

        Raises
        ------
        InputError
            If a message lacks its role or content, or the template rejects the conversation.
        """
        if not messages:
            raise InputError("messages must hold at least one message; got none")
        for message in messages:
            if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
                raise InputError(f"each message must have a 'role' and a 'content', both text; got {dict(message)!r}")
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
            )
            check_text("the text", text)
        except Exception as error:  # a template is a program, which may raise any error
            reason = str(error) or type(error).__name__
            raise InputError(f"the chat template rejects the messages: {reason}") from error
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return tokens


@dataclass(frozen=True)
class GgufChatTemplate:
    """The chat template of a GGUF file; transformers is imported at the first use.

    Parameters
    ----------
    tokenizer : GgufTokenizer
        With a chat template.
    """

    tokenizer: GgufTokenizer

    def encode(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the tokens of a prompt that asks for the assistant's next message; see `TransformersChatTemplate`."""
        return TransformersChatTemplate(self.tokenizer.for_transformers).encode(messages)
