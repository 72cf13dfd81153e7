"""MAIN PATH: read the prompt, then draft a tree, let the target score it in one pass, keep the path on which it agrees."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etesian.decode.checks import check_whole
from etesian.decode.drafters.drafter import Drafter, DraftRequest
from etesian.decode.generation import Generation, Output, Piece, Text
from etesian.decode.models.language_model import Context, LanguageModel
from etesian.decode.near_ties import tolerance_of
from etesian.decode.output_text import OutputText, Tokenizer
from etesian.decode.request import Prompt, Request, prompt_tokens
from etesian.decode.sampling import GREEDY, Choice, Chooser, Sampling
from etesian.decode.speculation.policy import FixedPolicy, Policy
from etesian.decode.statistics import TARGET, Recorder
from etesian.decode.tree import ROOT, TokenTree
from etesian.decode.verify import Walk, walk
from etesian.errors import InputError

if TYPE_CHECKING:
    from etesian.decode.models.loading import LoadOptions


class Decoder:
    """Continues text by a target model, checking many drafted tokens in each of its passes.

    The output is a function of target, prompt and sampling, seed included: the drafter changes how fast it comes, never what it is.

    Parameters
    ----------
    target
    drafter
        Proposes tokens; None for plain decoding.
    tokenizer
        Needed for prompts given as text, for the output as text and for stop strings.
    end_tokens
        The model's own end of text: any of them ends the output.
    policy
        How much to draft; None for trees of at most 16 nodes.
    exact
        Where the rows of the target's passes are not exact (`LanguageModel`), make close decisions again in a pass of one row,
        and read each prompt anew. False takes such passes as they are: faster there, and now and then another text.
    """

    def __init__(
        self,
        target: LanguageModel,
        drafter: Drafter | None = None,
        tokenizer: Tokenizer | None = None,
        *,
        end_tokens: Sequence[int] = (),
        policy: Policy | None = None,
        exact: bool = True,
    ) -> None:
        self.target = target
        self.drafter = drafter
        self.tokenizer = tokenizer
        self.end_tokens = tuple(end_tokens)
        self.policy = policy or FixedPolicy()
        self._tolerance = tolerance_of(target) if exact else None
        self._spare: tuple[Context, NDArray[np.int32]] | None = None  # of the last request, with the tokens it has read

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        draft: str | Path | None = "auto",
        ngram: str | Path | None = "auto",
        stages: Sequence[str | Path] | None = None,
        options: LoadOptions | None = None,
        exact: bool = True,
    ) -> Decoder:
        """Load a target, and what drafts for it.

        Parameters
        ----------
        name_or_path
            ``"bundled"``, a folder with safetensors, a folder that holds such folders ``target`` and ``draft``, or a hub name.
        draft
            The draft model, likewise; ``"auto"`` for the one beside the target, None for none.
        ngram
            A file of `NgramDrafter.save`; ``"auto"`` for ``ngram.npz`` in the folder, if it is there, and a `LookupDrafter`
            beside it; None for neither.
        stages
            In place of `draft` and `ngram`: all that draft, the innermost first, each for the next: N-gram files (``.npz``),
            models, ``"lookup"``.
        options
            Number type, device and where to look.
        exact
            As `Decoder` has it.

        Raises
        ------
        InputError
            For what is not there or cannot be loaded, and for a draft whose tokens are not the target's.
        """
        from etesian.decode.load import load_decoder

        return load_decoder(name_or_path, draft=draft, ngram=ngram, stages=stages, options=options, exact=exact)

    def warm_up(self) -> None:
        """Use once, on a text that is thrown away, all that is compiled at its first use; `load` has done so.

        Without it the first request waits for that, and takes drafting for slower than it is.
        """
        from etesian.decode.warm_up import warm_up

        warm_up(self)

    def generate(
        self, prompt: Prompt, sampling: Sampling = GREEDY, *, max_tokens: int = 256, speculate: bool = True
    ) -> Generation:
        """Continue a prompt to the end.

        Parameters
        ----------
        prompt : str or sequence of int
        sampling
        max_tokens
            Length of the output, unless it ends by itself or reaches the longest text that the model reads.
        speculate
            False decodes plainly, one token a pass: the same output.

        Raises
        ------
        InputError
            For a prompt that is empty or too long, tokens outside the vocabulary, text without a tokenizer.
        """
        stream = self.stream(prompt, sampling, max_tokens=max_tokens, speculate=speculate)
        for _ in stream:
            pass
        return stream.generation

    def generate_many(
        self, prompts: Iterable[Prompt], sampling: Sampling = GREEDY, *, max_tokens: int = 256, speculate: bool = True
    ) -> Iterator[Generation]:
        """Continue several prompts one after another; see `generate`. What they have in common at the start is read once."""
        for prompt in prompts:
            yield self.generate(prompt, sampling, max_tokens=max_tokens, speculate=speculate)

    def stream(
        self, prompt: Prompt, sampling: Sampling = GREEDY, *, max_tokens: int = 256, speculate: bool = True
    ) -> Stream:
        """Continue a prompt piece by piece, as passes of the target decide; see `generate`.

        Texts of the pieces are whole characters that no stop string can take back; together they are the text of `generate`.
        """
        request = self._request(prompt, sampling, max_tokens, speculate)
        return Stream(request, self._pieces(request))

    def _request(self, prompt: Prompt, sampling: Sampling, max_tokens: int, speculate: bool) -> Request:
        check_whole("max_tokens", max_tokens, at_least=0)
        vocabulary_size = self.target.vocabulary_size
        tokens = prompt_tokens(prompt, self.tokenizer, vocabulary_size, self.target.max_length)
        if sampling.stop and self.tokenizer is None:
            raise InputError("stop strings need a tokenizer; stop_tokens work without one")
        if self.target.max_length is not None:
            max_tokens = min(max_tokens, self.target.max_length - len(tokens))
        reader = OutputText(self.tokenizer, tokens, sampling.stop) if self.tokenizer else None
        drafter = self.drafter if speculate else None
        return Request(
            text=Text(tokens, capacity=max_tokens),
            output=Output(reader, (*self.end_tokens, *sampling.stop_tokens), max_tokens),
            chooser=Chooser(sampling, vocabulary_size, len(tokens), tolerance=self._tolerance),
            recorder=Recorder(drafter, getattr(self.target, "weight_bytes", None), prompt_tokens=len(tokens)),
            drafter=drafter,
        )

    def _pieces(self, request: Request) -> Generator[Piece]:
        with request.recorder.prompt:
            context = self._read_prompt(request)
        if request.drafter is not None:
            self.policy.begin()
        is_settled = True
        try:
            while request.output.finish_reason is None:
                is_settled = False
                with request.recorder.all:
                    self._advance(request, context)
                is_settled = True
                yield request.output.piece()
        finally:
            if is_settled:  # and not amid a pass that failed
                self._spare = context, request.text.tokens[: context.length].copy()

    def _read_prompt(self, request: Request) -> Context:
        """Let the target read all of the prompt but its last token, which the first pass scores."""
        context, read = self._spare or (self.target.context(), np.empty(0, np.int32))
        self._spare = None  # nobody else's while this request runs
        prompt = request.text.tokens[:-1]
        n_common = _common_length(prompt, read) if self._tolerance is None else 0
        context.truncate(n_common)
        if n_common < len(prompt):
            context.extend(prompt[n_common:])
        request.recorder.reused_tokens = n_common
        return context

    def _advance(self, request: Request, context: Context) -> None:
        """Draft, score, verify, keep: at least one token further, unless a close decision asks for a pass of one row."""
        recorder = request.recorder
        with recorder.draft:
            tree = self._draft(request)
        with recorder.target:
            logits = context.score([request.last_token, *tree.tokens], [ROOT, *(tree.parents + 1)])
        with recorder.verify:
            taken = self._verify(request, tree, logits)
        context.keep([0, *(node + 1 for node in taken.accepted)][: taken.n_decided])
        recorder.count(tree, taken)
        request.wants_one_row = taken.is_unsure
        if request.drafter is not None:
            self._learn(request.drafter, recorder, tree, taken)

    def _learn(self, drafter: Drafter, recorder: Recorder, tree: TokenTree, taken: Walk) -> None:
        """Tell drafter and policy what came of a pass; the drafter's learning is part of what drafting takes."""
        draft_seconds = recorder.draft.latest
        if len(tree):
            with recorder.draft:
                drafter.observe(tree, taken.accepted)
            draft_seconds += recorder.draft.latest
        self.policy.observe(1 + len(tree), recorder.target.latest, taken.n_decided, draft_seconds)

    def _draft(self, request: Request) -> TokenTree:
        """Ask for a tree that fits what the policy allows and what the output still needs; the last token comes free."""
        if request.drafter is None or request.wants_one_row:
            return TokenTree.empty()
        max_nodes, max_depth, tokens_per_second = self.policy.budget()
        max_depth = min(max_depth, request.output.remaining - 1)
        if max_nodes < 1 or max_depth < 1:
            return TokenTree.empty()
        text = request.text.tokens
        request.chooser.follow(text)
        tree = request.drafter.propose(DraftRequest(text, max_nodes, max_depth, request.chooser, tokens_per_second))
        tree = self.policy.trim(tree.within(max_depth, self.target.vocabulary_size))
        return tree if getattr(self.target, "supports_trees", True) else tree.likeliest_path()

    def _verify(self, request: Request, tree: TokenTree, logits: NDArray[np.float32]) -> Walk:
        def choose(node: int) -> Choice:
            return request.chooser.choose(logits[node + 1], request.text.tokens)  # row 0 is the text's last token

        def take(choice: Choice, node: int) -> bool:
            request.text.append(choice.token)
            return request.output.take(choice, TARGET if node == ROOT else tree.origins[node])

        return walk(tree, choose, take)


class Stream:
    """The pieces of an output as they are decided; `close`, or leaving it as a context manager, cancels the rest."""

    def __init__(self, request: Request, pieces: Generator[Piece]) -> None:
        self._request = request
        self._pieces = pieces

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        return next(self._pieces)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Decode no further; what came so far stays."""
        self._pieces.close()

    @property
    def generation(self) -> Generation:
        """What has come so far, with its statistics; `finish_reason` is None before the end."""
        output = self._request.output
        return output.generation(self._request.recorder.statistics(len(output)))


def _common_length(tokens: NDArray[np.int32], others: NDArray[np.int32]) -> int:
    shorter = min(len(tokens), len(others))
    differs = np.flatnonzero(tokens[:shorter] != others[:shorter])
    return int(differs[0]) if len(differs) else shorter
