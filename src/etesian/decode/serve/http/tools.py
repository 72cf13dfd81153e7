"""Tool calls: how tools are described to the model, the grammar of calls, and the parser of streamed calls.

A call is written as ``<tool_call>{"name": "NAME", "arguments": {...}}</tool_call>``, the format of Hermes and Qwen models. The
grammar holds every call to this format and to the schema of the tool's parameters.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etesian.decode.sampling.grammar import JSON_STYLE
from etesian.decode.serve.http.errors import ApiError
from etesian.decode.serve.http.schema import ChatBody, JsonObject, Message, NamedTool, Tool

BEGIN, END = "<tool_call>", "</tool_call>"
_NAME, _ARGUMENTS = '{"name": "', '", "arguments": '
_INSTRUCTIONS = """# Tools

You may call functions to help with the request. These functions are available, one JSON object per line:
{tools}

To call a function, write its name and arguments as JSON between {begin} and {end}:
{begin}{{"name": "NAME", "arguments": {{...}}}}{end}"""


def offered_tools(body: ChatBody) -> list[Tool]:
    """Return the tools that the model may call.

    Raises
    ------
    ApiError
        If `tool_choice` names a tool that does not exist.
    """
    if not body.tools or body.tool_choice == "none":
        return []
    if not isinstance(body.tool_choice, NamedTool):
        return body.tools
    name = body.tool_choice.function.name
    chosen = [tool for tool in body.tools if tool.function.name == name]
    if not chosen:
        raise ApiError(400, f"tool_choice names {name!r}, which is not one of the tools", param="tool_choice")
    return chosen


def requires_call(choice: object) -> bool:
    """Return True if a `tool_choice` allows no text."""
    return choice not in (None, "auto", "none")


def tool_grammar(tools: Sequence[Tool], choice: object, *, several: bool, schema: JsonObject | None = None) -> str:
    """Return a Lark grammar of answers that may call, or must call, tools.

    Parameters
    ----------
    tools : sequence of Tool
    choice : object
        ``"auto"`` or None to allow text without calls; anything else to require a call.
    several : bool
        True to allow several calls in one answer.
    schema : dict or None
        JSON schema of answers without calls; None for any text.
    """
    calls = "call+" if several else "call"
    if requires_call(choice):
        start = f"start: {calls}\nhead: {_quoted(BEGIN)}"
    elif schema is None:
        start = f"start: TEXT | {calls}\nhead[lazy]: TEXT {_quoted(BEGIN)}\nTEXT: /(.|\\n)*/"
    else:
        answer = json.dumps(schema | {"x-guidance": JSON_STYLE})
        start = f"start: answer | {calls}\nhead: {_quoted(BEGIN)}\nanswer: %json {answer}"
    lines = ["%llguidance {}", start, f"call: head {_quoted(_NAME)} rest"]
    lines.append("rest: " + " | ".join(f"rest_{number}" for number in range(len(tools))))
    for number, tool in enumerate(tools):
        opening = _quoted(tool.function.name + _ARGUMENTS)
        lines.append(f"rest_{number}: {opening} %json {json.dumps(_parameters(tool))} {_quoted('}' + END)}")
    return "\n".join(lines)


def _parameters(tool: Tool) -> dict[str, Any]:
    return {"type": "object"} | (tool.function.parameters or {}) | {"x-guidance": JSON_STYLE}


def _quoted(text: str) -> str:
    return json.dumps(text)


def as_conversation(messages: Sequence[Message], tools: Sequence[Tool]) -> list[dict[str, str]]:
    """Return messages of the roles and the plain texts that chat templates know."""
    conversation: list[dict[str, str]] = []
    for message in messages:
        role, text = message.role, message.text
        if role == "developer":
            role = "system"
        elif role == "tool":
            role, text = "user", f"<tool_response>{text}</tool_response>"
            if conversation and conversation[-1]["content"].endswith("</tool_response>"):
                conversation[-1]["content"] += "\n" + text
                continue
        for call in message.tool_calls or []:
            arguments = call.function.arguments
            text += f"{BEGIN}{_NAME}{call.function.name}{_ARGUMENTS}{arguments}}}{END}"
        conversation.append({"role": role, "content": text})
    if tools:
        _add_instructions(conversation, tools)
    return conversation


def _add_instructions(conversation: list[dict[str, str]], tools: Sequence[Tool]) -> None:
    described = "\n".join(tool.function.model_dump_json(exclude_none=True) for tool in tools)
    text = _INSTRUCTIONS.format(tools=described, begin=BEGIN, end=END)
    if conversation[0]["role"] == "system":
        conversation[0]["content"] += "\n\n" + text
    else:
        conversation.insert(0, {"role": "system", "content": text})


@dataclass(frozen=True)
class Delta:
    """A part of an answer: text, the start of a call, or a part of its arguments.

    Parameters
    ----------
    content : str
    call : int or None
        Index of the call; None for text.
    name, call_id : str or None
        Name and identifier of the call, at its start only.
    arguments : str
    """

    content: str = ""
    call: int | None = None
    name: str | None = None
    call_id: str | None = None
    arguments: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the ``delta`` of a chunk."""
        if self.call is None:
            return {"content": self.content}
        function: dict[str, Any] = {"arguments": self.arguments}
        if self.name is None:
            return {"tool_calls": [{"index": self.call, "function": function}]}
        function = {"name": self.name, **function}
        return {"tool_calls": [{"index": self.call, "id": self.call_id, "type": "function", "function": function}]}


class ToolCallParser:
    """Split streamed text into text and tool calls.

    Parameters
    ----------
    has_tools : bool
        If False, all of it is text.
    requires_call : bool
        If True, the beginning of a call that was cut off is no text.
    """

    def __init__(self, *, has_tools: bool, requires_call: bool = False) -> None:
        self.n_calls = 0
        self._has_tools = has_tools
        self._requires_call = requires_call
        self._held = ""
        self._state = "text"
        self._depth, self._in_string, self._is_escaped = 0, False, False

    def feed(self, text: str) -> list[Delta]:
        """Return the deltas of the next piece of text."""
        if not self._has_tools:
            return [Delta(text)] if text else []
        self._held += text
        deltas: list[Delta] = []
        steps = {
            "text": self._read_text,
            "name": self._read_name,
            "arguments": self._read_arguments,
            "end": self._read_end,
        }
        before: tuple[str, str] | None = None
        while self._held and before != (self._state, self._held):
            before = self._state, self._held
            deltas += steps[self._state]()
        return deltas

    @property
    def has_whole_calls(self) -> bool:
        """True if there are calls, and the arguments of the last one are complete."""
        return self.n_calls > 0 and self._state in ("text", "end")

    def finish(self) -> list[Delta]:
        """Return the text that was held back, at the end of the answer."""
        rest, self._held = self._held, ""
        is_text = self._state == "text" and not self._requires_call
        return [Delta(rest)] if rest and is_text else []

    def _read_text(self) -> list[Delta]:
        if self.n_calls:  # white space between calls
            self._held = self._held.lstrip()
        before, begin, after = self._held.partition(BEGIN)
        if begin:
            self._held, self._state = after, "name"
            return [Delta(before)] if before else []
        held = next((n for n in range(len(BEGIN) - 1, 0, -1) if before.endswith(BEGIN[:n])), 0)
        self._held = before[len(before) - held :]
        shown = before[: len(before) - held]
        return [Delta(shown)] if shown else []

    def _read_name(self) -> list[Delta]:
        name, found, rest = self._held.removeprefix(_NAME).partition(_ARGUMENTS)
        if not self._held.startswith(_NAME) or not found:
            return []
        self._held, self._state, self._depth = rest, "arguments", 0
        self.n_calls += 1
        return [Delta(call=self.n_calls - 1, name=name, call_id=f"call_{secrets.token_hex(12)}")]

    def _read_arguments(self) -> list[Delta]:
        length = len(self._held)
        for place, character in enumerate(self._held, start=1):
            self._step(character)
            if self._depth == 0:
                self._state, length = "end", place
                break
        arguments, self._held = self._held[:length], self._held[length:]
        return [Delta(call=self.n_calls - 1, arguments=arguments)]

    def _step(self, character: str) -> None:
        """Follow strings and braces, so that the end of the object is known."""
        if self._in_string:
            self._in_string = character != '"' or self._is_escaped
            self._is_escaped = character == "\\" and not self._is_escaped
        elif character == '"':
            self._in_string = True
        elif character in "{}":
            self._depth += 1 if character == "{" else -1

    def _read_end(self) -> list[Delta]:
        end = "}" + END
        if self._held.startswith(end):
            self._held, self._state = self._held[len(end) :], "text"
        return []
