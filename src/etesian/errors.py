"""Errors that the user can fix. The command line prints their message in one line, without a traceback."""

from __future__ import annotations


class InputError(ValueError):
    """An argument or a file cannot be used. The message names it and says how to fix the problem."""


class OutputError(InputError):
    """A file or folder cannot be written. The message names it and gives the reason."""


class StorageError(OutputError):
    """The disk is full or failing, or refuses to be written. The user's command was right."""
