from __future__ import annotations

import math
import re
import subprocess
import sys

import numpy as np
import pytest

from etesian.decode import GREEDY, Decoder, NgramDrafter, Sampling, TableModel
from etesian.decode.sampling import Chooser
from etesian.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature must be 0 or above, or None for greedy; got -0.1"),
        ({"temperature": math.nan}, "temperature must be 0 or above, or None for greedy; got nan"),
        ({"temperature": math.inf}, "temperature must be 0 or above, or None for greedy; got inf"),
        ({"temperature": "warm"}, "temperature must be 0 or above, or None for greedy; got 'warm'"),
        ({"top_k": 0}, "top_k must be a whole number, at least 1; got 0"),
        ({"top_k": 2.5}, "top_k must be a whole number, at least 1; got 2.5"),
        ({"top_k": True}, "top_k must be a whole number, at least 1; got True"),
        ({"top_p": 0}, "top_p must be above 0 and at most 1; got 0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1; got 1.1"),
        ({"min_p": 0.0}, "min_p must be above 0 and at most 1; got 0.0"),
        ({"repetition_penalty": 0}, "repetition_penalty must be between 1e-38 and 1e38; got 0"),
        ({"repetition_penalty": 1e-300}, "repetition_penalty must be between 1e-38 and 1e38; got 1e-300"),
        ({"presence_penalty": math.inf}, "presence_penalty must be between -1e38 and 1e38; got inf"),
        ({"frequency_penalty": math.nan}, "frequency_penalty must be between -1e38 and 1e38; got nan"),
        (
            {"logit_bias": {3: -math.inf}},
            "logit_bias[3] must be between -1e38 and 1e38; banned_tokens rule a token out; got -inf",
        ),
        ({"logit_bias": {3: 1e300}}, "logit_bias[3] must be between -1e38 and 1e38"),
        ({"banned_tokens": [-1]}, "must be a whole number, at least 0; got -1"),
        ({"forced_tokens": {-1: 5}}, "an index of forced_tokens must be a whole number, at least 0; got -1"),
        ({"stop": "end"}, "stop must be a list of strings, none of them empty; got 'end'"),
        ({"stop": ["end", ""]}, "stop must be a list of strings, none of them empty; got ['end', '']"),
        ({"stop": None}, "stop must be a list of strings, none of them empty; got None"),
        ({"stop": 5}, "stop must be a list of strings, none of them empty; got 5"),
        ({"stop": ["a", "b\ud800"]}, "stop must be UTF-8 text; character 2 is invalid"),
        ({"logit_bias": None}, "logit_bias must be a mapping; got None"),
        ({"logit_bias": [1, 2]}, "logit_bias must be a mapping; got [1, 2]"),
        ({"logit_bias": {3: None}}, "logit_bias[3] must be between -1e38 and 1e38"),
        ({"logit_bias": {None: 1}}, "must be a whole number, at least 0; got None"),
        ({"forced_tokens": [1]}, "forced_tokens must be a mapping; got [1]"),
        ({"banned_tokens": None}, "banned_tokens must be a list of tokens; got None"),
        ({"banned_tokens": [None]}, "must be a whole number, at least 0; got None"),
        ({"stop_tokens": 5}, "stop_tokens must be a list of tokens; got 5"),
        ({"stop_tokens": "ab"}, "must be a whole number, at least 0; got 'a'"),
        ({"grammar": "a"}, "grammar must be a Grammar or None; got 'a'"),
        ({"temperature": 10**400}, "temperature must be 0 or above"),
        ({"presence_penalty": -(10**400)}, "presence_penalty must be between -1e38 and 1e38"),
        ({"logprobs": -1}, "logprobs must be a whole number, at least 0; got -1"),
        ({"seed": 1.5}, "seed must be a whole number; got 1.5"),
        ({"seed": None}, "seed must be a whole number; got None"),
    ],
    ids=lambda value: f"{value!s:.60}",
)
def test_a_value_that_does_not_work_is_named(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Sampling(**options)


def test_greedy_is_no_temperature_or_none_of_it():
    assert GREEDY.is_greedy
    assert Sampling(temperature=0.0, top_k=5).is_greedy
    assert not Sampling(temperature=1e-3).is_greedy
    assert not Sampling(temperature=0.0, top_k=5).is_truncated


@pytest.mark.parametrize("has_drafter", [False, True])
def test_options_may_be_whole_numbers_of_numpy(has_drafter):
    model, drafter = TableModel(9, scale=2.0, seed=1), NgramDrafter.count([[1, 2, 3, 1, 2]], 9) if has_drafter else None
    given = {"seed": 5, "top_k": 4, "logprobs": 2, "stop_tokens": [3], "banned_tokens": [2]}
    outs = [
        Decoder(model, drafter).generate([1, 2], Sampling(temperature=1.0, **options), max_tokens=9)
        for options in (given, {name: np.array(value)[()] for name, value in given.items()})
    ]
    assert outs[0].token_ids == outs[1].token_ids


@pytest.mark.parametrize("options", [{}, {"top_k": 3}])
def test_the_coldest_temperatures_choose_the_best_token(options):
    """Logits divided by them are infinite."""
    logits = np.array([1.0, 7.0, 7.5, -3.0], np.float32)
    sampling = Sampling(temperature=5e-324, **options)
    assert Chooser(sampling, 4, 0).choose(logits, np.empty(0, np.int32)).token == 2
    with np.errstate(all="raise", under="ignore"):
        tokens, _ = Chooser(sampling, 4, 0).rank(logits[None], np.array([0]), 1)
    assert tokens.tolist() == [[2]]


def test_importing_decode_imports_neither_models_nor_compilers():
    heavy = "{'torch', 'transformers', 'numba', 'scipy'} & set(sys.modules)"
    command = f"import sys, etesian.decode; print({heavy}); etesian.decode.TokenTree; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[:2] == ["set()", "False"]


def test_names_of_the_part_are_all_there():
    import etesian.decode

    for name in etesian.decode.__all__:
        assert getattr(etesian.decode, name) is not None
    with pytest.raises(AttributeError, match="attribute decodre"):
        etesian.decode.decodre  # noqa: B018
