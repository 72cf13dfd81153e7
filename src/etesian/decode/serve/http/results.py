"""Parts of responses that all kinds of completions share: identity, usage and log-probabilities."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from etesian.decode.generation import Generation, Piece
from etesian.decode.output_text import Tokenizer, token_bytes


def identity(kind: str, prefix: str, model: str) -> dict[str, Any]:
    """Return the fields that name a response."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": None,
    }


def usage(generations: Sequence[Generation], *, n: int = 1) -> dict[str, Any]:
    """Return the usage of a request with `n` choices for each prompt."""
    prompts = [generation.stats for generation in generations[::n]]
    n_prompt = sum(stats.prompt_tokens for stats in prompts)
    n_completion = sum(len(generation.token_ids) for generation in generations)
    stages = [stage for generation in generations for stage in generation.stats.stages]
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_completion,
        "total_tokens": n_prompt + n_completion,
        "prompt_tokens_details": {"cached_tokens": sum(stats.reused_tokens for stats in prompts)},
        "completion_tokens_details": {
            "drafted_tokens": sum(stage.proposed for stage in stages),
            "accepted_tokens": sum(stage.accepted for stage in stages),
            "passes": sum(generation.stats.passes for generation in generations),
        },
    }


def chat_logprobs(piece: Piece, tokenizer: Tokenizer, n_top: int) -> dict[str, Any] | None:
    """Return the log-probabilities of tokens in the format of chat completions."""
    if piece.logprobs is None or piece.alternatives is None:
        return None

    def entry(token: int, logprob: float) -> dict[str, Any]:
        text, raw = _spelled(tokenizer, token)
        return {"token": text, "logprob": _finite(logprob), "bytes": None if raw is None else list(raw)}

    content = []
    for token, logprob, others in zip(piece.token_ids, piece.logprobs, piece.alternatives, strict=True):
        top = [entry(other, chance) for other, chance in others[:n_top]]
        content.append({**entry(token, logprob), "top_logprobs": top})
    return {"content": content, "refusal": None}


def text_logprobs(piece: Piece, tokenizer: Tokenizer, start: int) -> dict[str, Any] | None:
    """Return the log-probabilities of tokens in the format of text completions; `start` is the length of the text before them."""
    if piece.logprobs is None or piece.alternatives is None:
        return None
    offsets, length = [], start
    for text in piece.texts:
        offsets.append(length)
        length += len(text)
    return {
        "tokens": [_spelled(tokenizer, token, "bytes:")[0] for token in piece.token_ids],
        "token_logprobs": [_finite(logprob) for logprob in piece.logprobs],
        "top_logprobs": [
            {_spelled(tokenizer, other, "bytes:")[0]: _finite(chance) for other, chance in others}
            for others in piece.alternatives
        ],
        "text_offset": offsets,
    }


def origins(piece: Piece) -> dict[str, Any]:
    """Return numbers, texts and origins of the tokens of a piece, an addition to OpenAI's format."""
    return {"token_ids": list(piece.token_ids), "texts": list(piece.texts), "origins": list(piece.origins)}


def _spelled(tokenizer: Tokenizer, token: int, prefix: str = "") -> tuple[str, bytes | None]:
    """Return the text of a token and its bytes; a part of a character is written as escaped bytes after `prefix`."""
    raw = token_bytes(tokenizer, token)
    if raw is None:
        return tokenizer.decode([token]), None
    try:
        return raw.decode(), raw
    except UnicodeDecodeError:
        return prefix + "".join(f"\\x{byte:02x}" for byte in raw), raw


def _finite(logprob: float) -> float:
    return max(logprob, -9999.0)  # as OpenAI writes impossible tokens
