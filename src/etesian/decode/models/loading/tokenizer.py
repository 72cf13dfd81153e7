"""Compare the vocabularies of target and draft model."""

from __future__ import annotations

from typing import Any

from etesian.errors import InputError


def tokens_not_shared(target: Any, draft: Any, *, draft_name: str = "draft") -> list[int]:
    """Return the draft model's tokens that the target does not share; refuse a draft with another tokenizer.

    Two tokenizers agree if they differ in added tokens only, such as the special tokens of a chat format. The sizes of the output
    layers may differ, because vocabularies are padded.

    Parameters
    ----------
    target, draft : TextTokenizer, GgufTokenizer or transformers.PreTrainedTokenizerBase
    draft_name : str
        Name of the draft model in error messages.

    Returns
    -------
    list of int
        Tokens that the draft model must not propose, ascending.

    Raises
    ------
    InputError
        If a token that is not an added one differs; the message names it.
    """
    ours: dict[str, int] = target.get_vocab()
    theirs: dict[str, int] = draft.get_vocab()
    differing = [token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)]
    added = target.get_added_vocab().keys() | draft.get_added_vocab().keys()
    if regular := [token for token in differing if token not in added]:
        token = min(regular, key=lambda token: (ours.get(token, theirs.get(token, 0)), token))
        raise InputError(
            f"the tokenizer of {draft_name} differs from the target's in {len(regular)} of {len(ours)} tokens: {token!r} is "
            f"{_number(ours, token)} for the target and {_number(theirs, token)} for {draft_name}; use a draft model with the "
            "target's tokenizer"
        )
    return sorted(theirs[token] for token in differing if token in theirs)


def _number(vocabulary: dict[str, int], token: str) -> str:
    return f"number {vocabulary[token]}" if token in vocabulary else "unknown"
