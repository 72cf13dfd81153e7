"""Statistics of times to target; every figure has an interval.

Independent of clocks, stores and reports.
"""

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
from etesian.bench.statistics.olympic import OlympicMean, olympic_mean
from etesian.bench.statistics.rank_test import RankTest, log_rank
from etesian.bench.statistics.ranking import Profile, Ranks, performance_profiles, rank_entries
from etesian.bench.statistics.roof import Roofline, roofline
from etesian.bench.statistics.spread import (
    Variation,
    coefficient_of_variation,
    runs_needed,
    variation_between,
)
from etesian.bench.statistics.success import reached_share
from etesian.bench.statistics.survival import ArrivalCurve, arrival_band, kaplan_meier
from etesian.bench.statistics.time_to_target import expected_running_time, mean_time, median_time, restricted_mean

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
    "Variation",
    "accuracy_difference",
    "arrival_band",
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
    "variation_between",
]
