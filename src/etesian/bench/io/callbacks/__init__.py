"""Callbacks that record time to accuracy from other training libraries, with evaluation off the clock.

The logs of Hugging Face's Trainer, Lightning and Keras carry no times. One line adds them::

    trainer.add_callback(HFTrainerCallback("eval_accuracy>=0.9", store="runs.db", workload="adam"))
    Trainer(callbacks=[LightningCallback("val_acc>=0.9", store="runs.db", workload="adam")])
    model.fit(..., callbacks=[KerasCallback("val_accuracy>=0.9", store="runs.db", workload="adam")])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etesian._shared.lazy import lazy_names

if TYPE_CHECKING:
    from etesian.bench.io.callbacks.hf_trainer import HFTrainerCallback
    from etesian.bench.io.callbacks.keras import KerasCallback
    from etesian.bench.io.callbacks.lightning import LightningCallback

__all__ = ["HFTrainerCallback", "KerasCallback", "LightningCallback"]

_HOMES = {"HFTrainerCallback": "hf_trainer", "KerasCallback": "keras", "LightningCallback": "lightning"}

__getattr__ = lazy_names(__name__, _HOMES)
