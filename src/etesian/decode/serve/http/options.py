"""Options of the HTTP server, and API keys."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etesian._shared.documents import read_text
from etesian.decode.checks import check_real, check_whole
from etesian.errors import InputError

_SHORTEST_KEY = 16


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Address, access and limits of a server.

    Parameters
    ----------
    model_name : str
        Name of the model in requests and responses.
    host : str
        Name or address to listen on; other machines cannot reach the default.
    port : int
        Port to listen on; 0 for any free port.
    allowed_hosts : sequence of str
        Host names besides ``localhost`` and `host` that requests may be sent to, such as the name of a reverse proxy.
    allowed_origins : sequence of str
        Origins of other web pages that may use the server, such as ``"https://app.example"``.
    api_keys : sequence of bytes
        SHA-256 digests of the accepted keys; see `read_api_keys`. Empty for access without keys.
    max_tokens : int
        Maximum length of an output, and the default.
    max_body_bytes : int
        Maximum size of a request body, in bytes.
    max_messages : int
        Maximum number of messages in a conversation.
    max_schema_bytes, max_depth : int
        Maximum size of a JSON schema or grammar in bytes, and maximum depth of a request body.
    max_choices : int
        Maximum number of choices of one request.
    time_limit : float
        Maximum duration of a request in seconds, including the time in the queue.
    send_seconds, body_seconds : float
        Maximum time that a client may take to make room for output, and to send the head or the body of a request.
    stream_seconds : float
        Least time between two events of a stream; tokens that follow sooner are sent together. Every event takes time from the
        model. 0 sends an event for each pass.
    ping_seconds : float
        Interval between keep-alive comments in a stream.
    drain_seconds : float
        Time that running requests get to finish after SIGTERM or Ctrl-C.
    """

    model_name: str
    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: Sequence[str] = ()
    allowed_origins: Sequence[str] = ()
    api_keys: Sequence[bytes] = ()
    max_tokens: int = 4096
    max_body_bytes: int = 4 << 20
    max_messages: int = 1024
    max_schema_bytes: int = 64 << 10
    max_depth: int = 64
    max_choices: int = 16
    time_limit: float = 600.0
    send_seconds: float = 30.0
    body_seconds: float = 30.0
    stream_seconds: float = 0.1
    ping_seconds: float = 15.0
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"port must be a number from 0 to 65535; got {self.port}")
        for name in ("max_tokens", "max_body_bytes", "max_messages", "max_schema_bytes", "max_depth", "max_choices"):
            check_whole(name, vars(self)[name], at_least=1)
        for name in ("time_limit", "send_seconds", "body_seconds", "ping_seconds"):
            check_real(name, vars(self)[name], "above 0", lambda value: value > 0)
        for name in ("drain_seconds", "stream_seconds"):
            check_real(name, vars(self)[name], "0 or above", lambda value: value >= 0)

    def owner_of(self, key: str) -> str | None:
        """Return a name for the owner of a key, or None if it is unknown. All keys are compared in constant time."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        matches = [known for known in self.api_keys if hmac.compare_digest(known, digest)]
        return matches[0].hex() if matches else None


def read_api_keys(file: Path) -> list[bytes]:
    """Return the SHA-256 digests of the keys in a file: one key per line; empty lines and lines that start with # are ignored.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no key or a short one. The message quotes no key.
    """
    lines = [line.strip() for line in read_text(file).splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise InputError(f"API key file {str(file)!r} holds no key; write one per line")
    if any(len(key) < _SHORTEST_KEY for key in keys):
        raise InputError(
            f"API key file {str(file)!r} holds a key with fewer than {_SHORTEST_KEY} characters; use longer keys"
        )
    return [hashlib.sha256(key.encode()).digest() for key in keys]
