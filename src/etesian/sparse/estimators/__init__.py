"""Estimators in scikit-learn's manner: validate, call `minimize`, store the result."""

from etesian.sparse.estimators.embedding import WordEmbedding
from etesian.sparse.estimators.factorization import MatrixFactorization

__all__ = ["MatrixFactorization", "WordEmbedding"]
