"""What `etesian generate` and `etesian ngram` can be asked: `Sampling` as options, and all other options. Loads no model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from etesian.decode.models.loading import NumberType, QuantizedType
from etesian.decode.sampling import Sampling

AUTO, BUNDLED, NONE = "auto", "bundled", "none"
MODELS, CHOICE = "Models", "Choice of tokens"  # headings of the help

PromptArgument = Annotated[
    str | None, typer.Argument(metavar="[PROMPT]", help="The text to continue; - for standard input.")
]
PromptFileOption = Annotated[
    Path | None, typer.Option("--prompt-file", metavar="FILE", help="The text to continue, from a file.")
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        rich_help_panel=MODELS,
        help="Target model: bundled, smollm2, a GGUF file, a folder with safetensors, or a hub name.",
    ),
]
DraftOption = Annotated[
    str,
    typer.Option(
        "--draft",
        metavar="MODEL",
        rich_help_panel=MODELS,
        help="A smaller model that drafts; auto for the one beside the target, none for none.",
    ),
]
NgramOption = Annotated[
    str,
    typer.Option(
        "--ngram",
        metavar="FILE",
        rich_help_panel=MODELS,
        help="An N-gram that drafts for the draft; auto for the one beside the target and what the text repeats; none.",
    ),
]
StageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stage",
        metavar="STAGE",
        rich_help_panel=MODELS,
        help="An N-gram's file, a model, or lookup; once for each stage, the innermost first, in place of --draft and --ngram.",
    ),
]
DtypeOption = Annotated[
    NumberType,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        rich_help_panel=MODELS,
        help="Of weights: bf16, fp16, fp32, or auto for as they are stored.",
    ),
]
QuantizeOption = Annotated[
    QuantizedType | None,
    typer.Option(
        "--quantize",
        metavar="TYPE",
        rich_help_panel=MODELS,
        help="Round the matrices of safetensors on loading: q8_0, q5_1, q5_0, q4_1 or q4_0.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", rich_help_panel=MODELS, help="cpu, cuda, or auto for cuda if there is one."
    ),
]
MaxTokensOption = Annotated[int, typer.Option("--max-tokens", metavar="N", help="Tokens of output at most.")]
PlainOption = Annotated[bool, typer.Option("--plain", help="One token a pass, without drafts: the same text.")]
CompareOption = Annotated[
    bool, typer.Option("--compare", help="Decode plainly too: tell the speed-up, and whether the texts are the same.")
]
EchoOption = Annotated[bool, typer.Option("--echo", help="Write the prompt before the text.")]
OriginsOption = Annotated[bool, typer.Option("--show-origins", help="Color each token by who proposed it.")]
StatsOption = Annotated[bool, typer.Option("--stats", help="Tell passes, acceptance and where the time went.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@dataclass(frozen=True)
class OptionText:
    """What the command line says of a field of `Sampling`.

    Parameters
    ----------
    kind
        Its type.
    metavar
        What stands for its value.
    help
        A line.
    """

    kind: Any
    metavar: str
    help: str


SAMPLING = {
    "temperature": OptionText(float | None, "NUMBER", "Above 0 to sample; without it the likeliest token is taken."),
    "top_k": OptionText(int | None, "N", "Sample among this many likeliest tokens."),
    "top_p": OptionText(float | None, "SHARE", "Sample among the fewest tokens that hold this share."),
    "min_p": OptionText(float | None, "SHARE", "Sample among tokens at least this share as likely as the likeliest."),
    "repetition_penalty": OptionText(float | None, "NUMBER", "Above 1 makes tokens that the text holds less likely."),
    "presence_penalty": OptionText(float | None, "NUMBER", "Taken off the logit of each token that the output holds."),
    "frequency_penalty": OptionText(float | None, "NUMBER", "The same for each time that it holds it."),
    "stop": OptionText(list[str], "TEXT", "End before this text; may be given more than once."),
    "seed": OptionText(int, "SEED", "With the same seed the text is the same."),
}


def with_sampling_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of `Sampling` that stand in `SAMPLING`, which it takes as ``**options``."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    defaults = inspect.signature(Sampling).parameters
    taken = [_parameter(name, text, defaults[name].default) for name, text in SAMPLING.items()]
    command.__signature__ = signature.replace(parameters=[*own, *taken])  # type: ignore[attr-defined]
    return command


def _parameter(name: str, text: OptionText, default: Any) -> inspect.Parameter:
    option = typer.Option(help=text.help, metavar=text.metavar, rich_help_panel=CHOICE)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=list(default) if isinstance(default, tuple) else default,
        annotation=Annotated[text.kind, option],
    )
