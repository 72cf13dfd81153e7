"""Models for a command, loaded while a spinner turns; what is missing is told before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from etesian.cli.decode_options import AUTO, BUNDLED, NONE
from etesian.decode.bundled import bundled_folder
from etesian.decode.decoder import Decoder
from etesian.decode.models.loading import LoadOptions
from etesian.errors import InputError

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors")


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which models the options name, in the words of the command line.

    Parameters
    ----------
    model, draft, ngram, stages
        As `Decoder.load` takes them, with ``"none"`` for None and no stages for None.
    options
    """

    model: str
    draft: str = AUTO
    ngram: str = AUTO
    stages: Sequence[str] = ()
    options: LoadOptions | None = None

    def __post_init__(self) -> None:
        if self.stages and (self.draft, self.ngram) != (AUTO, AUTO):
            raise InputError("--stage names all that drafts; leave --draft and --ngram out")

    def load(self, console: Console) -> Decoder:
        """Load them."""
        missing = [name for name in LIBRARIES if find_spec(name) is None]
        if missing:
            raise InputError(f"models need {', '.join(missing)}: pip install 'etesian[decode]'")
        with console.status(f"loading {self.model}"):
            return Decoder.load(
                self.model,
                draft=None if self.draft == NONE else self.draft,
                ngram=None if self.ngram == NONE else self.ngram,
                stages=self.stages or None,
                options=self.options,
            )


def draft_beside(model: str) -> str:
    """Return the draft of a folder that holds a target and its draft; any other model is taken as it is."""
    folder = bundled_folder() if model == BUNDLED else Path(model).expanduser()
    draft = folder / "draft"
    return str(draft) if draft.is_dir() else model
