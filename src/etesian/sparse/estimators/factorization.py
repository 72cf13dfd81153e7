"""MatrixFactorization: ratings of items by users as products of factors."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.arguments import check_integer, check_number, is_non_negative
from etesian.sparse.epochs import Order, Seed
from etesian.sparse.estimators.feedback import preferences
from etesian.sparse.estimators.held_out import hold_out
from etesian.sparse.estimators.minimizer import Minimizer
from etesian.sparse.estimators.ratings import RatingTriples, read_ratings
from etesian.sparse.estimators.recommending import Feedback, Recommending
from etesian.sparse.ids import IdType, find_ids
from etesian.sparse.methods import SGD
from etesian.sparse.problems.adaptive_factors import AdaptiveRatings
from etesian.sparse.problems.factors import Ratings
from etesian.sparse.problems.pairs import KnownRows
from etesian.sparse.schedules.makers import Schedule
from etesian.sparse.stopping import Callback

_DTYPES = ("float32", "float64")


class MatrixFactorization(Recommending, Minimizer):
    """Matrix factorization of ratings, fit in parallel with the same result as in serial.

    The predicted rating is mean + user bias + item bias + <user factors, item factors>. The objective is the mean over
    ratings of (rating - predicted)^2 + regularization (squared norms of the factors and biases involved), minimized by
    SGD (Pan et al. 2016, section 5).

    With implicit feedback, a rating r counts interactions of a user with an item, such as plays, and the model predicts
    a preference of 1 or 0. The objective is the mean of the same terms, weighted by confidence, over the ratings
    (preference 1, or 0 if r is 0; confidence 1 + alpha r) and over negative samples, drawn once per fit: for each
    rating above 0, `n_negatives` items that its user has not rated, uniformly (preference 0, confidence 1). The
    expected objective is that of Hu, Koren and Volinsky (2008, section 4) with a confidence of n_negatives n_u /
    (n_items - n_u) in place of 1 for an item not rated by a user with n_u ratings, and with each penalty scaled by the
    confidence of its user's or item's terms.

    Parameters
    ----------
    n_factors
        Number of factors, at least 1.
    feedback
        Type of the ratings: ``"explicit"``, if a rating measures preference, or ``"implicit"``.
    alpha
        Increase in confidence per unit of a rating, 0 or more; for implicit feedback.
    n_negatives
        Number of negative samples per rating, 0 or more; for implicit feedback. Each adds one update per epoch. Since
        they are drawn once per fit, small numbers are overfit and rank worse than samples drawn for every epoch; about
        20 rank equally well.
    biased
        If True, fit a mean and biases.
    regularization
        Weight of the squared norms per rating, 0 or more.
    step_size
        Step size of the first epoch, or ``"auto"`` for steps of each user and item that shrink with its ratings, see
        `AdaptiveRatings`. They need no tuning and fewer epochs: choose a `max_iter` of about 4 to 8, or `early_stopping`.
    step_decay, max_iter, schedule, n_jobs, random_state, callback, verbose
        See `etesian.sparse.driver.minimize`. The step size of epoch t is ``step_size * step_decay**t``; the steps of ``"auto"``
        are multiplied by ``step_decay**t``.
    tol
        Tolerance of the stopping criterion, as in `SparseClassifier`: a fit has converged when the length of a gradient
        step, with each user or item scaled to curvature 1, is at most `tol` times the square root of twice the objective,
        which has not risen. A fit that reaches `max_iter` before warns with the value reached. The default None runs
        `max_iter` epochs, as implicit, Surprise and LightFM do. A constant step size levels off at 0.01 to 0.1; smaller values
        need `step_decay` below 1. scikit-learn's ``NMF(solver="cd")`` compares the gradient with that of the first epoch.
    early_stopping
        If True, hold out ratings (with implicit feedback also negative samples) and monitor their mean squared error
        in place of the objective. The factors are those of the epoch with the lowest held-out error.
    validation_fraction
        Fraction of the ratings to hold out. The only rating of a user or item is never held out.
    n_iter_no_change
        Number of consecutive epochs without an improvement of the held-out loss by the fraction `tol` of itself (any
        improvement if `tol` is None) after which to stop; for `early_stopping`.
    warm_start
        True if `fit` starts from the current factors of known users and items.
    order
        Order of the updates: ``"each_epoch"`` for a new order in every epoch, ``"fixed"`` to repeat the first; see
        `etesian.sparse.driver.minimize`.
    dtype
        Type of the factors: ``"float32"`` or ``"float64"``.
    ids
        Type of the ids, ``"text"`` or ``"int"``. By default, the ids of users, and separately those of items, are
        integers if all of them in the data of `fit` are 64-bit integers without leading zeros or a plus sign; otherwise
        text. With ``"int"`` the text "007" means 7.

    Attributes
    ----------
    user_factors_, item_factors_ : arrays of shape (n_users, n_factors) and (n_items, n_factors)
        Factors; rows of 0 for users and items without a rating.
    user_bias_, item_bias_ : arrays of shape (n_users,) and (n_items,)
        Biases; 0 if `biased` is False.
    mean_ : float
        Mean rating or preference; 0 if `biased` is False.
    user_ids_, item_ids_ : arrays of shape (n_users,) and (n_items,)
        Ids of the rows in ascending order: text or integers, or the indices of a matrix. Later data is converted to the
        same type: for a model with text ids, the integer 7 means the text "7".
    n_iter_, objective_, plan_, outcome_
        Number of epochs, objective after each epoch (empty if `tol` is None and there is no callback), last plan, and
        outcome of the fit, such as ``"converged"`` or ``"max_iter"``; see `etesian.sparse.driver.Result`.
    validation_loss_
        Mean squared error on the held-out ratings after each epoch; empty without `early_stopping`.
    """

    _has_auto_steps = True

    def __init__(
        self,
        n_factors: int = 32,
        *,
        feedback: Feedback = "explicit",
        alpha: float = 1.0,
        n_negatives: int = 10,
        biased: bool = True,
        regularization: float = 0.02,
        step_size: float | Literal["auto"] = 0.01,
        step_decay: float = 1.0,
        max_iter: int = 20,
        tol: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 1,
        warm_start: bool = False,
        schedule: Schedule = "conflict_free",
        n_jobs: int | None = -1,
        random_state: Seed = None,
        order: Order = "each_epoch",
        callback: Callback | None = None,
        verbose: bool = False,
        dtype: str = "float32",
        ids: IdType | None = None,
    ) -> None:
        self.n_factors = n_factors
        self.feedback = feedback
        self.alpha = alpha
        self.n_negatives = n_negatives
        self.biased = biased
        self.regularization = regularization
        self.step_size = step_size
        self.step_decay = step_decay
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.schedule = schedule
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.order = order
        self.callback = callback
        self.verbose = verbose
        self.dtype = dtype
        self.ids = ids

    def fit(self, ratings: Any, y: None = None, sample_weight: Any = None) -> Self:
        """Fit factors to ratings.

        Parameters
        ----------
        ratings
            Ratings: a scipy sparse matrix of shape (n_users, n_items) of which every stored element is a rating; a
            pandas, polars or pyarrow data frame with columns recognized by names such as user, userId or customer, item
            or movieId, and rating or score; a tuple (users, items, ratings) of sequences of equal length; or an array
            of shape (n_ratings, 3). Ids are integers or text, and may have gaps.
        y
            Ignored, present for API consistency.
        sample_weight : array of shape (n_ratings,), optional
            Weight of each rating. A weight of 2 equals two ratings, and a weight of 0 none. For a matrix, weights are
            in the order of ``ratings.tocoo()``.

        Raises
        ------
        ValueError
            If there are no ratings, a rating is not finite, an id is missing or is a float that may have lost digits, a
            column is not recognized, or a parameter is out of range.
        """
        self._check_parameters()
        read = read_ratings(ratings, self.dtype, sample_weight, ids=self.ids)
        return self._fit(read, known=self._known(read) if self.warm_start and self._is_fitted() else None)

    def partial_fit(self, ratings: Any, y: None = None, sample_weight: Any = None) -> Self:
        """Run one epoch over more ratings, at the initial step size, or ``"auto"``'s for users and items with their ratings so far.

        Known users and items start from their current factors and the mean is kept; new users and items start at
        random. The first call is a `fit` of one epoch. No ratings are held out.

        Parameters
        ----------
        ratings, y, sample_weight
            See `fit`.
        """
        self._check_parameters()
        known = (self.user_ids_, self.item_ids_) if self._is_fitted() else None
        read = read_ratings(ratings, self.dtype, sample_weight, ids=self.ids, known=known)
        if known is None:
            return self._fit(read, epochs=1)
        read = read.among(self.user_ids_, self.item_ids_)
        return self._fit(read, epochs=1, known=self._known(read), is_incremental=True)

    def _is_fitted(self) -> bool:
        return hasattr(self, "user_factors_")

    def _check_parameters(self) -> None:
        check_integer("n_factors", self.n_factors, at_least=1)
        check_integer("n_negatives", self.n_negatives, at_least=0)
        if self.ids not in (None, "text", "int"):
            raise ValueError(f"ids must be None, 'text' or 'int'; got {self.ids!r}")
        if self.feedback not in ("explicit", "implicit"):
            raise ValueError(f"feedback must be 'explicit' or 'implicit'; got {self.feedback!r}")
        for name in ("regularization", "alpha"):
            check_number(name, getattr(self, name), "a finite number, 0 or more", is_non_negative)
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype must be 'float32' or 'float64'; got {self.dtype!r}")
        self._check_stopping()

    def _step_rule(self, problem: Any) -> SGD:
        return SGD(1.0 if self.step_size == "auto" else self.step_size, self.step_decay)

    def _fit(
        self,
        read: RatingTriples,
        *,
        epochs: int | None = None,
        known: KnownRows | None = None,
        is_incremental: bool = False,
    ) -> Self:
        epochs_before = self.n_iter_ if is_incremental else 0
        rng = self._generator(epochs_before)
        terms, held_out = self._terms(read, rng), None
        if self.early_stopping and epochs is None:
            is_held = hold_out(terms.user, terms.item, fraction=self.validation_fraction, rng=rng.spawn(1)[0])
            terms, held_out = terms.part(~is_held), terms.part(is_held)
        problem = self._problem(terms, mean=self.mean_ if is_incremental else None, known=known)
        result = self._minimize(
            problem,
            held_out=None if held_out is None else self._problem(held_out, mean=problem.mean),
            max_iter=epochs or self.max_iter,
            tol=self.tol if epochs is None else None,
            random_state=rng,
        )
        self._keep(read, problem, *result.variables[:2], is_incremental=is_incremental)
        return self._finish(result, epochs_before=epochs_before)

    def _terms(self, read: RatingTriples, rng: np.random.Generator) -> RatingTriples:
        if self.feedback == "explicit":
            return read
        return preferences(read, alpha=self.alpha, n_negatives=self.n_negatives, rng=rng.spawn(1)[0])

    def _problem(self, terms: RatingTriples, *, mean: Any, known: KnownRows | None = None) -> Ratings:
        kind = AdaptiveRatings if self.step_size == "auto" else Ratings
        return kind(
            terms.user,
            terms.item,
            terms.rating,
            n_users=len(terms.user_ids),
            n_items=len(terms.item_ids),
            n_factors=self.n_factors,
            penalty=self.regularization,
            biased=self.biased,
            weight=terms.weight,
            mean=mean,
            known=known,
        )

    def _known(self, read: RatingTriples) -> KnownRows:
        """Return the factors of the last fit, by index of the users and items of `read`."""
        if self.user_factors_.shape[1] != self.n_factors:
            raise ValueError(
                f"n_factors must equal that of the last fit, {self.user_factors_.shape[1]}, to continue it; "
                f"got {self.n_factors}"
            )
        user = find_ids(self.user_ids_, read.user_ids, "user")
        n_ratings = np.concatenate(
            [np.diff(self._rated.indptr), np.bincount(self._rated.indices, minlength=self._rated.shape[1])]
        )
        item = find_ids(self.item_ids_, read.item_ids, "item")
        rows = np.concatenate([user, np.where(item >= 0, item + len(read.user_ids), -1)])
        factors = np.concatenate([self.user_factors_, self.item_factors_])
        bias = np.concatenate([self.user_bias_, self.item_bias_])
        is_known = (rows >= 0) & (factors.any(axis=1) | (bias != 0))  # rows of 0 had no rating
        return KnownRows(rows[is_known], factors[is_known], bias[is_known], n_ratings[is_known])

    def _keep(
        self, read: RatingTriples, problem: Ratings, factors: NDArray[Any], bias: NDArray[Any], *, is_incremental: bool
    ) -> None:
        n_users = problem.n_users
        is_met = np.zeros(len(factors), bool)
        is_met[problem.touches.indices] = True
        if is_incremental and problem.known is not None:
            is_met[problem.known.rows] = True
        factors[~is_met] = 0
        if not self.biased:
            bias = np.zeros(len(factors), factors.dtype)
        bias[~is_met] = 0
        user, item = read.user, read.item
        if is_incremental:
            earlier: Any = self._rated.tocoo()
            user = np.concatenate([user, np.searchsorted(read.user_ids, self.user_ids_)[earlier.row]])
            item = np.concatenate([item, np.searchsorted(read.item_ids, self.item_ids_)[earlier.col]])
        self._rated = csr_array((np.ones(len(user), bool), (user, item)), shape=(n_users, problem.n_items))
        self.user_ids_, self.item_ids_ = read.user_ids, read.item_ids
        self.user_factors_, self.item_factors_ = factors[:n_users].copy(), factors[n_users:].copy()
        self.user_bias_, self.item_bias_ = bias[:n_users].copy(), bias[n_users:].copy()
        self.mean_ = float(problem.mean)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True  # users and items, not features
        return tags
