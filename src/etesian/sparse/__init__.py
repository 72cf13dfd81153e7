"""Stochastic optimization of sparse problems on all cores, whose parallel result equals the serial one bit for bit."""

from etesian.sparse.cooccurrence import Cooccurrence, count_cooccurrences
from etesian.sparse.eigenvector import Eigenpair, leading_eigenvector
from etesian.sparse.estimators import MatrixFactorization, SparseClassifier, SparseRegressor, WordEmbedding
from etesian.sparse.methods import SGD
from etesian.sparse.minimize import Epochs, Result, minimize
from etesian.sparse.plan import Plan, ScheduleWarning, make_plan
from etesian.sparse.problems import Linear, Problem, Ratings, WordPairs
from etesian.sparse.workers import Workers

__all__ = [
    "SGD",
    "Cooccurrence",
    "Eigenpair",
    "Epochs",
    "Linear",
    "MatrixFactorization",
    "Plan",
    "Problem",
    "Ratings",
    "Result",
    "ScheduleWarning",
    "SparseClassifier",
    "SparseRegressor",
    "WordEmbedding",
    "WordPairs",
    "Workers",
    "count_cooccurrences",
    "leading_eigenvector",
    "make_plan",
    "minimize",
]
