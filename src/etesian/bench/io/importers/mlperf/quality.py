"""Quality metrics and official targets of MLPerf's benchmarks by round.

Some benchmarks have two targets, and both must be met at one evaluation. A run has one target, so the two become one metric,
`worst_target_ratio`: the smaller of value / threshold (threshold / value where low is good). It is at least 1 exactly when both
are met. Both metrics are kept as well.

Sources: the rules of MLPerf Training, "Benchmarks", of each round (github.com/mlcommons/training_policies).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from etesian.bench.io._reading.errors import UnreadableError
from etesian.bench.workload import Target

WORST_RATIO = "worst_target_ratio"
_MOST_PERCENT = 100.0
_SMALL = 1e-300  # below any measured value: keeps ratios finite


@dataclass(frozen=True)
class Quality:
    """Metrics that a benchmark's evaluations give, with their targets.

    Parameters
    ----------
    targets
        One target, or several that must be met together.
    is_bleu
        True if the metric is a BLEU score, which some logs give as a fraction and others in percent.
    worst_ratio
        Threshold of the metric that stands for several targets.
    """

    targets: tuple[Target, ...]
    is_bleu: bool = False
    worst_ratio: float = 1.0

    @property
    def target(self) -> Target:
        """The one target that stands for all."""
        return self.targets[0] if len(self.targets) == 1 else Target(WORST_RATIO, self.worst_ratio)

    def with_target(self, target: Target) -> Quality:
        """Replace the official target by one for a metric that the benchmark has.

        Raises
        ------
        UnreadableError
            If the benchmark does not have the metric.
        """
        metrics = [own.metric for own in self.targets]
        if len(metrics) > 1 and target.metric == WORST_RATIO and target.direction == "at_least":
            return replace(self, worst_ratio=target.threshold)
        if target.metric not in metrics:
            raise UnreadableError(f"measures {' and '.join(metrics)}, not {target.metric!r}, the metric of --target")
        own = next(each for each in self.targets if each.metric == target.metric)
        return replace(self, targets=(replace(target, threshold=self._on_scale_of(own, target.threshold)),))

    def with_stated(self, value: float) -> Quality:
        """Replace the threshold by the one that a log states, on the scale of the official one."""
        if len(self.targets) > 1 or not math.isfinite(value) or value <= 0:
            return self
        official = self.targets[0]
        value = self._on_scale_of(official, value)
        if math.isclose(value, official.threshold, rel_tol=1e-6):
            return self
        return replace(self, targets=(replace(official, threshold=value),))

    def _on_scale_of(self, official: Target, value: float) -> float:
        """Bring a threshold to the scale of the official one: BLEU in points, other shares as fractions; losses have no scale."""
        if self.is_bleu:
            return value * 100 if value <= 1 else value
        is_percent = official.direction == "at_least" and official.threshold <= 1 < value <= _MOST_PERCENT
        return float(f"{value / 100:.12g}") if is_percent else value

    def with_worst_ratio(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Add the metric that stands for several targets, where all of them were measured."""
        if len(self.targets) == 1 or any(target.metric not in metrics for target in self.targets):
            return dict(metrics)
        ratios = [_ratio(target, metrics[target.metric]) for target in self.targets]
        return {**metrics, WORST_RATIO: min(ratios) if all(map(math.isfinite, ratios)) else math.nan}


def _at_least(metric: str, threshold: float) -> Quality:
    return Quality((Target(metric, threshold),))


def _at_most(metric: str, threshold: float) -> Quality:
    return Quality((Target(metric, threshold, "at_most"),))


_MASK_RCNN = Quality((Target("box_map", 0.377), Target("mask_map", 0.339)))
_STABLE_DIFFUSION = Quality((Target("fid", 90.0, "at_most"), Target("clip", 0.15)))

# From the round on: the last line at or before the log's round holds.
_QUALITIES: dict[str, Sequence[tuple[tuple[int, int], Quality]]] = {
    "bert": [((0, 7), _at_least("masked_lm_accuracy", 0.712)), ((1, 0), _at_least("masked_lm_accuracy", 0.72))],
    "dlrm": [((0, 7), _at_least("auc", 0.8025))],
    "dlrm_dcnv2": [((3, 0), _at_least("auc", 0.80275))],
    "gnmt": [
        ((0, 5), Quality((Target("bleu", 21.8),), is_bleu=True)),
        ((0, 6), Quality((Target("bleu", 24.0),), is_bleu=True)),
    ],
    "gnn": [((4, 0), _at_least("accuracy", 0.72))],
    "gpt3": [((3, 0), _at_most("log_perplexity", 2.69))],
    "flux1": [((5, 1), _at_most("loss", 0.586))],
    "llama2_70b_lora": [((4, 0), _at_most("loss", 0.925))],
    "llama31_405b": [((5, 0), _at_most("log_perplexity", 5.6))],
    "llama31_8b": [((5, 1), _at_most("log_perplexity", 3.3))],
    "maskrcnn": [((0, 5), _MASK_RCNN)],
    "minigo": [((0, 5), _at_least("pro_move_accuracy", 0.40)), ((0, 6), _at_least("win_rate", 0.50))],
    "ncf": [((0, 5), _at_least("hit_rate", 0.635))],
    "resnet": [((0, 5), _at_least("top1_accuracy", 0.749)), ((0, 6), _at_least("top1_accuracy", 0.759))],
    "retinanet": [((2, 0), _at_least("map", 0.34))],
    "rnnt": [((1, 0), _at_most("word_error_rate", 0.058))],
    "ssd": [((0, 5), _at_least("map", 0.212)), ((0, 6), _at_least("map", 0.23))],
    "stable_diffusion": [((3, 1), _STABLE_DIFFUSION)],
    "transformer": [((0, 5), Quality((Target("bleu", 25.0),), is_bleu=True))],
    "unet3d": [((1, 0), _at_least("dice", 0.908))],
}
_ALIASES = {"resnet50": "resnet", "mask_rcnn": "maskrcnn", "rnn_t": "rnnt", "unet_3d": "unet3d", "rgat": "gnn"}
_ALIASES |= {"llama3.1_405b": "llama31_405b", "llama3.1_8b": "llama31_8b", "flux": "flux1", "flux.1": "flux1"}
_RENAMED = {"ssd": ((2, 0), "retinanet")}
"""Folders that hold another benchmark from a round on: `ssd` holds RetinaNet, and SSD itself ended with v1.1."""

LATEST = (99, 0)
"""An unknown round, named neither by the folders nor by the log: logs of v0.7 and later look the same."""
_FIRST_OF_THE_LATEST = (0, 7)

_METRIC_NAMES = {"bbox": "box_map", "segm": "mask_map", "fid": "fid", "clip": "clip"}
"""Logs with two metrics name them in each evaluation."""


def benchmark_named(name: str, round_: tuple[int, int]) -> str:
    """Return the usual spelling of a benchmark's name in a round."""
    name = name.strip().lower().replace("-", "_")
    name = _ALIASES.get(name, name)
    since, renamed = _RENAMED.get(name, (LATEST, name))
    return renamed if since <= round_ < LATEST else name


def quality_of(benchmark: str, round_: tuple[int, int]) -> Quality | None:
    """Return the official targets of a benchmark in a round; None if they are not known.

    Raises
    ------
    UnreadableError
        If they depend on the round, and the round is not known.
    """
    known = _QUALITIES.get(benchmark, ())
    held = [(since, quality) for since, quality in known if since <= round_]
    if round_ == LATEST and held:
        possible = [held[0][1]] + [quality for since, quality in held[1:] if since > _FIRST_OF_THE_LATEST]
        if (len(possible) > 1 and held[-1][0] > _FIRST_OF_THE_LATEST) or benchmark in _RENAMED:
            raise UnreadableError(
                f"the target of {benchmark!r} depends on the round, which no folder names (such as v2.1); give it by --target"
            )
    return held[-1][1] if held else None


def metric_named(name: str) -> str:
    """Return the usual name of a metric that an evaluation names."""
    return _METRIC_NAMES.get(name.lower(), name.lower())


def _ratio(target: Target, value: float) -> float:
    if target.direction == "at_least":
        return value / target.threshold
    return target.threshold / max(value, _SMALL)
