"""MatrixFactorization: ratings of items by users, as products of factors."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from etesian.sparse.estimators.minimizer import Minimizer
from etesian.sparse.estimators.ratings import RatingTriples, checked_ids, find_ids, read_ratings
from etesian.sparse.minimize import Callback, Seed
from etesian.sparse.plan import Schedule
from etesian.sparse.problems.factors import Ratings

_DTYPES = ("float32", "float64")


class MatrixFactorization(Minimizer):
    """Predict ratings by a product of user and item factors, fitted on all cores with the serial run's exact result.

    A rating is predicted as mean + user bias + item bias + <user factors, item factors>; fitted is the mean over ratings of
    (rating - predicted)^2 + regularization (squared norms of what predicted it), by SGD (Pan et al. 2016, section 5).

    Parameters
    ----------
    n_factors
        Numbers for each user and each item, at least 1.
    biased
        Whether to fit a mean and biases. Without them a prediction is the product alone.
    regularization
        Weight of the squared norms, per rating; 0 or more.
    step_size, step_decay, max_iter, tol, schedule, n_jobs, random_state, callback, verbose
        See `etesian.sparse.minimize`; the step size of epoch t is ``step_size * step_decay**t``.
    dtype
        ``"float32"`` or ``"float64"``.

    Attributes
    ----------
    user_factors_, item_factors_ : arrays of shape (n_users, n_factors) and (n_items, n_factors)
        Rows of 0 for users and items without a rating.
    user_bias_, item_bias_ : arrays of shape (n_users,) and (n_items,)
        0 where `biased` is False.
    mean_ : float
        The mean rating, or 0 where `biased` is False.
    user_ids_, item_ids_ : arrays of shape (n_users,) and (n_items,)
        What the rows stand for, in ascending order: ids from triples, or the indices of a matrix.
    n_iter_, objective_, plan_, outcome_
        Epochs, the objective after each (empty when nothing asked for it), the plan, and how the fit ended.
    """

    def __init__(
        self,
        n_factors: int = 32,
        *,
        biased: bool = True,
        regularization: float = 0.02,
        step_size: float = 0.01,
        step_decay: float = 1.0,
        max_iter: int = 20,
        tol: float | None = 1e-4,
        schedule: Schedule = "conflict_free",
        n_jobs: int | None = -1,
        random_state: Seed = None,
        callback: Callback | None = None,
        verbose: bool = False,
        dtype: str = "float32",
    ) -> None:
        self.n_factors = n_factors
        self.biased = biased
        self.regularization = regularization
        self.step_size = step_size
        self.step_decay = step_decay
        self.max_iter = max_iter
        self.tol = tol
        self.schedule = schedule
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.callback = callback
        self.verbose = verbose
        self.dtype = dtype

    def fit(self, ratings: Any, y: None = None) -> Self:
        """Fit factors to ratings.

        Parameters
        ----------
        ratings
            A scipy sparse matrix of shape (n_users, n_items), whose stored elements are the ratings; or triples: a tuple
            (users, items, ratings) of equally long sequences, or an array of shape (n_ratings, 3). Ids are whole numbers
            from 0 up or text, and may have gaps.
        y
            Not used; here for pipelines.

        Raises
        ------
        ValueError
            For no ratings, ratings that are not finite, negative ids, or parameters out of range.
        """
        self._check_parameters()
        read = read_ratings(ratings, self.dtype)
        problem = Ratings(
            read.user,
            read.item,
            read.rating,
            n_users=len(read.user_ids),
            n_items=len(read.item_ids),
            n_factors=self.n_factors,
            penalty=self.regularization,
            biased=self.biased,
        )
        result = self._minimize(problem)
        self._keep(read, problem, *result.variables)
        return self._finish(result)

    def _check_parameters(self) -> None:
        if self.n_factors < 1:
            raise ValueError(f"n_factors must be at least 1; got {self.n_factors}")
        if not (np.isfinite(self.regularization) and self.regularization >= 0):
            raise ValueError(f"regularization must be a finite number, 0 or more; got {self.regularization}")
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype must be 'float32' or 'float64'; got {self.dtype!r}")

    def _keep(self, read: RatingTriples, problem: Ratings, factors: NDArray[Any], bias: NDArray[Any]) -> None:
        n_users = problem.n_users
        rated = np.zeros(len(factors), bool)
        rated[problem.user] = rated[problem.item] = True
        factors[~rated] = 0
        if not self.biased:
            bias = np.zeros(len(factors), factors.dtype)
        self.user_ids_, self.item_ids_ = read.user_ids, read.item_ids
        self.user_factors_, self.item_factors_ = factors[:n_users].copy(), factors[n_users:].copy()
        self.user_bias_, self.item_bias_ = bias[:n_users].copy(), bias[n_users:].copy()
        self.mean_ = float(problem.mean)
        shape = (n_users, problem.n_items)
        self._rated = csr_array((np.ones(len(read.user), bool), (read.user, read.item)), shape=shape)

    def predict(self, pairs: Any) -> NDArray[np.floating]:
        """Predict ratings.

        Parameters
        ----------
        pairs
            A tuple (users, items) of equally long sequences of ids, or an array of shape (n, 2).

        Returns
        -------
        array of shape (n,)
            For a user or item that `fit` did not see, what the other and the mean say.
        """
        check_is_fitted(self)
        users, items = pairs if isinstance(pairs, tuple) else np.asarray(pairs).T
        user, item = find_ids(users, self.user_ids_, "user"), find_ids(items, self.item_ids_, "item")
        known_user, known_item = user >= 0, item >= 0
        product = np.einsum("nk,nk->n", self.user_factors_[user], self.item_factors_[item])
        predicted = np.where(known_user & known_item, product, 0) + self.mean_
        predicted += np.where(known_user, self.user_bias_[user], 0) + np.where(known_item, self.item_bias_[item], 0)
        return predicted.astype(self.user_factors_.dtype, copy=False)

    def recommend(
        self, user: Any, n: int = 10, *, exclude_rated: bool = True
    ) -> tuple[NDArray[Any], NDArray[np.floating]]:
        """Return the items with the highest predicted ratings for one user, and those ratings, highest first.

        Parameters
        ----------
        user
            An id that `fit` saw.
        n
            Items to return; fewer where there are fewer.
        exclude_rated
            Whether to leave out items that the user rated.
        """
        check_is_fitted(self)
        row = find_ids([user], self.user_ids_, "user")[0]
        if row < 0:
            raise ValueError(f"user {user!r} has no rating in the data that was fitted")
        score = self.mean_ + self.user_bias_[row] + self.item_bias_ + self.item_factors_ @ self.user_factors_[row]
        candidates = np.arange(len(score))
        if exclude_rated:
            rated = self._rated.indices[self._rated.indptr[row] : self._rated.indptr[row + 1]]
            candidates = np.delete(candidates, rated)
        best = candidates[np.argsort(-score[candidates], kind="stable")[:n]]
        return self.item_ids_[best], score[best]

    def score(self, ratings: Any, y: None = None) -> float:
        """Return the coefficient of determination R^2 of the predictions: 1 is perfect, 0 is predicting the mean.

        Parameters
        ----------
        ratings
            As in `fit`; users and items that `fit` did not see are allowed.
        y
            Not used; here for model selection.
        """
        read = read_ratings(ratings, self.dtype)
        predicted = self.predict((checked_ids(read.user_ids, "user")[read.user], read.item_ids[read.item]))
        return float(r2_score(read.rating, predicted))
