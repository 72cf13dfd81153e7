"""Problems to minimize, one file per family. A problem holds its data, its variables and one compiled update."""

from etesian.sparse.problems.adaptive_factors import AdaptiveRatings
from etesian.sparse.problems.check import check_touches
from etesian.sparse.problems.custom import CustomProblem
from etesian.sparse.problems.factors import Ratings
from etesian.sparse.problems.linear import Linear
from etesian.sparse.problems.losses import Loss
from etesian.sparse.problems.problem import MergingProblem, PackedProblem, Problem, SettledProblem
from etesian.sparse.problems.words import WordPairs

__all__ = [
    "AdaptiveRatings",
    "CustomProblem",
    "Linear",
    "Loss",
    "MergingProblem",
    "PackedProblem",
    "Problem",
    "Ratings",
    "SettledProblem",
    "WordPairs",
    "check_touches",
]
