"""Data inside pages."""

import json

import pytest

from wae_jax.listening.document import embed


def test_nothing_in_a_string_ends_the_script_it_stands_in():
    value = {"name": "</script><script>alert(1)</script>&amp;<!--\u2028\u2029é", "notes": [[0, 36, 0, 1]]}
    text = embed(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_a_name_that_is_not_utf8_can_be_written():
    text = embed({"caf\udce9": "\udce9"})
    assert text.encode() == rb'{"caf\udce9":"\udce9"}'
    assert json.loads(text) == {"caf\udce9": "\udce9"}


def test_what_json_does_not_know_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        embed({"loss": float("nan")})
