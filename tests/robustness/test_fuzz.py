"""No mutated input ends in a traceback, a hang or unbounded memory; each is read or refused by a message.

`make fuzz` reads many more inputs of the same kinds.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from families import FAMILIES
from forked import Sample, read_mutated

from etesian.errors import InputError

SEED = 0
INPUTS = {
    "importers": 400,
    "sparse files": 400,
    "models": 300,
    "N-gram files": 200,
    "stores": 100,
    "requests": 300,
    "server JSON": 150,
}
"""Short runs; the families that need a framework are slower."""


@pytest.mark.parametrize("family", FAMILIES)
def test_mutated_inputs_are_read_or_refused(family: str) -> None:
    if family in ("GGUF files", "safetensors folders", "draft heads", "server JSON"):
        pytest.importorskip("torch")
    count = INPUTS.get(family, 40)
    tally = read_mutated(list(FAMILIES[family]()), seed=SEED, first=0, count=count)
    assert not tally.failures, tally.failures[:3]
    assert tally.total == count
    assert tally.refused > count // 20


def test_unchanged_samples_are_accepted(tmp_path: Path) -> None:
    for family in ("importers", "sparse files", "models", "N-gram files", "stores"):
        for sample in FAMILIES[family]():
            (folder := tmp_path / f"{family} {sample.name}").mkdir()
            sample.write(folder)
            assert sample.read(folder) is None, sample.name


def _write(root: Path) -> None:
    (root / "a").write_bytes(b"1")


def _misbehave(kind: str, root: Path) -> str | None:
    if kind == "raises":
        raise KeyError("x")
    if kind == "hangs":
        while True:
            pass
    if kind == "crashes":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "fills memory":
        bytearray(3 << 30)
    if kind == "refuses":
        raise InputError("no")
    return "wrong" if kind == "complains" else None


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("raises", "KeyError"),
        ("hangs", "SIGPROF"),
        ("crashes", "SIGKILL"),
        ("fills memory", "MemoryError"),
        ("complains", "wrong"),
        ("refuses", None),
        ("accepts", None),
    ],
)
def test_fuzzer_sees_every_kind_of_failure(kind: str, cause: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forked.CPU_SECONDS", 0.2)
    sample = Sample("s", _write, lambda root: _misbehave(kind, root), (InputError,))
    tally = read_mutated([sample], seed=0, first=0, count=1)
    assert tally.total == 1
    if cause is None:
        assert (tally.accepted, tally.refused) == ((0, 1) if kind == "refuses" else (1, 0))
    else:
        (failure,) = tally.failures
        assert cause in failure["cause"]
