"""The adapter for models of transformers."""

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled
