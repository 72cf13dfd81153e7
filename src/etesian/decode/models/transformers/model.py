"""MAIN PATH of the adapter that runs any causal language model of transformers: `HuggingFaceModel`.

A tree enters a pass through a mask of ancestors and through positions that are depths, never indices. Its keys and values are
written behind the kept ones, and `keep` moves those of the accepted path down. `row_exact_passes` runs passes on the CPU, `cuda`
replays them on a GPU, `passes` runs them unchanged; `self_check` compares their logits with the model's own.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from etesian.decode.models.language_model import ModelTraits
from etesian.decode.models.loading import LoadOptions, load_tokenizer, load_transformers_model
from etesian.decode.models.row_exactness import probe_rows
from etesian.decode.models.transformers.context import HuggingFaceContext
from etesian.decode.models.transformers.cuda import ReplayedPasses
from etesian.decode.models.transformers.model_limits import check_is_decoder, model_limits
from etesian.decode.models.transformers.passes import EagerPasses
from etesian.decode.models.transformers.row_exact_passes import RowExactPasses
from etesian.decode.models.transformers.self_check import check_scores
from etesian.errors import InputError


class HuggingFaceModel:
    """A causal language model of transformers that reads trees of tokens.

    The model is put into evaluation mode and otherwise unchanged. It can be saved and used elsewhere, but not from another thread
    during a pass.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Model on one device, of any 16- or 32-bit type. Rows are exact, so that speculation is possible, on the CPU in float32 or
        bfloat16 if products are linear layers; `traits` holds the result of a probe on this machine. Row-exact products hold a
        packed copy of the weights.

    Raises
    ------
    InputError
        If the model cannot verify drafted tokens, or scores a small tree differently from its own plain passes.
    """

    def __init__(self, model: Any) -> None:
        check_is_decoder(model)
        model.eval()
        _lay_out_for_products(model)
        self._config = model.config.get_text_config()
        self._rows_are_exact = False
        self._passes = self._exact_passes(model) or self._fast_passes(model)
        self.supports_trees = self._passes.takes_trees
        self.vocabulary_size = self._passes.vocabulary_size

    def _exact_passes(self, model: Any) -> EagerPasses | None:
        """Return passes that a probe found row-exact; None if there are none for this model and machine."""
        if model.device.type != "cpu" or model.dtype not in (torch.float32, torch.bfloat16):
            return None
        try:
            passes = check_scores(RowExactPasses, model, model_limits(self._config))
        except InputError:  # the model's attention takes no custom function
            return None
        self._passes, self.vocabulary_size = passes, passes.vocabulary_size
        self._rows_are_exact = probe_rows(self, supports_trees=passes.takes_trees)
        return passes if self._rows_are_exact else None

    def _fast_passes(self, model: Any) -> EagerPasses:
        kind = ReplayedPasses if model.device.type == "cuda" else EagerPasses
        return check_scores(kind, model, model_limits(self._config))

    @cached_property
    def traits(self) -> ModelTraits:
        """Properties that the model promises; row exactness as probed on this machine."""
        return ModelTraits(
            rows_are_exact=self._rows_are_exact,
            supports_trees=self.supports_trees,
            weight_bytes=self.weight_bytes,
            fingerprint=self.fingerprint,
        )

    @property
    def max_length(self) -> int | None:
        """Length of the longest text that the model can read, in tokens; None if unlimited."""
        return self._passes.limits.max_length

    @property
    def transformers_model(self) -> Any:
        """The wrapped transformers model."""
        return self._passes.model

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of weights that a pass reads: all but embedding tables, of which it reads single rows."""
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
        """Identifier of the architecture, the number type and the device."""
        device = self._passes.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        shape = {key: value for key, value in self._config.to_dict().items() if key not in ("_name_or_path", "dtype")}
        text = json.dumps(
            [shape, str(self._passes.dtype), name, type(self._passes).__name__], sort_keys=True, default=str
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def context(self) -> HuggingFaceContext:
        """Open an empty text."""
        return HuggingFaceContext(self._passes)


def _lay_out_for_products(model: Any) -> None:
    """Store GPT-2's transposed weights in the layout of `torch.nn.Linear`; shapes, values and saved files stay the same.

    On CPUs, 16-bit products then take two thirds of the time; in float32 the original layout is faster.
    """
    if model.device.type != "cpu" or model.dtype == torch.float32:
        return
    for module in model.modules():
        if isinstance(module, Conv1D):
            module.weight.data = module.weight.data.t().contiguous().t()


def load_huggingface(name: str | Path, options: LoadOptions | None = None) -> tuple[HuggingFaceModel, Any]:
    """Load a model and its tokenizer from a folder or the hub.

    Parameters
    ----------
    name : str or Path
        A folder with ``config.json``, safetensors and a tokenizer, or a hub name.
    options : LoadOptions, optional
        Number type, device and source.

    Returns
    -------
    model : HuggingFaceModel
    tokenizer : transformers.PreTrainedTokenizerBase

    Raises
    ------
    InputError
        If the model does not exist, or cannot verify drafted tokens.
    """
    tokenizer = load_tokenizer(name, options)  # before the weights: it loads fast
    return HuggingFaceModel(load_transformers_model(name, options)), tokenizer
