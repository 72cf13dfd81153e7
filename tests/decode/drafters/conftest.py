"""Settings of hypothesis for the drafters."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("etesian", deadline=None, derandomize=True)
settings.load_profile("etesian")
