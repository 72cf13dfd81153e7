"""Two models on the same examples: where they disagree, and how far apart their accuracies are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from etesian.bench.statistics.arrivals import Flags, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, student_quantile


@dataclass(frozen=True)
class Disagreement:
    """On how many examples which of two models was right, with McNemar's exact test.

    Parameters
    ----------
    both, only_first, only_second, neither
        Examples that were answered rightly by.
    p_value
        Two-sided: how often models of equal accuracy would disagree so unevenly.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name, as JSON allows them."""
        return {
            "both": self.both,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "neither": self.neither,
            "p_value": self.p_value,
        }


def mcnemar(first: Flags, second: Flags) -> Disagreement:
    """Compare two models by the examples on which one is right and the other wrong.

    Parameters
    ----------
    first, second : boolean array (examples,)
        Whether each example was answered rightly, in the same order.

    Raises
    ------
    ValueError
        The arrays differ in length.

    References
    ----------
    McNemar (1947); the exact binomial form.
    """
    _check_examples(first.shape[-1], second.shape[-1])
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    apart = only_first + only_second
    p_value = 1.0 if apart == 0 else float(stats.binomtest(only_first, apart).pvalue)
    return Disagreement(int(np.sum(first & second)), only_first, only_second, int(np.sum(~first & ~second)), p_value)


def accuracy_difference(first: Flags, second: Flags, *, confidence: float = CONFIDENCE) -> Estimate:
    """Accuracy of one training method minus that of another, over runs and examples both.

    Both were drawn by chance: other seeds and other examples would give another difference. The interval allows for the
    two at once, by the variances of the runs' accuracies and of the examples' difficulty.

    Parameters
    ----------
    first, second : boolean array (runs, examples)
        Whether each run answered each example rightly; the examples are the same, the runs need not be as many.
    confidence
        Of the interval.

    Raises
    ------
    ValueError
        The numbers of examples differ.

    References
    ----------
    Owen, The pigeonhole bootstrap (2007), for means over runs and examples; Satterthwaite (1946) for the degrees of
    freedom.
    """
    check_confidence(confidence)
    answers, others = (np.atleast_2d(each).astype(np.float64) for each in (first, second))
    _check_examples(answers.shape[1], others.shape[1])
    value, runs = float(answers.mean() - others.mean()), min(len(answers), len(others))
    if runs < 2:
        reason = "needs two runs of each: one run says nothing of what another seed would do"
        return Estimate.missing(reason, runs=runs, value=value, reliable_from=5)
    by_example = answers.mean(axis=0) - others.mean(axis=0)
    parts = [_run_variance(answers), _run_variance(others), by_example.var(ddof=1) / len(by_example)]
    # What is neither the run's nor the example's doing is in each of these parts, and must count once.
    total = max(sum(parts) - _rest(answers) - _rest(others), *parts)
    if total == 0:
        return Estimate(value, value, value, runs, 5)
    degrees = total**2 / sum(
        part**2 / (n - 1) for part, n in zip(parts, (len(answers), len(others), len(by_example)), strict=True)
    )
    margin = student_quantile(degrees, confidence) * math.sqrt(total)
    return Estimate(value, value - margin, value + margin, runs, 5)


def paired_difference(first: Floats, second: Floats, *, confidence: float = CONFIDENCE) -> Estimate:
    """Mean of first minus second, one pair a run, with Student's interval.

    Parameters
    ----------
    first, second : array (runs,)
        Two figures of each run, such as accuracy on fresh data and on the data that decided when to stop.
    confidence
        Of the interval.
    """
    check_confidence(confidence)
    differences = first - second
    runs = len(differences)
    if runs == 0:
        return Estimate.missing("no run has both figures", runs=0, reliable_from=5)
    mean = float(differences.mean())
    if runs == 1:
        return Estimate.missing("an interval needs two runs", runs=1, value=mean, reliable_from=5)
    error = float(differences.std(ddof=1)) / math.sqrt(runs)
    margin = student_quantile(runs - 1, confidence) * error
    return Estimate(mean, mean - margin, mean + margin, runs, 5)


def mean_difference(first: Floats, second: Floats, *, confidence: float = CONFIDENCE) -> Estimate:
    """Mean of one set of runs minus that of another, not paired, with Welch's interval."""
    check_confidence(confidence)
    runs = min(len(first), len(second))
    if runs == 0:
        return Estimate.missing("one of the two has no such figure", runs=0, reliable_from=5)
    value = float(first.mean() - second.mean())
    if runs == 1:
        return Estimate.missing("an interval needs two runs of each", runs=1, value=value, reliable_from=5)
    parts = [each.var(ddof=1) / len(each) for each in (first, second)]
    if sum(parts) == 0:
        return Estimate(value, value, value, runs, 5)
    degrees = sum(parts) ** 2 / sum(
        part**2 / (len(each) - 1) for part, each in zip(parts, (first, second), strict=True)
    )
    margin = student_quantile(degrees, confidence) * math.sqrt(sum(parts))
    return Estimate(value, value - margin, value + margin, runs, 5)


def _check_examples(first: int, second: int) -> None:
    if first != second:
        raise ValueError(f"first and second must answer the same examples; got {first} and {second}")


def _run_variance(answers: Floats) -> float:
    """Of the mean over runs."""
    return float(answers.mean(axis=1).var(ddof=1)) / len(answers)


def _rest(answers: Floats) -> float:
    """What neither run nor example accounts for, as it enters the variance of the mean."""
    centered = answers - answers.mean(axis=0) - answers.mean(axis=1, keepdims=True) + answers.mean()
    runs, examples = answers.shape
    return float(np.sum(centered**2)) / ((runs - 1) * max(examples - 1, 1)) / answers.size
