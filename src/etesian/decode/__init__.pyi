from .custom_generate import speculative as speculative
from .decoder import Decoder as Decoder, Stream as Stream
from .drafters.combined import CombinedDrafter as CombinedDrafter
from .drafters.drafter import DraftRequest as DraftRequest, Drafter as Drafter, StageWork as StageWork
from .drafters.forced import CallableDrafter as CallableDrafter
from .drafters.head.drafter import HeadDrafter as HeadDrafter
from .drafters.head.model import HeadModel as HeadModel
from .drafters.lookup import LookupDrafter as LookupDrafter
from .drafters.model import ModelDrafter as ModelDrafter
from .drafters.ngram import NgramDrafter as NgramDrafter, build_ngram as build_ngram
from .generation import Generation as Generation, Piece as Piece
from .models.cpu.model import CpuModel as CpuModel
from .models.language_model import (
    Context as Context,
    LanguageModel as LanguageModel,
    ModelTraits as ModelTraits,
    Scores as Scores,
)
from .models.loading import LoadOptions as LoadOptions
from .models.row_exactness import probe_rows as probe_rows
from .models.table import TableModel as TableModel
from .models.transformers.model import HuggingFaceModel as HuggingFaceModel, load_huggingface as load_huggingface
from .output_text import Tokenizer as Tokenizer
from .sampling import Choice as Choice, Chooser as Chooser, GREEDY as GREEDY, Grammar as Grammar, Sampling as Sampling
from .speculation import Speculation as Speculation
from .speculation.policy import DraftBudget as DraftBudget, FixedPolicy as FixedPolicy, Policy as Policy
from .statistics import StageStatistics as StageStatistics, Statistics as Statistics
from .tree import ROOT as ROOT, TokenTree as TokenTree
