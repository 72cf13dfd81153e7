"""Times to target with their uncertainty: every figure has an interval. Knows nothing of clocks, stores and pages."""

from etesian.bench.statistics.agreement import (
    Disagreement,
    accuracy_difference,
    mcnemar,
    mean_difference,
    paired_difference,
)
from etesian.bench.statistics.arrivals import Arrivals
from etesian.bench.statistics.comparison import Ratio, compare
from etesian.bench.statistics.curves import Curves, Passage, Rule
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate
from etesian.bench.statistics.fixed_schedule import ScheduleTest, mean_reaches
from etesian.bench.statistics.log_rank import RankTest, log_rank
from etesian.bench.statistics.olympic import OlympicMean, olympic_mean
from etesian.bench.statistics.ranking import Profile, Ranks, performance_profiles, rank_entries
from etesian.bench.statistics.roofline import Roofline, roofline
from etesian.bench.statistics.success import reached_share
from etesian.bench.statistics.summary import Summary, WorkloadSummary, by_workload, summarize
from etesian.bench.statistics.survival import ArrivalCurve, arrival_band, kaplan_meier
from etesian.bench.statistics.time_to_target import expected_running_time, mean_time, median_time, restricted_mean
from etesian.bench.statistics.variation import (
    Variation,
    coefficient_of_variation,
    runs_needed,
    variation,
    variation_between,
)

__all__ = [
    "CONFIDENCE",
    "ArrivalCurve",
    "Arrivals",
    "Curves",
    "Disagreement",
    "Estimate",
    "OlympicMean",
    "Passage",
    "Profile",
    "RankTest",
    "Ranks",
    "Ratio",
    "Roofline",
    "Rule",
    "ScheduleTest",
    "Summary",
    "Variation",
    "WorkloadSummary",
    "accuracy_difference",
    "arrival_band",
    "by_workload",
    "coefficient_of_variation",
    "compare",
    "expected_running_time",
    "kaplan_meier",
    "log_rank",
    "mcnemar",
    "mean_difference",
    "mean_reaches",
    "mean_time",
    "median_time",
    "olympic_mean",
    "paired_difference",
    "performance_profiles",
    "rank_entries",
    "reached_share",
    "restricted_mean",
    "roofline",
    "runs_needed",
    "summarize",
    "variation",
    "variation_between",
]
