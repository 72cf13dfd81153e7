"""Gives each of several parameters that share one description the type and default of its own signature."""

from __future__ import annotations

from typing import Any

import griffe


class SignatureDefaults(griffe.Extension):
    """``a, b, c`` with one text would else all be shown with the type and default of ``a``."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Correct the parameters that the docstring names without a type."""
        if obj.docstring is None or obj.docstring.parser is None or not (obj.is_class or obj.is_function):
            return
        sections = [section.value for section in obj.docstring.parsed if section.kind.value == "parameters"]
        actual = {parameter.name: parameter for parameter in obj.parameters}
        for group in _groups([parameter for section in sections for parameter in section]):
            first = actual.get(group[0].name)
            for described in group[1:]:
                own = actual.get(described.name)
                if own is not None and first is not None:
                    described.value = own.default
                    if described.annotation is first.annotation:
                        described.annotation = own.annotation


def _groups(parameters: list[Any]) -> list[list[Any]]:
    """Neighbors with the same text belong together."""
    groups: list[list[Any]] = []
    for parameter in parameters:
        if groups and groups[-1][0].description == parameter.description:
            groups[-1].append(parameter)
        else:
            groups.append([parameter])
    return groups
