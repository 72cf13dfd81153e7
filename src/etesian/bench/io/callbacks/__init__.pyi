from .hf_trainer import HFTrainerCallback as HFTrainerCallback
from .keras import KerasCallback as KerasCallback
from .lightning import LightningCallback as LightningCallback
