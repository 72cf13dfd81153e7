"""Callbacks that record time to accuracy from other training libraries, with evaluation off the clock.

The logs of Hugging Face's Trainer, Lightning and Keras carry no times. One line adds them::

    trainer.add_callback(HFTrainerCallback("eval_accuracy>=0.9", store="runs.db", workload="adam"))
    Trainer(callbacks=[LightningCallback("val_acc>=0.9", store="runs.db", workload="adam")])
    model.fit(..., callbacks=[KerasCallback("val_accuracy>=0.9", store="runs.db", workload="adam")])
"""

import lazy_loader

# The names in `__init__.pyi` are imported at first use, because the training libraries are optional.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
