"""MLPerf's four log formats as one stream of events.

===========  ======================================================================================
round        a line, often behind a prefix or between other output
===========  ======================================================================================
v0.5         ``:::MLPv0.5.0 ncf 1541736888.27 (ncf.py:242) eval_accuracy: {"epoch": 0, "value": 0.43}``
v0.6         ``MLPerf: resnet [06/13/19 00:30:56], eval_accuracy: {"value": 14.488%, "epoch": 3}``
v0.6         ``:::MLL 1558659963.2 eval_accuracy: {"value": 0.04, "metadata": {"epoch_num": 4}}``
v0.7 and on  ``:::MLLOG {"time_ms": 1593121531333, "key": "seed", "value": 1, "metadata": {}}``
===========  ======================================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from etesian.bench.io._reading.curves import number_of
from etesian.bench.io._reading.files import UnreadableError, lines_of, shortened

Round = Literal["v0.5", "v0.6", "v0.7"]
"""The first round whose logs have a format."""

_MARK = re.compile(r":::MLLOG\s*(?=\{)|:::MLL\s+|:::MLPv0\.5\.\d+\s+|MLPerf:\s+")
_V05 = re.compile(r"(?P<benchmark>\S+)\s+(?P<time>\S+)\s+\([^)]*\)\s*(?P<key>\w+)(?::\s*(?P<value>.*))?")
_V06_DATED = re.compile(r"(?P<benchmark>\S+)\s+\[(?P<time>[^\]]*)\],\s*(?P<key>\w+)(?::\s*(?P<value>.*))?")
_V06 = re.compile(r"(?P<time>\S+)\s+(?P<key>\w+):\s*(?P<value>\{.*)")
_PER_CENT = re.compile(r"(?<=[:\s])(-?\d+(?:\.\d+)?)%")
_JSON = json.JSONDecoder()


class Event(NamedTuple):
    """One line of the log.

    Parameters
    ----------
    line
        Number of the line, from 1.
    key
        Key of the event, such as ``"run_start"``.
    seconds
        Time since 1970; 0.0 if the log does not give it.
    value, metadata
        Content of the line. The metadata, which the oldest formats keep within the value, is separated from it.
    benchmark
        Benchmark that the line names, or an empty string.
    round
        See `Round`.
    """

    line: int
    key: str
    seconds: float
    value: Any
    metadata: Mapping[str, Any]
    benchmark: str
    round: Round


def events_of(path: Path, *, complain: Callable[[str], None]) -> Iterator[Event]:
    """Yield the events of a log; `complain` is called for each line that has the prefix of a format and cannot be read."""
    for number, line in lines_of(path, errors="replace"):  # other programs' output between the lines may be anything
        mark = _MARK.search(line)
        if mark is None:
            continue
        try:
            event = _read(number, mark.group().strip(), line[mark.end() :])
        except (ValueError, RecursionError, OverflowError) as error:
            complain(f"line {number}: {error}")
            continue
        if event is not None:
            yield event


def _read(number: int, mark: str, rest: str) -> Event | None:
    if mark == ":::MLLOG":
        return _read_v07(number, rest)
    if mark == ":::MLL":
        return _read_v06(number, rest)
    return _read_v05(number, rest) if mark.startswith(":::") else _read_dated(number, rest)


def _read_v07(number: int, rest: str) -> Event:
    data = _object(rest)
    key = data.get("key")
    if not isinstance(key, str):
        raise UnreadableError(f"an event must have a key; got {shortened(rest)}")
    seconds = number_of(data.get("time_ms"), role="time_ms") / 1000
    return Event(number, key, seconds, data.get("value"), _mapping(data.get("metadata")), "", "v0.7")


def _read_v06(number: int, rest: str) -> Event:
    match = _V06.match(rest)
    if match is None:
        raise UnreadableError(f"an event must have time, key and value; got {shortened(rest)}")
    data = _object(match["value"])
    seconds = number_of(match["time"], role="the time")
    return Event(number, match["key"], seconds, data.get("value"), _mapping(data.get("metadata")), "", "v0.6")


def _read_v05(number: int, rest: str) -> Event:
    match = _V05.match(rest)
    if match is None:
        raise UnreadableError(f"an event must have benchmark, time, place and key; got {shortened(rest)}")
    value, metadata = _split_value(match["value"])
    return Event(
        number, match["key"], number_of(match["time"], role="the time"), value, metadata, match["benchmark"], "v0.5"
    )


def _read_dated(number: int, rest: str) -> Event | None:
    """Read an event. Lines without a key, such as other messages with this prefix and overwritten lines, are skipped."""
    match = _V06_DATED.match(rest)
    if match is None:
        return None
    try:
        when = datetime.strptime(match["time"], "%m/%d/%y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise UnreadableError(f"the time must be like 06/13/19 00:30:56; got {shortened(match['time'])}") from None
    value, metadata = _split_value(match["value"])
    return Event(number, match["key"], when.timestamp(), value, metadata, match["benchmark"], "v0.5")


def _split_value(text: str | None) -> tuple[Any, Mapping[str, Any]]:
    """Return the value, and the other fields of the same object."""
    if text is None or not text.strip():
        return None, {}
    if not text.startswith("{"):
        return text.strip(), {}
    data = _object(_PER_CENT.sub(r'"\1%"', text))
    return data.pop("value", None), data


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object at the start of a text, which may be followed by output of another process."""
    try:
        data, _ = _JSON.raw_decode(text)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is cut off or no JSON ({error.msg}); got {shortened(text)}") from None
    if not isinstance(data, dict):
        raise UnreadableError(f"must hold a JSON object; got {shortened(text)}")
    return data


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
