"""Chat: the model's own template, the part of a conversation that is read once, and the command."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from decode_fakes import VOCABULARY, Equal
from rich.console import Console
from tiny_bundle import byte_tokenizer

from etesian.cli.app import run
from etesian.cli.decode_chat import Conversation, Session
from etesian.decode import Decoder, FixedPolicy, Sampling, TableModel
from etesian.decode.models.loading.text_tokenizer import TextTokenizer, TransformersChatTemplate
from etesian.errors import InputError

MODEL = TableModel(VOCABULARY, scale=2.0, seed=1)
TEMPLATE = (
    "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
)
QUESTION = [{"role": "user", "content": "hi"}]


class Turns:
    """Role and content as tokens, one per letter."""

    def encode(self, messages):
        text = "".join(message["role"][0] + message["content"] for message in messages) + "a"
        return [ord(letter) % VOCABULARY for letter in text]


class Letters:
    def encode(self, text):
        return [ord(letter) % VOCABULARY for letter in text]

    def decode(self, tokens):
        return "".join(chr(ord("a") + token) for token in tokens)


def chatting(**changes):
    options = {"tokenizer": Letters(), "chat_template": Turns(), "policy": FixedPolicy(4, 4)} | changes
    return Decoder(MODEL, Equal(MODEL), **options)


def templated(template=TEMPLATE):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return TransformersChatTemplate(tokenizer)


def test_the_prompt_is_the_models_own_template_rendered_by_transformers():
    template = templated()
    messages = [{"role": "system", "content": "be brief"}, *QUESTION]
    expected = template.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert template.encode(messages) == expected
    assert TextTokenizer(template.tokenizer).decode(expected) == "s:be brief\nu:hi\na:"


@pytest.mark.parametrize(
    ("template", "messages", "reason"),
    [
        (TEMPLATE, [], "at least one message"),
        (TEMPLATE, [{"role": "user"}], "'role' and a 'content'"),
        ("{{ raise_exception('roles must alternate') }}", QUESTION, "roles must alternate"),
        ("{{ 1 / 0 }}", QUESTION, "division by zero"),
        ("{% for i in range(10**9) %}{% endfor %}", QUESTION, "Range too big"),
        ("{{ 'a' * 10**17 }}", QUESTION, "MemoryError"),
        ("{{ cycler() }}", QUESTION, "at least one item"),
        ("{% for i in [1] %}" * 30 + "{% endfor %}" * 30, QUESTION, "nested"),
        ("{{ '\\ud800' }}", QUESTION, "must be UTF-8 text"),
        (TEMPLATE, [{"role": "user", "content": "\ud800"}], "must be UTF-8 text"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", QUESTION, "chat template"),  # the sandbox
    ],
)
def test_what_a_template_rejects_is_an_input_error(template, messages, reason):
    with pytest.raises(InputError, match=reason):
        templated(template).encode(messages)


def test_text_with_a_lone_surrogate_is_refused():
    with pytest.raises(InputError, match="the text must be UTF-8 text; character"):
        TextTokenizer(byte_tokenizer()).encode("a\ud800")


def test_chat_continues_the_rendered_conversation():
    decoder = chatting()
    out = decoder.chat(QUESTION, max_tokens=9)
    assert out.token_ids == Decoder(MODEL).generate(Turns().encode(QUESTION), max_tokens=9).token_ids
    assert "".join(piece.text for piece in decoder.stream_chat(QUESTION, max_tokens=9)) == out.text
    with pytest.raises(InputError, match="no chat template"):
        chatting(chat_template=None).chat(QUESTION)


def test_the_part_shared_with_the_previous_turn_is_not_read_again():
    decoder = chatting()
    first = decoder.chat(QUESTION, max_tokens=9)
    history = [*QUESTION, {"role": "assistant", "content": "x"}, {"role": "user", "content": "more"}]
    second = decoder.chat(history, max_tokens=9)
    assert first.stats.reused_tokens == 0
    assert second.stats.reused_tokens == len(Turns().encode(QUESTION))
    assert second.token_ids == chatting().chat(history, max_tokens=9).token_ids


def session_of(decoder, **changes):
    options = {"max_tokens": 6, "speculate": True, "show_origins": False} | changes
    shown = io.StringIO()
    return Session(decoder, Sampling(), console=Console(file=shown, width=200), **options), shown


def lines(*texts):
    given = iter(texts)

    def read_line():
        line = next(given, None)
        if line is None:
            raise EOFError
        if isinstance(line, BaseException):
            raise line
        return line

    return read_line


def test_a_session_keeps_its_history_and_sends_it_with_every_question(capsys):
    session, _ = session_of(chatting())
    session.run(lines("hi", "more"))
    answers = capsys.readouterr().out.splitlines()
    roles = [message["role"] for message in session.conversation.messages]
    assert roles == ["user", "assistant"] * 2
    assert [message["content"] for message in session.conversation.messages][1::2] == answers
    expected = chatting().chat(session.conversation.messages[:3], max_tokens=6).text
    assert answers[1] == expected


def test_commands_of_a_session(capsys):
    session, shown = session_of(chatting())
    session.conversation = Conversation("be brief")
    session.run(
        lines("/help", "/stats", "hi", "/stats", "/undo", "/origins", "/nonsense", "/system be kind", "/exit", "hi")
    )
    text = shown.getvalue()
    assert "/undo" in text
    assert "no answer yet" in text
    assert "tokens/s" in text
    assert "0 messages left" in text
    assert "unknown command /nonsense" in text
    assert session.conversation.messages == [{"role": "system", "content": "be kind"}]
    assert session.show_origins


def test_ctrl_c_ends_the_answer_but_not_the_session(capsys):
    decoder = chatting(policy=FixedPolicy(1, 1))
    stream_chat = decoder.stream_chat

    def interrupted(*given, **options):
        stream = stream_chat(*given, **options)

        class Interrupted(type(stream)):
            def __next__(self):
                piece = super().__next__()
                if len(self.generation.token_ids) > 3:
                    raise KeyboardInterrupt
                return piece

        stream.__class__ = Interrupted
        return stream

    decoder.stream_chat = interrupted
    session, shown = session_of(decoder)
    session.run(lines("hi", KeyboardInterrupt(), "more"))
    assert shown.getvalue().count("answer ended by Ctrl-C") == 2
    assert [message["role"] for message in session.conversation.messages] == ["user", "assistant"] * 2
    assert 0 < len(session.conversation.messages[1]["content"]) < 6


def test_ctrl_c_before_an_answer_begins_withdraws_the_question(capsys):
    decoder = chatting()
    encode = decoder.chat_template.encode

    def interrupted(messages):  # the first rendering of a template may take seconds
        if len(messages) == 1:
            raise KeyboardInterrupt
        return encode(messages)

    decoder.chat_template.encode = interrupted
    session, shown = session_of(decoder)
    session.conversation.turns = []
    session.run(lines("hi"))
    assert session.conversation.messages == []
    assert "ended by Ctrl-C" in shown.getvalue()


def test_the_command_answers_every_line_of_its_input(bundle, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(bundle / "target", tmp_path / "chat")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": TEMPLATE}))
    monkeypatch.setattr("sys.stdin", io.StringIO("hi\n/help\nmore\n"))
    assert run(["chat", "--model", str(folder), "--max-tokens", "3", "--system", "s"]) == 0
    assert "Ctrl-C           end the answer" in capsys.readouterr().err


def test_the_command_refuses_a_model_without_a_template(bundle, capsys):
    assert run(["chat", "--model", str(bundle / "target")]) == 2
    assert "has no chat template" in capsys.readouterr().err
