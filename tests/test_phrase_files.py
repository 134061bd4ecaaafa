"""What is written can be read by others: MIDI by pretty_midi, sound by soundfile, arrays by our own reader."""

import numpy as np
import pretty_midi
import pytest
import soundfile
from PIL import Image

from tests.helpers import random_rolls
from wae_jax import audio, midi, phrase_files, plots, sources
from wae_jax.pianoroll import TRACKS, pack


def roll_of(file, num_steps):
    """Piano-roll of a pretty_midi object at 100 bpm: 20 steps a second."""
    roll = np.zeros((num_steps, 84, 5), bool)
    names = [track.name for track in TRACKS]
    for instrument in file.instruments:
        for note in instrument.notes:
            start, end = round(note.start * 20), round(note.end * 20)
            assert abs(note.start * 20 - start) < 1e-3
            assert abs(note.end * 20 - end) < 1e-3
            assert not roll[start:end, note.pitch - 24, names.index(instrument.name)].any()
            roll[start:end, note.pitch - 24, names.index(instrument.name)] = True
    return roll


@pytest.fixture
def rolls():
    """Two phrases whose first cells are held over from one to the next."""
    rolls = random_rolls(2, density=0.01)
    rolls[:, :, 30, 1:] = True
    return rolls


def test_midi_reads_back_as_the_same_roll(tmp_path, rolls):
    midi.write_midi(tmp_path / "one.mid", rolls[0])
    file = pretty_midi.PrettyMIDI(str(tmp_path / "one.mid"))
    np.testing.assert_array_equal(roll_of(file, 192), rolls[0])
    assert [(i.name, i.program, i.is_drum) for i in file.instruments] == [
        (t.name, t.program, t.is_drum) for t in TRACKS
    ]
    assert file.get_tempo_changes()[1] == pytest.approx([100.0])
    signature = file.time_signature_changes[0]
    assert (signature.numerator, signature.denominator) == (4, 4)


def test_phrases_in_a_row_strike_held_notes_again(tmp_path, rolls):
    midi.write_midi(tmp_path / "all.mid", rolls)
    file = pretty_midi.PrettyMIDI(str(tmp_path / "all.mid"))
    np.testing.assert_array_equal(roll_of(file, 384), rolls.reshape(384, 84, 5))
    long = [note for i in file.instruments for note in i.notes if note.pitch == 54 and not i.is_drum]
    assert [(round(note.start, 3), round(note.end, 3)) for note in long] == [(0.0, 9.6), (9.6, 19.2)] * 4


def test_tempo_scales_time(tmp_path, rolls):
    midi.write_midi(tmp_path / "slow.mid", rolls[0], tempo=50.0)
    assert pretty_midi.PrettyMIDI(str(tmp_path / "slow.mid")).get_end_time() == pytest.approx(19.2, abs=1e-3)
    with pytest.raises(ValueError, match="tempo is 0"):
        midi.write_midi(tmp_path / "never.mid", rolls[0], tempo=0)
    assert not (tmp_path / "never.mid").exists()


def test_sound_lasts_as_long_as_the_phrase_and_does_not_clip(rolls):
    samples = audio.render(rolls[0])
    assert samples.dtype == np.float32
    assert 9.6 <= len(samples) / audio.SAMPLE_RATE <= 11.2
    assert np.abs(samples).max() == pytest.approx(0.9, abs=1e-3)
    silent = audio.render(np.zeros_like(rolls[0]))
    assert len(silent) == round(9.6 * audio.SAMPLE_RATE)
    assert not silent.any()


@pytest.mark.timeout(60)
def test_every_pitch_of_every_track_can_be_rendered():
    """A regression test: the synthesiser used to hang on the highest notes of the bass."""
    roll = np.zeros((192, 84, 5), bool)
    roll[np.arange(84) * 2, np.arange(84)] = True
    assert np.abs(audio.render(roll)).max() == pytest.approx(0.9, abs=1e-3)


def test_a_note_sounds_when_it_is_on():
    roll = np.zeros((192, 84, 5), bool)
    roll[96:120, 36, 1] = True
    samples = np.abs(audio.render(roll)).max(axis=1)
    middle = round(4.8 * audio.SAMPLE_RATE)
    assert samples[: middle - 100].max() < 1e-3
    assert samples[middle : middle + 20_000].max() > 0.1


def test_a_folder_of_phrases(tmp_path, rolls):
    probabilities = np.where(rolls, 0.75, 0.25).astype(np.float32)
    phrase_files.write_phrases(tmp_path, rolls, probabilities=probabilities)
    names = {path.name for path in tmp_path.iterdir()}
    each = {f"phrase_{i:04d}.{kind}" for i in range(2) for kind in ("mid", "png", "ogg")}
    assert names == each | {"phrases.npz", "all.mid", "grid.png", "probabilities.npy"}
    stored = np.load(tmp_path / "phrases.npz", allow_pickle=False)
    dense = np.zeros(stored["shape"], bool)
    dense[tuple(stored["nonzero"])] = True
    np.testing.assert_array_equal(dense, rolls.reshape(2, 4, 48, 84, 5))
    read = np.concatenate([chunk.rows for chunk in sources.open_source(tmp_path / "phrases.npz").chunks])
    np.testing.assert_array_equal(read, pack(rolls))
    np.testing.assert_array_equal(np.load(tmp_path / "probabilities.npy") > 0.5, rolls)
    info = soundfile.info(tmp_path / "phrase_0000.ogg")
    assert (info.format, info.samplerate, info.channels) == ("OGG", 44100, 2)
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size[0] > 400


def test_without_the_parts_for_sound_a_sentence_says_so_and_the_rest_is_written(tmp_path, rolls, monkeypatch):
    monkeypatch.setattr(audio, "missing_parts", lambda: "install this")
    said = []
    phrase_files.write_phrases(tmp_path, rolls, pictures=False, log=said.append)
    assert said == ["install this"]
    assert not list(tmp_path.glob("*.ogg"))
    assert (tmp_path / "phrase_0001.mid").exists()


def test_missing_parts_are_named(monkeypatch):
    assert audio.missing_parts() is None
    monkeypatch.setattr(audio, "_importable", lambda module: module != "symusic")
    assert "pip install" in audio.missing_parts()
    assert "symusic" in audio.missing_parts()


def test_what_cannot_be_written_is_refused(tmp_path, rolls):
    with pytest.raises(ValueError, match="no phrase to write"):
        phrase_files.write_phrases(tmp_path, rolls[:0])
    with pytest.raises(ValueError, match="probabilities have shape"):
        phrase_files.write_phrases(tmp_path, rolls, probabilities=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="rolls has shape"):
        phrase_files.write_phrases(tmp_path, rolls[0])
    with pytest.raises(ValueError, match="expected one of"):
        audio.write_audio(tmp_path / "sound.aiff", np.zeros((10, 2), np.float32))


def test_picture_for_tensorboard_has_a_cell_where_the_roll_has_one():
    roll = np.zeros((192, 84, 5), bool)
    empty = plots.phrase_image(roll)
    roll[10, 20, 2] = True
    marked = plots.phrase_image(roll)
    assert marked.dtype == np.uint8
    assert marked.shape == (856, 1152, 3)
    changed = np.argwhere((marked != empty).any(axis=2))
    assert set(changed[:, 1]) <= set(range(60, 66))
    assert len(np.unique(changed[:, 0])) <= 2
    np.testing.assert_array_equal(plots.phrase_image(roll.astype(np.float32)), marked)


def test_grids_and_curves_are_drawn(tmp_path):
    plots.save_figure(plots.plot_grid(random_rolls(3), titles=["a", "b", "c"]), tmp_path / "grid.png")
    curves = plots.plot_curves({"train/loss": ([1, 2, 3], [3.0, 2.0, 1.0]), "eval/loss": ([1, 3], [3.0, 2.0])})
    plots.save_figure(curves, tmp_path / "curves.png")
    for name in ("grid.png", "curves.png"):
        with Image.open(tmp_path / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10
    with pytest.raises(ValueError, match="as many titles"):
        plots.plot_grid(random_rolls(2), titles=["a"])
