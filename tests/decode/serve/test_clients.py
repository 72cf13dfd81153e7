"""Clients of others: the openai packages of Python and npm, and schemathesis on the OpenAPI description."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import openai
import pytest
import schemathesis
from http_server import MODEL, running
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from toy_decoder import END

SCHEMA = {
    "type": "object",
    "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["days"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "user", "content": "abc"}]


@pytest.fixture(scope="module")
def server():
    with running(engine={"slots": 4}) as found:
        yield found


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url, api_key="any", max_retries=0) as found:
        yield found


def test_openai_chats_and_streams(client):
    whole = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_completion_tokens=12, seed=3)
    stream = client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        max_completion_tokens=12,
        seed=3,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert whole.usage.prompt_tokens_details.cached_tokens is not None


def test_openai_completes_text_and_lists_models(client):
    assert client.completions.create(model=MODEL, prompt="abc", max_tokens=3).choices[0].text
    assert [model.id for model in client.models.list()] == [MODEL]


def test_openai_calls_tools(client):
    tools = [{"type": "function", "function": {"name": "plan", "parameters": SCHEMA}}]
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, tools=tools, tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, answer.choices[0].finish_reason) == ("plan", "tool_calls")
    assert 1 <= json.loads(call.function.arguments)["days"] <= 9


def test_openai_parses_json(client):
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, response_format=wanted)
    assert 1 <= json.loads(answer.choices[0].message.content)["days"] <= 9


def test_openai_responds_and_streams_responses(client):
    whole = client.responses.create(model=MODEL, input="abc", max_output_tokens=9)
    with client.responses.stream(model=MODEL, input="abc", max_output_tokens=9) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert deltas == whole.output_text


def test_openai_raises_errors_by_their_status(client):
    with pytest.raises(openai.NotFoundError, match="'other' does not exist"):
        client.chat.completions.create(model="other", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=-1)
    assert refusal.value.param == "temperature"


def test_openai_aborts_a_stream(client, server):
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, max_tokens=4096, logit_bias={str(END): -1000}
    )
    next(iter(stream))
    assert server.engine.n_running == 1
    stream.close()
    deadline = time.monotonic() + 10
    while server.engine.n_running and time.monotonic() < deadline:
        time.sleep(0.002)
    assert server.engine.n_running == 0


NPM_SCRIPT = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "any", maxRetries: 0 });
const asked = { model: "toy", messages: [{ role: "user", content: "abc" }], max_tokens: 12, seed: 3 };
const whole = await client.chat.completions.create(asked);
let text = "", usage = null;
const streamed = { ...asked, stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create(streamed)) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
const tools = [{ type: "function", function: { name: "plan", parameters: JSON.parse(process.argv[3]) } }];
const called = await client.chat.completions.create({ ...asked, max_tokens: 200, tools, tool_choice: "required" });
const format = { type: "json_schema", json_schema: { name: "plan", schema: JSON.parse(process.argv[3]) } };
const parsed = await client.chat.completions.create({ ...asked, max_tokens: 200, response_format: format });
const status = await client.chat.completions.create({ ...asked, model: "other" }).catch((error) => error.status);
const stream = await client.chat.completions.create({ ...asked, max_tokens: 4096, stream: true, logit_bias: { 0: -1000 } });
for await (const _ of stream) break; // aborts the request
console.log(JSON.stringify({
  same: text === whole.choices[0].message.content, usage, status, json: parsed.choices[0].message.content,
  call: called.choices[0].message.tool_calls[0].function, reason: called.choices[0].finish_reason,
}));
"""


def test_the_npm_client_chats_streams_calls_tools_and_aborts(server, tmp_path):
    folder = _npm_package()
    if folder is None:
        pytest.skip("node and the npm package openai are not installed")
    (tmp_path / "node_modules").symlink_to(folder)
    (tmp_path / "ask.mjs").write_text(NPM_SCRIPT)
    line = ["node", str(tmp_path / "ask.mjs"), server.url, json.dumps(SCHEMA)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout)
    assert (found["same"], found["status"], found["reason"], found["call"]["name"]) == (True, 404, "tool_calls", "plan")
    assert found["usage"]["completion_tokens"] > 0
    assert 1 <= json.loads(found["json"])["days"] <= 9
    deadline = time.monotonic() + 10
    while server.engine.n_running and time.monotonic() < deadline:
        time.sleep(0.002)
    assert server.engine.n_running == 0


def _npm_package():
    """Return the folder of globally installed packages if it holds the client."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    root = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, check=False).stdout.strip()
    return root if root and subprocess.run(["test", "-d", f"{root}/openai"], check=False).returncode == 0 else None


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
QUICK = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_responses_to_generated_requests_fit_the_description(server):
    schema = schemathesis.openapi.from_dict(server.ask("/openapi.json").json)

    def check(case):
        case.call_and_validate(base_url=f"http://127.0.0.1:{server.port}", checks=CHECKS, timeout=60)

    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) >= 8
    for operation in operations:
        QUICK(given(operation.as_strategy())(check))()
