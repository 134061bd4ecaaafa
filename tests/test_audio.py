"""Sound: length, loudness, timing, and that nothing breaks where it cannot be made."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys

import numpy as np
import pytest

from wae_jax import audio

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
    assert audio.missing_parts() is None


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


def test_rewriting_the_sound_font_changes_only_where_root_keys_stand():
    def read(font):
        ((name, body),) = audio._split(font)
        assert name == b"RIFF"
        lists = {part[:4]: part[4:] for _, part in audio._split(body[4:])}
        tables = dict(audio._split(lists.pop(b"pdta")))
        settings = np.frombuffer(tables.pop(b"igen"), "<u2").reshape(-1, 2)
        return lists, tables, settings, np.frombuffer(tables.pop(b"shdr"), audio._SAMPLE_HEADER)

    font = (importlib.resources.files("pretty_midi") / audio.SOUND_FONT).read_bytes()
    old_lists, old_tables, old_settings, old_headers = read(font)
    new_lists, new_tables, new_settings, new_headers = read(audio._with_root_keys_in_headers(font))
    assert new_lists == old_lists
    assert new_tables == old_tables
    root_key, overridden = None, 0
    for (kind, amount), (new_kind, new_amount) in zip(old_settings.tolist(), new_settings.tolist(), strict=True):
        assert new_kind == kind
        if kind == 58:
            root_key = amount
        if kind != 53:
            assert new_amount == amount
            continue
        # A sample ends its zone.
        old, new = old_headers[amount], new_headers[new_amount]
        assert new["recording"] == old["recording"]
        assert new["rest"] == old["rest"]
        assert new["root_key"] == (old["root_key"] if root_key is None else root_key)
        overridden += root_key is not None
        root_key = None
    assert overridden > 100
    assert new_headers[-1] == old_headers[-1]


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
    sentence = audio.missing_parts()
    assert "pip install" in sentence
    assert requirement in sentence
    assert "\n" not in sentence
    with pytest.raises(RuntimeError, match="pip install"):
        audio.render(silence())


def test_a_pretty_midi_without_its_sound_font(monkeypatch):
    monkeypatch.setattr(audio, "SOUND_FONT", "absent.sf2")
    assert 'pip install --force-reinstall "pretty_midi' in audio.missing_parts()


def test_the_rest_imports_and_writes_without_the_parts(tmp_path):
    script = """
import sys
sys.modules.update(symusic=None, soundfile=None, pretty_midi=None)
import numpy as np
from wae_jax import phrase_files
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
