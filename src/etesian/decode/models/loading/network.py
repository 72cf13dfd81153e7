"""The weights of a model before they are packed: for copies in another format, and for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etesian.decode.models.loading.catalog import find_gguf
from etesian.decode.models.loading.options import LoadOptions
from etesian.errors import InputError

if TYPE_CHECKING:
    from etesian.decode.models.cpu.architecture import Network


def load_network(source: str | Path, options: LoadOptions | None = None) -> Network:
    """Load architecture and weights of a GGUF file, a folder or a hub name; the weights of a GGUF file stay on disk.

    Raises
    ------
    InputError
        If the model cannot be loaded, or its family has no packed form.
    """
    file = find_gguf(source)
    if file is not None:
        from etesian.decode.models.loading.gguf.directory import open_gguf
        from etesian.decode.models.loading.gguf.network import read_network as read_gguf_network

        return read_gguf_network(open_gguf(file))
    from etesian.decode.models.cpu.architecture import FAMILIES, read_network
    from etesian.decode.models.loading.transformers_loading import load_transformers_model

    network = read_network(load_transformers_model(source, options))
    if network is None:
        raise InputError(f"{str(source)!r} does not run in the CPU engine, whose families are {', '.join(FAMILIES)}")
    return network
