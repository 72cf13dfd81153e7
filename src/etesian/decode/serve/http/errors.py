"""Errors in OpenAI's format."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from etesian.decode.serve.tasks import Busy, Failed

_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_FAILED = {"input": 400, "timeout": 504, "shutdown": 503, "internal": 500}


class ApiError(Exception):
    """An error response.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str
    param : str or None
        The parameter at fault.
    code : str or None
        A short name for programs.
    headers : mapping or None
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers

    @classmethod
    def from_failure(cls, failure: Failed) -> ApiError:
        """Return the error that describes a failed task."""
        return cls(_FAILED[failure.reason], failure.message, code=None if failure.reason == "input" else failure.reason)

    @classmethod
    def from_busy(cls, busy: Busy) -> ApiError:
        """Return the error for a full queue, with the seconds to wait."""
        is_closing = "shutting down" in str(busy)
        status, code = (503, "shutdown") if is_closing else (429, "queue_full")
        return cls(status, str(busy), code=code, headers={"Retry-After": str(math.ceil(busy.retry_after))})

    @classmethod
    def from_validation(cls, error: ValidationError, kind: type[BaseModel]) -> ApiError:
        """Return the error for the first parameter of a body that is not valid; of alternatives, the one that fits best."""
        found = error.errors(include_url=False, include_context=False, include_input=False)
        alternatives = [each for each in found if each["loc"][:1] == found[0]["loc"][:1]]
        first = max(alternatives, key=lambda each: len(each["loc"]))
        place = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "this parameter is not supported"
        return cls(400, f"{place}: {message}" if place else message, param=place or named_parameter(message, kind))

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of the response."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return the response."""
        return JSONResponse(self.body, self.status, self.headers)


def named_parameter(message: str, kind: type[BaseModel]) -> str | None:
    """Return the parameter of a body that a message starts with; None if it starts with another word."""
    word = message.partition(" ")[0].partition("[")[0]
    names = ("prompt", "messages", "input") if word == "prompt" else (word,)
    return next((name for name in names if name in kind.model_fields), None)


def _is_branch(part: object) -> bool:
    """Return True for names of alternatives that pydantic inserts into a place, such as ``list[str]``."""
    return isinstance(part, str) and ("[" in part or part in ("str", "int", "bool") or part[:1].isupper())


async def respond_to_api_error(_: Request, error: Exception) -> JSONResponse:
    """Handle `ApiError`."""
    assert isinstance(error, ApiError)
    return error.response()


async def respond_to_http_error(request: Request, error: Exception) -> JSONResponse:
    """Handle unknown paths and methods."""
    assert isinstance(error, HTTPException)
    messages = {
        404: f"no such path: {request.url.path}",
        405: f"{request.method} is not supported by {request.url.path}",
    }
    return ApiError(error.status_code, messages.get(error.status_code, error.detail), headers=error.headers).response()


def unexpected_error(error: Exception) -> ApiError:
    """Print an unexpected error to the log; return an error that says nothing about it."""
    traceback.print_exception(error, file=sys.stderr)
    return ApiError(500, "internal error; see the log of the server", code="internal")


async def respond_to_unexpected_error(_: Request, error: Exception) -> JSONResponse:
    """Handle all other exceptions."""
    return unexpected_error(error).response()


HANDLERS: dict[Any, Any] = {
    ApiError: respond_to_api_error,
    HTTPException: respond_to_http_error,
    Exception: respond_to_unexpected_error,
}
"""Handlers of an application, by the class of the exception."""
