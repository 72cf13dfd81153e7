"""The compiled engine for CPUs."""

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled
