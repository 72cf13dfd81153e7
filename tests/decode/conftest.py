"""The same examples in every run, and no deadline for compiled code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("etesian", deadline=None, derandomize=True)
settings.load_profile("etesian")
