"""Fit a factorization machine (Rendle 2010), which has weights for pairs of features, with a custom update."""

import numpy as np
from numba import njit
from scipy.sparse import csr_array

from etesian.sparse import SGD, CustomProblem, check_touches, minimize


@njit(forceinline=True)
def predict(e, data, variables):
    rows, weight, factors = data.rows, variables.weight, variables.factors
    prediction = 0.0
    for t in range(factors.shape[1]):
        total, squares = 0.0, 0.0
        for place in range(rows.indptr[e], rows.indptr[e + 1]):
            part = factors[rows.indices[place], t] * rows.values[place]
            total += part
            squares += part * part
        prediction += 0.5 * (total * total - squares)
    for place in range(rows.indptr[e], rows.indptr[e + 1]):
        prediction += weight[rows.indices[place]] * rows.values[place]
    return prediction


def learn(e, data, variables, step_size):
    rows, weight, factors = data.rows, variables.weight, variables.factors
    error = predict(e, data, variables) - data.target[e]
    for t in range(factors.shape[1]):
        total = 0.0
        for place in range(rows.indptr[e], rows.indptr[e + 1]):
            total += factors[rows.indices[place], t] * rows.values[place]
        for place in range(rows.indptr[e], rows.indptr[e + 1]):
            j, x = rows.indices[place], rows.values[place]
            factors[j, t] -= step_size * (error * x * (total - factors[j, t] * x) + 0.03 * factors[j, t])
    for place in range(rows.indptr[e], rows.indptr[e + 1]):
        j, x = rows.indices[place], rows.values[place]
        weight[j] -= step_size * (error * x + 0.03 * weight[j])


rng = np.random.default_rng(0)
columns = np.stack([rng.integers(0, 800, 40_000) + 800 * place for place in range(3)], axis=1)  # user, film, director
X = csr_array((np.ones(120_000), columns.ravel(), np.arange(0, 120_001, 3)), shape=(40_000, 2_400))
true_weight, true_factors = rng.normal(size=2_400), rng.normal(size=(2_400, 2))
y = X @ true_weight + 0.5 * ((X @ true_factors) ** 2 - X @ true_factors**2).sum(axis=1)

problem = CustomProblem(
    learn,
    touches={"weight": X[:32_000], "factors": X[:32_000]},
    variables={"weight": np.zeros(2_400), "factors": 0.1 * rng.normal(size=(2_400, 2))},
    data={"rows": X[:32_000], "target": y[:32_000]},
)
assert check_touches(problem) == []
result = minimize(problem, method=SGD(0.03, decay=0.95), max_iter=30, tol=None, random_state=0)
weight, factors = result.variables
predicted = X @ weight + 0.5 * ((X @ factors) ** 2 - X @ factors**2).sum(axis=1)
print(result.plan)
print(f"error on held-out rows: {(predicted - y)[32_000:].std():.2f}; standard deviation: {y[32_000:].std():.2f}")
