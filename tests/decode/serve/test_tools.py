"""Structured output: JSON, grammars and tool calls, alone and streamed."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from http_server import running
from toy_decoder import PlainChat, byte_tokens, make_decoder

from etesian.decode import Grammar, Sampling
from etesian.decode.serve.http.tools import ToolCallParser

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
OTHER = {
    "type": "object",
    "properties": {"code": {"enum": ["a{b}", 'q"}']}},
    "required": ["code"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Forecast.", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "look_up", "parameters": OTHER}},
]
SCHEMAS = {"weather": SCHEMA, "look_up": OTHER}


@pytest.fixture(scope="module")
def server():
    with running() as found:
        yield found


def test_a_json_schema_holds_and_the_text_is_plain_constrained_decodings(server):
    wanted = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
    for seed in range(3):
        content = server.chat("abc", max_tokens=200, temperature=1, seed=seed, response_format=wanted).json["choices"][
            0
        ]
        jsonschema.validate(json.loads(content["message"]["content"]), SCHEMA)
        sampling = Sampling(temperature=1.0, seed=seed, grammar=Grammar.json_schema(SCHEMA))
        prompt = PlainChat().encode([{"role": "user", "content": "abc"}])
        plain = make_decoder(drafter="none").generate(prompt, sampling, max_tokens=200, speculate=False)
        assert content["message"]["content"] == plain.text


def test_a_grammar_holds(server):
    answer = server.chat("abc", guided_grammar='start: "x" /[a-c]{2}/').json
    assert re.fullmatch("x[a-c]{2}", answer["choices"][0]["message"]["content"])
    assert (
        answer["usage"]["completion_tokens_details"]["accepted_tokens"] >= 1
    )  # the forced "x" needs no pass of its own


def test_json_objects_begin_as_such(server):
    content = server.chat("abc", response_format={"type": "json_object"}).json["choices"][0]["message"]["content"]
    assert content.startswith("{")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look_up"}}])
def test_required_tools_are_called_with_valid_arguments(server, choice, seed):
    options = {"tools": TOOLS, "tool_choice": choice, "max_tokens": 300, "temperature": 1, "seed": seed}
    (answer,) = server.chat("abc", **options).json["choices"]
    assert (answer["finish_reason"], answer["message"]["content"]) == ("tool_calls", None)
    (call,) = answer["message"]["tool_calls"]
    name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
    jsonschema.validate(arguments, SCHEMAS[name])
    assert choice == "required" or name == "look_up"
    streamed = [event["choices"][0] for event in server.chat("abc", stream=True, **options).events[:-1]]
    deltas = [part["delta"]["tool_calls"][0] for part in streamed if "tool_calls" in part["delta"]]
    assert all(delta["index"] == 0 for delta in deltas)
    assert (deltas[0]["type"], deltas[0]["function"]["name"], deltas[0]["id"][:5]) == ("function", name, "call_")
    assert json.loads("".join(delta["function"]["arguments"] for delta in deltas)) == arguments
    assert streamed[-1]["finish_reason"] == "tool_calls"


def test_optional_tools_allow_text_and_none_forbids_calls(server):
    for choice in ("auto", "none"):
        (answer,) = server.chat("abc", tools=TOOLS, tool_choice=choice).json["choices"]
        assert answer["message"]["content"]
        assert "tool_calls" not in answer["message"]


@pytest.mark.parametrize("seed", range(3))
def test_answers_without_calls_have_the_format_that_is_asked_for(server, seed):
    wanted = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
    options = {"tools": TOOLS, "response_format": wanted, "max_tokens": 300, "temperature": 1, "seed": seed}
    (answer,) = server.chat("abc", **options).json["choices"]
    if "tool_calls" in answer["message"]:
        call = answer["message"]["tool_calls"][0]["function"]
        jsonschema.validate(json.loads(call["arguments"]), SCHEMAS[call["name"]])
    else:
        jsonschema.validate(json.loads(answer["message"]["content"]), SCHEMA)
    forced = server.chat("abc", **options, logit_bias={str(byte_tokens("{")[0]): 100}).json["choices"][0]["message"]
    jsonschema.validate(json.loads(forced["content"]), SCHEMA)
    called = server.chat("abc", **options, logit_bias={str(byte_tokens("<")[0]): 100}).json["choices"][0]
    assert (called["finish_reason"], len(called["message"]["tool_calls"])) == ("tool_calls", 1)
    (required,) = server.chat("abc", **options, tool_choice="required").json["choices"]
    assert required["finish_reason"] == "tool_calls"


def test_a_call_that_is_cut_off_is_no_call(server):
    """Its arguments are not JSON, and a client that reads "tool_calls" would parse them."""
    options = {"tools": TOOLS[:1], "tool_choice": "required", "max_tokens": 300}
    (cut,) = server.chat("abc", stop='"days"', **options).json["choices"]
    assert cut["finish_reason"] == "stop"
    (whole,) = server.chat("abc", stop="</tool_call>", **options).json["choices"]
    assert whole["finish_reason"] == "tool_calls"
    jsonschema.validate(json.loads(whole["message"]["tool_calls"][0]["function"]["arguments"]), SCHEMA)


@pytest.mark.parametrize("max_tokens", [1, 5, 20])
def test_the_beginning_of_a_required_call_is_no_text(server, max_tokens):
    options = {"tools": TOOLS, "tool_choice": "required", "max_tokens": max_tokens}
    (answer,) = server.chat("abc", **options).json["choices"]
    assert (answer["message"]["content"], answer["finish_reason"]) == ("", "length")
    events = server.chat("abc", stream=True, **options).events[:-1]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == ""


def test_text_that_could_begin_a_call_is_not_lost_in_a_stream(server):
    """The text ends with "<", which the parser holds back until the end."""
    options = {"tools": TOOLS, "max_tokens": 3, "logit_bias": {str(byte_tokens("<")[0]): 1000}}
    (whole,) = server.chat("abc", **options).json["choices"]
    parts = [event["choices"][0] for event in server.chat("abc", stream=True, **options).events[:-1]]
    assert "".join(part["delta"].get("content", "") for part in parts) == whole["message"]["content"] == "<<<"


def test_calls_and_their_results_are_part_of_the_conversation(server):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "a", "days": 1}'},
    }
    messages = [
        {"role": "user", "content": "abc"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    answer = server.ask("/v1/chat/completions", {"messages": messages, "tools": TOOLS, "max_tokens": 3})
    assert answer.status == 200


def test_unknown_tools_and_invalid_parameters_are_refused(server):
    missing = {"type": "function", "function": {"name": "missing"}}
    assert server.chat(tools=TOOLS, tool_choice=missing).json["error"]["param"] == "tool_choice"
    broken = [{"type": "function", "function": {"name": "f", "parameters": {"type": "nothing"}}}]
    assert server.chat(tools=broken, tool_choice="required").status == 400
    for kind in ("string", ["object", "null"]):
        other = [{"type": "function", "function": {"name": "f", "parameters": {"type": kind}}}]
        assert "type 'object'" in server.chat(tools=other).json["error"]["message"]


TEXT = (
    'see <tool_call>{"name": "f", "arguments": {"a": "}</tool_call>\\"{"}}</tool_call>\n'
    '<tool_call>{"name": "g", "arguments": {}}</tool_call>'
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 500])
def test_calls_are_found_however_the_text_is_cut(size):
    parser = ToolCallParser(has_tools=True)
    deltas = [delta for start in range(0, len(TEXT), size) for delta in parser.feed(TEXT[start : start + size])]
    deltas += parser.finish()
    assert "".join(delta.content for delta in deltas) == "see "
    names = [delta.name for delta in deltas if delta.name]
    arguments = ["".join(delta.arguments for delta in deltas if delta.call == number) for number in (0, 1)]
    assert (names, [json.loads(each) for each in arguments]) == (["f", "g"], [{"a": '}</tool_call>"{'}, {}])


def test_text_that_only_resembles_a_call_is_kept():
    parser = ToolCallParser(has_tools=True)
    assert (
        "".join(delta.content for delta in [*parser.feed("a <tool"), *parser.feed("box> <"), *parser.finish()])
        == "a <toolbox> <"
    )
