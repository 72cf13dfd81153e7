"""Text from files on its way to a terminal or a page."""

from __future__ import annotations


def printable(text: str, *, keep: str = "\n\t") -> str:
    r"""Escape characters that could control a terminal, reorder its text or not be encoded.

    Parameters
    ----------
    text
        Names, file contents or messages that hold them.
    keep
        Control characters to keep. An empty string gives one line.

    Returns
    -------
    str
        Text with ESC, bidirectional controls, lone surrogates and the like written as ``\x1b``, ``\u202e`` and so on.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    is_space = sign.isspace() and ord(sign) > 0x9F and sign not in "\u2028\u2029"
    return sign if is_space else sign.encode("unicode_escape").decode("ascii")
