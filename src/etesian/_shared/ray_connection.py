"""Connections to Ray clusters, as ``--on`` names them, and the resources of their nodes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from etesian.errors import InputError

_SCHEME = "ray"


def check_address(on: str) -> None:
    """Refuse anything but ``"ray"`` and ``"ray://host:port"``."""
    if on != _SCHEME and not on.startswith(f"{_SCHEME}://"):
        raise InputError(f"on must be 'ray' or 'ray://host:port'; got {on!r}")


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to Ray and yield the module; keep an existing connection.

    Parameters
    ----------
    address
        ``"ray"`` for the cluster that Ray finds (``RAY_ADDRESS``, a cluster on this machine, or a new one that ends with
        the block); ``"ray://host:port"`` to connect through Ray's client.

    Raises
    ------
    InputError
        If Ray is not installed, or the cluster does not respond.
    """
    ray = _import_ray()
    where = None if address == _SCHEME else address
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that starts here would report usage statistics
    try:
        ray.init(where, logging_level="warning")
    except (ConnectionError, RuntimeError, TimeoutError, ImportError) as error:
        raise InputError(
            f"the Ray cluster of --on {address} cannot be reached: {' '.join(str(error).split())}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def nodes_of(ray: Any) -> list[dict[str, float]]:
    """Return the resources of each node with cores, by Ray's names."""
    held = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [resources for resources in held if resources.get("CPU", 0) >= 1]


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError("--on ray needs Ray, which is not installed: pip install 'etesian[ray]'") from None
    return ray
