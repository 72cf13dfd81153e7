"""MAIN PATH: read the prompt, then draft a tree, score it in one pass of the target, and keep the path that the target chooses."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etesian.decode.checks import check_whole
from etesian.decode.drafters.drafter import Drafter, DraftRequest, renewed
from etesian.decode.generation import Generation, Output, Piece, Text
from etesian.decode.models.language_model import Context, LanguageModel, Scores
from etesian.decode.output_text import ChatTemplate, OutputText, Tokenizer
from etesian.decode.request import Prompt, Request, prompt_tokens, rows_of
from etesian.decode.sampling import GREEDY, Choice, Chooser, Sampling
from etesian.decode.sampling.grammar import GRAMMAR, Constraint, Grammars
from etesian.decode.speculation.policy import FixedPolicy, Policy
from etesian.decode.statistics import TARGET, Recorder
from etesian.decode.tree import ROOT, TokenTree
from etesian.decode.verify import Verification, verify
from etesian.errors import InputError

if TYPE_CHECKING:
    from etesian.decode.models.loading import LoadOptions

Message = Mapping[str, str]
_WARM_UP_TOKENS = 4
_WARM_UP_SAMPLINGS = (
    GREEDY,
    Sampling(temperature=1.0),
    Sampling(temperature=1.0, top_k=8, top_p=0.95, min_p=0.01, repetition_penalty=1.1, presence_penalty=0.1),
)


class Decoder:
    """Continue texts by a target model, verifying many drafted tokens in each of its forward passes.

    The output depends on the target, the prompt and the sampling options, including the seed. The drafter changes the speed of
    decoding, never the output.

    Parameters
    ----------
    target : LanguageModel
    drafter : Drafter or None
        Proposes tokens; None for plain decoding.
    tokenizer : Tokenizer or None
        Required for prompts given as text, for output as text and for stop strings.
    end_tokens : sequence of int
        Tokens that end the output: the model's own end-of-text tokens.
    policy : Policy or None
        Decides how much to draft; None for trees of at most 16 nodes.
    chat_template : ChatTemplate or None
        Turns a conversation into a prompt; required for `chat`.
    exact : bool
        Speculate only if the target promises exact rows (`ModelTraits`); otherwise decode plainly and issue a `UserWarning`. If
        False, speculate in any case: the output may then differ from plain decoding's by rounding.
    """

    def __init__(
        self,
        target: LanguageModel,
        drafter: Drafter | None = None,
        tokenizer: Tokenizer | None = None,
        *,
        end_tokens: Sequence[int] = (),
        policy: Policy | None = None,
        chat_template: ChatTemplate | None = None,
        exact: bool = True,
    ) -> None:
        self.target = target
        self.drafter = drafter
        self.tokenizer = tokenizer
        self.end_tokens = tuple(end_tokens)
        self.policy = policy or FixedPolicy()
        self.chat_template = chat_template
        self._traits = target.traits
        self._grammars = Grammars(tokenizer, target.vocabulary_size, self.end_tokens)
        self.can_speculate = drafter is not None and (self._traits.rows_are_exact or not exact)
        self.may_reuse = self._traits.rows_are_exact or not exact
        """True if keys and values of one text may serve another with the same beginning."""
        self._spare: tuple[Context, NDArray[np.int32]] | None = (
            None  # of the last request, with the tokens that it has read
        )
        if drafter is not None and not self.can_speculate:
            warnings.warn(
                f"{type(target).__name__} does not promise exact rows, so drafted tokens could change the text: decoding plainly; "
                "exact=False speculates nevertheless",
                stacklevel=2,
            )

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
        """Load a target and its drafters.

        Parameters
        ----------
        name_or_path : str or Path
            ``"bundled"``, a folder with safetensors, a folder with subfolders ``target`` and ``draft``, or a hub name.
        draft : str, Path or None
            A draft model, given like the target; the folder of a draft head (`etesian draft train`, EAGLE-3 or speculators);
            ``"head"`` for the head that comes with this package (SmolLM2-135M-Instruct); ``"self"`` or ``"self:q5_0"`` for a copy
            of the target in fewer bits. ``"auto"`` is the draft next to the target, or, if the measured pass costs predict a
            speed-up, the head of this package, or a copy if the target is large and the memory suffices.
            None for no draft.
        ngram : str, Path or None
            A file written by `NgramDrafter.save`, used together with a `LookupDrafter`; ``"auto"`` for ``ngram.npz`` in the folder,
            if it exists; None for neither N-gram nor lookup.
        stages : sequence of str or Path, optional
            Replaces `draft` and `ngram`: all drafters, innermost first, each drafting for the next. An entry is an N-gram file
            (``.npz``), ``"lookup"``, the name of a drafter registered under the entry point group ``etesian.drafters``, or a draft.
        options : LoadOptions, optional
            Number type, device and source.
        exact : bool
            See `Decoder`.

        Raises
        ------
        InputError
            If a file or model is missing or cannot be loaded, or a draft model uses other tokens than the target.
        """
        from etesian.decode.load import load_parts

        parts = load_parts(name_or_path, draft=draft, ngram=ngram, stages=stages, options=options)
        decoder = cls(
            parts.target,
            parts.drafter,
            parts.tokenizer,
            end_tokens=parts.end_tokens,
            policy=parts.policy,
            chat_template=parts.chat_template,
            exact=exact,
        )
        decoder.warm_up()
        return decoder

    def warm_up(self) -> None:
        """Compile everything that is compiled at its first use, on a short text that is discarded; `load` does so.

        Without it, the first request includes the compilation, and drafting seems slower than it is. The state of the decoder's
        policy and drafter does not change.
        """
        drafter = renewed(self.drafter) if self.can_speculate else None
        policy = FixedPolicy(max_nodes=3, max_depth=2)  # few: each row takes time on some processors
        throwaway = Decoder(self.target, drafter, policy=policy, exact=False)
        longest = self.target.max_length
        n_prompt = 6 if longest is None else min(6, longest - 1)
        prompt = [
            place % 2 % self.target.vocabulary_size for place in range(n_prompt)
        ]  # repeats itself, for lookup drafters
        for sampling in _WARM_UP_SAMPLINGS if n_prompt else ():
            throwaway.generate(prompt, sampling, max_tokens=_WARM_UP_TOKENS)

    def fork(self) -> Decoder:
        """Return a decoder for concurrent requests: the same target, but a drafter and a policy of its own.

        A drafter that is not `Renewable` is shared; the two decoders must then run in the same thread.
        """
        from etesian.decode.speculation.adaptive import Speculation

        policy = self.policy
        if isinstance(policy, Speculation):
            policy = Speculation(policy.costs, max_nodes=policy.max_nodes, max_depth=policy.max_depth)
        other = Decoder(
            self.target,
            (renewed(self.drafter) or self.drafter) if self.can_speculate else None,
            self.tokenizer,
            end_tokens=self.end_tokens,
            policy=policy,
            chat_template=self.chat_template,
            exact=False,
        )
        other.may_reuse, other._grammars = self.may_reuse, self._grammars
        return other

    def generate(
        self, prompt: Prompt, sampling: Sampling = GREEDY, *, max_tokens: int = 256, speculate: bool = True
    ) -> Generation:
        """Continue a prompt to the end.

        Parameters
        ----------
        prompt : str or sequence of int
        sampling : Sampling
        max_tokens : int
            Maximum length of the output, further limited by the longest text that the model can read.
        speculate : bool
            If False, decode plainly, one token per pass; the output is the same.

        Raises
        ------
        InputError
            If the prompt is empty or too long, holds tokens outside the vocabulary, or is text without a tokenizer.
        """
        stream = self.stream(prompt, sampling, max_tokens=max_tokens, speculate=speculate)
        for _ in stream:
            pass
        return stream.generation

    def generate_many(
        self, prompts: Iterable[Prompt], sampling: Sampling = GREEDY, *, max_tokens: int = 256, speculate: bool = True
    ) -> Iterator[Generation]:
        """Continue several prompts one after another; see `generate`. A common beginning is read once."""
        for prompt in prompts:
            yield self.generate(prompt, sampling, max_tokens=max_tokens, speculate=speculate)

    def stream(
        self, prompt: Prompt, sampling: Sampling = GREEDY, *, max_tokens: int = 256, speculate: bool = True
    ) -> Stream:
        """Continue a prompt piece by piece, one piece per pass of the target; see `generate`.

        The pieces hold whole characters that no stop string can revoke; joined, they are the text of `generate`.
        """
        request = self.open(prompt, sampling, max_tokens=max_tokens, speculate=speculate)
        return Stream(request, self._pieces(request))

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling = GREEDY,
        *,
        max_tokens: int = 256,
        speculate: bool = True,
    ) -> Generation:
        """Answer the last message of a conversation.

        The part of the conversation that the previous call has read already is not read again.

        Parameters
        ----------
        messages : sequence of mappings
            Messages with ``"role"`` (``"system"``, ``"user"`` or ``"assistant"``) and ``"content"``, as in transformers.
        sampling, max_tokens, speculate
            As for `generate`.

        Raises
        ------
        InputError
            If the model has no chat template, or its template rejects the messages.
        """
        stream = self.stream_chat(messages, sampling, max_tokens=max_tokens, speculate=speculate)
        for _ in stream:
            pass
        return stream.generation

    def stream_chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling = GREEDY,
        *,
        max_tokens: int = 256,
        speculate: bool = True,
    ) -> Stream:
        """Answer the last message of a conversation piece by piece; see `chat` and `stream`."""
        if self.chat_template is None:
            raise InputError("the model has no chat template; use generate, or load an instruction-tuned model")
        if not isinstance(messages, Sequence) or not all(isinstance(message, Mapping) for message in messages):
            raise InputError(f"messages must be a sequence of mappings with 'role' and 'content'; got {messages!r:.60}")
        tokens = self.chat_template.encode(messages)
        return self.stream(tokens, sampling, max_tokens=max_tokens, speculate=speculate)

    def open(self, prompt: Prompt, sampling: Sampling, *, max_tokens: int, speculate: bool = True) -> Request:
        """Check a prompt and its options, and return the state of a request that has not begun; see `generate`."""
        check_whole("max_tokens", max_tokens, at_least=0)
        if not isinstance(sampling, Sampling):
            raise InputError(f"sampling must be a Sampling; got {sampling!r:.60}")
        vocabulary_size = self.target.vocabulary_size
        tokens = prompt_tokens(prompt, self.tokenizer, vocabulary_size, self.target.max_length)
        if sampling.stop and self.tokenizer is None:
            raise InputError("stop strings need a tokenizer; stop_tokens work without one")
        if self.target.max_length is not None:
            max_tokens = min(max_tokens, self.target.max_length - len(tokens))
        reader = OutputText(self.tokenizer, tokens, sampling.stop) if self.tokenizer else None
        drafter = self.drafter if speculate and self.can_speculate else None
        ends = () if sampling.ignore_eos else self.end_tokens
        return Request(
            text=Text(tokens, capacity=max_tokens),
            output=Output(reader, (*ends, *sampling.stop_tokens), max_tokens),
            chooser=Chooser(sampling, vocabulary_size, len(tokens), self._constraint(sampling)),
            may_draft=speculate and self.may_reuse,
            recorder=Recorder(drafter, self._traits.weight_bytes, prompt_tokens=len(tokens)),
            drafter=drafter,
        )

    def _constraint(self, sampling: Sampling) -> Constraint | None:
        return self._grammars.constraint(sampling.grammar, is_overruled=bool(sampling.forced_tokens))

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
            if is_settled:  # not in the middle of a pass that failed
                self._spare = context, request.text.tokens[: context.length].copy()

    def _read_prompt(self, request: Request) -> Context:
        """Let the target read all of the prompt but its last token, which the first pass scores."""
        context, read = self._spare or (self.target.context(), np.empty(0, np.int32))
        self._spare = None  # owned by this request while it runs
        prompt = request.text.tokens[:-1]
        n_common = min(_common_length(prompt, read), context.n_reusable) if self.may_reuse else 0
        context.truncate(n_common)
        request.add_hidden_states(context.extend(prompt[n_common:]))
        request.recorder.reused_tokens = n_common
        return context

    def adopt(self, request: Request) -> None:
        """Draft with this decoder's drafter for a request that another decoder of the same target has opened."""
        if request.drafter is not None:
            request.drafter = self.drafter
            request.recorder = Recorder(
                self.drafter, self._traits.weight_bytes, prompt_tokens=request.chooser.prompt_length
            )

    def _advance(self, request: Request, context: Context) -> None:
        """Draft, score, verify and keep: at least one more token."""
        tree = self.propose(request)
        with request.recorder.target:
            scores = context.score(*rows_of(request, tree))
        self.settle(request, context, tree, scores)

    def propose(self, request: Request, *, allows_passes: bool = True) -> TokenTree:
        """Draft a tree that continues the text of a request; without passes of draft models if `allows_passes` is False."""
        with request.recorder.draft:
            return self._draft(request, allows_passes)

    def settle(self, request: Request, context: Context, tree: TokenTree, scores: Scores) -> None:
        """Verify a scored tree, add the decided tokens to the text and keep the accepted nodes in the context."""
        recorder = request.recorder
        with recorder.verify:
            verified = self._verify(request, tree, scores.logits)
        read = [0, *(node + 1 for node in verified.accepted)][: verified.n_decided]
        context.keep(read)
        recorder.count(tree, verified)
        if request.drafter is not None:
            self._learn(request, request.drafter, tree, verified, scores, read)

    def _learn(
        self,
        request: Request,
        drafter: Drafter,
        tree: TokenTree,
        verified: Verification,
        scores: Scores,
        read: list[int],
    ) -> None:
        """Report the result of a pass to drafter and policy; the drafter's learning counts as drafting time."""
        recorder = request.recorder
        draft_seconds = recorder.draft.latest
        request.add_hidden_states(None if scores.hidden_states is None else scores.hidden_states[read])
        drafted, accepted = tree.below(request.n_forced, verified.accepted)
        if len(drafted):
            with recorder.draft:
                drafter.observe(drafted, accepted)
            draft_seconds += recorder.draft.latest
        self.policy.observe(1 + len(tree), recorder.target.latest, verified.n_decided, draft_seconds)

    def _draft(self, request: Request, allows_passes: bool) -> TokenTree:
        """Draft the tokens that a grammar forces, and below them the drafter's tree without nodes that the grammar forbids."""
        constraint = request.chooser.constraint
        if constraint is None or not request.may_draft:
            return self._drafted(request, [], allows_passes)
        output = request.text.tokens[request.chooser.prompt_length :]
        forced = constraint.forced(output)[: max(request.output.remaining - 1, 0)]
        request.n_forced = len(forced)
        chain = TokenTree.chain(forced, [1.0] * len(forced), GRAMMAR)
        return constraint.pruned(chain.joined(self._drafted(request, forced, allows_passes)), output)

    def _drafted(self, request: Request, forced: list[int], allows_passes: bool) -> TokenTree:
        """Ask for a tree within the policy's budget and the rest of the output, whose last token needs no draft."""
        if request.drafter is None:
            return TokenTree.empty()
        budget = self.policy.budget()
        max_depth = min(budget.max_depth, request.output.remaining - 1 - len(forced))
        if budget.max_nodes < 1 or max_depth < 1:
            return TokenTree.empty()
        text = request.text.tokens
        if forced:
            text = np.append(text, np.array(forced, np.int32))
        request.chooser.follow(text)
        tree = request.drafter.propose(
            DraftRequest(
                text,
                budget.max_nodes,
                max_depth,
                request.chooser,
                budget.tokens_per_second,
                budget.allows_passes and allows_passes,
                None if forced else request.take_hidden_states(),
                n_drafted=len(forced),
                node_seconds=budget.node_seconds,
            )
        )
        if not len(tree):
            return tree
        tree = self.policy.trim(tree.within(max_depth, self.target.vocabulary_size))
        return tree if self._traits.supports_trees else tree.likeliest_path()

    def _verify(self, request: Request, tree: TokenTree, logits: NDArray[np.float32]) -> Verification:
        def choose(node: int) -> Choice:
            return request.chooser.choose(logits[node + 1], request.text.tokens)  # row 0 is the text's last token

        def take(choice: Choice, node: int) -> bool:
            request.text.append(choice.token)
            return request.output.take(choice, TARGET if node == ROOT else tree.origins[node])

        return verify(tree, choose, take)


class Stream:
    """Pieces of an output, in order; `close`, or leaving it as a context manager, cancels the rest."""

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
        """Stop decoding; the output so far remains available."""
        self._pieces.close()

    @property
    def generation(self) -> Generation:
        """The output so far with its statistics; `finish_reason` is None before the end."""
        output = self._request.output
        return output.generation(self._request.recorder.statistics(len(output)))


def _common_length(tokens: NDArray[np.int32], others: NDArray[np.int32]) -> int:
    shorter = min(len(tokens), len(others))
    differs = np.flatnonzero(tokens[:shorter] != others[:shorter])
    return int(differs[0]) if len(differs) else shorter
