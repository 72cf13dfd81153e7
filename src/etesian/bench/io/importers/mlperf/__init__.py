"""MLPerf training logs: lines to events, events to what a log says, and that to a run."""

from etesian.bench.io.importers.mlperf.read import read_mlperf

__all__ = ["read_mlperf"]
