"""Serve a model with several replicas on a Ray cluster.

Each replica is a Ray Serve deployment of its own, so that a conversation can be sent to the replica that has its prefix
cached; Ray Serve places the replicas and restarts those that die. HTTP stays in this process, with the front of
`etesian.decode.serve.http.front`, so that limits, keys and draining are those of a single server. Messages of responses are
requested in batches, which also works through Ray's client (``ray://``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import methodcaller
from typing import Any

from starlette.types import Message, Scope

from etesian._shared.ray_connection import check_address, connected, nodes_of
from etesian.decode.decoder import Decoder
from etesian.decode.serve.http.front import LostError, create_front
from etesian.decode.serve.http.options import ServerOptions
from etesian.decode.serve.http.server import run_server
from etesian.decode.serve.options import EngineOptions
from etesian.decode.serve.replica import HEARTBEAT_SECONDS, ServedReplica
from etesian.errors import InputError

_log = logging.getLogger("etesian")
_LOST_SECONDS = 4 * HEARTBEAT_SECONDS
_BEGIN_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_MOST_CALLS = 2048
_QUIET = {"log_level": "WARNING", "enable_access_log": False}


def serve_on_ray(
    load: Callable[[], Decoder],
    engine_options: EngineOptions,
    options: ServerOptions,
    *,
    address: str,
    n_replicas: int | None = None,
    n_gpus: int = 0,
    announce: Callable[[str], None] = print,
) -> None:
    """Deploy replicas on a Ray cluster and serve them at one address until SIGTERM or Ctrl-C; see `run_server`.

    Parameters
    ----------
    load : callable
        Returns the decoder, on the node of each replica; picklable.
    engine_options : EngineOptions
        Limits of each replica.
    options : ServerOptions
    address : str
        ``"ray"`` or ``"ray://host:port"``, as in `etesian.bench.run_suite`.
    n_replicas : int or None
        Number of replicas; None for one per node.
    n_gpus : int
        GPUs of each replica.
    announce : callable
        Called with the URL once the server listens.

    Raises
    ------
    InputError
        If Ray is not installed, the cluster does not respond or has no room, or the model cannot be loaded.
    """
    check_address(address)
    with (
        connected(address) as ray,
        deployed(ray, load, engine_options, options, n_replicas=n_replicas, n_gpus=n_gpus) as replicas,
    ):
        run_server(create_front(replicas, options), options, announce=announce)


@contextmanager
def deployed(
    ray: Any,
    load: Callable[[], Decoder],
    engine_options: EngineOptions,
    options: ServerOptions,
    *,
    n_replicas: int | None,
    n_gpus: int = 0,
) -> Iterator[list[RemoteReplica] | list[DistantReplica]]:
    """Deploy replicas, and delete them at the end of the block. Those of an earlier server of the same model are replaced."""
    serve = _import_serve()
    nodes = nodes_of(ray)
    n_replicas = n_replicas or max(len(nodes), 1)
    n_cores = cores_each(nodes, n_replicas, n_gpus)
    _log.warning("replicas to deploy: %d, with %d cores each, as soon as these are free", n_replicas, n_cores)
    serve.start(proxy_location="Disabled", logging_config=_QUIET)
    deployment = serve.deployment(ServedReplica).options(
        max_ongoing_requests=_MOST_CALLS, ray_actor_options={"num_cpus": n_cores, "num_gpus": n_gpus}, health_check_period_s=2,
        graceful_shutdown_timeout_s=0, logging_config=_QUIET,
    )  # fmt: skip
    names = [f"etesian-{options.model_name}-{number}" for number in range(n_replicas)]
    application = deployment.bind(load, engine_options, options)
    try:
        handles = serve.run_many([serve.RunTarget(application, name=name, route_prefix=None) for name in names])
        is_inside = not ray.util.client.ray.is_connected()
        replicas = [RemoteReplica(handle) for handle in handles] if is_inside else through_courier(ray, handles)
        for replica in replicas:
            if (problem := asyncio.run(replica.problem())) is not None:
                raise InputError(f"a replica cannot serve the model: {problem}")
        yield replicas
    finally:
        for name in names:
            serve.delete(name)


def cores_each(nodes: Sequence[Mapping[str, float]], n_replicas: int, n_gpus: int) -> int:
    """Return the largest number of cores that each replica can have; a request without room would wait forever."""

    def room(cores: int) -> int:
        by_node = [(node["CPU"] // cores, node.get("GPU", 0) // n_gpus if n_gpus else n_replicas) for node in nodes]
        return int(sum(min(each) for each in by_node))

    largest = int(max((node["CPU"] for node in nodes), default=0))
    for cores in range(largest, 0, -1):
        if room(cores) >= n_replicas:
            return cores
    most = room(1) if nodes else 0
    raise InputError(
        f"the cluster has room for {most} replicas with a core{' and a GPU' * bool(n_gpus)}; got {n_replicas}"
    )


class RemoteReplica:
    """A replica on the cluster, by its handle in Ray Serve; implements `etesian.decode.serve.http.front.Replica`."""

    def __init__(self, handle: Any) -> None:
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        self.handle = handle
        self._death: asyncio.Task[None] | None = None
        self._losses = (RayError, RayServeException, TimeoutError)

    async def problem(self) -> str | None:
        """Return the reason why the replica cannot serve, if there is one."""
        found: str | None = await self.handle.problem.remote()
        return found

    async def begin(self, exchange: str, scope: Scope, body: bytes) -> None:
        """Send a request."""
        await self._answer(self.handle.begin.remote(exchange, scope, body), _BEGIN_SECONDS)

    async def receive(self, exchange: str) -> list[Message]:
        """Return the next messages."""
        messages: list[Message] | None = await self._answer(self.handle.receive.remote(exchange), _LOST_SECONDS)
        if messages is None:
            raise LostError("the replica has restarted, or its application broke off")
        return messages

    async def leave(self, exchange: str) -> None:
        """Abandon an exchange."""
        self.handle.leave.remote(exchange)

    async def wait_until_ready(self) -> None:
        """Wait until Ray Serve has restarted the replica."""
        while True:
            with suppress(*self._losses):
                async with asyncio.timeout(_LOST_SECONDS):
                    if await self.problem() is None:
                        self._death = asyncio.create_task(self._watch())
                        return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _answer(self, response: Any, seconds: float) -> Any:
        """Return the result of a call. Ray Serve repeats calls to a dead replica on its successor, which may take minutes."""
        if self._death is None:
            self._death = asyncio.create_task(self._watch())
        result = asyncio.create_task(self._result(response))
        try:
            await asyncio.wait({result, self._death}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not result.done():
                result.cancel()
                response.cancel()
        if not result.done():
            raise LostError("the replica has died" if self._death.done() else "the replica does not respond")
        if isinstance(found := result.result(), LostError):
            raise found
        return found

    async def _result(self, response: Any) -> Any:
        try:
            return await response
        except self._losses as error:
            return LostError(str(error))

    async def _watch(self) -> None:
        """Return when the replica dies."""
        with suppress(*self._losses):
            await self.handle.live.remote()


class Courier:
    """Calls replicas for a front outside the cluster: Ray Serve's handles are slow through Ray's client, actors are not."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self._replicas = [RemoteReplica(handle) for handle in handles]

    async def call(self, number: int, method: str, *arguments: Any) -> Any:
        """Call a method of `RemoteReplica`."""
        return await methodcaller(method, *arguments)(self._replicas[number])


class DistantReplica:
    """A replica behind a `Courier`; implements `etesian.decode.serve.http.front.Replica`."""

    def __init__(self, courier: Any, number: int) -> None:
        from ray.exceptions import RayError

        self._courier, self._number = courier, number
        self._losses = (RayError, ConnectionError)

    async def problem(self) -> str | None:
        """Return the reason why the replica cannot serve, if there is one."""
        found: str | None = await self._call("problem")
        return found

    async def begin(self, exchange: str, scope: Scope, body: bytes) -> None:
        """Send a request."""
        await self._call("begin", exchange, scope, body)

    async def receive(self, exchange: str) -> list[Message]:
        """Return the next messages."""
        messages: list[Message] = await self._call("receive", exchange)
        return messages

    async def leave(self, exchange: str) -> None:
        """Abandon an exchange."""
        await self._call("leave", exchange)

    async def wait_until_ready(self) -> None:
        """Wait until Ray Serve has restarted the replica."""
        await self._call("wait_until_ready")

    async def _call(self, method: str, *arguments: Any) -> Any:
        answer = self._courier.call.remote(self._number, method, *arguments)
        try:
            return await asyncio.shield(asyncio.wrap_future(answer.future()))  # Ray's client cannot cancel a call
        except self._losses as error:
            raise LostError(str(error)) from error


def through_courier(ray: Any, handles: Sequence[Any]) -> list[DistantReplica]:
    """Start a courier on the cluster, which ends with this process, and return the replicas behind it."""
    courier = ray.remote(num_cpus=0, max_concurrency=_MOST_CALLS)(Courier).remote(handles)
    return [DistantReplica(courier, number) for number in range(len(handles))]


def _import_serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise InputError(f"--on ray needs Ray Serve ({error}): pip install 'etesian[ray]'") from None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)  # the front reports lost replicas
    return serve
