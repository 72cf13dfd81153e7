"""Any causal language model that transformers loads, as a `LanguageModel`: MAIN PATH of this adapter.

A tree goes in through a mask of ancestors and through positions that are depths, never indices; its keys and values are written
where they may stay, and `keep` moves those of the accepted path down. How a pass runs is `passes` (or `cuda`), what a model can
take is `model_limits`, and whether it does is shown by `self_check` as soon as a model is given.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from etesian.decode.models.loading import LoadOptions, load_tokenizer, load_transformers_model
from etesian.decode.models.transformers.context import HuggingFaceContext
from etesian.decode.models.transformers.cuda import ReplayedPasses
from etesian.decode.models.transformers.model_limits import check_is_decoder, model_limits
from etesian.decode.models.transformers.passes import EagerPasses
from etesian.decode.models.transformers.self_check import check_scores


class HuggingFaceModel:
    """A causal language model of transformers that reads trees of tokens.

    The model stays what it was: it may be saved and used elsewhere, but not from another thread during a pass. It is put into
    evaluation mode.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        On one device, of any 16- or 32-bit type.

    Attributes
    ----------
    supports_trees : bool
        False where the model takes no tree (attention biased by a key's index, say): every node must then follow the one before.
    rows_are_exact : bool
        False: a row of a larger pass may round differently. See `etesian.decode.models.transformers.self_check.probe_rows`.

    Raises
    ------
    InputError
        If the model cannot take drafted tokens, or scores a small tree otherwise than its own plain passes do.
    """

    rows_are_exact = False

    def __init__(self, model: Any) -> None:
        check_is_decoder(model)
        model.eval()
        _lay_out_for_products(model)
        self._config = model.config.get_text_config()
        passes = ReplayedPasses if model.device.type == "cuda" else EagerPasses
        self._passes = check_scores(passes, model, model_limits(self._config))
        self.supports_trees = self._passes.takes_trees
        self.vocabulary_size = self._passes.vocabulary_size

    @property
    def max_length(self) -> int | None:
        """The longest text it can read, in tokens; None where there is no limit."""
        return self._passes.limits.max_length

    @property
    def transformers_model(self) -> Any:
        """The model as transformers knows it."""
        return self._passes.model

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of weights that a pass reads: all but tables of which it looks up single rows."""
        model = self._passes.model
        output = model.get_output_embeddings().weight
        tables = {
            id(module.weight)
            for module in model.modules()
            if isinstance(module, torch.nn.Embedding) and module.weight is not output
        }
        return sum(p.numel() * p.element_size() for p in model.parameters() if id(p) not in tables)

    @cached_property
    def fingerprint(self) -> str:
        """Names architecture, number type and device: models of one fingerprint cost the same time a pass on one machine."""
        device = self._passes.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        shape = {key: value for key, value in self._config.to_dict().items() if key not in ("_name_or_path", "dtype")}
        text = json.dumps([shape, str(self._passes.dtype), name, "transformers"], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def context(self) -> HuggingFaceContext:
        """Open an empty text."""
        return HuggingFaceContext(self._passes)


def _lay_out_for_products(model: Any) -> None:
    """Store GPT-2's transposed weights as `torch.nn.Linear` has them; shapes and values, and what is saved, stay the same.

    On CPUs 16-bit products then take two thirds of the time; for float32 the layout as it comes is the faster one.
    """
    if model.device.type != "cpu" or model.dtype == torch.float32:
        return
    for module in model.modules():
        if isinstance(module, Conv1D):
            module.weight.data = module.weight.data.t().contiguous().t()


def load_huggingface(name: str | Path, options: LoadOptions | None = None) -> tuple[HuggingFaceModel, Any]:
    """A model and its tokenizer, from a folder or by a hub name.

    Parameters
    ----------
    name
        A folder with ``config.json``, safetensors and a tokenizer, or a name on the hub.
    options
        Number type, device and where to look; the defaults of `LoadOptions` if None.

    Raises
    ------
    InputError
        If there is no such model, or it cannot take drafted tokens.
    """
    tokenizer = load_tokenizer(name, options)  # first: it is read in no time
    return HuggingFaceModel(load_transformers_model(name, options)), tokenizer
