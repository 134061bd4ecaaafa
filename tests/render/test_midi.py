"""MIDI files read back by mido (message by message) and symusic (an independent parser)."""

from __future__ import annotations

import mido
import numpy as np
import pytest
import symusic

from tests.checking import unchecked
from wae_jax.render import midi

NAMES = ["Drums", "Piano", "Guitar", "Bass", "Strings"]
PROGRAMS = [0, 0, 25, 33, 48]
CHANNELS = [9, 0, 1, 2, 3]
TICKS = 40  # A step: a twelfth of 480.


def silence(num_steps=192):
    return np.zeros((num_steps, 84, 5), bool)


def random_roll(num_steps=192, seed=0):
    rng = np.random.default_rng(seed)
    return np.repeat(rng.random((num_steps // 3, 84, 5)) < 0.03, 3, axis=0) | (rng.random((num_steps, 84, 5)) < 0.005)


def notes_read(path):
    """(track name, MIDI number, start tick, end tick) of every note, as symusic reads the file."""
    score = symusic.Score(path)
    return sorted((track.name, n.pitch, n.start, n.end) for track in score.tracks for n in track.notes)


def notes_expected(roll):
    """The same from the roll, cell by cell."""
    found = []
    for track, name in enumerate(NAMES):
        for pitch in range(84):
            steps = np.flatnonzero(roll[:, pitch, track])
            for run in np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1):
                if run.size:
                    found.append((name, 24 + pitch, int(run[0]) * TICKS, (int(run[-1]) + 1) * TICKS))
    return sorted(found)


def roll_read(path, num_steps):
    """The piano-roll that symusic's notes make."""
    roll = silence(num_steps)
    for name, pitch, start, end in notes_read(path):
        roll[start // TICKS : end // TICKS, pitch - 24, NAMES.index(name)] = True
    return roll


def test_notes_are_exact_to_the_tick(tmp_path):
    roll = random_roll()
    midi.write_midi(tmp_path / "a.mid", roll)
    assert len(notes_expected(roll)) > 500
    assert notes_read(tmp_path / "a.mid") == notes_expected(roll)
    np.testing.assert_array_equal(roll_read(tmp_path / "a.mid", 192), roll)


def test_the_file_message_by_message(tmp_path):
    roll = silence()
    roll[12:15, 36, 1] = True
    roll[0, 12, 0] = True
    midi.write_midi(tmp_path / "a.mid", roll, tempo=120.0, name="Prélude")
    file = mido.MidiFile(tmp_path / "a.mid", charset="utf-8")
    assert file.type == 1
    assert file.ticks_per_beat == 480
    assert len(file.tracks) == 6
    head, *tracks = file.tracks
    assert [message.dict() for message in head if message.type != "end_of_track"] == [
        mido.MetaMessage("track_name", name="Prélude").dict(),
        mido.MetaMessage("set_tempo", tempo=500_000).dict(),
        mido.MetaMessage("time_signature", numerator=4, denominator=4).dict(),
    ]
    for track, name, program, channel in zip(tracks, NAMES, PROGRAMS, CHANNELS, strict=True):
        assert track[0] == mido.MetaMessage("track_name", name=name)
        assert track[1] == mido.Message("program_change", program=program, channel=channel)
        assert {message.channel for message in track if not message.is_meta} == {channel}
    assert tracks[0][2:-1] == [
        mido.Message("note_on", channel=9, note=36, velocity=100, time=0),
        mido.Message("note_off", channel=9, note=36, velocity=0, time=40),
    ]
    assert tracks[1][2:-1] == [
        mido.Message("note_on", channel=0, note=60, velocity=100, time=480),
        mido.Message("note_off", channel=0, note=60, velocity=0, time=120),
    ]
    # All tracks end with the roll, so that files laid end to end keep time.
    assert {sum(message.time for message in track) for track in file.tracks} == {192 * TICKS}
    assert file.length == pytest.approx(16 * 0.5)


def test_silent_tracks_are_there_and_named(tmp_path):
    midi.write_midi(tmp_path / "a.mid", silence())
    tracks = mido.MidiFile(tmp_path / "a.mid").tracks
    assert [track.name for track in tracks[1:]] == NAMES
    assert tracks[0].name == ""


def test_tempo_and_metre(tmp_path):
    midi.write_midi(tmp_path / "a.mid", random_roll())
    score = symusic.Score(tmp_path / "a.mid")
    assert [(tempo.time, tempo.qpm) for tempo in score.tempos] == [(0, 100.0)]
    assert [(s.time, s.numerator, s.denominator) for s in score.time_signatures] == [(0, 4, 4)]
    assert {(track.name, track.program, track.is_drum) for track in score.tracks} == {
        (name, program, name == "Drums") for name, program in zip(NAMES, PROGRAMS, strict=True)
    }


@pytest.mark.parametrize(("tonic", "sharps"), [*zip(range(12), (0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5), strict=True)])
def test_a_key_signature_is_that_of_the_major_scale(tmp_path, tonic, sharps):
    midi.write_midi(tmp_path / "a.mid", random_roll(), tonics=[tonic])
    score = symusic.Score(tmp_path / "a.mid")
    assert [(each.time, each.key, each.tonality) for each in score.key_signatures] == [(0, sharps, 0)]


def test_phrases_in_a_row_have_a_signature_where_the_key_changes(tmp_path):
    midi.write_midi(tmp_path / "a.mid", np.stack([random_roll()] * 5), tonics=[2, 2, 0, 0, 2])
    score = symusic.Score(tmp_path / "a.mid")
    assert [(each.time, each.key) for each in score.key_signatures] == [
        (0, 2),
        (2 * 192 * TICKS, 0),
        (4 * 192 * TICKS, 2),
    ]
    ends = {sum(message.time for message in track) for track in mido.MidiFile(tmp_path / "a.mid").tracks}
    assert ends == {5 * 192 * TICKS}
    midi.write_midi(tmp_path / "b.mid", random_roll())
    assert not symusic.Score(tmp_path / "b.mid").key_signatures


@pytest.mark.parametrize("sounding", [(0, 2), (1,), (0,), (2, 3)])
def test_a_silent_phrase_in_a_row_rests_for_its_four_bars(tmp_path, sounding):
    rolls = np.stack([silence()] * 4)
    for phrase in sounding:
        rolls[phrase] = random_roll(seed=phrase)
    midi.write_midi(tmp_path / "a.mid", rolls)
    expected = sorted(
        (name, pitch, start + phrase * 192 * TICKS, end + phrase * 192 * TICKS)
        for phrase in sounding
        for name, pitch, start, end in notes_expected(rolls[phrase])
    )
    assert notes_read(tmp_path / "a.mid") == expected
    ends = {sum(message.time for message in track) for track in mido.MidiFile(tmp_path / "a.mid").tracks}
    assert ends == {4 * 192 * TICKS}


def test_phrases_in_a_row_are_struck_again_at_the_border(tmp_path):
    rolls = np.stack([random_roll(seed=seed) for seed in range(3)])
    rolls[:2, -5:, 30, 4] = True
    rolls[1:, :4, 30, 4] = True
    midi.write_midi(tmp_path / "a.mid", rolls)
    expected = sorted(
        (name, pitch, start + phrase * 192 * TICKS, end + phrase * 192 * TICKS)
        for phrase, roll in enumerate(rolls)
        for name, pitch, start, end in notes_expected(roll)
    )
    assert notes_read(tmp_path / "a.mid") == expected
    # The stop of the first note comes before the start of the second, or a synthesiser would silence both.
    strings = mido.MidiFile(tmp_path / "a.mid").tracks[5]
    now, at_border = 0, []
    for message in strings:
        now += message.time
        if now == 192 * TICKS and not message.is_meta and message.note == 54:
            at_border.append(message.type)
    assert at_border == ["note_off", "note_on"]


def test_a_long_roll_is_one_piece(tmp_path):
    roll = silence(400)
    roll[150:250, 40, 2] = True
    midi.write_midi(tmp_path / "a.mid", roll)
    assert notes_read(tmp_path / "a.mid") == [("Guitar", 64, 150 * TICKS, 250 * TICKS)]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.mid"
    midi.write_midi(path, random_roll())
    before = path.read_bytes()
    with unchecked(), pytest.raises(ValueError, match="binarize"):
        midi.write_midi(path, np.full((192, 84, 5), 0.5))
    with unchecked(), pytest.raises(ValueError, match="84 pitches"):
        midi.write_midi(path, np.zeros((192, 5, 84), bool))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mid"]


@pytest.mark.parametrize("tempo", [0.0, -100.0, float("nan"), float("inf"), 1.0, 1e9])
def test_tempos_that_a_file_cannot_state_are_refused(tmp_path, tempo):
    with pytest.raises(ValueError, match="tempo is"):
        midi.write_midi(tmp_path / "a.mid", silence(), tempo=tempo)


def test_tempos_are_rounded_to_a_microsecond():
    assert midi.microseconds_per_beat(100.0) == 600_000
    assert midi.microseconds_per_beat(93.7) == 640_342
