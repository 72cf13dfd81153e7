from . import io as io, report as report, statistics as statistics
from .analysis import Analysis as Analysis, analyse as analyse, analyze as analyze
from .contract import check_workload as check_workload
from .errors import (
    AlreadyStoredError as AlreadyStoredError,
    InputError as InputError,
    UnknownMetricError as UnknownMetricError,
)
from .io.jsonl import read_jsonl as read_jsonl, write_jsonl as write_jsonl
from .load import known_names as known_names, load_suite as load_suite
from .loop import run as run
from .record import Outcome as Outcome, Point as Point, Run as Run, StoredRun as StoredRun
from .store import Store as Store
from .suites import Event as Event, run_suite as run_suite
from .workload import (
    Concluding as Concluding,
    Counting as Counting,
    Suite as Suite,
    Synchronizing as Synchronizing,
    Target as Target,
    WithResources as WithResources,
    Workload as Workload,
)
