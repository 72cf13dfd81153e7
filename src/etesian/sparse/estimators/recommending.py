"""Predictions from fitted factors: ratings, recommendations, similar items, and folding in of new users."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from etesian.sparse.arguments import check_integer
from etesian.sparse.estimators.best_items import Best, best_of_each, is_single, score_in_blocks
from etesian.sparse.estimators.folding import FoldedUser, solve_ridge
from etesian.sparse.estimators.ranking import recall
from etesian.sparse.estimators.ratings import read_pairs, read_ratings
from etesian.sparse.ids import IdType, as_ids, find_ids

Feedback = Literal["explicit", "implicit"]


class Recommending:
    """Methods of `MatrixFactorization` that use fitted factors."""

    feedback: Feedback
    alpha: float
    n_negatives: int
    biased: bool
    regularization: float
    ids: IdType | None
    dtype: str

    mean_: float
    user_ids_: NDArray[Any]
    item_ids_: NDArray[Any]
    user_factors_: NDArray[np.floating]
    item_factors_: NDArray[np.floating]
    user_bias_: NDArray[np.floating]
    item_bias_: NDArray[np.floating]
    _rated: csr_array

    def predict(self, pairs: Any) -> NDArray[np.floating]:
        """Predict ratings.

        Parameters
        ----------
        pairs
            Pairs of ids: a tuple (users, items) of sequences of equal length, a data frame with such columns, or an
            array of shape (n, 2). In a tuple, a `FoldedUser` may replace the users.

        Returns
        -------
        array of shape (n,)
            Predicted ratings. Unknown users and items have factors and biases of 0.
        """
        check_is_fitted(self)
        if isinstance(pairs, tuple) and len(pairs) == 2 and isinstance(pairs[0], FoldedUser):
            return self._predict_folded(pairs[0], find_ids(pairs[1], self.item_ids_, "item", self.ids))
        users, items = read_pairs(pairs)
        user = find_ids(users, self.user_ids_, "user", self.ids)
        item = find_ids(items, self.item_ids_, "item", self.ids)
        known_user, known_item = user >= 0, item >= 0
        product = np.einsum("nk,nk->n", self.user_factors_[user], self.item_factors_[item])
        predicted = np.where(known_user & known_item, product, 0) + self.mean_
        predicted += np.where(known_user, self.user_bias_[user], 0) + np.where(known_item, self.item_bias_[item], 0)
        return predicted.astype(self.user_factors_.dtype, copy=False)

    def score(self, ratings: Any, y: None = None) -> float:
        """Return the coefficient of determination R^2, or for implicit feedback the recall at 10.

        The recall at 10 is averaged over known users: the fraction of their items with a rating above 0 (of 10 of them,
        if there are more) that are among the 10 highest predictions. Items that a user rated in `fit`, and that are not
        in `ratings`, are excluded.

        Parameters
        ----------
        ratings
            Ratings, as in `fit`. Unknown users and items are allowed.
        y
            Ignored, present for API consistency.
        """
        check_is_fitted(self)
        read = read_ratings(ratings, self.dtype, ids=self.ids)
        if self.feedback == "explicit":
            predicted = self.predict((read.user_ids[read.user], read.item_ids[read.item]))
            return float(r2_score(read.rating, predicted))
        liked = read.part(read.rating > 0)
        user = find_ids(read.user_ids, self.user_ids_, "user", self.ids)[liked.user]
        item = find_ids(read.item_ids, self.item_ids_, "item", self.ids)[liked.item]
        return recall(user[user >= 0], item[user >= 0], predict=self._predict_all, met=self._rated)

    def recommend(self, user: Any, n: int = 10, *, exclude_rated: bool = True) -> Best:
        """Return the items with the highest predicted ratings for one user or many, highest first.

        Parameters
        ----------
        user
            Id of a known user, a sequence of such ids, or a `FoldedUser`.
        n
            Maximum number of items per user, at least 1.
        exclude_rated
            If True, exclude items that the user rated.

        Returns
        -------
        items, ratings : arrays of shape (n,), or (n_users, n) for a sequence of users
            Ids of the items and their predicted ratings. For a sequence of users, rows with fewer than n items are
            padded with ratings of NaN and ids of -1 or "". The result for a user does not depend on the other users.
        """
        check_is_fitted(self)
        check_integer("n", n, at_least=1)
        if isinstance(user, FoldedUser):
            scored = [self._predict_folded(user)]
            rated: list[NDArray[Any]] = [user.items]
        else:
            rows = self._rows_of(user, self.user_ids_, "user")
            scored = score_in_blocks(rows, self._predict_all)
            rated = [self._rated.indices[slice(*self._rated.indptr[row : row + 2])] for row in rows]
        if exclude_rated:
            for score, items in zip(scored, rated, strict=True):
                score[items] = -np.inf
        return best_of_each(scored, self.item_ids_, n, is_single=isinstance(user, FoldedUser) or is_single(user))

    def similar_items(self, item: Any, n: int = 10) -> Best:
        """Return the items with the highest cosine similarity to one item or to each of many, highest first.

        Parameters
        ----------
        item
            Id of a known item, or a sequence of such ids.
        n
            Maximum number of items, at least 1, without the item itself.

        Returns
        -------
        items, cosines : arrays of shape (n,), or (n_given, n) for a sequence of n_given items
            Ids of the items and their cosines, padded as in `recommend`. Items without a rating are excluded.
        """
        check_is_fitted(self)
        check_integer("n", n, at_least=1)
        rows = self._rows_of(item, self.item_ids_, "item")
        factors = self.item_factors_.astype(np.float64)
        norms = np.linalg.norm(factors, axis=1)
        if not norms[rows].all():
            raise ValueError(
                f"item {self.item_ids_[rows[norms[rows] == 0]].tolist()[0]!r} has no factors: no rating in the fit"
            )
        directions = factors / np.where(norms > 0, norms, 1)[:, None]
        scored = score_in_blocks(rows, lambda block: np.where(norms > 0, directions[block] @ directions.T, -np.inf))
        for row, score in zip(rows, scored, strict=True):
            score[row] = -np.inf
        return best_of_each(scored, self.item_ids_, n, is_single=is_single(item))

    def fold_in_user(self, items: Any, ratings: Any) -> FoldedUser:
        """Solve for the factors and the bias of a new user, with those of the items fixed.

        The result minimizes the objective of `fit` over the terms of this user, which is a ridge regression on the
        factors of the rated items, by its normal equations (Hu, Koren and Volinsky 2008, equation 4). With implicit
        feedback, negative samples enter with their expected weight. The model is not changed.

        Parameters
        ----------
        items : sequence of shape (n_rated,)
            Ids of items. Unknown items are ignored.
        ratings : sequence of shape (n_rated,)
            Ratings or counts of the items by the user.

        Returns
        -------
        FoldedUser
            User for `recommend`, or for `predict` in place of users.

        Raises
        ------
        ValueError
            If no item is known, an item occurs twice, the lengths differ, or a rating is not finite.
        """
        check_is_fitted(self)
        read = read_ratings((np.zeros(np.shape(ratings), np.int64), items, ratings), np.float64, ids=self.ids)
        if len(np.unique(read.item)) < len(read.item):
            raise ValueError("items must not repeat; sum or average the ratings of an item first")
        item = find_ids(read.item_ids, self.item_ids_, "item", self.ids)[read.item]
        rating = read.rating[item >= 0].astype(np.float64)
        item = item[item >= 0]
        if len(item) == 0:
            raise ValueError("items must include at least one item of the fit; got none")
        places, target, weight = self._terms_of_user(item, rating)
        offset = self.mean_ + self.item_bias_[places].astype(np.float64)
        factors, bias = solve_ridge(
            self.item_factors_[places], target - offset, weight, penalty=self.regularization, biased=self.biased
        )
        return FoldedUser(factors.astype(self.item_factors_.dtype), bias, item)

    def _terms_of_user(
        self, item: NDArray[np.int64], rating: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Return items, targets and weights of one user's terms, with negative samples at their expected weight."""
        if self.feedback == "explicit":
            return item, rating, np.ones(len(item))
        if (rating < 0).any() or not (rating > 0).any():
            raise ValueError("implicit ratings must be 0 or more, with one above 0")
        unmet = np.setdiff1d(np.arange(len(self.item_ids_)), item)
        drawn = self.n_negatives * np.count_nonzero(rating) / max(len(unmet), 1)
        target = np.concatenate([rating > 0, np.zeros(len(unmet))]).astype(np.float64)
        weight = np.concatenate([1 + self.alpha * rating, np.full(len(unmet), drawn)])
        return np.concatenate([item, unmet]), target, weight

    def _rows_of(self, wanted: Any, known: NDArray[Any], kind: str) -> NDArray[np.int64]:
        """Return the rows of one or several ids, all of which must be known."""
        ids = [wanted] if is_single(wanted) else wanted
        rows = find_ids(ids, known, kind, self.ids)
        if (rows < 0).any():
            place = int(np.flatnonzero(rows < 0)[0])
            unknown = wanted if is_single(wanted) else as_ids(ids, kind).values()[place : place + 1].tolist()[0]
            raise ValueError(f"{kind} {unknown!r} has no rating in the training data")
        return rows

    def _predict_folded(self, user: FoldedUser, item: NDArray[np.int64] | None = None) -> NDArray[np.floating]:
        """Predict all items, or those at some indices, where -1 is an unknown item."""
        dtype = self.item_factors_.dtype.type
        if user.factors.shape != self.item_factors_.shape[1:]:
            n_factors = self.item_factors_.shape[1]
            raise ValueError(
                f"the user must be folded in by a model of {n_factors} factors; got one of {len(user.factors)}"
            )
        unknown = dtype(self.mean_ + user.bias)
        every = unknown + self.item_bias_ + self.item_factors_ @ user.factors
        return every if item is None else np.where(item >= 0, every[item], unknown)

    def _predict_all(self, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Predict every item for some users by row: array of shape (len(rows), n_items)."""
        dtype = self.user_factors_.dtype.type
        offset = dtype(self.mean_) + self.user_bias_[rows, None] + self.item_bias_
        return offset + self.user_factors_[rows] @ self.item_factors_.T
