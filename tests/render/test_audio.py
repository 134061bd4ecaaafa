"""Sound: length, loudness, timing, and that nothing breaks where it cannot be made."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys

import numpy as np
import pytest

from wae_jax.render import audio, sound_font
from wae_jax.render.audio import DEFAULT_AUDIO, Audio

RATE = 44100


def silence(num_steps=192):
    return np.zeros((num_steps, 84, 5), bool)


def loudness(samples, start, stop):
    """Root mean square between two times in seconds."""
    return float(np.sqrt((samples[round(start * RATE) : round(stop * RATE)] ** 2).mean()))


@pytest.fixture(scope="module")
def phrase():
    """A bass note over bar 2, at 2.4 to 4.8 s of 100 bpm, and a snare on bar 4, at 7.2 s."""
    roll = silence()
    roll[48:96, 12, 3] = True
    roll[144, 38 - 24, 0] = True
    return roll


@pytest.fixture(scope="module")
def rendered(phrase):
    return audio.render(phrase)


def test_nothing_is_missing_here():
    assert audio.missing_parts(DEFAULT_AUDIO) is None


def test_type_length_and_peak(rendered):
    assert rendered.dtype == np.float32
    assert rendered.shape == (round(9.6 * RATE), 2)
    assert np.abs(rendered).max() == pytest.approx(0.9, abs=1e-5)


def test_notes_sound_when_they_are_on(rendered):
    assert loudness(rendered, 0, 2.39) == 0
    assert loudness(rendered, 2.4, 2.5) > 0.05
    assert loudness(rendered, 4.6, 4.8) > 0.05
    assert loudness(rendered, 5.1, 7.19) < 0.001
    assert loudness(rendered, 7.2, 7.3) > 0.05


def test_a_drum_rings_longer_than_its_one_step(rendered):
    # The step is over at 7.25 s.
    assert loudness(rendered, 7.27, 7.37) > 0.01


def test_the_sound_dies_away_after_the_phrase():
    roll = silence()
    roll[180, 49 - 24, 0] = True  # A crash cymbal, .6 s before the end.
    samples = audio.render(roll)
    assert 9.7 * RATE < len(samples) <= 11.1 * RATE
    assert np.abs(samples[-1]).max() < 1e-3


@pytest.mark.parametrize("track", [1, 2, 3, 4])
@pytest.mark.parametrize("note", [36, 45, 57, 64, 69, 81])
def test_notes_are_in_tune(track, note):
    roll = silence()
    roll[:96, note - 24, track] = True
    samples = audio.render(roll)[RATE // 2 : 4 * RATE].sum(axis=1)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    loudest = np.fft.rfftfreq(len(samples), 1 / RATE)[spectrum.argmax()]
    fundamental = 440 * 2 ** ((note - 69) / 12)
    # The loudest partial is the note's own or an overtone, less than a quarter of a semitone off.
    partial = round(loudest / fundamental)
    assert 1 <= partial <= 8
    assert abs(12 * np.log2(loudest / (partial * fundamental))) < 0.25


@pytest.mark.timeout(60)
def test_every_pitch_of_every_track_can_be_rendered():
    """A regression test: with the sound font as it is, the synthesiser never returns from the highest bass notes."""
    roll = silence()
    roll[np.arange(84) * 2, np.arange(84)] = True
    assert np.abs(audio.render(roll)).max() == pytest.approx(0.9, abs=1e-3)


def test_silence_is_as_long_as_the_roll():
    samples = audio.render(silence(), tempo=120.0, sample_rate=22050)
    assert samples.shape == (8 * 22050, 2)
    assert (samples == 0).all()


def test_a_drum_that_the_kit_lacks_is_silent():
    roll = silence()
    roll[0, 0, 0] = True
    assert (audio.render(roll) == 0).all()


def test_phrases_in_a_row(phrase, rendered):
    both = audio.render(np.stack([phrase, phrase]))
    assert both.shape == (round(19.2 * RATE), 2)
    np.testing.assert_allclose(both[: len(rendered) - RATE], rendered[:-RATE], atol=1e-4)
    assert loudness(both, 9.6, 11.99) == 0
    assert loudness(both, 12.0, 12.1) > 0.05


def test_two_renders_are_equal(phrase, rendered):
    np.testing.assert_array_equal(audio.render(phrase), rendered)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
def test_written_sound_reads_back(tmp_path, rendered, extension):
    import soundfile

    path = tmp_path / f"a.{extension}"
    audio.write_audio(path, rendered)
    back, rate = soundfile.read(path)
    assert rate == RATE
    # Longer than one block of writing, to the sample.
    assert back.shape == rendered.shape
    tolerance = {"wav": 2**-15, "flac": 2**-15}.get(extension, 0.02)
    assert np.sqrt(((back - rendered) ** 2).mean()) < tolerance
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_other_extensions_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.ogg, \.mp3, \.flac, \.wav"):
        audio.write_audio(tmp_path / "a.aac", np.zeros((10, 2), np.float32))


@pytest.mark.parametrize("tempo", [0.0, -1.0, float("nan")])
def test_bad_tempos_are_refused(tempo):
    with pytest.raises(ValueError, match="tempo is"):
        audio.render(silence(), tempo=tempo)


@pytest.mark.parametrize(
    ("module", "requirement"),
    [("symusic", "symusic>=0.5.8,<0.6"), ("soundfile", "soundfile"), ("pretty_midi", "pretty_midi>=0.2.10")],
)
def test_missing_parts_are_named(monkeypatch, module, requirement):
    monkeypatch.setitem(sys.modules, module, None)
    sentence = audio.missing_parts(DEFAULT_AUDIO)
    assert "pip install" in sentence
    assert requirement in sentence
    assert "\n" not in sentence


def test_the_rest_imports_and_writes_without_the_parts(tmp_path):
    script = """
import sys
sys.modules.update(symusic=None, soundfile=None, pretty_midi=None)
import numpy as np
from wae_jax.render import phrase_files
phrase_files.write_phrases(sys.argv[1], np.eye(192, 84, dtype=bool)[None, :, :, None].repeat(5, 3), pictures=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "pip install" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "all_phrases.mid",
        "phrase_0000.mid",
        "phrases.npz",
    ]


def test_programs_and_fonts_change_the_sound(phrase, rendered, tmp_path):
    other = audio.render(phrase, programs=(0, 0, 25, 80, 48))
    assert not np.allclose(other[: len(rendered)], rendered[: len(other)], atol=0.05)
    copy = tmp_path / "copy.sf2"
    copy.write_bytes(sound_font.read_font(None))
    # A font of one's own is played as it is, without the mix made for the default.
    same_font = audio.render(phrase, audio=Audio(sound_font=str(copy)))
    assert loudness(same_font, 2.4, 4.8) / loudness(same_font, 7.2, 7.3) != pytest.approx(
        loudness(rendered, 2.4, 4.8) / loudness(rendered, 7.2, 7.3), rel=0.05
    )


def test_the_synthesiser_is_named(tmp_path):
    assert audio.describe(DEFAULT_AUDIO) == f"symusic {importlib.metadata.version('symusic')} with TimGM6mb.sf2"
    assert audio.describe(Audio(sound_font=str(tmp_path / "Grand.sf2"))).endswith("with Grand.sf2")


def test_a_font_that_is_missing_is_named_beforehand(tmp_path):
    told = audio.missing_parts(Audio(sound_font=str(tmp_path / "none.sf2")))
    assert re.fullmatch(r"no sound can be made: there is no sound font \S+none\.sf2; expected a .*", told)


def test_a_file_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        audio.write_audio(tmp_path / "missing" / "a.ogg", np.zeros((100, 2), np.float32))
