"""What the decoder asks of whoever proposes tokens: `Drafter` and `DraftRequest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etesian.decode.sampling import Chooser
from etesian.decode.tree import TokenTree


@dataclass(frozen=True, slots=True)
class DraftRequest:
    """What to continue, and how much of it pays.

    Parameters
    ----------
    text : ndarray of int32, shape (n_tokens,)
        Prompt and output so far; valid during the call only.
    max_nodes, max_depth
        Limits of the tree.
    chooser
        The target's own rule of choice: with its noise on a drafter's logits the two agree more often.
    tokens_per_second
        What a second is worth: a further pass of a draft model pays if it adds more accepted tokens than this times its cost.
        Infinite: none is to be made.
    """

    text: NDArray[np.int32]
    max_nodes: int
    max_depth: int
    chooser: Chooser
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class StageWork:
    """What one stage has done since its drafter was made.

    Parameters
    ----------
    passes
        Passes of its model; calls, for a stage without one.
    seconds
        Spent in this stage alone, without the stages inside it.
    weight_bytes
        Bytes of weights that its passes read.
    """

    passes: int = 0
    seconds: float = 0.0
    weight_bytes: int = 0


class Drafter(Protocol):
    """Proposes candidates; can make decoding slow, never wrong.

    It may also have `stage_statistics()`, the `StageWork` of each of its `stages` by name, for the statistics of a request, and
    `fresh()`, a drafter like it that has learned nothing and shares no state with it: `Decoder.warm_up` asks that one.
    """

    @property
    def stages(self) -> tuple[str, ...]:
        """Names that its nodes bear as `origins`, the innermost first."""

    def propose(self, request: DraftRequest) -> TokenTree:
        """Continue the text by a tree; an empty one where there is nothing to say."""

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn from a pass: of `tree`, as the target scored it, these nodes were taken, from the text's end down.

        A node whose parent was taken (or that follows the text) was put to the test; all others were not.
        """
