"""A real server in a thread, on a free port."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from starlette.applications import Starlette
from toy_decoder import make_decoder

from etesian.decode.serve import Engine, EngineOptions
from etesian.decode.serve.http import ServerOptions, create_app
from etesian.decode.serve.http.server import DrainingServer, listen

MODEL = "toy"


class Answer(NamedTuple):
    """A response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        """The data of server-sent events."""
        lines = [line.removeprefix("data: ") for line in self.text.splitlines() if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


class Running(NamedTuple):
    """A running server; with several replicas, no engine is here."""

    engine: Engine | None
    port: int
    connections: Collection[object]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def ask(self, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> Answer:
        """Send a request: POST with a body (as JSON, unless it is bytes), otherwise GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, raw, kind | named)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read().decode())
        connection.close()
        return answer

    def chat(self, content: str = "ab", **options: Any) -> Answer:
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 16, "temperature": 0, **options}
        return self.ask("/v1/chat/completions", body)


@contextlib.contextmanager
def running(decoder=None, *, engine: dict[str, Any] | None = None, **options: Any) -> Iterator[Running]:
    """Serve a toy decoder until the block ends."""
    served = Engine(decoder or make_decoder(), EngineOptions(**(engine or {})))
    chosen = ServerOptions(**{"model_name": MODEL, "port": 0, "drain_seconds": 5.0, **options})
    with listening_app(create_app(served, chosen), chosen) as found:
        yield found._replace(engine=served)


@contextlib.contextmanager
def listening_app(app: Starlette, options: ServerOptions) -> Iterator[Running]:
    """Run an application in a thread as `run_server` does, until the block ends."""
    server = DrainingServer(app, options)
    with listen(options) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        try:
            yield Running(None, listening.getsockname()[1], server.server_state.connections)
        finally:
            server.should_exit = True
            thread.join()
