"""The command `etesian serve`."""

from __future__ import annotations

import inspect
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from etesian.cli.console import note
from etesian.cli.decode import LOADING
from etesian.cli.decode_models import AUTO, NONE, ModelChoice
from etesian.cli.decode_output import prepare_output
from etesian.cli.derive import options_from
from etesian.decode.checks import check_text, check_whole
from etesian.decode.models.loading import LoadOptions
from etesian.decode.serve.engine import Engine
from etesian.decode.serve.options import EngineOptions
from etesian.errors import InputError

if TYPE_CHECKING:
    from etesian.decode.serve.http import ServerOptions

SERVER_LIBRARIES = ("starlette", "uvicorn", "sse_starlette", "prometheus_client", "pydantic")


@options_from(
    LoadOptions, leave_out=[name for name in inspect.signature(LoadOptions).parameters if name not in LOADING]
)
def serve(
    *,
    model: str = "smollm2",
    draft: str = AUTO,
    ngram: str = AUTO,
    stage: tuple[str, ...] = (),
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    slots: int = 8,
    queue: int = 64,
    context: int | None = None,
    max_tokens: int = 4096,
    cache_mb: int = 256,
    time_limit: float = 600.0,
    drain_seconds: float = 30.0,
    api_key_file: Path | None = None,
    allow_host: tuple[str, ...] = (),
    allow_origin: tuple[str, ...] = (),
    plain: bool = False,
    on: str | None = None,
    replicas: int | None = None,
    **options: Any,
) -> int:
    """Serve a model with OpenAI's interface, and a page for the browser.

    The same request returns the same text at any load, with and without speculation. The first SIGTERM or Ctrl-C finishes running
    requests; a second Ctrl-C ends the server at once.

    Exit code: 2 for a mistake in the arguments.

    Parameters
    ----------
    model
        Target model: "smollm2", a folder with safetensors, a GGUF file or the name of a model on the Hugging Face hub.
    draft
        Draft model, folder of a draft head, or "head" for the head that comes with Etesian; "auto" uses the one beside the target,
        or such a head where it is faster; "none" uses none.
    ngram
        N-gram file that drafts for the draft model; "auto" uses the one beside the target, "none" uses none.
    stage
        Drafter stage: an N-gram file, a model or "lookup". Repeat from the innermost stage on. Replaces --draft and --ngram.
    name
        Name of the model in requests and responses. Default: the last part of --model.
    host
        Name or address to listen on. Other machines cannot reach the default; use --api-key-file for other addresses.
    port
        Port to listen on; 0 for any free port.
    slots
        Number of requests that run at the same time.
    queue
        Number of requests that may wait; others are refused with status 429.
    context
        Maximum length of prompt and output in tokens. Default: the longest text that the model can read.
    max_tokens
        Maximum length of an output in tokens, and the default.
    cache_mb
        Size of the prefix cache in megabytes; 0 turns it off.
    time_limit
        Maximum duration of a request in seconds, including the time in the queue.
    drain_seconds
        Time that running requests get to finish after SIGTERM or Ctrl-C, in seconds.
    api_key_file
        File with the accepted API keys, one per line. Each key has a prefix cache of its own.
    allow_host
        Further name of this server, such as the name of a reverse proxy. Repeat for several.
    allow_origin
        Origin of a web page that may use the server, such as https://app.example. Repeat for several.
    plain
        Decode without speculation.
    on
        Run replicas of the model on a Ray cluster: ray, or ray://HOST:PORT. This machine listens and distributes the requests.
    replicas
        Number of replicas on the cluster, each with --slots, --queue and --cache-mb of its own. Default: one per node.
    """
    missing = [library for library in SERVER_LIBRARIES if find_spec(library) is None]
    if missing:
        raise InputError(f"the server needs {', '.join(missing)}: pip install 'etesian[serve]'")
    if replicas is not None and (on is None or replicas < 1):
        raise InputError(f"--replicas must be at least 1, and needs --on ray; got {replicas}")
    from etesian.decode.serve.http import ServerOptions, listen, read_api_keys

    prepare_output()
    check_whole("cache_mb", cache_mb, at_least=0)
    model_name = name or Path(model).stem
    check_text("--name", model_name)
    engine_options = EngineOptions(slots=slots, queue=queue, cache_bytes=cache_mb << 20, context=context)
    server_options = ServerOptions(
        model_name=model_name,
        host=host,
        port=port,
        allowed_hosts=allow_host,
        allowed_origins=allow_origin,
        api_keys=read_api_keys(api_key_file) if api_key_file is not None else (),
        max_tokens=max_tokens,
        time_limit=time_limit,
        drain_seconds=drain_seconds,
    )
    listen(server_options).close()  # a port in use is reported before the model is loaded
    _warn_if_open(server_options)
    drafts: Any = {"draft": NONE, "ngram": NONE} if plain else {"draft": draft, "ngram": ngram, "stages": stage}
    choice = ModelChoice(model=model, options=LoadOptions(**options), **drafts)
    if on is None:
        _serve_here(choice, engine_options, server_options)
    else:
        _serve_on_cluster(choice, engine_options, server_options, on, replicas)
    note("stopped")
    return 0


def _serve_here(choice: ModelChoice, engine_options: EngineOptions, options: ServerOptions) -> None:
    from etesian.decode.serve.http import create_app, run_server

    engine = Engine(choice.load(Console(stderr=True, highlight=False)), engine_options)
    run_server(create_app(engine, options), options, announce=partial(_announce, options))


def _serve_on_cluster(
    choice: ModelChoice, engine_options: EngineOptions, options: ServerOptions, on: str, replicas: int | None
) -> None:
    from etesian.decode.serve.on_ray import serve_on_ray

    device = choice.options.device if choice.options is not None else "auto"
    serve_on_ray(
        choice.decoder,
        engine_options,
        options,
        address=on,
        n_replicas=replicas,
        n_gpus=int(device.startswith("cuda")),
        announce=partial(_announce, options),
    )


def _announce(options: ServerOptions, url: str) -> None:
    note(f"serving {options.model_name} at {url}; Ctrl-C finishes running requests and ends")


def _warn_if_open(options: ServerOptions) -> None:
    if options.host not in ("127.0.0.1", "localhost", "::1") and not options.api_keys:
        note(f"warning: everybody who can reach {options.host} may use the model; --api-key-file requires keys")
