"""The command `etesian draft train`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from etesian.cli.console import EXIT_INTERRUPTED, note, print_json
from etesian.cli.decode_models import LIBRARIES
from etesian.cli.decode_output import prepare_output
from etesian.decode.checks import check_whole
from etesian.decode.models.loading import LoadOptions
from etesian.errors import InputError

app = App(name="draft", help="Train a draft for a target model.")


@app.command
def train(
    *,
    target: str,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    text: Path | None = None,
    minutes: float = 60.0,
    outputs: int = 4096,
    tokens_per_text: int = 128,
    seed: int = 0,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Train a draft head for a target on texts that the target writes.

    The head is one transformer layer that reads the target's hidden states. Use it with --draft. The same command continues an
    interrupted run, and with more --minutes a finished one. Progress goes to standard error: how often the head's first, second and
    third draft token is the target's own choice, on held-out prompts.

    Exit code: 2 for a mistake in the arguments, 130 after Ctrl-C.

    Parameters
    ----------
    target
        Target model: "bundled", "smollm2", a folder with safetensors, a GGUF file or the name of a model on the Hugging Face hub.
    output
        Folder for the head, the record of the training and intermediate files.
    text
        Folder with text files whose passages serve as prompts; by default built-in prompts of six kinds of use.
    minutes
        Time for sampling and training, over all runs in the same folder.
    outputs
        Number of tokens that the head can propose: the most frequent ones.
    tokens_per_text
        Maximum length of each text beyond the prompt.
    seed
        Seed of prompts, texts and training.
    as_json
        Print the record of the training as JSON.
    """
    prepare_output()
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise InputError(f"training needs {', '.join(missing)}: pip install 'etesian[decode]'")
    check_whole("outputs", outputs, at_least=1)
    check_whole("tokens_per_text", tokens_per_text, at_least=1)
    if text is not None and not text.is_dir():
        raise InputError(f"--text must be a folder; got {text}")
    from etesian.decode.draft_training.target import load_target
    from etesian.decode.draft_training.training import TrainingOptions, train_draft

    options = TrainingOptions(minutes=minutes, text=text, n_outputs=outputs, n_tokens=tokens_per_text, seed=seed)
    try:
        record = train_draft(load_target(target, LoadOptions()), output, options, note)
    except KeyboardInterrupt:
        note(f"interrupted; the same command continues in {output}")
        return EXIT_INTERRUPTED
    if as_json:
        print_json(record)
    note(f"wrote {output}; use it with --draft {output}")
    return 0
