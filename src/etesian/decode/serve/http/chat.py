"""``/v1/chat/completions``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from etesian.decode.generation import Generation, Piece
from etesian.decode.sampling import Grammar
from etesian.decode.serve.http.errors import ApiError
from etesian.decode.serve.http.guard import read_body
from etesian.decode.serve.http.request_options import Service, run_checked, sampling_of
from etesian.decode.serve.http.results import chat_logprobs, identity, origins, usage
from etesian.decode.serve.http.schema import ChatBody, JsonObject, Message, Tool
from etesian.decode.serve.http.tools import (
    ToolCallParser,
    as_conversation,
    offered_tools,
    requires_call,
    tool_grammar,
)
from etesian.decode.serve.http.waiting import Choices, collect, stream
from etesian.decode.serve.tasks import Finished


@dataclass(frozen=True)
class _Chat:
    """A checked request for a chat completion."""

    service: Service
    body: ChatBody
    tools: list[Tool]

    @property
    def n(self) -> int:
        return self.body.n or 1

    def finish_reason(self, generation: Generation, parser: ToolCallParser) -> str | None:
        if generation.finish_reason == "stop" and parser.has_whole_calls:
            return "tool_calls"
        return generation.finish_reason

    def parser(self) -> ToolCallParser:
        return ToolCallParser(has_tools=bool(self.tools), requires_call=requires_call(self.body.tool_choice))

    def logprobs(self, piece: Piece) -> dict[str, Any] | None:
        tokenizer = self.service.engine.decoder.tokenizer
        return None if tokenizer is None else chat_logprobs(piece, tokenizer, self.body.top_logprobs or 0)


async def complete_chat(request: Request) -> Response:
    """Answer the last message of a conversation."""
    service: Service = request.app.state.service
    body = await read_body(request, ChatBody, service.options)
    service.check_model(body.model)
    chat = _Chat(service, body, offered_tools(body))
    prompt = await _prompt(service, body.messages, chat.tools)
    sampling = sampling_of(body, grammar=_grammar(chat), logprobs=(body.top_logprobs or 0) if body.logprobs else None)
    length = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    requests = await service.open([prompt], sampling, body, max_tokens=length, n=chat.n)
    choices = Choices(service, requests, request.state.owner, streams=bool(body.stream))
    if body.stream:
        return await stream(request, choices, _chunks(chat, choices))
    generations = await collect(request, choices)
    return JSONResponse(
        {
            **identity("chat.completion", "chatcmpl", service.options.model_name),
            "choices": [_choice(chat, number, generation) for number, generation in enumerate(generations)],
            "usage": usage(generations, n=chat.n),
        }
    )


async def _prompt(service: Service, messages: list[Message], tools: list[Tool]) -> list[int]:
    template = service.engine.decoder.chat_template
    if template is None:
        raise ApiError(400, "the model has no chat template; use /v1/completions")
    if len(messages) > service.options.max_messages:
        raise ApiError(400, f"messages must hold at most {service.options.max_messages} messages", param="messages")
    prompt: list[int] = await run_checked(template.encode, as_conversation(messages, tools), param="messages")
    return prompt


def _grammar(chat: _Chat) -> Grammar | None:
    body, service = chat.body, chat.service
    schema = _answer_schema(body)
    if chat.tools:
        several = bool(body.parallel_tool_calls)
        source = tool_grammar(chat.tools, body.tool_choice, several=several, schema=schema)
        return service.grammar("lark", source, body)
    if body.guided_grammar is not None:
        return service.grammar("lark", body.guided_grammar, body)
    return None if schema is None else service.grammar("json_schema", schema, body)


def _answer_schema(body: ChatBody) -> JsonObject | None:
    """Return the JSON schema of answers; None for free text."""
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.json_schema is None:
        return {"type": "object"}
    return wanted.json_schema.json_schema or {}


def _choice(chat: _Chat, number: int, generation: Generation) -> dict[str, Any]:
    parser = chat.parser()
    content, calls = "", []
    for delta in [*parser.feed(generation.text), *parser.finish()]:
        content += delta.content
        if delta.name is not None:
            calls.append({"id": delta.call_id, "type": "function", "function": {"name": delta.name, "arguments": ""}})
        if delta.call is not None:
            calls[-1]["function"]["arguments"] += delta.arguments  # type: ignore[index]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content if content or not calls else None,
        "refusal": None,
    }
    if calls:
        message["tool_calls"] = calls
    choice = {
        "index": number,
        "message": message,
        "logprobs": chat.logprobs(generation),
        "finish_reason": chat.finish_reason(generation, parser),
    }
    return choice | ({"etesian": origins(generation)} if chat.body.include_origins else {})


async def _chunks(chat: _Chat, choices: Choices) -> AsyncIterator[dict[str, Any]]:
    """Yield the chunks of a stream: the role, then text and calls, then the reason of the end, then the usage."""
    head = identity("chat.completion.chunk", "chatcmpl", chat.service.options.model_name)
    wants_usage = chat.body.stream_options is not None and chat.body.stream_options.include_usage
    common = {"usage": None} if wants_usage else {}
    parsers = [chat.parser() for _ in range(chat.n)]
    begun: set[int] = set()
    generations: dict[int, Generation] = {}
    async for number, event in choices:
        if number not in begun:
            begun.add(number)
            yield {**head, "choices": [_part(number, {"role": "assistant", "content": ""})], **common}
        parser = parsers[number]
        if isinstance(event, Finished):
            generations[number] = event.generation
            for delta in parser.finish():
                yield {**head, "choices": [_part(number, delta.as_dict())], **common}
            reason = chat.finish_reason(event.generation, parser)
            yield {**head, "choices": [_part(number, {}, finish_reason=reason)], **common}
        elif isinstance(event, Piece):
            for part in _parts(chat, number, parser, event):
                yield {**head, "choices": [part], **common}
    if wants_usage:
        ordered = [generations[number] for number in sorted(generations)]
        yield {**head, "choices": [], "usage": usage(ordered, n=chat.n)}


def _parts(chat: _Chat, number: int, parser: ToolCallParser, piece: Piece) -> list[dict[str, Any]]:
    """Return the parts that a piece adds to a choice; its log-probabilities accompany the first part."""
    deltas = [delta.as_dict() for delta in parser.feed(piece.text)]
    added: dict[str, Any] = {}
    if (logprobs := chat.logprobs(piece)) is not None:
        added["logprobs"] = logprobs
    if chat.body.include_origins:
        added["etesian"] = origins(piece)
    if not deltas and added:
        deltas = [{"content": ""}]
    return [_part(number, delta, **(added if place == 0 else {})) for place, delta in enumerate(deltas)]


def _part(number: int, delta: dict[str, Any], **added: Any) -> dict[str, Any]:
    return {"index": number, "delta": delta, "logprobs": None, "finish_reason": None, **added}
