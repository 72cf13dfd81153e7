"""The commands `etesian ngram build` and `etesian ngram show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from etesian._shared.documents import read_text
from etesian._shared.files import check_output
from etesian.cli.console import note, print_json
from etesian.cli.decode_models import BUNDLED, NONE, ModelChoice, draft_beside
from etesian.cli.decode_output import prepare_output
from etesian.decode.checks import check_text
from etesian.decode.decoder import Decoder
from etesian.decode.drafters.ngram import SAMPLING_TEMPERATURE, NgramDrafter, build_ngram
from etesian.decode.drafters.ngram_table import NgramTable
from etesian.errors import InputError

TOKENS = 1_000_000

AsJson = Annotated[bool, Parameter(name="--json")]

app = App(name="ngram", help="Build or show an N-gram that drafts for a draft model.")


@app.command
def build(
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    model: str = BUNDLED,
    tokens: int = TOKENS,
    temperature: float = SAMPLING_TEMPERATURE,
    starts: Path | None = None,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Count an N-gram in text that a draft model generates, to draft for that model.

    Use at least 20 tokens for each entry of the vocabulary. After Ctrl-C no file is written.

    Exit code: 2 for a mistake in the arguments, 130 after Ctrl-C.

    Parameters
    ----------
    output
        File to write, such as ngram.npz.
    model
        Draft model: "bundled", a folder, a GGUF file or the name of a model on the Hugging Face hub.
    tokens
        Number of tokens to generate and count.
    temperature
        Sampling temperature of the generated text.
    starts
        File with beginnings of texts, one per line; by default texts start with the model's first token.
    seed
        Seed of the generated text.
    as_json
        Print one JSON object instead of text.
    """
    prepare_output()
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
    note(f"wrote {output}")


@app.command
def show(file: Path, /, *, after: str | None = None, model: str = BUNDLED, as_json: AsJson = False) -> None:
    """Show the contents of an N-gram file, and the tokens it predicts after a text.

    Parameters
    ----------
    file
        File written by "etesian ngram build".
    after
        Print the predicted tokens after this text.
    model
        Model whose tokenizer splits the text of --after.
    as_json
        Print one JSON object instead of text.
    """
    prepare_output()
    table = NgramDrafter.load(file).table
    found = _described(table, file)
    if after is not None:
        check_text("--after", after)
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
    """Return the most likely tokens after a text with their probabilities."""
    assert decoder.tokenizer is not None  # loaded models have one
    tokens = [-1, *_tokens_of(decoder, text)]
    successors, probabilities = table.successors(tokens[-2], tokens[-1])
    return [
        {"token": token, "text": decoder.tokenizer.decode([token]), "probability": probability}
        for token, probability in zip(successors.tolist(), probabilities.tolist(), strict=True)
    ]


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print(
        f"{found['pairs']:,} pairs of tokens and {found['vocabulary_size']:,} single ones, {found['successors']:,} successors, "
        f"{found['bytes'] / 2**20:.2f} MiB; text sampled at a temperature of {found['temperature']:g}"
    )
    for each in found.get("expected", ()):
        print(f"{each['probability']:6.1%}  {each['text']!r}")


def _opening_of(decoder: Decoder) -> list[int]:
    """Return the tokens that texts of a model start with: its start token, or else its end token."""
    assert decoder.tokenizer is not None  # loaded models have one
    opening = list(decoder.tokenizer.encode("")) or list(decoder.end_tokens[:1])
    if not opening:
        raise InputError("the model has neither a start token nor an end token; give beginnings with --starts FILE")
    return opening


def _tokens_of(decoder: Decoder, text: str) -> list[int]:
    assert decoder.tokenizer is not None  # loaded models have one
    tokens = list(decoder.tokenizer.encode(text))
    if not tokens:
        raise InputError(f"a text must have at least one token; {text!r} has none")
    return tokens


def _lines_of(file: Path) -> list[str]:
    lines = [line for line in read_text(file).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{file} must hold beginnings of texts, one per line; it is empty")
    return lines


def _check_output(path: Path) -> None:
    if path.suffix != ".npz":
        raise InputError(f"the name of an N-gram file must end in .npz; got {path}")
    check_output(path)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
