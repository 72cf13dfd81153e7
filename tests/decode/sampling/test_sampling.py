from __future__ import annotations

import math
import re
import subprocess
import sys

import pytest

from etesian.decode import GREEDY, Sampling
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
        ({"repetition_penalty": 0}, "repetition_penalty must be above 0, and finite; got 0"),
        ({"presence_penalty": math.inf}, "presence_penalty must be finite; got inf"),
        ({"frequency_penalty": math.nan}, "frequency_penalty must be finite; got nan"),
        ({"logit_bias": {3: -math.inf}}, "logit_bias[3] must be finite; banned_tokens rule a token out; got -inf"),
        ({"banned_tokens": [-1]}, "must be a whole number, at least 0; got -1"),
        ({"forced_tokens": {-1: 5}}, "an index of forced_tokens must be a whole number, at least 0; got -1"),
        ({"stop": "end"}, "stop must be a list of strings, none of them empty; got 'end'"),
        ({"stop": ["end", ""]}, "stop must be a list of strings, none of them empty; got ['end', '']"),
        ({"logprobs": -1}, "logprobs must be a whole number, at least 0; got -1"),
        ({"seed": 1.5}, "seed must be a whole number; got 1.5"),
        ({"seed": None}, "seed must be a whole number; got None"),
    ],
    ids=str,
)
def test_a_value_that_does_not_work_is_named(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Sampling(**options)


def test_greedy_is_no_temperature_or_none_of_it():
    assert GREEDY.is_greedy
    assert Sampling(temperature=0.0, top_k=5).is_greedy
    assert not Sampling(temperature=1e-3).is_greedy
    assert not Sampling(temperature=0.0, top_k=5).is_truncated


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
