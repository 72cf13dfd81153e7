"""Access: Host and Origin headers, API keys, and the size, time and depth of bodies."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etesian.decode.serve.http.errors import ApiError
from etesian.decode.serve.http.options import ServerOptions
from etesian.decode.serve.http.schema import Body

OPEN_PATHS = ("/", "/page.css", "/page.js", "/health", "/openapi.json")
"""Paths that need no API key."""
SAFE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CORS = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600"}
_B = TypeVar("_B", bound=Body)


class Guard:
    """ASGI middleware that refuses requests before anything is read.

    Parameters
    ----------
    app : ASGI application
    options : ServerOptions
    """

    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        self._app = app
        self._options = options
        self._names = {"localhost", options.host.lower(), *(name.lower() for name in options.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, add the owner to its state and safe headers to its response."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        origin = headers.get("origin")

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in {**SAFE_HEADERS, **self._cors(origin)}.items():
                    added[name] = value
            await send(message)

        try:
            response = self._checked(scope, headers, origin)
        except ApiError as error:
            response = error.response()
        if response is not None:
            return await response(scope, receive, send_safely)
        return await self._app(scope, receive, send_safely)

    def _checked(self, scope: Scope, headers: Headers, origin: str | None) -> Response | None:
        """Return a response to send instead of the app's, if there is one."""
        host = headers.get("host", "")
        if not self._is_own(host):
            raise ApiError(403, "this server responds only to its own names; --allow-host adds one", code="host")
        if origin is not None and not self._may_call(origin, host):
            raise ApiError(403, "pages of this origin may not use the server; --allow-origin adds one", code="origin")
        if scope["method"] == "OPTIONS" and origin is not None:
            asked = headers.get("access-control-request-headers", "authorization, content-type")
            return Response(status_code=204, headers={**_CORS, "Access-Control-Allow-Headers": asked})
        scope.setdefault("state", {})["owner"] = self._owner(scope["path"], headers)
        return None

    def _is_own(self, host: str) -> bool:
        """Return True for IP addresses and known names; other names could be made to point here (DNS rebinding)."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True

    def _may_call(self, origin: str, host: str) -> bool:
        return origin in self._options.allowed_origins or origin in (f"http://{host}", f"https://{host}")

    def _cors(self, origin: str | None) -> Mapping[str, str]:
        if origin is None or origin not in self._options.allowed_origins:
            return {}
        exposed = {"Access-Control-Expose-Headers": "retry-after"}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", **exposed}

    def _owner(self, path: str, headers: Headers) -> str:
        if not self._options.api_keys or path in OPEN_PATHS:
            return ""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        owner = self._options.owner_of(key.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            raise ApiError(
                401,
                "a valid API key is required, as the header 'Authorization: Bearer KEY'",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return owner


async def read_body(request: Request, kind: type[_B], options: ServerOptions) -> _B:
    """Read and check the body of a request.

    Raises
    ------
    ApiError
        If it is too large, too slow, too deep, or not valid.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the body must be JSON, with the header 'Content-Type: application/json'")
    value = _parsed(await read_bytes(request, options))
    check_depth("the body", value, options.max_depth)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise ApiError.from_validation(error, kind) from None


async def read_bytes(request: Request, options: ServerOptions) -> bytes:
    """Read the body of a request.

    Raises
    ------
    ApiError
        If it is too large or too slow.
    """
    try:
        async with asyncio.timeout(options.body_seconds):
            return await _read_raw(request, options.max_body_bytes)
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive within {options.body_seconds:g} s") from None
    except ClientDisconnect:
        raise ApiError(400, "the client disconnected before the end of the body") from None


async def _read_raw(request: Request, most_bytes: int) -> bytes:
    too_large = ApiError(413, f"the body must hold at most {most_bytes} bytes", code="body_too_large")
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated) > most_bytes:
        raise too_large
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most_bytes:
            raise too_large
    return bytes(raw)


def _parsed(raw: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not valid JSON")

    try:
        value = json.loads(raw, parse_constant=refuse)
        json.dumps(
            value, ensure_ascii=False, allow_nan=False
        ).encode()  # refuses lone surrogates, and numbers beyond float64
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ApiError(400, f"the body is not valid JSON: {reason}") from None
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object")
    return value


def check_depth(name: str, value: Any, most: int) -> None:
    """Refuse values that are nested too deeply."""
    level = [value]
    for _ in range(most + 1):
        if not level:
            return
        nested = [each for each in level if isinstance(each, dict | list)]
        level = [item for each in nested for item in (each.values() if isinstance(each, dict) else each)]
    raise ApiError(400, f"{name} must be nested at most {most} levels deep")
