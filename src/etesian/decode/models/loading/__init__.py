"""Models and tokenizers from folders and the hub."""

from etesian.decode.models.loading.options import LoadOptions, NumberType, QuantizedType
from etesian.decode.models.loading.transformers_loading import load_tokenizer, load_transformers_model

__all__ = ["LoadOptions", "NumberType", "QuantizedType", "load_tokenizer", "load_transformers_model"]
