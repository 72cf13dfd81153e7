"""Compute the leading eigenvector of a mesh on all cores, compare with SciPy, and check the bits against one core."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import eigsh
from scipy.spatial import Delaunay

from etesian.sparse import leading_eigenvector

# a triangulation of random points; edge weights increase toward the center, where the leading eigenvector is localized
points = np.random.default_rng(0).random((5_000, 2))
corners = Delaunay(points).simplices
start, end = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]).T
middle = (points[start] + points[end]) / 2
weight = np.exp(-20 * ((middle - 0.5) ** 2).sum(axis=1))
A = coo_array((weight, (start, end)), shape=(5_000, 5_000)).tocsr()
A = A + A.T

pair = leading_eigenvector(A, random_state=0)
print(pair.plan)
print(f"eigenvalue {pair.value:.9f}, residual {pair.residual:.1e}, {pair.n_iter} epochs, {pair.outcome}")

(value,) = eigsh(A, 1, which="LM", return_eigenvectors=False)
print(f"SciPy's    {value:.9f}")
assert abs(pair.value - value) < 1e-9 * value

alone = leading_eigenvector(A, random_state=0, n_jobs=1)
print("one core gives the same bits:", bool((alone.vector == pair.vector).all()))
assert (alone.vector == pair.vector).all()

# the first right singular vector of a dense matrix, without forming A'A
table = np.random.default_rng(1).normal(size=(400, 30)) * np.linspace(1, 3, 30)
direction = leading_eigenvector(table, of="gram", schedule="serial", random_state=0)
print(f"largest singular value {direction.value**0.5:.6f}, NumPy's {np.linalg.norm(table, 2):.6f}")
