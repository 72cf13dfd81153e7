"""Grammars: outputs conform, speculation changes nothing, and forced tokens are drafted."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pytest
from tiny_bundle import byte_tokenizer

from etesian.decode import Decoder, Grammar, LookupDrafter, Sampling, TableModel
from etesian.decode.models.loading.text_tokenizer import TextTokenizer
from etesian.errors import InputError

TOKENIZER = TextTokenizer(byte_tokenizer())
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "count": {"type": "integer", "minimum": 0, "maximum": 999},
    },
    "required": ["name", "count"],
    "additionalProperties": False,
}
GRAMMARS = {
    "json_schema": Grammar.json_schema(SCHEMA),
    "lark": Grammar(
        "lark", 'start: "red" | "green" | list\nlist: "[" NUMBER ("," NUMBER){0,2} "]"\nNUMBER: /[0-9]{1,3}/'
    ),
    "regex": Grammar("regex", "[a-c]{2,5}(-[0-9]{2})?"),
}


def conforms(kind, text):
    if kind == "json_schema":
        jsonschema.validate(json.loads(text), SCHEMA)
        return True
    pattern = {"lark": r"red|green|\[\d{1,3}(,\d{1,3}){0,2}\]", "regex": "[a-c]{2,5}(-[0-9]{2})?"}[kind]
    return re.fullmatch(pattern, text) is not None


def decoder(seed=0, drafter=None, **options):
    return Decoder(TableModel(257, n_rows=128, seed=seed), drafter, TOKENIZER, **({"end_tokens": [0]} | options))


@pytest.mark.parametrize("kind", GRAMMARS)
@pytest.mark.parametrize("temperature", [None, 1.0])
def test_outputs_conform_and_do_not_depend_on_speculation(kind, temperature):
    for seed in range(3):
        sampling = Sampling(temperature=temperature, seed=seed, grammar=GRAMMARS[kind])
        plain = decoder(seed).generate("ab", sampling, speculate=False)
        assert plain.finish_reason == "stop"
        assert conforms(kind, plain.text)
        for drafter in (None, LookupDrafter()):
            drafted = decoder(seed, drafter).generate("ab", sampling)
            assert (drafted.token_ids, drafted.text) == (plain.token_ids, plain.text)


def test_every_choice_is_the_best_allowed_token():
    """Checked against the model itself: the first byte is the most likely one of the three that the grammar allows."""
    target = decoder().target
    logits = target.logits_of(TOKENIZER.encode("ab"))
    allowed = TOKENIZER.encode("[rg")
    first = decoder().generate("ab", Sampling(grammar=GRAMMARS["lark"])).token_ids[0]
    assert first == allowed[int(np.argmax(logits[allowed]))]


def test_forced_tokens_are_drafted_for_free():
    sampling = Sampling(grammar=GRAMMARS["json_schema"])
    plain, drafted = decoder().generate("ab", sampling, speculate=False), decoder().generate("ab", sampling)
    assert plain.stats.passes == len(plain.token_ids)
    (stage,) = drafted.stats.stages
    assert (stage.name, stage.accepted) == ("grammar", stage.proposed)
    assert stage.proposed >= len('{"name": "') - 1
    assert drafted.stats.passes == len(plain.token_ids) - stage.accepted


def test_an_open_ended_grammar_stops_at_the_token_limit():
    generation = decoder().generate("ab", Sampling(grammar=Grammar("regex", "a*b")), max_tokens=3)
    assert len(generation.token_ids) <= 3


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        (Grammar("lark", "start: missing"), "the grammar cannot be used: .*missing"),
        (Grammar("regex", "(a"), "the regular expression cannot be used"),
        (Grammar("regex", "(a"), "regex parse error: unclosed group"),
        (Grammar.json_schema({"type": "nothing"}), "the JSON schema cannot be used"),
        (Grammar.json_schema({"type": "string", "pattern": "("}), "regex parse error: unclosed group"),
        (Grammar("json_schema", "{"), "the JSON schema cannot be used"),
    ],
)
def test_invalid_grammars_are_refused(grammar, message):
    with pytest.raises(InputError, match=message):
        decoder().generate("ab", Sampling(grammar=grammar))


@pytest.mark.parametrize("speculate", [False, True])
def test_a_grammar_that_cannot_be_followed_any_further_is_an_error(speculate):
    """The regular expression reaches a limit of llguidance after its first token; the text must not go on without it."""
    with pytest.raises(InputError, match="the grammar is too complex to be followed beyond 1 tokens"):
        decoder().generate("ab", Sampling(grammar=Grammar("regex", "a{1000000}")), speculate=speculate)


def test_forced_tokens_overrule_a_grammar():
    forced = dict(enumerate(TOKENIZER.encode("zzz")))
    sampling = Sampling(grammar=GRAMMARS["regex"], forced_tokens=forced)
    assert decoder().generate("ab", sampling, max_tokens=5).text.startswith("zzz")


def test_boolean_schemas():
    text = decoder().generate("ab", Sampling(grammar=Grammar.json_schema(True)), max_tokens=200).text
    assert text[0] in '{["-0123456789tfn'
    with pytest.raises(InputError, match="no value conforms to the JSON schema false"):
        Grammar.json_schema(False)


def test_a_model_without_an_end_token_is_refused():
    with pytest.raises(InputError, match="grammars need a model with an end-of-text token"):
        decoder(end_tokens=[]).generate("ab", Sampling(grammar=GRAMMARS["regex"]))


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        ("yaml", "a: b", "kind of a grammar must be 'json_schema', 'lark' or 'regex'; got 'yaml'"),
        ("lark", 'start: "a\ud800"', "source of a grammar must be UTF-8 text; character 10 is invalid"),
        ("regex", "\ud800", "source of a grammar must be UTF-8 text; character 1 is invalid"),
        ("json_schema", '{"const": "\udc80"}', "source of a grammar must be UTF-8 text; character 12 is invalid"),
        ("regex", 5, "source of a grammar must be text; got 5"),
    ],
)
def test_unknown_kinds_and_sources_that_are_not_text_are_refused(kind, source, message):
    with pytest.raises(InputError, match=message):
        Grammar(kind, source)


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), {(1, 2): 3}], ids=lambda value: type(value).__name__)
def test_a_schema_that_is_not_json_is_refused(value):
    with pytest.raises(InputError, match="the JSON schema cannot be written as JSON: "):
        Grammar.json_schema({"a": value})


def test_a_schema_that_contains_itself_is_refused():
    schema = {}
    schema["not"] = schema
    with pytest.raises(InputError, match="the JSON schema cannot be written as JSON: Circular reference"):
        Grammar.json_schema(schema)
