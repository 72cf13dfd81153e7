"""The command `etesian generate`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from etesian._shared.limits import DOCUMENT_BYTES
from etesian.cli.console import EXIT_FAILED, EXIT_INTERRUPTED, print_json
from etesian.cli.decode_models import AUTO, SMOLLM2, ModelChoice
from etesian.cli.decode_output import PieceWriter, legend, prepare_output, statistics_table
from etesian.cli.decode_remote import RemoteStream
from etesian.cli.derive import options_from
from etesian.decode.checks import check_text
from etesian.decode.comparison import Comparison, compare_with_plain
from etesian.decode.decoder import Decoder, Stream
from etesian.decode.generation import Generation
from etesian.decode.models.loading import LoadOptions
from etesian.decode.sampling import Sampling
from etesian.errors import InputError

MAX_TOKENS: int = inspect.signature(Decoder.generate).parameters["max_tokens"].default
FOR_PROGRAMS = ("logit_bias", "banned_tokens", "forced_tokens", "stop_tokens", "logprobs", "grammar")
"""Fields of `Sampling` that hold token numbers or objects, which are of no use on a command line."""
LOADING = ("dtype", "quantize", "device")


@dataclass(frozen=True)
class TextRequest:
    """A text to generate and the decoder that generates it."""

    decoder: Decoder
    text: str
    sampling: Sampling
    max_tokens: int
    speculate: bool

    def stream(self) -> Stream:
        """Start generating."""
        return self.decoder.stream(self.text, self.sampling, max_tokens=self.max_tokens, speculate=self.speculate)

    def compare(self) -> Comparison:
        """Generate the text with speculation and plainly, in turn."""
        return compare_with_plain(self.decoder, self.text, self.sampling, max_tokens=self.max_tokens)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the drafter's stages."""
        return self.decoder.drafter.stages if self.decoder.drafter is not None and self.speculate else ()


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Parts of the output to print."""

    echo: bool
    show_origins: bool
    stats: bool
    as_json: bool


@options_from(Sampling, leave_out=FOR_PROGRAMS, annotations={"stop": tuple[str, ...]})
@options_from(
    LoadOptions, leave_out=[name for name in inspect.signature(LoadOptions).parameters if name not in LOADING]
)
def generate(
    prompt: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    prompt_file: Path | None = None,
    model: str = SMOLLM2,
    draft: str = AUTO,
    ngram: str = AUTO,
    stage: tuple[str, ...] = (),
    max_tokens: int = MAX_TOKENS,
    plain: bool = False,
    compare: bool = False,
    echo: bool = False,
    show_origins: bool = False,
    stats: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    **options: Any,
) -> int:
    """Generate text with speculative decoding. The text is the same as without it.

    The text goes to standard output as it is generated, everything else to standard error. Ctrl-C keeps the text generated so far.

    Exit code: 1 if --compare finds different text, 2 for a mistake in the arguments, 130 after Ctrl-C.

    Parameters
    ----------
    prompt
        Text to continue; - reads standard input.
    prompt_file
        File with the text to continue.
    model
        Target model: "smollm2", "bundled", a folder with safetensors, a GGUF file or the name of a model on the Hugging Face hub.
    draft
        Draft model, folder of a draft head, "head" for the head that comes with Etesian, or "self" for a copy of the target in
        fewer bits; "auto" uses the one next to the target, or the head or such a copy where it is faster; "none" uses none.
    ngram
        N-gram file that drafts for the draft model; "auto" uses the one next to the target, "none" uses none.
    stage
        Drafter stage: an N-gram file, a model or "lookup". Repeat from the innermost stage on. Replaces --draft and --ngram.
    max_tokens
        Maximum number of generated tokens.
    plain
        Decode without speculation.
    compare
        Decode again without speculation; print the speed-up and whether the texts are identical.
    echo
        Print the prompt before the text.
    show_origins
        Color each token by the drafter that proposed it.
    stats
        Print passes, acceptance rates and timings.
    as_json
        Print one JSON object instead of text.
    """
    prepare_output()
    console = Console(stderr=True, highlight=False)
    text = read_prompt(prompt, prompt_file)
    loading = LoadOptions(**{name: options.pop(name) for name in LOADING})
    sampling = Sampling(**options)
    if plain and compare:
        raise InputError("--compare already decodes without speculation; remove --plain")
    choice = ModelChoice(model=model, draft=draft, ngram=ngram, stages=stage, options=loading)
    request = TextRequest(choice.load(console), text, sampling, max_tokens, speculate=not plain)
    shown = Shown(echo=echo, show_origins=show_origins, stats=stats, as_json=as_json)
    return carry_out(request, shown, console, compare=compare)


def carry_out(request: TextRequest, shown: Shown, console: Console, *, compare: bool) -> int:
    """Print the text, then everything else that was requested. Return the exit code."""
    writer = None if shown.as_json else PieceWriter(request.stages if shown.show_origins else None)
    generation, is_interrupted = write_to_the_end(request.stream(), writer, request.text if shown.echo else "")
    comparison = None
    if compare and not is_interrupted:
        with console.status("comparing with plain decoding"):
            comparison = request.compare()
    if writer is None:
        print_json(_as_dict(generation, comparison))
    elif shown.show_origins:
        _print_legend(generation, request.stages, writer, console)
    if writer is not None and shown.stats:
        console.print(statistics_table(generation.stats))
    return _announce_outcome(generation, comparison, console, is_interrupted=is_interrupted)


def read_prompt(prompt: str | None, file: Path | None) -> str:
    """Return the text to continue."""
    if (prompt is None) == (file is None):
        given = "neither" if prompt is None else "both"
        raise InputError(f"the text to continue must be given as PROMPT or by --prompt-file; got {given}")
    if prompt is not None and prompt != "-":
        check_text("PROMPT", prompt)
        return prompt
    if file is None and sys.stdin is None:
        raise InputError("standard input is closed; give the text as PROMPT or by --prompt-file")
    name = "standard input" if file is None else str(file)
    try:
        with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as content:
            text = content.read(DOCUMENT_BYTES + 1)
        if len(text) > DOCUMENT_BYTES:
            raise InputError(f"{name} is larger than {DOCUMENT_BYTES:,} bytes; give a shorter text")
        return text.decode()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name} must be UTF-8 text; byte {error.start + 1} is invalid") from None


def write_to_the_end(stream: Stream | RemoteStream, writer: PieceWriter | None, prompt: str) -> tuple[Generation, bool]:
    """Write the prompt and the text; return the generation and whether Ctrl-C ended it."""
    is_interrupted = False
    try:
        if writer is not None:
            writer.write_prompt(prompt)
        for piece in stream:
            if writer is not None:
                writer.write(piece)
    except KeyboardInterrupt:
        is_interrupted = True
    generation = stream.generation
    if writer is not None:
        writer.finish(generation.text)
    return generation, is_interrupted


def _as_dict(generation: Generation, comparison: Comparison | None) -> dict[str, Any]:
    found = {
        "text": generation.text,
        "token_ids": generation.token_ids,
        "origins": generation.origins,
        "finish_reason": generation.finish_reason,
        "stats": generation.stats.as_dict(),
    }
    return found if comparison is None else found | {"comparison": comparison.as_dict()}


def _print_legend(generation: Generation, stages: Sequence[str], writer: PieceWriter, console: Console) -> None:
    console.print(legend(generation, stages), soft_wrap=True)
    if not writer.is_colored:
        console.print("note: colors need a terminal; set FORCE_COLOR=1 to write them elsewhere")


def _announce_outcome(
    generation: Generation, comparison: Comparison | None, console: Console, *, is_interrupted: bool
) -> int:
    if is_interrupted:
        console.print(f"stopped after {len(generation.token_ids)} tokens")
        return EXIT_INTERRUPTED
    if comparison is None:
        return 0
    console.print(str(comparison), soft_wrap=True)
    return 0 if comparison.is_identical else EXIT_FAILED
