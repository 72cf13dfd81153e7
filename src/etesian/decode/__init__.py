"""Staged speculative decoding: several tokens per pass of the target, and the same text as plain decoding."""

import lazy_loader

# The names in `__init__.pyi` are imported at first use: compiled loops are slow to import, and torch and transformers much slower.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
