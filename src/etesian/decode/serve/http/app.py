"""MAIN PATH of the HTTP interface: the routes of the application."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from importlib.resources import files

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from etesian.decode.serve.engine import Engine
from etesian.decode.serve.http.chat import complete_chat
from etesian.decode.serve.http.completions import complete_text
from etesian.decode.serve.http.errors import HANDLERS, ApiError
from etesian.decode.serve.http.guard import Guard, read_body
from etesian.decode.serve.http.metrics import Measured, Metrics
from etesian.decode.serve.http.openapi import describe
from etesian.decode.serve.http.options import ServerOptions
from etesian.decode.serve.http.request_options import Service, run_checked
from etesian.decode.serve.http.responses import respond
from etesian.decode.serve.http.schema import DetokenizeBody, TokenizeBody
from etesian.errors import InputError

_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}


def create_app(engine: Engine, options: ServerOptions) -> Starlette:
    """Return the ASGI application of an engine, which starts and ends with the application.

    Parameters
    ----------
    engine : Engine
        Engine that has not been started and has a tokenizer.
    options : ServerOptions

    Raises
    ------
    InputError
        If the decoder has no tokenizer.
    """
    if engine.decoder.tokenizer is None:
        raise InputError("a server needs a model with a tokenizer; this decoder has none")
    metrics = Metrics(engine)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        engine.start()
        yield
        await run_in_threadpool(engine.close)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", complete_chat, methods=["POST"]),
            Route("/v1/completions", complete_text, methods=["POST"]),
            Route("/v1/responses", respond, methods=["POST"]),
            Route("/v1/models", _list_models, methods=["GET"]),
            Route("/v1/models/{name:path}", _show_model, methods=["GET"]),
            Route("/tokenize", _tokenize, methods=["POST"]),
            Route("/detokenize", _detokenize, methods=["POST"]),
            Route("/health", _health, methods=["GET"]),
            Route("/metrics", _metrics, methods=["GET"]),
            Route("/openapi.json", _openapi, methods=["GET"]),
            *(Route(path, _page, methods=["GET"]) for path in _PAGE),
        ],
        middleware=[Middleware(Measured, metrics=metrics), Middleware(Guard, options=options)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.state.service, app.state.metrics = Service(engine, options), metrics
    app.state.expire = partial(run_in_threadpool, engine.close)
    app.state.description = describe(has_keys=bool(options.api_keys))
    app.state.created = int(time.time())
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _model(request: Request) -> dict[str, object]:
    engine = _service(request).engine
    return {
        "id": _service(request).options.model_name,
        "object": "model",
        "created": request.app.state.created,
        "owned_by": "etesian",
        "context_length": engine.max_length,
        "stages": list(engine.decoder.drafter.stages) if engine.decoder.drafter is not None else [],
    }


async def _list_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_model(request)]})


async def _show_model(request: Request) -> Response:
    _service(request).check_model(request.path_params["name"])
    return JSONResponse(_model(request))


async def _tokenize(request: Request) -> Response:
    service = _service(request)
    body = await read_body(request, TokenizeBody, service.options)
    service.check_model(body.model)
    tokenizer = service.engine.decoder.tokenizer
    assert tokenizer is not None
    tokens = await run_checked(tokenizer.encode, body.content if body.content is not None else body.prompt)
    return JSONResponse({"tokens": tokens, "count": len(tokens)})


async def _detokenize(request: Request) -> Response:
    service = _service(request)
    body = await read_body(request, DetokenizeBody, service.options)
    service.check_model(body.model)
    tokenizer, size = service.engine.decoder.tokenizer, service.engine.decoder.target.vocabulary_size
    assert tokenizer is not None
    strange = [token for token in body.tokens if token >= size]
    if strange:
        raise ApiError(400, f"tokens must be below the vocabulary size {size}; got {strange[0]}", param="tokens")
    text = await run_checked(tokenizer.decode, body.tokens)
    return JSONResponse({"content": text, "prompt": text})


async def _health(request: Request) -> Response:
    engine = _service(request).engine
    status = {"status": "ok" if engine.is_accepting else "draining"}
    return JSONResponse(
        status | {"running": engine.n_running, "waiting": engine.n_waiting}, 200 if engine.is_accepting else 503
    )


async def _metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _openapi(request: Request) -> Response:
    return JSONResponse(request.app.state.description)


async def _page(request: Request) -> Response:
    name, kind = _PAGE[request.url.path]
    text = files("etesian.decode.serve").joinpath("page", name).read_text("utf-8")
    return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})
