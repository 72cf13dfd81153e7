"""Reports on runs: one self-contained HTML page, or tables on a terminal.

Nothing is computed here; every figure comes from `etesian.bench.analysis`.
"""

from etesian.bench.report.caveat_rules import caveats
from etesian.bench.report.model import Cell, Row, Section, Span, Table
from etesian.bench.report.page import write_page, write_report

__all__ = ["Cell", "Row", "Section", "Span", "Table", "caveats", "write_page", "write_report"]
