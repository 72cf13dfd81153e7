"""Errors that are the user's to put right: their message alone, one line, says what is wrong and what would work."""

from __future__ import annotations


class InputError(ValueError):
    """What was asked for cannot be done as it stands; the command line shows the message without a traceback."""
