"""Marks names that a package imports at first use, listed in its `__init__.pyi`, as public."""

from __future__ import annotations

from typing import Any

import griffe


class LazyExports(griffe.Extension):
    """griffe merges stubs, but does not know the `__all__` that lazy_loader returns."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Set the exports of all modules of a package."""
        for module in [pkg, *pkg.modules.values()]:
            if module.is_alias:
                continue
            if "lazy_loader" in module.members:
                names = [name for name, member in module.members.items() if member.is_alias]
                module.exports = [name for name in names if module.members[name].target_path.startswith(module.path)]
            if module is not pkg:
                self.on_package(pkg=module)
