"""Keys in which phrases are made and written, with modes that show what they were given."""

import numpy as np
import pytest

from tests.helpers import random_rolls, tiny_config
from wae_jax.data.build.sources import Transposition
from wae_jax.errors import RequestError
from wae_jax.generation.model import Model
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.generation.modes.keys import find_shifts, key_shift, make_in_key
from wae_jax.generation.modes.request import Phrases, Request
from wae_jax.generation.modes.table import Mode

IN_C, IN_ALL, AUGMENTED = (
    Model(tiny_config(data__tonality=tonality, data__transpose_semitones=by), {}, 1, "f" * 64)
    for tonality, by in (("c", 0), ("all", 0), ("c", 6))
)


def own(roll, semitones, name="a.mid"):
    return InputPhrase(roll, name, 1, transposition=Transposition("Some major", "estimate", semitones, None))


def roll_of(*notes):
    """A phrase of (MIDI number, track), each a quarter long."""
    roll = np.zeros((192, 84, 5), bool)
    for pitch, track in notes:
        roll[:12, pitch - 24, track] = True
    return roll


def notes_of(roll):
    return sorted((int(pitch) + 24, int(track)) for pitch, track in np.argwhere(roll.any(axis=0)))


@pytest.mark.parametrize(
    ("key", "semitones"),
    [
        *(("C", 0), ("Am", 0), ("D", 2), ("Bm", 2), ("Eb", 3), ("Cm", 3), ("E", 4), ("F", 5), ("Dm", 5), ("A", -3)),
        *(("F#", -6), ("Gb", -6), ("Ebm", -6), ("G", -5), ("Em", -5), ("Ab", -4), ("Bb", -2), ("B", -1), ("Cb", -1)),
        *(("Db", 1), ("C#", 1), ("Bbm", 1), ("A#m", 1), ("B#", 0), ("E#", 5), ("G#m", -1)),
    ],
)
def test_shifts_of_keys_by_hand(key, semitones):
    assert key_shift(key) == semitones


@pytest.mark.parametrize("key", ["", "H", "d", "Dmaj", "D minor", "Abb", "mB", "random"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match="is no key; expected one such as C, F#, Bb, Am or Bbm"):
        key_shift(key)


def test_random_keys_are_one_a_phrase_whatever_their_number():
    shifts, _ = find_shifts(Request(1, seed=3, key="random"), 500, is_path=False)
    assert set(shifts.tolist()) == set(range(-6, 6))
    few, _ = find_shifts(Request(1, seed=3, key="random"), 7, is_path=False)
    np.testing.assert_array_equal(few, shifts[:7])
    other, _ = find_shifts(Request(1, seed=4, key="random"), 500, is_path=False)
    assert (other != shifts).any()
    # Phrases of one piece, and variations of a user's phrase, have one key.
    path, _ = find_shifts(Request(1, seed=3, key="random"), 7, is_path=True)
    assert path.tolist() == [shifts[0]] * 7
    of_own, of_input = find_shifts(Request(1, 3, inputs=(own(roll_of(), -2),), key="random"), 7, is_path=False)
    assert len(set(of_own.tolist())) == 1
    assert (of_own[0] - shifts[0]) % 12 == 0
    assert of_input[0] == of_own[0] - 2


@pytest.mark.parametrize(
    ("into", "key", "phrases", "of_inputs"),
    [
        ([], None, 0, []),
        ([], "D", 2, []),
        ([-2], None, 2, [0]),  # D major, and back
        ([-2], "E", 4, [2]),
        ([-6], "F#", 6, [0]),  # F sharp stays where it is
        ([5], "F#", -6, [-1]),  # G to F sharp
        ([-3, 4], None, 3, [0, 0]),  # Eb and Ab: what lies between has the key of the first
        ([-3, 4], "C", 0, [-3, 4]),
    ],
)
def test_own_music_moves_by_the_fewest_semitones(into, key, phrases, of_inputs):
    request = Request(1, inputs=tuple(own(roll_of(), each) for each in into), key=key)
    shifts, found = find_shifts(request, 3, is_path=False)
    assert shifts.tolist() == [phrases] * 3
    assert found.tolist() == of_inputs


# In G major; the highest B is out of range when it is moved up to C major, and comes back as it was.
OWN_NOTES = [(43, 3), (67, 1), (71, 1), (107, 2), (36, 0)]
IN_C_NOTES = [(48, 3), (72, 1), (76, 1), (100, 2), (36, 0)]


def echo(model, request):
    """The user's phrase, then the same with another bass, as an accompaniment."""
    given = request.inputs[0].roll
    other = given.copy()
    other[..., 3] = roll_of((50, 3))[..., 3]
    rolls = np.stack([given, other])
    return Phrases(
        np.zeros((2, 3)),
        rolls,
        rolls * np.float32(0.5),
        originals=given[None],
        report={"given": notes_of(given)},
        table="made",
    )


def test_the_key_of_what_is_written_is_told():
    """In D, both the user's music and what is made of it; in no known key by a model of all keys."""
    request = Request(2, key="D", inputs=(own(roll_of(*OWN_NOTES), 5, "song.mid"),))
    made = make_in_key(Mode(echo, 2, 2), IN_C, request)
    assert (made.tonics, made.original_tonics) == ([2, 2], [2])
    made = make_in_key(Mode(echo, 2, 2), IN_ALL, Request(2, inputs=request.inputs))
    assert (made.tonics, made.original_tonics) == (None, None)


def test_own_music_is_made_in_c_and_written_in_its_key():
    request = Request(2, inputs=(own(roll_of(*OWN_NOTES), 5, "song.mid"),))
    made = make_in_key(Mode(echo, 2, 2), IN_C, request)
    assert made.report["given"] == sorted(IN_C_NOTES)
    np.testing.assert_array_equal(made.originals[0], roll_of(*OWN_NOTES))
    np.testing.assert_array_equal(made.rolls[0], roll_of(*OWN_NOTES))
    # The kept tracks are the user's, and only the new bass, a D, was moved down to A.
    assert notes_of(made.rolls[1]) == sorted([*OWN_NOTES[1:], (45, 3)])
    assert made.probabilities[1, 0, 45 - 24, 3] == 0.5
    assert made.report["transposed"] == {
        "inputs": [
            {
                "original": "song.mid, bars 1 to 4",
                **{"key": "Some major", "by": "estimate", "semitones": 5, "rejected_signature": None},
                "written_semitones": 0,
            }
        ],
        "phrases": [-5, -5],
    }
    # A song that five semitones take to C is in G.
    assert (made.tonics, made.original_tonics) == ([7, 7], [7])
    assert made.table.splitlines() == [
        "made",
        "song.mid, bars 1 to 4: in Some major as estimated, moved by +5 semitones to be encoded",
        "phrases are moved by -5 semitones from C major and A minor",
    ]


def test_own_music_is_written_in_a_requested_key():
    made = make_in_key(Mode(echo, 2, 2), IN_C, Request(2, inputs=(own(roll_of(*OWN_NOTES), 5),), key="A"))
    moved = roll_of(*((pitch + 2 * (track > 0) - 12 * (pitch > 105), track) for pitch, track in OWN_NOTES))
    np.testing.assert_array_equal(made.originals[0], moved)
    np.testing.assert_array_equal(made.rolls[0], moved)
    assert made.report["transposed"]["phrases"] == [-3, -3]
    assert made.report["transposed"]["inputs"][0]["written_semitones"] == 2


def make_some(model, request):
    rolls = random_rolls(request.num)
    return Phrases(np.zeros((request.num, 3)), rolls, originals=rolls[::-1])


def test_phrases_and_the_ones_beside_them_have_the_same_random_key():
    made = make_in_key(Mode(make_some, 5, 5), IN_C, Request(5, key="random"))
    shifts = made.report["transposed"]["phrases"]
    assert len(set(shifts)) > 1
    for roll, original, before, after, up in zip(
        made.rolls, made.originals, random_rolls(5), random_rolls(5)[::-1], shifts, strict=True
    ):
        for found, expected in ((roll, before), (original, after)):
            np.testing.assert_array_equal(found[..., 0], expected[..., 0])
            inside = slice(max(up, 0), 84 + min(up, 0))
            moved = np.roll(expected, up, axis=1)[:, inside, 1:]
            assert (found[:, inside, 1:] >= moved).all()
            assert found[:, inside, 1:].sum() - moved.sum() <= (expected.sum() - moved.sum())
    assert "semitones, see report.json, from C major and A minor" in made.table


def test_nothing_is_moved_in_c():
    made = make_in_key(Mode(make_some, 5, 5), IN_C, Request(5))
    np.testing.assert_array_equal(made.rolls, random_rolls(5))
    assert (made.table, made.report) == ("", {"transposed": {"inputs": [], "phrases": [0] * 5}})


@pytest.mark.parametrize("model", [IN_ALL, AUGMENTED])
def test_a_model_of_many_keys_gets_music_as_it_is_and_has_no_key_to_choose(model):
    request = Request(2, inputs=(own(roll_of(*OWN_NOTES), 5),))
    made = make_in_key(Mode(echo, 2, 2), model, request)
    assert made.report == {"given": sorted(OWN_NOTES)}
    np.testing.assert_array_equal(made.originals[0], roll_of(*OWN_NOTES))
    for key in ("C", "random"):
        with pytest.raises(RequestError, match=f"--key is {key}, and the model was trained on music in many keys"):
            make_in_key(Mode(make_some, 5, 5), model, Request(5, key=key))
