"""Shared data of the benchmarks: synthetic data of realistic shapes, or real data from files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import Delaunay
from sklearn.datasets import load_svmlight_file

SEED = 0
RATINGS_FILE = Path("ratings/ml-latest-small_ratings.csv")

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Left ids, right ids and values: users, items and ratings, or two words and their counts."""


def power_law_ratings(n: int, *, planted_rank: int = 0, noise: float = 1.0) -> Pairs:
    """Generate power-law ratings shaped like MovieLens 10M, with 70,000 users and 10,000 items at 5 million ratings.

    Ratings are 3.5, plus a product of planted factors with variance 1 if a rank is given, plus noise of the given
    standard deviation.
    """
    rng = np.random.default_rng(SEED)
    n_users, n_items = max(n * 70_000 // 5_000_000, 10), max(n * 10_000 // 5_000_000, 10)
    user = np.unique((n_users * rng.random(n) ** 1.5).astype(np.int32), return_inverse=True)[1]
    item = np.unique((n_items * rng.random(n) ** 2.0).astype(np.int32), return_inverse=True)[1]
    rating = rng.normal(3.5, noise, n)
    if planted_rank:
        users = rng.standard_normal((user.max() + 1, planted_rank)) / np.sqrt(planted_rank)
        items = rng.standard_normal((item.max() + 1, planted_rank))
        rating += np.einsum("ij,ij->i", users[user], items[item])
    return user, item, rating.astype(np.float32)


def read_movielens(path: Path) -> Pairs:
    """Read a ratings file of MovieLens (userId,movieId,rating,timestamp), without items with one rating and ids above a million."""
    with path.open(newline="") as file:
        rows = [(int(r["userId"]), int(r["movieId"]), float(r["rating"])) for r in csv.DictReader(file)]
    users, items, ratings = (np.array(column) for column in zip(*rows, strict=True))
    real = items < 1_000_000
    user = np.unique(users[real], return_inverse=True)[1]
    item = np.unique(items[real], return_inverse=True)[1]
    return user, item, ratings[real].astype(np.float32)


def power_law_pairs(n: int) -> Pairs:
    """Generate co-occurrence counts of words with a realistic power-law distribution."""
    rng = np.random.default_rng(SEED)
    n_words = max(n // 50, 20)
    words = np.sort((n_words * rng.random((n, 2)) ** 2.0).astype(np.int64), axis=1)
    keys = np.unique(words[words[:, 0] < words[:, 1]] @ (n_words, 1))
    left, right = np.divmod(keys, n_words)
    vectors = rng.standard_normal((n_words, 10)) / np.sqrt(20)
    log_count = ((vectors[left] + vectors[right]) ** 2).sum(axis=1) + rng.normal(1.0, 0.3, len(left))
    return left.astype(np.int32), right.astype(np.int32), np.exp(log_count)


def mesh_edges(n_vertices: int) -> np.ndarray:
    """Generate the edges of a planar mesh with holes, shape (n_edges, 2): a Delaunay triangulation of random points.

    Points inside some discs are removed, and so are edges across them.
    """
    rng = np.random.default_rng(SEED)
    centers, radius = rng.random((12, 2)), 0.06
    points = rng.random((int(1.15 * n_vertices) + 50, 2))
    far = (np.linalg.norm(points[:, None] - centers, axis=2) > radius).all(axis=1)
    points = points[far][:n_vertices]
    corners = Delaunay(points).simplices
    edges = np.unique(
        np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]]), axis=1), axis=0
    )
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    return np.unique(edges[lengths < 4 / np.sqrt(len(points))], axis=0)


def read_metis_edges(path: Path) -> np.ndarray:
    """Read the edges of a METIS graph without weights, shape (n_edges, 2)."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("%")][1:]
    edges = [(vertex, int(other) - 1) for vertex, line in enumerate(lines) for other in line.split()]
    return np.array([edge for edge in edges if edge[0] < edge[1]])


def differences_along(edges: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """Return a row with 1 and -1 per edge, shape (n_edges, n_vertices), and noisy differences of heights as targets."""
    rng = np.random.default_rng(SEED)
    n_edges, n_vertices = len(edges), int(edges.max()) + 1
    values = np.tile([1.0, -1.0], n_edges)
    X = csr_array((values, edges.astype(np.int32).ravel(), np.arange(0, 2 * n_edges + 1, 2, dtype=np.int32)),
                  shape=(n_edges, n_vertices))  # fmt: skip
    return X, X @ rng.standard_normal(n_vertices) + rng.normal(0.0, 0.5, n_edges)


def scattered_rows(n_rows: int, *, n_features: int, n_nonzero: int = 5) -> tuple[csr_array, np.ndarray]:
    """Generate rows with a few of many features, so that batches split, and labels of a planted linear model."""
    rng = np.random.default_rng(SEED)
    step = n_features // n_nonzero  # one feature per range, for sorted columns without duplicates
    columns = (rng.integers(0, step, (n_rows, n_nonzero)) + step * np.arange(n_nonzero)).astype(np.int32)
    indptr = np.arange(0, n_rows * n_nonzero + 1, n_nonzero, dtype=np.int32)
    X = csr_array((rng.standard_normal(columns.size), columns.ravel(), indptr), shape=(n_rows, n_features))
    label = np.sign(X @ rng.standard_normal(n_features) + rng.normal(0.0, 0.5, n_rows))
    return X, np.where(label == 0, 1.0, label)


def read_labeled_rows(path: Path) -> tuple[csr_array, np.ndarray]:
    """Read rows and labels (-1 and 1) in the libsvm format."""
    X, y = load_svmlight_file(str(path))
    return csr_array(X), np.where(y > 0, 1.0, -1.0)
