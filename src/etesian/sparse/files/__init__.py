"""Files: data of several formats in, each mistake told with its line; models in and out, without pickle."""

from etesian.sparse.files.contents import Contents, Graph, LabeledRows, Sentences, Triples, graph_of
from etesian.sparse.files.detect import FORMATS, Format, detect_format
from etesian.sparse.files.model import load_model, save_model
from etesian.sparse.files.read import read_file
from etesian.sparse.files.source import MalformedFileError

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
    "read_file",
    "save_model",
]
