from __future__ import annotations

import numpy as np
import pytest
from decode_fakes import Bytes, Equal, Letters
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.convert_slow_tokenizer import bytes_to_unicode

from etesian.decode import Decoder, FixedPolicy, Sampling, TableModel
from etesian.decode.generation import Text
from etesian.decode.output_text import OutputText, token_bytes
from etesian.decode.sampling import Grammar
from etesian.errors import InputError


def reciting(text, end=256):
    """A model that says one text after a prompt of one token, byte by byte, then the end token."""
    said = [*text.encode(), end]

    def logits_of(tokens):
        row = np.zeros(257, np.float32)
        row[said[(len(tokens) - 1) % len(said)]] = 9
        return row

    return TableModel.from_function(logits_of, 257)


def decoder_of(text, max_nodes=7):
    model = reciting(text)
    return Decoder(model, Equal(model), Bytes(), end_tokens=[256], policy=FixedPolicy(max_nodes, max_nodes))


# Characters of one to four bytes, joined ones, and one that stands for itself.
texts = st.text(st.sampled_from("aé€😀ñ\N{COMBINING ACUTE ACCENT}\ufffd\n"), min_size=1, max_size=12)


@given(text=texts, max_nodes=st.integers(0, 9))
@settings(max_examples=80)
def test_pieces_are_whole_characters_and_join_to_the_text(text, max_nodes):
    decoder = decoder_of(text, max_nodes)
    pieces = [str(piece) for piece in decoder.stream([97], max_tokens=99)]
    assert "".join(pieces) == decoder.generate([97], max_tokens=99).text == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


@given(text=texts, max_tokens=st.integers(1, 20))
@settings(max_examples=80)
def test_a_character_cut_by_the_length_is_the_last_of_the_text(text, max_tokens):
    out = decoder_of(text).generate([97], max_tokens=max_tokens)
    whole = text.encode()
    assert out.text == whole[:max_tokens].decode(errors="replace")
    assert out.text == "".join(out.texts)
    assert out.finish_reason == ("length" if max_tokens <= len(whole) else "stop")


@given(text=st.text("abc", max_size=12), stop=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
@settings(max_examples=200)
def test_text_ends_before_the_stop_string_that_is_complete_first(text, stop):
    decoder = decoder_of(text)
    out = decoder.generate([97], Sampling(stop=stop), max_tokens=99)
    ends = {
        end: min(text[:end].find(s) for s in stop if s in text[:end])
        for end in range(len(text) + 1)
        if any(s in text[:end] for s in stop)
    }
    if ends:
        assert out.text == text[: ends[min(ends)]]
        assert len(out.token_ids) == min(ends)
    else:
        assert out.text == text
        assert out.token_ids == (*text.encode(), 256)
    assert out.finish_reason == "stop"
    assert "".join(map(str, decoder.stream([97], Sampling(stop=stop), max_tokens=99))) == out.text


def test_memory_of_a_text_grows_with_its_length():
    assert decoder_of("ab").generate([97], max_tokens=2**62).text == "ab"
    text, tokens = Text([3, 4], capacity=2**62), [3, 4, *range(10_000)]
    first = text.tokens
    for token in tokens[2:]:
        text.append(token)
    assert text.tokens.tolist() == tokens
    assert len(text) == len(tokens)
    assert text.tokens.base.nbytes < 4 * 4 * len(tokens)
    assert first.tolist() == [3, 4]


def test_nothing_that_may_begin_a_stop_string_is_told_early():
    text = OutputText(Letters(), [], ["bcd", "ce"])
    told = [text.push(Letters().encode(letter)[0]) for letter in "abcabcf"]
    assert told == ["a", "", "", "bca", "", "", "bcf"]
    assert text.finish() == ""
    assert [text.push(Letters().encode(letter)[0]) for letter in "bce"] == ["", "", "b"]
    assert text.has_stopped


def test_what_was_held_back_is_told_at_the_end():
    text = OutputText(Letters(), [], ["bcd"])
    assert [text.push(1), text.push(2), text.finish()] == ["", "", "bc"]


def test_first_token_reads_as_it_does_after_the_prompt():
    class Spaced(Letters):
        """As SentencePiece does: a space before each word, but for the first of what is decoded."""

        def decode(self, tokens):
            return " ".join(Letters.decode(self, [token]) for token in tokens)

    text = OutputText(Spaced(), [0, 1])
    assert [text.push(2), text.push(3)] == [" c", " d"]


def test_a_prompt_may_end_amid_a_character():
    euro = "€".encode()
    text = OutputText(Bytes(), [97, *euro[:2]])
    assert text.push(98) == "b"


@pytest.mark.parametrize("stop_tokens", [[2], [2, 4]])
def test_a_stop_token_ends_the_output_and_reads_as_nothing(stop_tokens):
    model = TableModel.from_function(lambda tokens: np.eye(5, dtype=np.float32)[len(tokens) % 5], 5)
    out = Decoder(model, Equal(model), Letters()).generate([0, 0, 0], Sampling(stop_tokens=stop_tokens), max_tokens=20)
    assert out.text == ("deab" if stop_tokens == [2] else "d")
    assert out.token_ids == ((3, 4, 0, 1, 2) if stop_tokens == [2] else (3, 4))
    assert out.finish_reason == "stop"


def test_ignored_end_of_text_reads_as_nothing_and_stop_tokens_still_end_the_output():
    class Ending(Letters):
        """Decodes without the end of text, as tokenizers do."""

        def decode(self, tokens):
            return super().decode([token for token in tokens if token != 2])

    model = TableModel.from_function(lambda tokens: np.eye(5, dtype=np.float32)[len(tokens) % 5], 5)
    decoder = Decoder(model, Equal(model), Ending(), end_tokens=[2])
    assert decoder.generate([0, 0, 0], max_tokens=9).text == "deab"
    out = decoder.generate([0, 0, 0], Sampling(ignore_eos=True), max_tokens=9)
    assert (out.token_ids, out.text, out.finish_reason) == ((3, 4, 0, 1, 2, 3, 4, 0, 1), "deabdeab", "length")
    out = decoder.generate([0, 0, 0], Sampling(ignore_eos=True, stop_tokens=[0]), max_tokens=9)
    assert (out.token_ids, out.finish_reason) == ((3, 4, 0), "stop")
    with pytest.raises(InputError, match="ignore_eos and grammar cannot be combined"):
        Sampling(ignore_eos=True, grammar=Grammar.json_object())


class Named:
    """Tokens by the names that vocabularies give them, which decode like single tokens of the `tokenizers` package."""

    names = ("<0xE2>", "\u2581the", *bytes_to_unicode().values())

    def name_of(self, token):
        return self.names[token]

    def encode(self, text):
        raise NotImplementedError

    def decode(self, tokens):
        return {0: "\ufffd", 1: "the"}.get(tokens[0], "\ufffd")


def test_bytes_of_tokens_are_read_from_their_names():
    """The letters of bytes are those of transformers."""
    found = [token_bytes(Named(), token) for token in range(len(Named.names))]
    assert found == [b"\xe2", b" the", *(bytes([byte]) for byte in bytes_to_unicode())]
    assert token_bytes(Letters(), 0) == Letters().decode([0]).encode()
