"""Runs that other programs recorded, read into `Run`: benchmarks' own formats, tables, and experiment trackers."""

from __future__ import annotations

from etesian.bench.importers.collect import Found, Ignored, Skipped
from etesian.bench.importers.dawnbench import read_dawnbench
from etesian.bench.importers.mlperf import read_mlperf

__all__ = ["Found", "Ignored", "Skipped", "read_dawnbench", "read_mlperf"]
