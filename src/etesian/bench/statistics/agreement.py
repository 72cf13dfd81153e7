"""Comparison of two models on the same examples: disagreement and difference of accuracies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from etesian.bench.statistics.arrivals import Flags, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, student_quantile
from etesian.bench.statistics.figures import Figures


@dataclass(frozen=True)
class Disagreement(Figures):
    """Numbers of examples that two models answer correctly, with McNemar's exact test.

    Parameters
    ----------
    both, only_first, only_second, neither
        Number of examples answered correctly by both, only one or neither model.
    p_value
        Two-sided probability that models of equal accuracy disagree this unevenly.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float


def mcnemar(first: Flags, second: Flags) -> Disagreement:
    """Test if two models are equally accurate, by the examples on which exactly one is correct.

    Parameters
    ----------
    first, second : boolean array (examples,)
        True for examples answered correctly, in the same order.

    Raises
    ------
    ValueError
        If the arrays differ in length.

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
    """Estimate the difference in accuracy of two training methods, over runs and examples.

    Both are random samples. The interval includes the variance between runs and the variance between examples.

    Parameters
    ----------
    first, second : boolean array (runs, examples)
        True for correct answers. The examples are the same; the numbers of runs may differ.
    confidence
        Confidence level of the interval.

    Raises
    ------
    ValueError
        If the numbers of examples differ.

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
        reason = "requires two runs of each"
        return Estimate.missing(reason, runs=runs, value=value, reliable_from=5)
    by_example = answers.mean(axis=0) - others.mean(axis=0)
    parts = [_run_variance(answers), _run_variance(others), by_example.var(ddof=1) / len(by_example)]
    # The residual variance is part of each of these terms, and must count once.
    total = max(sum(parts) - _rest(answers) - _rest(others), *parts)
    if total == 0:
        return Estimate(value, value, value, runs, 5)
    degrees = total**2 / sum(
        part**2 / (n - 1) for part, n in zip(parts, (len(answers), len(others), len(by_example)), strict=True)
    )
    margin = student_quantile(degrees, confidence) * math.sqrt(total)
    return Estimate(value, value - margin, value + margin, runs, 5)


def paired_difference(first: Floats, second: Floats, *, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate the mean of first minus second, one pair per run, with Student's interval.

    Parameters
    ----------
    first, second : array (runs,)
        Two figures of each run, such as accuracy on held-out and on validation data.
    confidence
        Confidence level of the interval.
    """
    check_confidence(confidence)
    differences = first - second
    runs = len(differences)
    if runs == 0:
        return Estimate.missing("no run has both figures", runs=0, reliable_from=5)
    mean = float(differences.mean())
    if runs == 1:
        return Estimate.missing("an interval requires two runs", runs=1, value=mean, reliable_from=5)
    error = float(differences.std(ddof=1)) / math.sqrt(runs)
    margin = student_quantile(runs - 1, confidence) * error
    return Estimate(mean, mean - margin, mean + margin, runs, 5)


def mean_difference(first: Floats, second: Floats, *, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate the difference of the means of two unpaired sets of runs, with Welch's interval."""
    check_confidence(confidence)
    runs = min(len(first), len(second))
    if runs == 0:
        return Estimate.missing("one of the two has no such figure", runs=0, reliable_from=5)
    value = float(first.mean() - second.mean())
    if runs == 1:
        return Estimate.missing("an interval requires two runs of each", runs=1, value=value, reliable_from=5)
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
    """Variance of the mean over runs."""
    return float(answers.mean(axis=1).var(ddof=1)) / len(answers)


def _rest(answers: Floats) -> float:
    """Residual variance, as it enters the variance of the mean."""
    centered = answers - answers.mean(axis=0) - answers.mean(axis=1, keepdims=True) + answers.mean()
    runs, examples = answers.shape
    return float(np.sum(centered**2)) / ((runs - 1) * max(examples - 1, 1)) / answers.size
