"""``/v1/completions``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from etesian.decode.generation import Generation, Piece
from etesian.decode.output_text import Tokenizer
from etesian.decode.request import Prompt
from etesian.decode.serve.http.errors import ApiError
from etesian.decode.serve.http.guard import read_body
from etesian.decode.serve.http.request_options import Service, sampling_of
from etesian.decode.serve.http.results import identity, origins, text_logprobs, usage
from etesian.decode.serve.http.schema import CompletionBody
from etesian.decode.serve.http.waiting import Choices, collect, stream
from etesian.decode.serve.tasks import Finished


async def complete_text(request: Request) -> Response:
    """Continue prompts."""
    service: Service = request.app.state.service
    body = await read_body(request, CompletionBody, service.options)
    service.check_model(body.model)
    prompts = _prompts(body)
    if body.echo and body.logprobs is not None:
        raise ApiError(400, "echo and logprobs cannot be combined", param="echo")
    grammar = None if body.guided_grammar is None else service.grammar("lark", body.guided_grammar, body)
    sampling = sampling_of(body, grammar=grammar, logprobs=body.logprobs)
    n = body.n or 1
    requests = await service.open(prompts, sampling, body, max_tokens=body.max_tokens, n=n)
    tokenizer = _tokenizer(service)
    echoes = [_text_of(prompts[number // n], tokenizer) if body.echo else "" for number in range(len(requests))]
    choices = Choices(service, requests, request.state.owner, streams=bool(body.stream))
    if body.stream:
        return await stream(request, choices, _chunks(service, body, choices, echoes))
    generations = await collect(request, choices)
    return JSONResponse(
        {
            **identity("text_completion", "cmpl", service.options.model_name),
            "choices": [
                _choice(body, number, generation, echo + generation.text, generation.finish_reason, tokenizer, 0)
                for number, (generation, echo) in enumerate(zip(generations, echoes, strict=True))
            ],
            "usage": usage(generations, n=n),
        }
    )


def _prompts(body: CompletionBody) -> list[Prompt]:
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise ApiError(400, "prompt must not be empty", param="prompt")
    if isinstance(prompt[0], int):
        return [prompt]
    return list(prompt)


def _tokenizer(service: Service) -> Tokenizer:
    tokenizer = service.engine.decoder.tokenizer
    assert tokenizer is not None  # `create_app` checks it
    return tokenizer


def _text_of(prompt: Prompt, tokenizer: Tokenizer) -> str:
    return prompt if isinstance(prompt, str) else tokenizer.decode(list(prompt))


def _choice(
    body: CompletionBody, number: int, piece: Piece, text: str, reason: str | None, tokenizer: Tokenizer, start: int
) -> dict[str, Any]:
    choice = {
        "index": number,
        "text": text,
        "logprobs": text_logprobs(piece, tokenizer, start),
        "finish_reason": reason,
    }
    return choice | ({"etesian": origins(piece)} if body.include_origins else {})


async def _chunks(
    service: Service, body: CompletionBody, choices: Choices, echoes: list[str]
) -> AsyncIterator[dict[str, Any]]:
    head = identity("text_completion", "cmpl", service.options.model_name)
    wants_usage = body.stream_options is not None and body.stream_options.include_usage
    common = {"usage": None} if wants_usage else {}
    tokenizer, lengths = _tokenizer(service), [0] * len(echoes)
    generations: dict[int, Generation] = {}
    for number, echo in enumerate(echoes):
        if echo:
            part = {"index": number, "text": echo, "logprobs": None, "finish_reason": None}
            yield {**head, "choices": [part], **common}
    async for number, event in choices:
        if isinstance(event, Finished):
            generations[number] = event.generation
            part = {"index": number, "text": "", "logprobs": None, "finish_reason": event.generation.finish_reason}
            yield {**head, "choices": [part], **common}
        elif isinstance(event, Piece) and (event.text or event.logprobs or body.include_origins):
            part = _choice(body, number, event, event.text, None, tokenizer, lengths[number])
            lengths[number] += len(event.text)
            yield {**head, "choices": [part], **common}
    if wants_usage:
        ordered = [generations[number] for number in sorted(generations)]
        yield {**head, "choices": [], "usage": usage(ordered, n=body.n or 1)}
