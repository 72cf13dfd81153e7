"""``/v1/responses``: text in, text out, nothing stored."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from etesian.decode.generation import Generation, Piece
from etesian.decode.sampling import Grammar
from etesian.decode.serve.http.errors import ApiError
from etesian.decode.serve.http.guard import read_body
from etesian.decode.serve.http.request_options import Service, run_checked, sampling_of
from etesian.decode.serve.http.results import usage
from etesian.decode.serve.http.schema import InputItem, ResponseBody
from etesian.decode.serve.http.waiting import Choices, collect, stream
from etesian.decode.serve.tasks import Finished


async def respond(request: Request) -> Response:
    """Answer an input."""
    service: Service = request.app.state.service
    body = await read_body(request, ResponseBody, service.options)
    service.check_model(body.model)
    template = service.engine.decoder.chat_template
    if template is None:
        raise ApiError(400, "the model has no chat template; use /v1/completions")
    conversation = _conversation(body)
    if len(conversation) > service.options.max_messages:
        raise ApiError(400, f"input must hold at most {service.options.max_messages} messages", param="input")
    prompt = await run_checked(template.encode, conversation, param="input")
    sampling = sampling_of(body, grammar=_grammar(service, body))
    requests = await service.open([prompt], sampling, body, max_tokens=body.max_output_tokens)
    choices = Choices(service, requests, request.state.owner, streams=bool(body.stream))
    answer = _Answer(service, body)
    if body.stream:
        return await stream(request, choices, answer.events(choices), named=True)
    (generation,) = await collect(request, choices)
    return JSONResponse(answer.whole(generation))


def _conversation(body: ResponseBody) -> list[dict[str, str]]:
    first = [{"role": "system", "content": body.instructions}] if body.instructions else []
    items = [InputItem(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    for item in items:
        text = item.content if isinstance(item.content, str) else "".join(part.text for part in item.content)
        first.append({"role": "system" if item.role == "developer" else item.role, "content": text})
    return first


def _grammar(service: Service, body: ResponseBody) -> Grammar | None:
    wanted = body.text.format if body.text is not None else None
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Grammar.json_object()
    return service.grammar("json_schema", wanted.json_schema, body)


class _Answer:
    """The object of a response while it grows."""

    def __init__(self, service: Service, body: ResponseBody) -> None:
        self.item_id = f"msg_{secrets.token_hex(12)}"
        self.fields: dict[str, Any] = {
            "id": f"resp_{secrets.token_hex(12)}",
            "object": "response",
            "created_at": int(time.time()),
            "model": service.options.model_name,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "metadata": body.metadata or {},
            "parallel_tool_calls": False,
            "tool_choice": "none",
            "tools": [],
            "error": None,
            "incomplete_details": None,
            "status": "in_progress",
            "output": [],
            "usage": None,
        }

    def whole(self, generation: Generation) -> dict[str, Any]:
        """Return the finished response."""
        counts = usage([generation])
        is_cut = generation.finish_reason == "length"
        status = "incomplete" if is_cut else "completed"
        return self.fields | {
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": [self._item(status, [_part(generation.text)])],
            "usage": {
                "input_tokens": counts["prompt_tokens"],
                "input_tokens_details": counts["prompt_tokens_details"],
                "output_tokens": counts["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0, **counts["completion_tokens_details"]},
                "total_tokens": counts["total_tokens"],
            },
        }

    async def events(self, choices: Choices) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a stream, numbered."""
        number = 0
        async for event in self._events(choices):
            yield event | {"sequence_number": number}
            number += 1

    async def _events(self, choices: Choices) -> AsyncIterator[dict[str, Any]]:
        place = {"item_id": self.item_id, "output_index": 0, "content_index": 0}
        has_begun = False
        async for _, event in choices:
            if not has_begun:
                has_begun = True
                yield {"type": "response.created", "response": self.fields}
                yield {"type": "response.in_progress", "response": self.fields}
                yield {"type": "response.output_item.added", "output_index": 0, "item": self._item("in_progress", [])}
                yield {"type": "response.content_part.added", **place, "part": _part("")}
            if isinstance(event, Piece) and not isinstance(event, Generation) and event.text:
                yield {"type": "response.output_text.delta", **place, "delta": event.text, "logprobs": []}
            elif isinstance(event, Finished):
                text, done = event.generation.text, self.whole(event.generation)
                yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
                yield {"type": "response.content_part.done", **place, "part": _part(text)}
                yield {"type": "response.output_item.done", "output_index": 0, "item": done["output"][0]}
                yield {"type": f"response.{done['status']}", "response": done}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
