"""Runs as one self-contained HTML page. Computes nothing: every figure comes from `etesian.bench.analysis`."""

from etesian.bench.report.page import write_page, write_report

__all__ = ["write_page", "write_report"]
