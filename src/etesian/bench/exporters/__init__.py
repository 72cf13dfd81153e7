"""Runs as files of other formats: tables and DAWNBench's files. JSON Lines, which holds all of a run, is in `bench.jsonl`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etesian.bench.exporters.dawnbench import write_dawnbench
    from etesian.bench.exporters.table import write_csv, write_parquet

__all__ = ["write_csv", "write_dawnbench", "write_parquet"]

_HOMES = {"write_csv": "table", "write_dawnbench": "dawnbench", "write_parquet": "table"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
