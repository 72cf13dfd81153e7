"""Analysis of runs: times and their uncertainty, sensitivity to the target, ranking, and sources of speed-ups.

Figures only; their wording is that of `etesian.bench.report`.
"""

from etesian.bench.analysis.analysis import Analysis, RaceAnalysis, analyse, analyze
from etesian.bench.analysis.attribution import Attribution
from etesian.bench.analysis.comparisons import Comparison
from etesian.bench.analysis.costs import Costs
from etesian.bench.analysis.entries import EntryFigures
from etesian.bench.analysis.generalization import Generalization
from etesian.bench.analysis.options import Options
from etesian.bench.analysis.outliers import Outlier
from etesian.bench.analysis.standing import Standing
from etesian.bench.analysis.thresholds import Sensitivity, WinnerInterval

__all__ = [
    "Analysis",
    "Attribution",
    "Comparison",
    "Costs",
    "EntryFigures",
    "Generalization",
    "Options",
    "Outlier",
    "RaceAnalysis",
    "Sensitivity",
    "Standing",
    "WinnerInterval",
    "analyse",
    "analyze",
]
