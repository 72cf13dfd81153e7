"""Serve a model to many users: an engine with continuous batching, a prefix cache, and an OpenAI-compatible HTTP interface.

The token ids of a request are the same alone and among any others, with a cold or a warm cache, with and without speculation.
"""

from etesian.decode.serve.engine import Engine
from etesian.decode.serve.options import EngineOptions
from etesian.decode.serve.tasks import Busy, Failed, Finished, Task

__all__ = ["Busy", "Engine", "EngineOptions", "Failed", "Finished", "Task"]
