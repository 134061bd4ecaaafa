"""Four bars out of users' files."""

import contextlib

import mido
import numpy as np
import pytest

from tests.data.build.test_formats import save_multitrack
from tests.helpers import random_rolls
from wae_jax.errors import RequestError
from wae_jax.generation.modes.input_phrase import read_input_phrase
from wae_jax.generation.modes.request import silent_bars
from wae_jax.pianoroll import NUM_BARS
from wae_jax.render.midi import write_midi
from wae_jax.render.multitrack import write_multitrack


def four_phrases():
    """Sparse enough that no two cells touch, so that MIDI gives them back as they are; the third is silent."""
    rolls = np.zeros((4, 192, 84, 5), bool)
    drawn = random_rolls(4, density=0.01)
    rolls[:, ::2] = drawn[:, ::2]
    rolls[2] = False
    return rolls


@pytest.fixture
def song(tmp_path):
    write_midi(tmp_path / "song.mid", four_phrases())
    return tmp_path / "song.mid"


def test_bars_of_a_song_count_from_one(song):
    rolls = four_phrases()
    bars = rolls.reshape(-1, 48, 84, 5)
    first = read_input_phrase(song)
    np.testing.assert_array_equal(first.roll, rolls[0])
    assert (first.start_bar, first.name) == (1, "song.mid, bars 1 to 4")
    for start in (1, 2, 5, 7, 12, 13):
        own = read_input_phrase(song, start)
        np.testing.assert_array_equal(own.roll, np.concatenate(bars[start - 1 : start - 1 + NUM_BARS]))
        assert own.start_bar == start
    assert np.flatnonzero(silent_bars(read_input_phrase(song, 7).roll[None])).tolist() == [2, 3]
    assert not silent_bars(read_input_phrase(song, 1).roll[None]).any()
    assert read_input_phrase(song).roll.any(axis=(0, 1)).all()


@pytest.mark.parametrize("start", [9, 14, 100])
def test_bars_that_are_not_there_or_silent_are_refused_with_those_that_are(song, start):
    with pytest.raises(RequestError, match=rf"song.mid .*from bar {start} on; it has from bars 1 to 8 or 10 to 13$"):
        read_input_phrase(song, start)


def test_a_song_is_taken_from_its_first_note_on(tmp_path):
    rolls = four_phrases()
    write_midi(tmp_path / "late.mid", rolls[[2, 1]])
    own = read_input_phrase(tmp_path / "late.mid")
    np.testing.assert_array_equal(own.roll, rolls[1])
    assert own.start_bar == 5
    assert "bars 5" in own.name


@pytest.mark.parametrize("write", [write_midi, write_multitrack])
def test_a_phrase_of_which_only_one_bar_is_no_rest(tmp_path, write):
    for bar in range(4):
        roll = np.zeros((192, 84, 5), bool)
        roll[48 * bar : 48 * bar + 12, 30, 1] = True
        write(tmp_path / "a.mid", roll, tempo=90)
        own = read_input_phrase(tmp_path / "a.mid")
        np.testing.assert_array_equal(own.roll, roll)
        assert own.start_bar == 1
        assert own.tempo == pytest.approx(90)


def test_the_first_bars_with_music_may_be_chosen_with_a_rest_before_them(tmp_path):
    rolls = four_phrases()[:2]
    rolls[0, :96] = False
    write_midi(tmp_path / "a.mid", rolls, tempo=77)
    bars = rolls.reshape(8, 48, 84, 5)
    assert read_input_phrase(tmp_path / "a.mid").start_bar == 3
    for start in (1, 2, 3):
        own = read_input_phrase(tmp_path / "a.mid", start)
        np.testing.assert_array_equal(own.roll, np.concatenate(bars[start - 1 : start + 3]))
        assert own.tempo == pytest.approx(77, abs=1e-3)


def test_the_tempo_is_that_of_the_bars(song):
    file = mido.MidiFile(song)
    # From bar 5 on; the first track has nothing else before its end.
    file.tracks[0].insert(-1, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(60), time=4 * 1920))
    file.save(song)
    assert [read_input_phrase(song, start).tempo for start in (1, 2, 3, 4, 5, 13)] == [100, 100, 100, 60, 60, 60]


def test_phrases_and_multitracks_are_read(tmp_path):
    rolls = four_phrases()
    np.save(tmp_path / "a.npy", rolls)
    np.save(tmp_path / "floats.npy", rolls * 0.6)
    bars = rolls.reshape(4, 4, 48, 84, 5)
    np.savez(tmp_path / "a.npz", nonzero=np.array(np.nonzero(bars)), shape=np.array(bars.shape))
    for name in ("a.npy", "a.npz", "floats.npy"):
        np.testing.assert_array_equal(read_input_phrase(tmp_path / name).roll, rolls[0])
        assert read_input_phrase(tmp_path / name).tempo is None
        own = read_input_phrase(tmp_path / name, 13)
        np.testing.assert_array_equal(own.roll, rolls[3])
        assert own.start_bar == 13
        for start in (2, 17):
            with pytest.raises(RequestError, match=rf"4 phrases, at bars 1, 5, 9 and so on up to 13; bar {start} "):
                read_input_phrase(tmp_path / name, start)
        with pytest.raises(RequestError, match="silent in bars 9 to 12; choose others with --start-bar"):
            read_input_phrase(tmp_path / name, 9)
    save_multitrack(tmp_path / "m.npz")
    assert read_input_phrase(tmp_path / "m.npz").roll[:, 60 - 24, 1].sum() == 100


def waltz(path, meter=(3, 4), num_notes=24):
    track = mido.MidiTrack([mido.MetaMessage("time_signature", numerator=meter[0], denominator=meter[1])])
    for _ in range(num_notes):
        track += [mido.Message("note_on", note=60, velocity=80), mido.Message("note_off", note=60, time=480)]
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    file.save(path)


def test_files_without_four_bars_are_refused_with_the_reason(tmp_path):
    waltz(tmp_path / "waltz.mid")
    with pytest.raises(RequestError, match=r"waltz.mid has no four whole bars of 4/4 .* 3/4 \(8 bars\)"):
        read_input_phrase(tmp_path / "waltz.mid")
    waltz(tmp_path / "short.mid", (4, 4), num_notes=12)
    with pytest.raises(RequestError, match=r"short.mid has no four whole bars of 4/4 .* 4/4 \(3 bars\)"):
        read_input_phrase(tmp_path / "short.mid")
    write_midi(tmp_path / "silence.mid", np.zeros((192, 84, 5), bool))
    with pytest.raises(RequestError, match=r"silence.mid has no notes on the five tracks"):
        read_input_phrase(tmp_path / "silence.mid")
    with pytest.raises(RequestError, match=r"nowhere.mid does not exist; expected a MIDI, .npz or .npy file"):
        read_input_phrase(tmp_path / "nowhere.mid")
    with pytest.raises(RequestError, match="is a folder"):
        read_input_phrase(tmp_path)
    (tmp_path / "text.mid").write_text("la la la")
    with pytest.raises(RequestError, match="neither MIDI nor"):
        read_input_phrase(tmp_path / "text.mid")


def test_damaged_files_give_a_reason(shared_data):
    paths = sorted((shared_data / "bad_midi").glob("*.mid"))
    assert len(paths) > 20
    read = 0
    for path in paths:
        with contextlib.suppress(RequestError):  # no other exception
            read += bool(read_input_phrase(path).roll.any())
    assert 0 < read < len(paths)


def triads(*tonics):
    """Phrases of major cadences, I-IV-V-I, one a tonic, over drums."""
    rolls = np.zeros((len(tonics), 4, 48, 84, 5), bool)
    for roll, tonic in zip(rolls, tonics, strict=True):
        for bar, root in zip(roll, (0, 5, 7, 0), strict=True):
            bar[:46, [36 + tonic + root + third for third in (0, 4, 7)], 1] = True
            bar[::12, 12, 0] = True
    return rolls.reshape(-1, 192, 84, 5)


def keys(path, **options):
    found = read_input_phrase(path, **options)
    return (found.transposition.key, found.transposition.by, found.semitones) if found.transposition else None


def test_the_key_of_a_song_is_that_of_all_of_it_or_of_its_signature(tmp_path):
    path = tmp_path / "a.mid"
    # G, G and D: the third phrase is of a song in G.
    write_midi(path, triads(7, 7, 2))
    assert keys(path, start_bar=9) == ("G major", "estimate", 5)
    file = mido.MidiFile(path)
    file.tracks[0].insert(0, mido.MetaMessage("key_signature", key="D", time=0))
    file.save(path)
    assert keys(path, start_bar=1) == keys(path, start_bar=9) == ("D major", "signature", -2)
    write_midi(path, triads(0) * (np.arange(5) == 0))
    assert keys(path) is None
    assert read_input_phrase(path).semitones == 0


def test_the_key_of_a_phrase_of_an_array_is_that_of_its_song_or_its_neighbors(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, triads(7, 2, 7, 4))
    assert keys(path, start_bar=5) == ("G major", "estimate", 5)
    (tmp_path / "a.tsv").write_text("phrase\tsong\tfirst_bar\n0\tx\t\n1\ty\t\n2\tx\t\n3\ty\t\n")
    assert keys(path, start_bar=1) == ("G major", "estimate", 5)
    # D and E together: A major, which has the chords of both.
    assert keys(path, start_bar=5) == keys(path, start_bar=13) == ("A major", "estimate", 3)
    far = np.concatenate([triads(7), *[triads(2)] * 80])
    np.save(tmp_path / "b.npy", far)
    assert keys(tmp_path / "b.npy", start_bar=4 * 60 + 1) == ("D major", "estimate", -2)
    np.testing.assert_array_equal(read_input_phrase(tmp_path / "b.npy", 4 * 60 + 1).roll, far[60])
