"""Estimators that follow the conventions of scikit-learn: validate, call `minimize`, store the result."""

from etesian.sparse.estimators.classifier import SparseClassifier
from etesian.sparse.estimators.embedding import WordEmbedding
from etesian.sparse.estimators.factorization import MatrixFactorization
from etesian.sparse.estimators.folding import FoldedUser
from etesian.sparse.estimators.regressor import SparseRegressor

__all__ = ["FoldedUser", "MatrixFactorization", "SparseClassifier", "SparseRegressor", "WordEmbedding"]
