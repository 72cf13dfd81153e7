"""Problems to minimize, one file per family. A problem holds its data, its variables and one compiled update."""

from etesian.sparse.problems.check import check_touches
from etesian.sparse.problems.custom import CustomProblem
from etesian.sparse.problems.factors import Ratings
from etesian.sparse.problems.linear import Linear
from etesian.sparse.problems.losses import Loss
from etesian.sparse.problems.problem import MergingProblem, Problem, SettledProblem
from etesian.sparse.problems.words import WordPairs

__all__ = [
    "CustomProblem",
    "Linear",
    "Loss",
    "MergingProblem",
    "Problem",
    "Ratings",
    "SettledProblem",
    "WordPairs",
    "check_touches",
]
