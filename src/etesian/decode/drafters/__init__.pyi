from .combined import CombinedDrafter as CombinedDrafter
from .drafter import DraftRequest as DraftRequest, Drafter as Drafter
from .forced import CallableDrafter as CallableDrafter
from .head.drafter import HeadDrafter as HeadDrafter
from .lookup import LookupDrafter as LookupDrafter
from .model import ModelDrafter as ModelDrafter
from .ngram import NgramDrafter as NgramDrafter, build_ngram as build_ngram
