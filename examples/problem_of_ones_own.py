"""Rank players by the results of their games (Bradley and Terry 1952): a custom problem for `minimize`."""

import math

import numpy as np
from scipy.sparse import csr_array

from etesian.sparse import SGD, minimize


def play(start, stop, data, variables, step_size):
    """Update the strengths of both players of games start to stop - 1; surprising results change them more."""
    winner, loser = data
    (strength,) = variables
    for game in range(start, stop):
        surprise = 1 / (1 + math.exp(strength[winner[game]] - strength[loser[game]]))
        strength[winner[game]] += step_size * surprise
        strength[loser[game]] -= step_size * surprise


def sum_losses(start, stop, data, variables, sums):
    """Add up the log losses of games start to stop - 1."""
    winner, loser = data
    (strength,) = variables
    for game in range(start, stop):
        sums[0] += math.log1p(math.exp(strength[loser[game]] - strength[winner[game]]))


class Games:
    update_range = staticmethod(play)
    settles = counts_steps = False

    def __init__(self, winner, loser, n_players):
        self.winner, self.loser, self.n_players = winner, loser, n_players
        pairs, ends = np.stack([winner, loser], axis=1).ravel(), np.arange(0, 2 * len(winner) + 1, 2)
        self.touches = csr_array((np.ones(len(pairs), np.int8), pairs, ends), shape=(len(winner), n_players))

    def start(self, rng):
        return (np.zeros(self.n_players),)

    def lay_out(self, plan):
        return self.winner[plan.order], self.loser[plan.order]

    def objective(self, variables, sum_over):
        n = len(self.winner)
        return sum_over(sum_losses, n, 1, (self.winner, self.loser), variables)[0] / n


rng = np.random.default_rng(0)
truth, players = rng.normal(size=5_000), np.array([rng.choice(5_000, 2, replace=False) for _ in range(50_000)])
is_upset = rng.random(50_000) > 1 / (1 + np.exp(truth[players[:, 1]] - truth[players[:, 0]]))
games = Games(np.where(is_upset, players[:, 1], players[:, 0]), np.where(is_upset, players[:, 0], players[:, 1]), 5_000)
result = minimize(games, method=SGD(0.1), max_iter=15, random_state=0)
print(result.plan, f"{result.n_iter} epochs, {result.outcome}", sep="\n")
print(f"correlation with the true strengths: {np.corrcoef(result.variables[0], truth)[0, 1]:.2f}")
assert (
    result.variables[0] == minimize(games, method=SGD(0.1), max_iter=15, n_jobs=1, random_state=0).variables[0]
).all()
