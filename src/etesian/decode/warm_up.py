"""What is compiled or prepared at first use is used once, on a text that is thrown away, so that no request waits for it."""

from __future__ import annotations

from etesian.decode.decoder import Decoder
from etesian.decode.sampling import GREEDY, Sampling
from etesian.decode.speculation.policy import FixedPolicy

TOKENS = 4
"""Of each text: passes of one row, of a tree, and of what follows an accepted node."""
SAMPLINGS = (
    GREEDY,
    Sampling(temperature=1.0),
    Sampling(temperature=1.0, top_k=8, top_p=0.95, min_p=0.01, repetition_penalty=1.1, presence_penalty=0.1),
)


def warm_up(decoder: Decoder) -> None:
    """Let the target, and a drafter like the decoder's own that has learned nothing, write a few tokens in each manner.

    What the decoder's policy and drafter know of costs and acceptance stays as it is. A drafter without `fresh` is not asked.
    """
    fresh = getattr(decoder.drafter, "fresh", None)
    drafter = fresh() if fresh is not None else None
    throwaway = Decoder(decoder.target, drafter, policy=FixedPolicy(max_nodes=6, max_depth=3), exact=False)
    longest = decoder.target.max_length
    n_prompt = 6 if longest is None else min(6, longest - 1)
    prompt = [place % 2 % decoder.target.vocabulary_size for place in range(n_prompt)]  # repeats itself, for a lookup
    for sampling in SAMPLINGS if n_prompt else ():
        for _ in throwaway.stream(prompt, sampling, max_tokens=TOKENS):
            pass
