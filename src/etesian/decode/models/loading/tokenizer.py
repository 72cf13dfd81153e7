"""Whether two models speak the same tokens. Knows no model: vocabularies are mappings from token to number."""

from __future__ import annotations

from typing import Any

from etesian.errors import InputError


def check_same_tokens(target: Any, draft: Any, *, draft_name: str = "draft") -> None:
    """Refuse a draft model whose tokens are not the target's.

    Sizes of the models' output layers may differ, since they are padded as hardware likes it; what the numbers stand for may not.

    Parameters
    ----------
    target, draft : transformers.PreTrainedTokenizerBase
        Or anything else whose `get_vocab()` maps tokens to numbers.
    draft_name
        What to call the draft model in the message.

    Raises
    ------
    InputError
        Naming a token on which the two differ.
    """
    ours: dict[str, int] = target.get_vocab()
    theirs: dict[str, int] = draft.get_vocab()
    if ours == theirs:
        return
    differing = [token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)]
    token = min(differing, key=lambda token: (ours.get(token, theirs.get(token, 0)), token))
    raise InputError(
        f"the tokenizer of {draft_name} differs from the target's in {len(differing)} of {len(ours)} tokens: {token!r} is "
        f"{_number(ours, token)} for the target and {_number(theirs, token)} for {draft_name}; give a draft of the same tokenizer"
    )


def _number(vocabulary: dict[str, int], token: str) -> str:
    return f"number {vocabulary[token]}" if token in vocabulary else "unknown"
