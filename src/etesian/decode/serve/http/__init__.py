"""The HTTP interface of the engine, compatible with OpenAI's."""

from etesian.decode.serve.http.app import create_app
from etesian.decode.serve.http.options import ServerOptions, read_api_keys
from etesian.decode.serve.http.server import listen, run_server

__all__ = ["ServerOptions", "create_app", "listen", "read_api_keys", "run_server"]
