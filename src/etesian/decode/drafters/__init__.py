"""Drafters: N-gram, lookup in the text itself, draft model, and combinations."""

import lazy_loader

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled

# The names in `__init__.pyi` are imported at first use, because compiled functions are slow to import.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
