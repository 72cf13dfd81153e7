"""Runs as one self-contained HTML page. Computes nothing: every figure comes from `etesian.bench.statistics`."""

from etesian.bench.report.page import write_report

__all__ = ["write_report"]
