"""Models and tokenizers from folders and the hub."""

from etesian.decode.models.loading.options import LoadOptions, NumberType
from etesian.decode.models.loading.transformers_loading import load_tokenizer, load_transformers_model

__all__ = ["LoadOptions", "NumberType", "load_tokenizer", "load_transformers_model"]
