"""Model options of the commands. Missing libraries are reported before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.text import Text

from etesian._shared.text import printable
from etesian.cli.console import exit_on_interrupt
from etesian.decode.bundled import bundled_folder
from etesian.decode.decoder import Decoder
from etesian.decode.models.loading import LoadOptions
from etesian.decode.models.loading.catalog import find_gguf
from etesian.errors import InputError

AUTO, BUNDLED, NONE, SMOLLM2 = "auto", "bundled", "none", "smollm2"
LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors")
GGUF_LIBRARIES = ("gguf", "tokenizers")


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Models that the options name.

    Parameters
    ----------
    model, draft, ngram, stages
        Arguments of `Decoder.load`, with ``"none"`` instead of None and no stages instead of None.
    options
        Data type and device of the models.
    """

    model: str
    draft: str = AUTO
    ngram: str = AUTO
    stages: Sequence[str] = ()
    options: LoadOptions | None = None

    def __post_init__(self) -> None:
        if self.stages and (self.draft, self.ngram) != (AUTO, AUTO):
            raise InputError("--stage replaces --draft and --ngram; remove these")

    def load(self, console: Console) -> Decoder:
        """Load the models. Nothing is lost when Ctrl-C ends the process meanwhile."""
        with exit_on_interrupt(), console.status(Text(f"loading {printable(self.model)}")):
            return self.decoder()

    def decoder(self) -> Decoder:
        """Load the models, in any thread."""
        libraries = LIBRARIES if find_gguf(self.model) is None else GGUF_LIBRARIES
        missing = [name for name in libraries if find_spec(name) is None]
        if missing:
            raise InputError(f"models need {', '.join(missing)}: pip install 'etesian[decode]'")
        return Decoder.load(
            self.model,
            draft=None if self.draft == NONE else self.draft,
            ngram=None if self.ngram == NONE else self.ngram,
            stages=self.stages or None,
            options=self.options,
        )


def draft_beside(model: str) -> str:
    """Return the draft model in a folder that holds a target and its draft; return any other model unchanged."""
    folder = bundled_folder() if model == BUNDLED else Path(model).expanduser()
    draft = folder / "draft"
    return str(draft) if draft.is_dir() else model
