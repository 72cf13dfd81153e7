"""The commands `etesian ngram build` and `show`: an N-gram counted from what a draft model writes, and what is in its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from etesian._shared.files import check_output
from etesian.cli.decode_models import ModelChoice, draft_beside
from etesian.cli.decode_options import BUNDLED, NONE, JsonOption
from etesian.decode.decoder import Decoder
from etesian.decode.drafters.ngram import SAMPLING_TEMPERATURE, NgramDrafter, build_ngram
from etesian.decode.drafters.ngram_table import NgramTable
from etesian.errors import InputError

TOKENS = 1_000_000

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="N-grams that draft for a draft model: the innermost stage."
)


@app.command("build")
def run_build(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write, such as ngram.npz.")
    ],
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="The draft model: a folder, a hub name, or bundled."),
    ] = BUNDLED,
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", help="Tokens to sample and count.")] = TOKENS,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="NUMBER", help="Of the samples.")
    ] = SAMPLING_TEMPERATURE,
    starts: Annotated[
        Path | None,
        typer.Option(
            "--starts",
            metavar="FILE",
            help="Beginnings of texts, one a line; by default texts begin as the model's do.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="SEED", help="Of the samples.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Count an N-gram from text that a draft model writes, to draft for that model.

    20 tokens or more for each entry of the vocabulary are worth having. Ctrl-C ends it, and no file is written.

    Exit code: 2 for a mistake in what was asked, 130 after Ctrl-C.
    """
    console = Console(stderr=True, highlight=False)
    _check_output(output)
    lines = None if starts is None else _lines_of(starts)
    decoder = ModelChoice(model=draft_beside(model), draft=NONE, ngram=NONE).load(console)
    beginnings = [_opening_of(decoder)] if lines is None else [_tokens_of(decoder, line) for line in lines]
    with _progress(console) as progress:
        task = progress.add_task("sampling", total=tokens)
        ngram = build_ngram(
            decoder.target,
            n_tokens=tokens,
            starts=beginnings,
            temperature=temperature,
            seed=seed,
            progress=lambda sampled: progress.update(task, completed=sampled),
        )
    ngram.save(output)
    _print(_described(ngram.table, output), as_json=as_json)
    console.print(f"wrote {output}", markup=False, soft_wrap=True)


@app.command("show")
def run_show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `etesian ngram build` wrote.")],
    after: Annotated[
        str | None, typer.Option("--after", metavar="TEXT", help="Tell what the N-gram expects after this text.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="The model whose tokens they are, for --after.")
    ] = BUNDLED,
    as_json: JsonOption = False,
) -> None:
    """Tell what an N-gram's file holds, and what it expects after a text."""
    table = NgramDrafter.load(file).table
    found = _described(table, file)
    if after is not None:
        console = Console(stderr=True, highlight=False)
        decoder = ModelChoice(model=draft_beside(model), draft=NONE, ngram=NONE).load(console)
        found["expected"] = _expected(table, decoder, after)
    _print(found, as_json=as_json)


def _described(table: NgramTable, file: Path) -> dict[str, Any]:
    return {
        "vocabulary_size": table.vocabulary_size,
        "temperature": table.temperature,
        "pairs": len(table.contexts),
        "successors": len(table.tokens),
        "bytes": file.stat().st_size,
    }


def _expected(table: NgramTable, decoder: Decoder, text: str) -> list[dict[str, Any]]:
    """The likeliest tokens after a text, as text, with their probabilities."""
    assert decoder.tokenizer is not None  # loaded models have one
    tokens = [-1, *_tokens_of(decoder, text)]
    successors, probabilities = table.successors(tokens[-2], tokens[-1])
    return [
        {"token": token, "text": decoder.tokenizer.decode([token]), "probability": probability}
        for token, probability in zip(successors.tolist(), probabilities.tolist(), strict=True)
    ]


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, allow_nan=False, indent=2))
        return
    print(
        f"{found['pairs']:,} pairs of tokens and {found['vocabulary_size']:,} single ones, {found['successors']:,} successors, "
        f"{found['bytes'] / 2**20:.2f} MiB; text sampled at a temperature of {found['temperature']:g}"
    )
    for each in found.get("expected", ()):
        print(f"{each['probability']:6.1%}  {each['text']!r}")


def _opening_of(decoder: Decoder) -> list[int]:
    """Return what texts of a model begin with: its beginning of text, or what ends the text before."""
    assert decoder.tokenizer is not None  # loaded models have one
    opening = list(decoder.tokenizer.encode("")) or list(decoder.end_tokens[:1])
    if not opening:
        raise InputError("the model names no token that begins or ends texts; give beginnings by --starts FILE")
    return opening


def _tokens_of(decoder: Decoder, text: str) -> list[int]:
    assert decoder.tokenizer is not None  # loaded models have one
    tokens = list(decoder.tokenizer.encode(text))
    if not tokens:
        raise InputError(f"texts must hold at least one token; {text!r} holds none")
    return tokens


def _lines_of(file: Path) -> list[str]:
    try:
        lines = [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not lines:
        raise InputError(f"{file} must hold beginnings of texts, one a line; it is empty")
    return lines


def _check_output(path: Path) -> None:
    if path.suffix != ".npz":
        raise InputError(f"the file to write must end with .npz, by which it is known as an N-gram; got {path}")
    check_output(path)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
