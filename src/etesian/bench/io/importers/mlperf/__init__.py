"""MLPerf training logs: lines to events, events to the content of a log, and that to a run."""

from etesian.bench.io.importers.mlperf.read import read_mlperf

__all__ = ["read_mlperf"]
