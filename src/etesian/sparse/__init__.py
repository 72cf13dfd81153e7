"""Parallel stochastic optimization of sparse problems, with the result of a serial run, bit for bit."""

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled
from etesian.sparse._engine.workers import Workers
from etesian.sparse.cooccurrence import Cooccurrence, count_cooccurrences
from etesian.sparse.driver import Result, minimize
from etesian.sparse.eigenvector import Eigenpair, leading_eigenvector
from etesian.sparse.epochs import Epochs
from etesian.sparse.estimators import FoldedUser, MatrixFactorization, SparseClassifier, SparseRegressor, WordEmbedding
from etesian.sparse.inspection import ConflictReport, inspect_conflicts
from etesian.sparse.methods import SGD
from etesian.sparse.problems import (
    AdaptiveRatings,
    CustomProblem,
    Linear,
    Loss,
    MergingProblem,
    PackedProblem,
    Problem,
    Ratings,
    SettledProblem,
    WordPairs,
    check_touches,
)
from etesian.sparse.schedules.makers import Plan, ScheduleWarning, make_plan

__all__ = [
    "SGD",
    "AdaptiveRatings",
    "ConflictReport",
    "Cooccurrence",
    "CustomProblem",
    "Eigenpair",
    "Epochs",
    "FoldedUser",
    "Linear",
    "Loss",
    "MatrixFactorization",
    "MergingProblem",
    "PackedProblem",
    "Plan",
    "Problem",
    "Ratings",
    "Result",
    "ScheduleWarning",
    "SettledProblem",
    "SparseClassifier",
    "SparseRegressor",
    "WordEmbedding",
    "WordPairs",
    "Workers",
    "check_touches",
    "count_cooccurrences",
    "inspect_conflicts",
    "leading_eigenvector",
    "make_plan",
    "minimize",
]
