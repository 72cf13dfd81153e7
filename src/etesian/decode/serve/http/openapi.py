"""The OpenAPI description, made from the classes of the request bodies."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from etesian import __version__
from etesian.decode.serve.http.schema import Body, ChatBody, CompletionBody, DetokenizeBody, ResponseBody, TokenizeBody

POSTS: dict[str, tuple[type[Body], str]] = {
    "/v1/chat/completions": (ChatBody, "Answer the last message of a conversation."),
    "/v1/completions": (CompletionBody, "Continue prompts."),
    "/v1/responses": (ResponseBody, "Answer an input; text only."),
    "/tokenize": (TokenizeBody, "Return the tokens of a text."),
    "/detokenize": (DetokenizeBody, "Return the text of tokens."),
}
GETS = {
    "/v1/models": "List the model.",
    "/health": "State if the server accepts requests.",
    "/metrics": "Metrics in the format of Prometheus.",
}
_STREAMED = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_STATUSES = ("400", "401", "403", "404", "408", "413", "415", "429", "500", "503", "504")


def describe(*, has_keys: bool) -> dict[str, Any]:
    """Return the OpenAPI description of the server.

    Parameters
    ----------
    has_keys : bool
        True if the server requires API keys.
    """
    _, definitions = models_json_schema(
        [(kind, "validation") for kind, _ in POSTS.values()], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {path: {"post": _post(path, kind, text)} for path, (kind, text) in POSTS.items()}
    paths |= {path: {"get": _get(path, text)} for path, text in GETS.items()}
    components: dict[str, Any] = {"schemas": {**definitions["$defs"], "Error": _ERROR}}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Etesian", "version": __version__, "description": "Compatible with OpenAI's interface."},
        "paths": paths,
        "components": components,
    }
    if has_keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
    return described


def _post(path: str, kind: type[Body], text: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if path in _STREAMED:
        content["text/event-stream"] = {}  # a schema would describe each event, and they differ
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {
        "summary": text,
        "operationId": path.strip("/").replace("/", "_"),
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "The result.", "content": content}, **_errors()},
    }


def _get(path: str, text: str) -> dict[str, Any]:
    kind = "text/plain" if path == "/metrics" else "application/json"
    schema = {"type": "string"} if path == "/metrics" else {"type": "object"}
    return {
        "summary": text,
        "operationId": path.strip("/").replace("/", "_"),
        "responses": {"200": {"description": "The result.", "content": {kind: {"schema": schema}}}, **_errors()},
    }


def _errors() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": "An error.", "content": content} for status in _STATUSES}
