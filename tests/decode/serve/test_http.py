"""The HTTP interface: results equal the library's, errors have OpenAI's format, and nobody else gets in."""

from __future__ import annotations

import json
import logging
import socket
import time

import pytest
from http_server import MODEL, running
from toy_decoder import END, PlainChat, byte_tokens, english_like, make_decoder

from etesian.decode import Sampling
from etesian.decode.serve.http import read_api_keys
from etesian.decode.serve.slots import score_slots
from etesian.errors import InputError

KEYS = ("first-secret-key-0001", "other-secret-key-0002")
ENDLESS = {"logit_bias": {str(END): -1000}}


@pytest.fixture(scope="module")
def server():
    with running(engine={"slots": 4}) as found:
        yield found


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys.txt"
    file.write_text("# two users\n" + "\n\n".join(KEYS) + "\n")
    with running(
        api_keys=read_api_keys(file),
        allowed_hosts=["proxy.example"],
        allowed_origins=["https://app.example"],
        max_body_bytes=2_000,
        max_messages=3,
        max_schema_bytes=300,
        max_choices=4,
        body_seconds=0.3,
    ) as found:
        yield found


def plain(prompt, sampling=None, max_tokens=16):
    return make_decoder(drafter="none").generate(prompt, sampling or Sampling(), max_tokens=max_tokens)


def plain_chat(content, sampling=None, max_tokens=16):
    return plain(PlainChat().encode([{"role": "user", "content": content}]), sampling, max_tokens)


def test_a_server_leaves_the_log_handlers_of_its_process_alone():
    closed = []

    class Handler(logging.Handler):
        def close(self):
            closed.append(self)
            super().close()

    handler = Handler()
    try:
        with running():
            assert closed == []
    finally:
        handler.close()


def test_a_chat_completion_is_the_librarys_text(server):
    sampling = Sampling(
        temperature=0.9, top_p=0.9, top_k=9, min_p=0.01, seed=5, presence_penalty=0.3, frequency_penalty=0.2,
        repetition_penalty=1.1, logit_bias={byte_tokens("a")[0]: 1.5}, stop=["cc"],
    )  # fmt: skip
    answer = server.chat(
        "abc", temperature=0.9, top_p=0.9, top_k=9, min_p=0.01, seed=5, presence_penalty=0.3, frequency_penalty=0.2,
        repetition_penalty=1.1, logit_bias={str(byte_tokens("a")[0]): 1.5}, stop="cc", max_tokens=40,
    )  # fmt: skip
    expected = plain_chat("abc", sampling, 40)
    (choice,) = answer.json["choices"]
    assert (answer.status, choice["message"]["content"]) == (200, expected.text)
    assert choice["finish_reason"] == expected.finish_reason
    assert answer.json["usage"]["completion_tokens"] == len(expected.token_ids)
    assert answer.json["usage"]["prompt_tokens"] == expected.stats.prompt_tokens


def test_speculation_is_reported_and_changes_nothing(server):
    drafted, undrafted = (server.chat("abab " * 9, max_tokens=60, speculate=each).json for each in (True, False))
    assert drafted["choices"] == undrafted["choices"]
    with_drafts, without = (each["usage"]["completion_tokens_details"] for each in (drafted, undrafted))
    assert with_drafts["drafted_tokens"] >= with_drafts["accepted_tokens"] > 0
    assert with_drafts["passes"] < without["passes"] == undrafted["usage"]["completion_tokens"]
    assert without["drafted_tokens"] == 0


def test_choices_have_consecutive_seeds(server):
    answer = server.chat("abc", n=3, temperature=1, seed=7).json
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert texts == [plain_chat("abc", Sampling(temperature=1.0, seed=7 + each)).text for each in range(3)]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]


def test_a_stream_adds_up_to_the_answer_and_ends_with_usage(server):
    options = {"n": 2, "temperature": 1, "logprobs": True, "top_logprobs": 2}
    whole = server.chat("abc", **options).json
    answer = server.chat("abc", stream=True, stream_options={"include_usage": True}, **options)
    assert answer.headers.get_content_type() == "text/event-stream"
    *chunks, last, done = answer.events
    assert done == "[DONE]"
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], whole["usage"]["completion_tokens"])
    assert all(chunk["usage"] is None and chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    for choice in whole["choices"]:
        own = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(part["delta"].get("content", "") for part in own) == choice["message"]["content"]
        assert [part["finish_reason"] for part in own] == [None] * (len(own) - 1) + [choice["finish_reason"]]
        logprobs = [entry for part in own if part["logprobs"] for entry in part["logprobs"]["content"]]
        assert logprobs == choice["logprobs"]["content"]


def test_tokens_that_follow_soon_are_streamed_together():
    body = {"max_tokens": 300, "stream": True, "speculate": False, "logprobs": True, **ENDLESS}
    with running(stream_seconds=0.5) as server:
        began = time.monotonic()
        parts = [event["choices"][0] for event in server.chat(**body).events[:-1]]
        most = (
            5 + (time.monotonic() - began) / 0.5
        )  # role, first token, end of the text, reason, and what time may need
    assert len(parts) <= most
    texts = [part["delta"].get("content", "") for part in parts]
    assert "".join(texts) == server_text(body)
    assert sum(len(part["logprobs"]["content"]) for part in parts if part["logprobs"]) == 300


def server_text(body):
    with running(stream_seconds=0) as server:
        return server.chat(**body | {"stream": False}).json["choices"][0]["message"]["content"]


def test_output_is_sent_at_once(server):
    with socket.create_connection(("127.0.0.1", server.port)):
        wait_until(lambda: server.connections)
        options = [each.transport.get_extra_info("socket") for each in list(server.connections)]
        assert all(option.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for option in options)


def test_log_probabilities_are_those_of_plain_decoding(server):
    expected = plain_chat("abc", Sampling(logprobs=3))
    entries = server.chat("abc", logprobs=True, top_logprobs=3).json["choices"][0]["logprobs"]["content"]
    assert [entry["logprob"] for entry in entries] == list(expected.logprobs)
    tops = [[other["logprob"] for other in entry["top_logprobs"]] for entry in entries]
    assert tops == [[chance for _, chance in others] for others in expected.alternatives]


def test_log_probabilities_show_the_bytes_of_parts_of_characters(server):
    """As OpenAI documents it: the bytes of all tokens add up to the text, whose characters may need several tokens."""
    text = "aé😀"
    grammar = f'start: "{text}"'
    entries = server.chat(guided_grammar=grammar, logprobs=True, top_logprobs=1).json["choices"][0]["logprobs"][
        "content"
    ]
    assert bytes(byte for entry in entries for byte in entry["bytes"]).decode() == text
    assert [entry["token"] for entry in entries[:3]] == ["a", "\\xc3", "\\xa9"]
    body = {"prompt": "ab", "guided_grammar": grammar, "logprobs": 20, "max_tokens": 4, "temperature": 0}
    logprobs = server.ask("/v1/completions", body).json["choices"][0]["logprobs"]
    assert logprobs["tokens"][:3] == ["a", "bytes:\\xc3", "bytes:\\xa9"]
    assert [len(top) for top in logprobs["top_logprobs"]] == [20] * 4  # none hides another


def test_text_completions_take_texts_tokens_and_lists(server):
    options = {"max_tokens": 8, "temperature": 0}
    expected = [plain("abc", max_tokens=8).text, plain("de", max_tokens=8).text]
    for prompts in (["abc", "de"], [byte_tokens("abc"), byte_tokens("de")]):
        answer = server.ask("/v1/completions", {"prompt": prompts, **options}).json
        assert [choice["text"] for choice in answer["choices"]] == expected
    single = server.ask("/v1/completions", {"prompt": byte_tokens("abc"), "echo": True, **options}).json
    assert single["choices"][0]["text"] == "abc" + expected[0]


def test_text_completions_stream_with_log_probabilities(server):
    body = {"prompt": "abc", "max_tokens": 8, "temperature": 0, "logprobs": 2}
    whole = server.ask("/v1/completions", body).json["choices"][0]
    events = server.ask("/v1/completions", body | {"stream": True}).events[:-1]
    parts = [event["choices"][0] for event in events]
    assert "".join(part["text"] for part in parts) == whole["text"]
    assert parts[-1]["finish_reason"] == whole["finish_reason"]
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert [each for part in parts if part["logprobs"] for each in part["logprobs"][name]] == whole["logprobs"][
            name
        ]


def test_stop_tokens_end_the_text_and_both_names_of_the_length_are_known(server):
    stopping = server.chat("abc", stop_token_ids=byte_tokens("abcdefghij"), max_tokens=50).json["choices"][0]
    assert stopping["finish_reason"] == "stop"
    body = {"max_tokens": 9, "max_completion_tokens": 3, **ENDLESS}
    assert server.chat("abc", **body).json["usage"]["completion_tokens"] == 3
    assert server.chat("abc", **body).json["choices"][0]["finish_reason"] == "length"


def test_benchmarks_continue_past_the_end_of_text(server):
    body = {"max_tokens": 9, "logit_bias": {str(END): 1000}}
    ending = server.chat("abc", **body).json
    assert (ending["choices"][0]["finish_reason"], ending["usage"]["completion_tokens"]) == ("stop", 1)
    going_on = server.chat("abc", ignore_eos=True, **body).json
    assert (going_on["choices"][0]["finish_reason"], going_on["usage"]["completion_tokens"]) == ("length", 9)
    refused = server.chat("abc", ignore_eos=True, response_format={"type": "json_object"})
    assert refused.status == 400
    assert "ignore_eos and grammar cannot be combined" in refused.text


def test_a_response_and_its_stream_agree(server):
    body = {"input": "abc", "instructions": "ab", "max_output_tokens": 9, "temperature": 0}
    whole = server.ask("/v1/responses", body).json
    prompt = PlainChat().encode([{"role": "system", "content": "ab"}, {"role": "user", "content": "abc"}])
    assert whole["output"][0]["content"][0]["text"] == plain(prompt, max_tokens=9).text
    events = server.ask("/v1/responses", body | {"stream": True}).events
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert deltas == whole["output"][0]["content"][0]["text"]
    assert events[-1]["type"] == f"response.{whole['status']}"
    assert events[-1]["response"]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


def test_a_response_accepts_what_asks_for_nothing_more(server):
    """Clients send these values without being asked to."""
    neutral = {
        "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "include": [], "background": False, "store": False,
        "truncation": "disabled", "reasoning": {"effort": "low"}, "previous_response_id": None, "conversation": None,
    }  # fmt: skip
    assert server.ask("/v1/responses", {"input": "ab", "max_output_tokens": 2, **neutral}).status == 200
    for name, value in (("tools", [{}]), ("tool_choice", "required"), ("include", ["a"]), ("background", True)):
        answer = server.ask("/v1/responses", {"input": "ab", **neutral, name: value})
        assert (answer.status, answer.json["error"]["param"]) == (400, name)
    without_schema = server.ask("/v1/responses", {"input": "ab", "text": {"format": {"type": "json_schema"}}})
    assert (without_schema.status, without_schema.json["error"]["param"]) == (400, "text.format")


def test_tokens_and_texts_convert(server):
    tokens = server.ask("/tokenize", {"content": "ab é"}).json
    assert tokens == {"tokens": byte_tokens("ab é"), "count": 5}
    assert server.ask("/detokenize", {"tokens": tokens["tokens"]}).json["content"] == "ab é"


def test_models_health_and_metrics(server):
    assert server.ask("/v1/models").json["data"][0]["id"] == MODEL
    assert server.ask(f"/v1/models/{MODEL}").json["id"] == MODEL
    assert server.ask("/health").json["status"] == "ok"
    server.chat("abc")
    text = server.ask("/metrics").text
    assert 'etesian_http_requests_total{path="/v1/chat/completions",status="200"}' in text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines["etesian_generated_tokens_total"]) == server.engine.counters.tokens > 0


@pytest.mark.parametrize(
    ("max_length", "context", "expected"),
    [(None, None, None), (99, None, 99), (99, 50, 50), (99, 500, 99), (None, 50, 50)],
)
def test_context_length_is_the_limit_that_requests_meet(max_length, context, expected):
    decoder = make_decoder(english_like(max_length=max_length), drafter="none")
    with running(decoder, engine={"slots": 1, "context": context}) as server:
        assert server.ask("/v1/models").json["data"][0]["context_length"] == expected
        prompts = ["a" * length for length in range(expected - 1, expected + 1)] if expected else ["a" * 600]
        statuses = [server.ask("/v1/completions", {"prompt": each, "max_tokens": 1}).status for each in prompts]
        assert statuses == ([200, 400] if expected else [200])


def test_a_continued_conversation_counts_cached_tokens(server):
    turns = [{"role": "user", "content": "abc " * 12}]
    first = server.ask("/v1/chat/completions", {"messages": turns, "max_tokens": 5, "temperature": 0}).json
    turns += [first["choices"][0]["message"], {"role": "user", "content": "more"}]
    turns[1] = {"role": "assistant", "content": turns[1]["content"]}
    again = server.ask("/v1/chat/completions", {"messages": turns, "max_tokens": 5, "temperature": 0}).json
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] // 16 * 16 - 16


MISTAKES = [
    ({"temperature": -1}, 400, "temperature"),
    ({"temperature": "hot"}, 400, "temperature"),
    ({"top_p": 0}, 400, "top_p"),
    ({"n": 0}, 400, "n"),
    ({"n": 1000}, 400, "n"),
    ({"messages": []}, 400, "messages"),
    ({"messages": [{"role": "king", "content": "a"}]}, 400, "messages.0.role"),
    ({"messages": [{"role": "user"}]}, 400, "messages.0"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, 400, None),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "text": "a"}]}]},
        400,
        "messages.0.content.0.type",
    ),
    ({"tool_choice": {"type": "function"}}, 400, "tool_choice.function"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": True}}},
        400,
        "response_format.json_schema.schema",
    ),
    ({"logit_bias": {"5": 1e300}}, 400, "logit_bias"),
    ({"logit_bias": {"a": 1}}, 400, "logit_bias"),
    ({"logit_bias": {"999999": 1}}, 400, "logit_bias"),
    ({"logit_bias": {"1" * 5000: 1}}, 400, "logit_bias"),
    ({"logit_bias": {"5": 1, "05": -100}}, 400, "logit_bias"),
    ({"logit_bias": {" 5": 1}}, 400, "logit_bias"),
    ({"presence_penalty": 1e39}, 400, "presence_penalty"),
    ({"frequency_penalty": -1e39}, 400, "frequency_penalty"),
    ({"repetition_penalty": 1e-39}, 400, "repetition_penalty"),
    ({"temperature": 10**400}, 400, "temperature"),
    ({"stop": ["a", ""]}, 400, "stop"),
    ({"top_logprobs": 3}, 400, "top_logprobs"),
    ({"stream": False, "stream_options": {"include_usage": True}}, 400, "stream_options"),
    ({"functions": []}, 400, "functions"),
    ({"model": "other"}, 404, "model"),
    ({"response_format": {"type": "json_schema"}}, 400, "response_format"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}},
        400,
        "response_format",
    ),
    ({"guided_grammar": "start: missing"}, 400, "guided_grammar"),
    ({"tool_choice": "required"}, 400, "tool_choice"),
    ({"messages": [{"role": "user", "content": "a" * 20, "extra": 1}]}, 400, "messages.0.extra"),
    ({"max_tokens": -1}, 400, "max_tokens"),
    ({"seed": 2**70}, 400, "seed"),
]


@pytest.mark.parametrize("stream", [False, True])
def test_mistakes_are_http_errors_in_openais_format(server, stream):
    for options, status, param in MISTAKES:
        answer = server.chat(**({"stream": stream} | options))
        assert answer.status == status, options
        assert answer.headers.get_content_type() == "application/json"
        error = answer.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")
        if param is not None:
            assert error["param"] == param


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"prompt": ""}, "prompt"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/completions", {"prompt": [[]]}, "prompt"),
        ("/v1/completions", {"prompt": [999_999]}, "prompt"),
        ("/v1/completions", {"prompt": "a" * 60}, "prompt"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a" * 60}]}, "messages"),
        ("/v1/responses", {"input": "a" * 60}, "input"),
        (
            "/v1/responses",
            {"input": "a", "text": {"format": {"type": "json_schema", "schema": {"type": "none"}}}},
            "text",
        ),
    ],
)
@pytest.mark.parametrize("longest", [{"context": 50}, {}])
def test_errors_of_the_engine_name_their_parameter(path, body, param, longest):
    with running(make_decoder(english_like(max_length=55)), engine=longest) as server:
        answer = server.ask(path, body)
        assert (answer.status, answer.json["error"]["param"]) == (400, param)


SAMPLING_NULLS = dict.fromkeys(
    [
        "model",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "speculate",
        "include_origins",
        "metadata",
        "store",
    ]
)
NULLS = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "ab", "audio": None, "function_call": None, "name": None}],
        "stream": True, "stream_options": {"include_usage": None},
        "response_format": {"type": "text", "json_schema": None},
        **dict.fromkeys(["prediction", "audio", "functions", "function_call", "web_search_options", "prompt_cache_retention"]),
    },
    "/v1/completions": {"prompt": "ab", **dict.fromkeys(["suffix", "best_of", "logit_bias", "stop"])},
    "/v1/responses": {
        "input": [{"role": "user", "content": "ab", "phase": None}], "text": {"format": {"type": "text", "schema": None}},
        **dict.fromkeys(["top_logprobs", "max_tool_calls", "prompt", "prompt_cache_retention", "previous_response_id"]),
    },
    "/tokenize": {"content": "ab", "prompt": None, "model": None},
}  # fmt: skip


@pytest.mark.parametrize("path", NULLS)
def test_null_is_the_same_as_absent(server, path):
    common = {} if path == "/tokenize" else SAMPLING_NULLS
    body = {**common, **NULLS[path]}
    assert server.ask(path, body).status == 200
    for name in sorted(set(NULLS[path]) - {"messages", "prompt", "input", "content", "model", "stream"}):
        answer = server.ask(path, body | {name: {"unknown": 1}})
        assert (answer.status, answer.json["error"]["param"].split(".")[0]) == (400, name)


def test_null_inside_a_schema_is_kept(server):
    schema = {"enum": [None, None], "default": None}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert server.chat(response_format=wanted).json["choices"][0]["message"]["content"] == "null"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b'{"input": "a", "metadata": {"a": 1e999}}', 400),
        (b'{"input": "a", "metadata": {"a": [-1e999]}}', 400),
        (b'{"input": "a", "metadata": {"a": ' + b"9" * 5000 + b"}}", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b'{"messages": NaN}', 400),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", 400),
        (b"[" * 100_000, 400),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_malformed_bodies_are_refused(server, raw, status, path):
    answer = server.ask(path, raw)
    assert answer.status == status
    assert answer.json["error"]["type"] == "invalid_request_error"


def test_other_paths_methods_and_types_are_refused(server):
    assert server.ask("/v1/embeddings", {}).status == 404
    assert server.ask("/v1/chat/completions").status == 405
    assert server.ask("/v1/chat/completions", b"a=b", Content_Type="application/x-www-form-urlencoded").status == 415


@pytest.mark.parametrize("when", ["before the first event", "in a stream", "waiting for all"])
def test_a_client_that_leaves_frees_its_slot(when):
    """Otherwise, the text would take minutes."""
    body = {"messages": [{"role": "user", "content": "abc"}], "max_tokens": 10**6, "speculate": False, **ENDLESS}
    raw = json.dumps(body | {"stream": when != "waiting for all"}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with running(max_tokens=10**6) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
            wait_until(lambda: server.engine.n_running == 1)
            received = b""
            while when == "in a stream" and b"data: {" not in received:
                received += connection.recv(1 << 16)
        wait_until(lambda: server.engine.n_running == 0)


def wait_until(is_true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_full_queue_is_refused_with_a_time_to_retry():
    with running(engine={"slots": 1, "queue": 1}) as server:
        assert server.chat(n=3, **ENDLESS).status == 429
        answer = server.chat(n=3, **ENDLESS, stream=True)
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json["error"]["type"] == "rate_limit_error"
        assert server.chat(n=2).status == 200


def test_a_request_has_a_time_limit():
    with running(time_limit=0.2, max_tokens=10**6) as server:
        answer = server.chat(max_tokens=10**6, speculate=False, **ENDLESS)
        assert (answer.status, answer.json["error"]["code"]) == (504, "timeout")
        streamed = server.chat(max_tokens=10**6, speculate=False, stream=True, **ENDLESS)
        assert streamed.status == 200
        assert streamed.events[-1]["error"]["code"] == "timeout"


def test_streams_are_kept_alive_by_comments(monkeypatch):
    def score_slowly(*arguments):
        time.sleep(0.3)
        return score_slots(*arguments)

    monkeypatch.setattr("etesian.decode.serve.engine.score_slots", score_slowly)
    with running(ping_seconds=0.05) as server:
        text = server.chat(max_tokens=3, speculate=False, stream=True, **ENDLESS).text
        assert text.count(": ping") >= 2
        assert "data: [DONE]" in text  # one more comment may follow


def test_keys_are_required_and_never_shown(locked, capfd):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEYS[0]}"}):
        answer = locked.ask("/v1/models", **headers)
        assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_api_key")
        assert locked.ask("/metrics", **headers).status == 401
    for key in KEYS:
        assert locked.ask("/v1/models", Authorization=f"Bearer {key}").status == 200
    assert locked.ask("/health").status == 200
    assert locked.ask("/").status == 200
    shown = capfd.readouterr()
    assert not any(key in shown.out + shown.err for key in KEYS)


def test_each_key_has_a_cache_of_its_own(locked):
    def cached(key):
        body = {"messages": [{"role": "user", "content": "shared " * 20}], "max_tokens": 1}
        answer = locked.ask("/v1/chat/completions", body, Authorization=f"Bearer {key}")
        return answer.json["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert (cached(KEYS[0]), cached(KEYS[1])) == (0, 0)
    assert (cached(KEYS[0]) > 0, cached(KEYS[1]) > 0) == (True, True)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "a b", "[", "[::1"])
def test_hosts_that_could_be_made_to_point_here_are_refused(locked, host):
    assert locked.ask("/health", Host=host).status in (400, 403)  # some are refused as malformed


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:8000", "[::1]:8000", "proxy.example"])
def test_addresses_and_own_names_are_answered(locked, host):
    assert locked.ask("/health", Host=host).status == 200


def test_pages_of_other_origins_are_refused(locked):
    assert locked.ask("/health", Origin="https://evil.example").status == 403
    assert locked.ask("/health", Origin="null").status == 403
    allowed = locked.ask("/health", Origin="https://app.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    asked = "authorization,content-type,x-stainless-lang"  # as the npm package openai does
    preflight = locked.ask(
        "/v1/chat/completions", method="OPTIONS", Origin="https://app.example", Access_Control_Request_Headers=asked
    )
    assert (preflight.status, preflight.headers["Access-Control-Allow-Headers"]) == (204, asked)
    refused = locked.ask(
        "/v1/chat/completions", method="OPTIONS", Origin="https://evil.example", Access_Control_Request_Headers=asked
    )
    assert (refused.status, refused.headers["Access-Control-Allow-Headers"]) == (403, None)


def test_limits_hold(locked):
    def post(body, **headers):
        return locked.ask("/v1/chat/completions", body, Authorization=f"Bearer {KEYS[0]}", **headers)

    message = {"role": "user", "content": "a"}
    assert post({"messages": [message | {"content": "a" * 3_000}]}).status == 413
    assert post({"messages": [message] * 4}).json["error"]["param"] == "messages"
    schema = {"enum": ["a" * 400]}
    assert (
        post(
            {"messages": [message], "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
        ).status
        == 400
    )
    with socket.create_connection(("127.0.0.1", locked.port), timeout=10) as connection:  # a body that never arrives
        connection.sendall(
            b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {KEYS[0]}\r\nContent-Length: 100\r\n\r\n".encode()
        )
        assert b" 408 " in connection.recv(200)


def test_an_unexpected_error_reaches_the_log_and_not_the_client(server, monkeypatch, capfd):
    monkeypatch.setattr(type(server.engine), "open", lambda *_, **__: 1 / 0)
    answer = server.chat()
    assert answer.status == 500
    assert answer.json["error"]["message"] == "internal error; see the log of the server"
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert 'etesian_http_requests_total{path="/v1/chat/completions",status="500"} 1.0' in server.ask("/metrics").text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
def test_an_unexpected_error_in_a_stream_ends_it_with_an_event(server, monkeypatch, capfd, path):
    body = {"messages": [{"role": "user", "content": "ab"}], "prompt": "ab", "input": "ab"}
    given = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/responses": "input"}[path]
    monkeypatch.setattr("etesian.decode.serve.http.waiting.Choices.is_waiting", property(lambda _: 1 / 0))
    answer = server.ask(path, {given: body[given], "stream": True})
    assert answer.status == 200
    assert answer.events[-1]["error"]["message"] == "internal error; see the log of the server"
    assert ("event: error" in answer.text) == (path == "/v1/responses")
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_key_files_are_checked(tmp_path):
    file = tmp_path / "keys"
    for text, message in (("# none\n", "holds no key"), ("short\n", "fewer than 16 characters")):
        file.write_text(text)
        with pytest.raises(InputError, match=message) as error:
            read_api_keys(file)
        assert "short" not in str(error.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_api_keys(tmp_path / "missing")
