"""What can be minimized, a file per family of problems; each holds its data, its variables and one compiled update."""

from etesian.sparse.problems.factors import Ratings, WordPairs
from etesian.sparse.problems.linear import Linear
from etesian.sparse.problems.problem import Problem

__all__ = ["Linear", "Problem", "Ratings", "WordPairs"]
