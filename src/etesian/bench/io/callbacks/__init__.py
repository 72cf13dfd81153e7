"""Callbacks that record time to accuracy from other training libraries, with evaluation off the clock.

The logs of Hugging Face's Trainer, Lightning and Keras carry no times. One line adds them::

    trainer.add_callback(HFTrainerCallback("eval_accuracy>=0.9", store="runs.db", workload="adam"))
    Trainer(callbacks=[LightningCallback("val_acc>=0.9", store="runs.db", workload="adam")])
    model.fit(..., callbacks=[KerasCallback("val_accuracy>=0.9", store="runs.db", workload="adam")])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etesian.bench.io.callbacks.hf_trainer import HFTrainerCallback
    from etesian.bench.io.callbacks.keras import KerasCallback
    from etesian.bench.io.callbacks.lightning import LightningCallback

__all__ = ["HFTrainerCallback", "KerasCallback", "LightningCallback"]

_HOMES = {"HFTrainerCallback": "hf_trainer", "KerasCallback": "keras", "LightningCallback": "lightning"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # each needs its own library
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
