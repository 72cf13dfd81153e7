"""Reading of data files, with line numbers in errors, and model files without pickle."""

from etesian._shared.limits import raised_limits
from etesian.sparse.io.contents import Contents, Graph, LabeledRows, Sentences, Triples, graph_of
from etesian.sparse.io.detect import FORMATS, Format, detect_format
from etesian.sparse.io.model import load_model, save_model
from etesian.sparse.io.read import read_file
from etesian.sparse.io.source import MalformedFileError

__all__ = [
    "FORMATS",
    "Contents",
    "Format",
    "Graph",
    "LabeledRows",
    "MalformedFileError",
    "Sentences",
    "Triples",
    "detect_format",
    "graph_of",
    "load_model",
    "raised_limits",
    "read_file",
    "save_model",
]
