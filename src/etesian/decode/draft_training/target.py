"""Load a target for draft training."""

from __future__ import annotations

import os
from pathlib import Path

from etesian.decode.draft_training.training import Target, feature_layers
from etesian.decode.load import load_parts, target_source
from etesian.decode.models.cpu.model import CpuModel
from etesian.decode.models.loading import LoadOptions
from etesian.decode.models.loading.network import load_network
from etesian.errors import InputError


def load_target(source: str | Path, options: LoadOptions | None = None) -> Target:
    """Load a target with its weights; its contexts return the hidden states of the layers that a head reads.

    Raises
    ------
    InputError
        If it cannot be loaded or does not run in the CPU engine.
    """
    parts = load_parts(source, draft=None, ngram=None, options=options)
    if not isinstance(parts.target, CpuModel):
        raise InputError(f"drafts are trained for targets that run in the CPU engine; {os.fspath(source)!r} does not")
    parts.target.keep_layers(feature_layers(parts.target.n_layers))
    return Target(
        name=Path(source).name,
        network=load_network(target_source(source), options),
        model=parts.target,
        tokenizer=parts.tokenizer,
        chat_template=parts.chat_template,
        end_tokens=parts.end_tokens,
    )
