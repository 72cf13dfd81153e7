"""Times to target with their uncertainty: every figure has an interval. Knows nothing of clocks, stores and pages."""

from etesian.bench.statistics.arrivals import Arrivals
from etesian.bench.statistics.comparison import Ratio, compare
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate
from etesian.bench.statistics.success import reached_share
from etesian.bench.statistics.summary import Summary, WorkloadSummary, by_workload, summarize
from etesian.bench.statistics.time_to_target import expected_running_time, median_time, restricted_mean
from etesian.bench.statistics.variation import Variation, coefficient_of_variation, variation

__all__ = [
    "CONFIDENCE",
    "Arrivals",
    "Estimate",
    "Ratio",
    "Summary",
    "Variation",
    "WorkloadSummary",
    "by_workload",
    "coefficient_of_variation",
    "compare",
    "expected_running_time",
    "median_time",
    "reached_share",
    "restricted_mean",
    "summarize",
    "variation",
]
