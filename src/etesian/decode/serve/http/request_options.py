"""Convert request bodies to requests of the engine: sampling options, grammars and limits."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from starlette.concurrency import run_in_threadpool

from etesian.decode.request import Prompt
from etesian.decode.request import Request as EngineRequest
from etesian.decode.sampling import Grammar, Sampling
from etesian.decode.serve.engine import Engine
from etesian.decode.serve.http.errors import ApiError, named_parameter
from etesian.decode.serve.http.options import ServerOptions
from etesian.decode.serve.http.schema import Body, GenerationBody, SamplingBody
from etesian.errors import InputError

DEFAULT_TEMPERATURE = 1.0
"""As in OpenAI's interface; the default seed is 0, so that the same request returns the same text."""
_MOST_STOPS = 16
_GRAMMARS = ("guided_grammar", "response_format", "tools", "text")
"""Parameters that set a grammar."""
_TOKEN = re.compile(r"0|[1-9][0-9]{0,9}")
"""A token in canonical form: two names for one token would be two biases."""
_SHORT_PROMPTS = 4_000
"""Characters or tokens that are read in less time than another thread needs to start."""


@dataclass(frozen=True)
class Service:
    """Everything that the routes share."""

    engine: Engine
    options: ServerOptions

    def check_model(self, name: str | None) -> None:
        """Refuse names of other models."""
        if name is not None and name != self.options.model_name:
            raise ApiError(
                404, f"the model {name!r} does not exist; this server has {self.options.model_name!r}",
                param="model", code="model_not_found",
            )  # fmt: skip

    async def open(
        self, prompts: Sequence[Prompt], sampling: Sampling, body: SamplingBody, *, max_tokens: int | None, n: int = 1
    ) -> list[EngineRequest]:
        """Open `n` requests for each prompt, with consecutive seeds; grammars and long prompts are read in another thread."""
        if len(prompts) * n > self.options.max_choices:
            raise ApiError(400, f"n times the number of prompts must be at most {self.options.max_choices}", param="n")
        length = self.options.max_tokens if max_tokens is None else min(max_tokens, self.options.max_tokens)

        def opened() -> list[EngineRequest]:
            return [
                self.engine.open(
                    prompt,
                    replace(sampling, seed=sampling.seed + number),
                    max_tokens=length,
                    speculate=body.speculate,
                )
                for prompt in prompts
                for number in range(n)
            ]

        if sampling.grammar is None and n * sum(len(prompt) for prompt in prompts) <= _SHORT_PROMPTS:
            return checked(opened, kind=type(body))
        return await run_checked(opened, kind=type(body), param=_grammar_parameter(body))

    def grammar(self, kind: Literal["json_schema", "lark"], source: Any, body: SamplingBody) -> Grammar:
        """Return a grammar, unless it is too large."""
        text = source if isinstance(source, str) else json.dumps(source)
        if len(text.encode()) > self.options.max_schema_bytes:
            raise ApiError(
                400, f"a schema or grammar must hold at most {self.options.max_schema_bytes} bytes",
                param=_grammar_parameter(body),
            )  # fmt: skip
        return Grammar(kind, text)


def checked(function: Any, *arguments: Any, kind: type[Body] = Body, param: str | None = None) -> Any:
    """Run a function; mistakes become HTTP errors about the parameter of the body that the message starts with, or `param`."""
    try:
        return function(*arguments)
    except InputError as error:
        raise ApiError(400, str(error), param=named_parameter(str(error), kind) or param) from None


async def run_checked(function: Any, *arguments: Any, kind: type[Body] = Body, param: str | None = None) -> Any:
    """Run a function in another thread; see `checked`."""
    return await run_in_threadpool(checked, function, *arguments, kind=kind, param=param)


def sampling_of(body: SamplingBody, *, grammar: Grammar | None = None, logprobs: int | None = None) -> Sampling:
    """Return the sampling options of a body."""
    options: dict[str, Any] = {
        "temperature": DEFAULT_TEMPERATURE if body.temperature is None else body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k if body.top_k is not None and body.top_k > 0 else None,  # 0 and -1 mean "off" elsewhere
        "min_p": body.min_p or None,
        "seed": body.seed or 0,
        "logprobs": logprobs,
        "grammar": grammar,
    }
    if isinstance(body, GenerationBody):
        options |= {
            "presence_penalty": body.presence_penalty,
            "frequency_penalty": body.frequency_penalty,
            "repetition_penalty": body.repetition_penalty,
            "logit_bias": _biases(body.logit_bias or {}),
            "stop": _stops(body.stop),
            "stop_tokens": body.stop_token_ids or [],
            "ignore_eos": bool(body.ignore_eos),
        }
    sampling: Sampling = checked(partial(Sampling, **options), kind=type(body))
    return sampling


def _grammar_parameter(body: SamplingBody) -> str | None:
    """Return the parameter that sets the grammar; None if there is none, or several."""
    given = [name for name in _GRAMMARS if vars(body).get(name) is not None]
    return given[0] if len(given) == 1 else None


def _biases(given: dict[str, float]) -> dict[int, float]:
    strange = [token for token in given if not _TOKEN.fullmatch(token)]
    if strange:
        raise ApiError(
            400, f"logit_bias must map token numbers to biases; got the token {strange[0]!r:.60}", param="logit_bias"
        )
    return {int(token): bias for token, bias in given.items()}


def _stops(given: str | list[str] | None) -> list[str]:
    stops = [given] if isinstance(given, str) else given or []
    if len(stops) > _MOST_STOPS or not all(stops):
        raise ApiError(400, f"stop must hold at most {_MOST_STOPS} strings, none of them empty", param="stop")
    return stops
