"""Tasks: requests as the engine receives them, the events that it sends back, and the fair queue in which they wait."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from etesian.decode.generation import Generation, Piece
from etesian.decode.request import Request


@dataclass(frozen=True)
class Finished:
    """The last event of a task that ended.

    Parameters
    ----------
    generation : Generation
        The whole output.
    """

    generation: Generation


@dataclass(frozen=True)
class Failed:
    """The last event of a task that could not be completed.

    Parameters
    ----------
    message : str
        Message for the client, without internal details.
    reason : {'input', 'timeout', 'shutdown', 'internal'}
    """

    message: str
    reason: Literal["input", "timeout", "shutdown", "internal"]


Event = Piece | Finished | Failed


class Busy(Exception):  # noqa: N818  a state, not a fault
    """The queue is full, or the engine is shutting down.

    Parameters
    ----------
    message : str
    retry_after : float
        Seconds after which another attempt is likely to succeed.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(eq=False)
class Task:
    """A request in the queue or in a slot.

    Parameters
    ----------
    request : Request
    on_event : callable
        Receives pieces and one last `Finished` or `Failed`, in the engine's thread; must return at once.
    owner : str
        Owner of the request; owners take turns and share no cache.
    time_limit : float or None
        Seconds from submission to the end; None for no limit.
    """

    request: Request
    on_event: Callable[[Event], None]
    owner: str = ""
    time_limit: float | None = None
    submitted: float = field(default_factory=time.monotonic)
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Abandon the task: it is dropped before the next pass, and receives no further event."""
        self.is_cancelled = True

    @property
    def is_late(self) -> bool:
        """True if the time limit has passed."""
        return self.time_limit is not None and time.monotonic() - self.submitted > self.time_limit

    def send(self, event: Event) -> None:
        """Report an event, unless the task was abandoned."""
        if not self.is_cancelled:
            self.on_event(event)


class FairQueue:
    """A bounded queue in which owners take turns; tasks of one owner keep their order.

    Parameters
    ----------
    capacity : int
        Maximum number of waiting tasks.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._by_owner: OrderedDict[str, deque[Task]] = OrderedDict()  # the next owner first
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Task]:
        return (task for tasks in self._by_owner.values() for task in tasks)

    @property
    def is_full(self) -> bool:
        """True if no task fits in."""
        return self._length >= self.capacity

    def push(self, task: Task) -> None:
        """Add a task at the end of its owner's line."""
        self._by_owner.setdefault(task.owner, deque()).append(task)
        self._length += 1

    def pop(self) -> Task:
        """Remove and return the next task; its owner goes to the end of the round."""
        owner, tasks = self._by_owner.popitem(last=False)
        task = tasks.popleft()
        if tasks:
            self._by_owner[owner] = tasks
        self._length -= 1
        return task

    def remove(self, task: Task) -> None:
        """Remove a waiting task."""
        tasks = self._by_owner[task.owner]
        tasks.remove(task)
        if not tasks:
            del self._by_owner[task.owner]
        self._length -= 1
