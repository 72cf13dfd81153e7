"""What MLPerf's benchmarks measure, in which direction, and the official targets by round. Reads nothing.

Where a benchmark has two targets, both must be met at one evaluation. A run has one target, so these two become one
metric, `worst_target_ratio`: the smaller of value / threshold (threshold / value where low is good). It is at least 1 exactly when
both are met, and asking for another value of it moves both thresholds by that factor. The two metrics are kept beside it.

Sources: the rules of MLPerf Training, "Benchmarks", of each round (github.com/mlcommons/training_policies).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etesian.bench.workload import Target

WORST_RATIO = "worst_target_ratio"
_SMALL = 1e-300  # below any measured value: keeps ratios finite


@dataclass(frozen=True)
class Quality:
    """What a benchmark's evaluations give, and what they are to reach.

    Parameters
    ----------
    targets
        One, or several to be met together.
    is_bleu
        Whether it is a BLEU score, which some logs give as a fraction and others in points of a hundred.
    """

    targets: tuple[Target, ...]
    is_bleu: bool = False

    @property
    def target(self) -> Target:
        """The one target that stands for all."""
        return self.targets[0] if len(self.targets) == 1 else Target(WORST_RATIO, 1.0)

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
    "llama2_70b_lora": [((4, 0), _at_most("loss", 0.925))],
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

_METRIC_NAMES = {"bbox": "box_map", "segm": "mask_map", "fid": "fid", "clip": "clip"}
"""Logs with two metrics name them in each evaluation."""


def benchmark_named(name: str) -> str:
    """Bring a benchmark's name into one spelling."""
    name = name.strip().lower().replace("-", "_")
    return _ALIASES.get(name, name)


def quality_of(benchmark: str, round_: tuple[int, int]) -> Quality | None:
    """What a benchmark was to reach in a round; None where this is not known."""
    held = [quality for since, quality in _QUALITIES.get(benchmark, ()) if since <= round_]
    return held[-1] if held else None


def metric_named(name: str) -> str:
    """Translate the name that an evaluation gives its metric."""
    return _METRIC_NAMES.get(name.lower(), name.lower())


def _ratio(target: Target, value: float) -> float:
    if target.direction == "at_least":
        return value / target.threshold
    return target.threshold / max(value, _SMALL)
