"""A chat with a running server, as `etesian chat --url` uses it in place of a decoder."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from etesian._shared.limits import DOCUMENT_BYTES
from etesian.decode.generation import Generation, Piece
from etesian.decode.sampling import Sampling
from etesian.decode.statistics import TARGET, StageStatistics, Statistics
from etesian.errors import InputError

KEY_VARIABLES = ("ETESIAN_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the API key; the first one that is set counts."""
_SECONDS = 600.0


class RemoteDecoder:
    """The chat of a server.

    Parameters
    ----------
    url : str
        Address of the server, with or without ``/v1``.

    Raises
    ------
    InputError
        If the address is not valid, or the server does not respond.
    """

    def __init__(self, url: str) -> None:
        self._parts = _parts(url)
        self._address = f"{self._parts.scheme}://{self._parts.netloc.rpartition('@')[2]}{self._parts.path}"
        self._prefix = self._parts.path.rstrip("/").removesuffix("/v1")
        with closing(self._request("GET", "/v1/models")) as exchange, _understood():
            model, *_ = json.loads(exchange.response.read(DOCUMENT_BYTES))["data"]
            self.name = str(model["id"])
            self.stages = tuple(map(str, model.get("stages", ())))

    def stream_chat(
        self, messages: Sequence[Mapping[str, str]], sampling: Sampling, *, max_tokens: int, speculate: bool
    ) -> RemoteStream:
        """Answer the last message of a conversation piece by piece; see `Decoder.stream_chat`."""
        body = {
            "messages": [dict(message) for message in messages],
            "temperature": sampling.temperature or 0,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "repetition_penalty": sampling.repetition_penalty,
            "stop": list(sampling.stop),
            "ignore_eos": sampling.ignore_eos,
            "seed": sampling.seed,
            "max_tokens": max_tokens,
            "speculate": speculate,
            "include_origins": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return RemoteStream(self._request("POST", "/v1/chat/completions", body))

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> _Exchange:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        assert self._parts.hostname is not None
        connection = kind(self._parts.hostname, self._parts.port, timeout=_SECONDS)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if (key := _api_key()) is not None:
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.request(method, self._prefix + path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise InputError(f"{self._address} does not respond: {error}; start it with `etesian serve`") from None
        exchange = _Exchange(connection, response)
        if response.status != 200:
            with closing(exchange):
                raise InputError(f"{self._address} refuses the request: {_message(response)}")
        return exchange


@dataclass(frozen=True)
class _Exchange:
    """A response and its connection."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse

    def close(self) -> None:
        self.response.close()
        self.connection.close()


class RemoteStream:
    """Pieces of an answer, in order; `close` cancels the rest."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._pieces: list[Piece] = []
        self._usage: dict[str, Any] = {}
        self._reason: Any = None
        self._began = self._first = self._last = time.perf_counter()
        self._iterator = self._read()

    def __iter__(self) -> Iterator[Piece]:
        return self._iterator

    def close(self) -> None:
        """Stop reading, which cancels the request; the answer so far remains available."""
        self._exchange.close()

    @property
    def generation(self) -> Generation:
        """The answer so far with its statistics."""
        return Generation(
            token_ids=tuple(token for piece in self._pieces for token in piece.token_ids),
            texts=tuple(text for piece in self._pieces for text in piece.texts),
            origins=tuple(origin for piece in self._pieces for origin in piece.origins),
            logprobs=None,
            alternatives=None,
            finish_reason=self._reason,
            stats=self._statistics(),
        )

    def _read(self) -> Iterator[Piece]:
        while (added := self._next_pieces()) is not None:
            yield from added
        self.close()

    def _next_pieces(self) -> list[Piece] | None:
        """Read an event; return None at the end."""
        with _understood():
            line = self._exchange.response.readline(DOCUMENT_BYTES)
            if not line:
                return None
            text = line.decode().strip()
            if not text.startswith("data: ") or text == "data: [DONE]":
                return []
            chunk = json.loads(text.removeprefix("data: "))
            if "error" in chunk:
                raise InputError(f"the server ended the answer: {chunk['error']['message']}")
            self._usage = chunk.get("usage") or self._usage
            for choice in chunk["choices"]:
                self._reason = choice["finish_reason"] or self._reason
            return [self._piece(choice["etesian"]) for choice in chunk["choices"] if "etesian" in choice]

    def _piece(self, added: Mapping[str, Any]) -> Piece:
        self._last = time.perf_counter()
        if not self._pieces:
            self._first = self._last
        texts, origins = (tuple(map(str, added[name])) for name in ("texts", "origins"))
        piece = Piece(tuple(map(int, added["token_ids"])), texts, origins, None, None)
        self._pieces.append(piece)
        return piece

    def _statistics(self) -> Statistics:
        details = self._usage.get("completion_tokens_details", {})
        cached = self._usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        n_tokens = sum(len(piece.token_ids) for piece in self._pieces)
        drafts = StageStatistics(
            "drafts", details.get("drafted_tokens", 0), details.get("accepted_tokens", 0), None, None
        )
        return Statistics(
            tokens=n_tokens,
            prompt_tokens=self._usage.get("prompt_tokens", 0),
            reused_tokens=cached,
            passes=details.get("passes", 0),
            stages=(drafts,) if any(origin != TARGET for piece in self._pieces for origin in piece.origins) else (),
            prompt_seconds=self._first - self._began,
            seconds=self._last - self._first,
            target_seconds=0.0,
            draft_seconds=0.0,
            verify_seconds=0.0,
            weight_bytes=None,
            plain_weight_bytes=None,
        )


_FOREIGN = "its response is not one of an OpenAI-compatible server"
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, http.client.HTTPException)


def _api_key() -> str | None:
    """Return the API key; refuse one that no header can hold, without quoting it."""
    for name in KEY_VARIABLES:
        key = os.environ.get(name, "").strip()
        if any(ord(sign) > 0xFF or not sign.isprintable() for sign in key):
            raise InputError(f"{name} must hold an API key of printable characters of Latin-1; its value has others")
        if key:
            return key
    return None


def _message(response: http.client.HTTPResponse) -> str:
    try:
        return str(json.loads(response.read(DOCUMENT_BYTES))["error"]["message"])
    except _DAMAGED:
        return _FOREIGN


@contextmanager
def _understood() -> Iterator[None]:
    """Raise an `InputError` for responses of other servers."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"the server cannot be used: {_FOREIGN} ({type(error).__name__}: {error})") from None


def _parts(url: str) -> SplitResult:
    """Split an address; refuse one that is not valid."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, or unclosed brackets
        is_valid = False
    if not is_valid:
        raise InputError(f"--url must be an address such as http://127.0.0.1:8000; got {url!r}")
    return parts
