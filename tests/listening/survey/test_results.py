"""The files that listeners hand in: what is read, what is refused and why."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from tests.listening.survey.simulation import Listeners, simulate_results
from wae_jax.errors import RequestError
from wae_jax.listening.survey import results
from wae_jax.listening.survey.design import NOISE
from wae_jax.listening.survey.results import (
    RESULT_FIELDS,
    Answer,
    Key,
    Result,
    checksum,
    collect,
    count_failed_checks,
    read_result,
    seal,
    unseal,
)

KEY = Key(
    sources=["gan", "mmd", "real music"],
    pairs=[(0, 1), (2, NOISE), (2, 0), (NOISE, 2), (1, 2)],
    max_failed_checks=1,
    provenance={"seed": 0, "threshold": 0.5, "name": "Zwölf"},
)
EVEN = Listeners(strengths=np.zeros(3), means=np.full((3, 4), 3.0))


def signed(**changes):
    """The content of a good file, changed before the checksum is made."""
    (result,) = simulate_results(KEY, EVEN, 1, 0)
    result |= changes
    return result | {"checksum": checksum([result[field] for field in RESULT_FIELDS])}


def write(folder, value, name="result.json"):
    file = folder / name
    file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(file)


def test_a_good_file_is_read_whatever_its_spaces_and_order(tmp_path):
    result = signed()
    read = read_result(write(tmp_path, json.dumps(dict(reversed(result.items())), indent=3)))
    assert read.key == KEY
    assert (read.survey_id, read.listener) == (KEY.survey_id, "simulated 0.0")
    assert [[a.preference, *a.ratings] for a in read.answers] == result["answers"]


def test_the_checksum_is_fnv():
    def fnv(data):
        state = 2166136261
        for byte in data:
            state = ((state ^ byte) * 16777619) % 2**32
        return f"{state:08x}"

    # A published value of the function, then what JSON makes of two values.
    assert fnv(b"foobar") == "bf9cf968"
    assert checksum("foobar") == fnv(b'"foobar"')
    assert checksum([1, ["a", None]]) == fnv(b'[1,["a",null]]')


def test_a_seal_hides_and_gives_back():
    sealed = seal(KEY.content())
    assert unseal(sealed) == KEY.content()
    assert not any(name in sealed for name in ("gan", "mmd", "real"))
    assert sealed.isascii()


@pytest.mark.parametrize("sealed", ["", "gan", "AAAA", "ä", seal("{}" * 1000)[:-8]])
def test_what_is_no_seal_is_refused(sealed):
    with pytest.raises(ValueError, match=r"base64|header|padd|short|ASCII|decompress"):
        unseal(sealed)


def test_a_seal_too_large_to_unpack_is_refused(monkeypatch):
    sealed = seal("a" * 5000)
    monkeypatch.setattr(results, "_MAX_FILE_SIZE", 4000)
    with pytest.raises(ValueError, match="far too long"):
        unseal(sealed)


def test_another_key_has_another_name():
    assert KEY.survey_id == dataclasses.replace(KEY).survey_id
    for change in ({"sources": ["mmd", "gan", "real music"]}, {"max_failed_checks": 2}, {"provenance": {}}):
        assert dataclasses.replace(KEY, **change).survey_id != KEY.survey_id


def forged(**changes):
    """A good file with a key of another content, and with its name, as nobody but this test would make it."""
    content = {**json.loads(KEY.content()), **changes}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return signed(key=seal(text), survey=hashlib.sha256(text.encode()).hexdigest()[:16])


def without(field):
    """A good file that lacks a field, with the checksum of what is left."""
    result = signed(**{field: None})
    del result[field]
    return result


GOOD_ANSWERS = signed()["answers"]
BAD = {
    "not there": (None, "cannot be read: No such file"),
    "no JSON": ("{", "is not JSON"),
    "no text": (b"\xff\xfe\xfd", "is not JSON"),
    "too deep": ("[" * 100_000, "is not JSON"),
    "a list": ([1], "no results file"),
    "of another program": ({"format": "x"}, "no results file"),
    "of another version": (lambda: signed(format_version=2), "of version 2; expected version 1"),
    "an answer changed": (
        lambda: signed() | {"answers": [["A", *GOOD_ANSWERS[0][1:]], *GOOD_ANSWERS[1:]][::-1]},
        "alter",
    ),
    "listener changed": (lambda: signed() | {"listener": "me"}, "altered or damaged"),
    "without a checksum": (lambda: {k: v for k, v in signed().items() if k != "checksum"}, "altered or damaged"),
    "without a listener": (lambda: signed(listener=""), "does not say"),
    "a number for a listener": (lambda: signed(listener=3), "does not say"),
    "one answer less": (lambda: signed(answers=GOOD_ANSWERS[1:]), "has 4 answers; expected 5"),
    "no answers": (lambda: signed(answers=None), "has no answers; expected 5"),
    "no preference given": (
        lambda: signed(answers=[*GOOD_ANSWERS[:4], [None, *GOOD_ANSWERS[4][1:]]]),
        "answer to pair 5",
    ),
    "a rating missing": (
        lambda: signed(answers=[["A", [1, 2, 3], [1, 2, 3, 4]], *GOOD_ANSWERS[1:]]),
        "answer to pair 1",
    ),
    "a rating of 6": (
        lambda: signed(answers=[["A", [1, 2, 3, 6], [1, 2, 3, 4]], *GOOD_ANSWERS[1:]]),
        "answer to pair 1",
    ),
    "a rating of 1.0": (lambda: signed(answers=[["A", [1.0, 2, 3, 4], [1, 2, 3, 4]], *GOOD_ANSWERS[1:]]), "to pair 1"),
    "a rating of true": (
        lambda: signed(answers=[["A", [True, 2, 3, 4], [1, 2, 3, 4]], *GOOD_ANSWERS[1:]]),
        "to pair 1",
    ),
    "a row that is none": (lambda: signed(answers=["A", *GOOD_ANSWERS[1:]]), "answer to pair 1"),
    "no key": (lambda: signed(key="gan"), "has no answer key"),
    "another key": (
        lambda: signed(key=seal(dataclasses.replace(KEY, max_failed_checks=4).content())),
        "of another survey",
    ),
    "a key that is a list": (lambda: signed(key=seal("[]")), "has no answer key"),
    "a key of version 2": (lambda: forged(format_version=2), "another version"),
    "a source out of range": (lambda: forged(pairs=[[0, 3], *KEY.pairs[1:]]), "has another form"),
    "a source against itself": (lambda: forged(pairs=[[1, 1], *KEY.pairs[1:]]), "has another form"),
    "a check of another source": (lambda: forged(pairs=[*KEY.pairs[:3], [NOISE, 1], KEY.pairs[4]]), "has another form"),
    "one source": (lambda: forged(sources=["gan"], pairs=[[0, NOISE]]), "has another form"),
    "a field too many": (lambda: forged(more=1), "has another form"),
    "a pair of three": (lambda: forged(pairs=[[0, 1, 2], *KEY.pairs[1:]]), "has another form"),
    "pairs that are none": (lambda: forged(pairs=[0, *KEY.pairs[1:]]), "has no answer key"),
    "sources that never meet": (lambda: forged(pairs=[[0, 2], *KEY.pairs[1:]]), "has another form"),
    "200,000 sources": (lambda: forged(sources=["gan"] * 200_000), "has another form"),
    "21 sources that all meet": (
        lambda: forged(sources=["gan"] * 21, pairs=[[i, j] for i in range(21) for j in range(i)]),
        "has another form",
    ),
    "a number that is none of JSON": (
        lambda: forged(provenance={"seed": float("nan")}),
        "has no answer key: NaN is no",
    ),
    "no survey": (lambda: without("survey"), "does not say"),
    "no answers at all": (lambda: without("answers"), "has no answers; expected 5"),
    "a rule that is no number": (lambda: forged(max_failed_checks="1"), "has another form"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_the_reason(name, tmp_path):
    content, reason = BAD[name]
    content = content() if callable(content) else content
    file = tmp_path / "bad.json"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        write(tmp_path, content, "bad.json")
    with pytest.raises(RequestError, match=reason):
        read_result(str(file))
    # Among good ones it stops nobody.
    good = write(tmp_path, signed(), "good.json")
    collection = collect([str(file), good, str(tmp_path)])
    assert [result.path for result in collection.results] == [good]
    assert [path for path, _ in collection.skipped] == [str(file), str(tmp_path)]
    assert reason in collection.skipped[0][1]


def test_nothing_but_bad_files_is_an_error_that_names_them(tmp_path):
    with pytest.raises(RequestError, match=r"none of 2 files.*\n.*a\.json is not JSON.*\n.*b\.json cannot be read"):
        collect([write(tmp_path, "", "a.json"), str(tmp_path / "b.json")])


def test_the_survey_of_most_files_is_taken(tmp_path):
    other = dataclasses.replace(KEY, provenance={"seed": 1})
    (stray,) = simulate_results(other, EVEN, 1, 5)
    stray = write(tmp_path, stray, "stray.json")
    paths = [write(tmp_path, r, f"{i}.json") for i, r in enumerate(simulate_results(KEY, EVEN, 2, 0))]
    collection = collect([stray, *paths])
    assert collection.key == KEY
    assert [result.path for result in collection.results] == paths
    assert collection.skipped == [(stray, f"is of survey {other.survey_id}; 2 of the files are of {KEY.survey_id}")]


def test_of_one_listener_the_file_saved_last_counts(tmp_path):
    times = ["2026-01-02T10:00:00.000Z", "2026-01-02T11:00:00.000Z", "2026-01-02T10:30:00.000Z"]
    paths = [write(tmp_path, signed(saved=saved), f"{i}.json") for i, saved in enumerate(times)]
    collection = collect(paths)
    assert [result.path for result in collection.results] == [paths[1]]
    assert [path for path, _ in collection.skipped] == [paths[0], paths[2]]
    assert f"same listener as {paths[1]}" in collection.skipped[0][1]
    assert [result.path for result in collect([paths[0], paths[0]]).results] == [paths[0]]
    assert len(collect([paths[0], paths[0]]).skipped) == 1


@pytest.mark.parametrize(
    ("preferences", "failed"),
    [("AABBA", 0), ("BABBB", 0), ("ABBBA", 1), ("AABAA", 1), ("ABAAB", 2), ("ANANA", 2), ("NNNBN", 1)],
)
def test_who_does_not_prefer_the_music_fails(preferences, failed):
    answers = [Answer("none" if letter == "N" else letter, ([3] * 4, [3] * 4)) for letter in preferences]
    assert count_failed_checks(Result("", KEY.survey_id, "", "", answers, KEY)) == failed


def test_the_rule_says_the_numbers():
    assert KEY.check_numbers == [2, 4]
    assert "more than 1 of the 2 pairs" in KEY.rule
