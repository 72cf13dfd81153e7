"""Engines on toy models, which are closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from toy_decoder import make_decoder

from etesian.decode.serve import Engine, EngineOptions


@pytest.fixture
def make_engine() -> Iterator[Callable[..., Engine]]:
    engines = []

    def make(decoder=None, **options) -> Engine:
        engines.append(Engine(decoder or make_decoder(), EngineOptions(**options)).start())
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
