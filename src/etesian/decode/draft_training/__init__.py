"""Training of draft heads on the target's own texts and distributions; needs torch."""

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled
