"""The folder of phrases: which files, and that each holds what it should."""

from __future__ import annotations

import sys

import mido
import numpy as np
import pypianoroll
import pytest
import soundfile

from tests.checking import unchecked
from wae_jax.data.build import formats
from wae_jax.data.build.key_estimation import estimate_key, sounding_steps
from wae_jax.data.build.sources import Options
from wae_jax.pianoroll import pack, transpose, unpack
from wae_jax.render import phrase_files, phrase_plots
from wae_jax.render.audio import Audio


@pytest.fixture(scope="module")
def rolls():
    rng = np.random.default_rng(0)
    rolls = np.repeat(rng.random((3, 48, 84, 5)) < 0.01, 4, axis=1)
    rolls[1, :, :, 2] = False
    rolls[2] = False
    return rolls


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def folder(rolls, lines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phrases") / "not" / "yet"
    phrase_files.write_phrases(folder, rolls, probabilities=rolls * 0.75, log=lines.append)
    return folder


def test_the_files(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["phrases.npz", "probabilities.npy", "all_phrases.mid", "grid.png"]
        + [f"phrase_000{i}.{form}" for i in range(3) for form in ("mid", "png", "ogg")]
    )


def test_nothing_is_said_where_all_goes_well_and_fast(folder, lines):
    assert not [line for line in lines if "written to" not in line]


def test_the_arrays_read_as_musegan_reads_them(folder, rolls):
    with np.load(folder / "phrases.npz") as file:
        assert set(file.files) == {"nonzero", "shape"}
        assert file["nonzero"].dtype == np.int64
        assert file["nonzero"].shape == (5, rolls.sum())
        assert file["shape"].tolist() == [3, 4, 48, 84, 5]
        back = np.zeros(file["shape"], bool)
        back[tuple(file["nonzero"])] = True
    np.testing.assert_array_equal(back.reshape(rolls.shape), rolls)


def test_the_arrays_read_as_a_source_of_the_data_set(folder, rolls):
    read = np.concatenate([chunk.rows for chunk in formats.open_source(folder / "phrases.npz").chunks])
    np.testing.assert_array_equal(read, pack(rolls))


def test_all_that_is_written_has_a_name_of_these_files_and_nothing_else_has(folder, rolls, tmp_path):
    assert phrase_files.written_files(folder) == sorted(folder.iterdir())
    shown = {"multitracks": True, "pictures": False, "log": lambda line: None}
    for name in ("wav", "flac"):
        phrase_files.write_phrases(tmp_path, rolls[:1], audio=Audio(name), **shown)
    assert len(written := phrase_files.written_files(tmp_path)) == 6
    others = ["phrase_1.mid", "phrase_0001.txt", "my_phrase_0001.mid", "phrase_0001.mid.bak", "phrases.npy", "notes.md"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / "phrase_0007.mid").mkdir()
    (tmp_path / "phrase_12345.ogg").symlink_to("nothing")
    assert phrase_files.written_files(tmp_path) == sorted([*written, tmp_path / "phrase_12345.ogg"])
    assert phrase_files.written_files(tmp_path / "nowhere") == []


def test_the_probabilities(folder, rolls):
    back = np.load(folder / "probabilities.npy")
    assert back.dtype == np.float16
    np.testing.assert_array_equal(back, rolls * 0.75)


def test_each_midi_file_is_one_phrase_long_and_the_row_all_of_them(folder):
    for i in range(3):
        file = mido.MidiFile(folder / f"phrase_000{i}.mid")
        assert file.length == pytest.approx(9.6)
        assert file.tracks[0].name == f"phrase_000{i}"
    assert mido.MidiFile(folder / "all_phrases.mid").length == pytest.approx(3 * 9.6)


def test_pictures_and_sound_can_be_opened(folder):
    for name in ("grid", "phrase_0000", "phrase_0001", "phrase_0002"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for i in range(3):
        samples, rate = soundfile.read(folder / f"phrase_000{i}.ogg")
        assert len(samples) >= round(9.6 * rate)
        # The last phrase is silent.
        assert (np.abs(samples).max() > 0.5) == (i < 2)


def test_names_tempo_and_what_is_left_out(rolls, tmp_path, monkeypatch):
    titles = []
    draw = phrase_plots.plot_phrase
    monkeypatch.setattr(
        phrase_plots, "plot_phrase", lambda roll, *, title: titles.append(title) or draw(roll, title=title)
    )
    phrase_files.write_phrases(tmp_path, rolls[:2], names=["one", "zwei"], tempo=120.0, audio=None)
    assert titles == ["one", "zwei"]
    file = mido.MidiFile(tmp_path / "phrase_0001.mid")
    assert file.tracks[0].name == "zwei"
    assert file.length == pytest.approx(8)
    assert not list(tmp_path.glob("*.ogg"))
    assert not (tmp_path / "probabilities.npy").exists()


def test_multitracks_are_read_by_pypianoroll_and_by_the_reader_of_data_sets(rolls, tmp_path):
    phrase_files.write_phrases(tmp_path, rolls[:2], audio=None, pictures=False, multitracks=True, tempo=93.5)
    for i in range(2):
        path = tmp_path / f"phrase_000{i}.npz"
        loaded = pypianoroll.load(path)
        assert (loaded.name, loaded.resolution) == (f"phrase_000{i}", 12)
        assert [track.name for track in loaded.tracks] == ["Drums", "Piano", "Guitar", "Bass", "Strings"]
        assert [track.program for track in loaded.tracks] == [0, 0, 25, 33, 48]
        assert [track.is_drum for track in loaded.tracks] == [True, False, False, False, False]
        assert set(loaded.tempo.ravel().tolist()) == {93.5}
        assert np.flatnonzero(loaded.downbeat).tolist() == [0, 48, 96, 144]
        read = np.stack([track.pianoroll for track in loaded.tracks], axis=-1)
        np.testing.assert_array_equal(read[:, 24:108], rolls[i])
        assert not read[:, :24].any()
        assert not read[:, 108:].any()
        (chunk,) = formats.open_source(path, options=Options(drum_length="full")).chunks
        np.testing.assert_array_equal(chunk.rows, pack(rolls[i : i + 1]))
        assert chunk.tempos == [93.5]


def test_names_that_are_not_utf8_are_escaped(rolls, tmp_path):
    phrase_files.write_phrases(tmp_path, rolls[:1], names=["caf\udce9 $x_$"], audio=None, multitracks=True)
    assert mido.MidiFile(tmp_path / "phrase_0000.mid", charset="utf-8").tracks[0].name == "caf\\udce9 $x_$"


def test_the_grid_alone(rolls, tmp_path):
    phrase_files.write_phrases(tmp_path, rolls[:2], each_picture=False, audio=None)
    assert [path.name for path in tmp_path.glob("*.png")] == ["grid.png"]


def test_without_pictures(rolls, tmp_path):
    phrase_files.write_phrases(tmp_path, rolls[:1], pictures=False, audio=None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all_phrases.mid", "phrase_0000.mid", "phrases.npz"]


def test_the_grid_shows_the_first_sixteen_in_order(tmp_path, monkeypatch):
    rolls = np.zeros((18, 192, 84, 5), bool)
    rolls[np.arange(18), 0, np.arange(18), 1] = True
    seen = []
    draw = phrase_plots.plot_grid

    def plot_grid(rolls, **options):
        seen.append(rolls)
        return draw(rolls, **options)

    monkeypatch.setattr(phrase_plots, "plot_grid", plot_grid)
    monkeypatch.setattr(phrase_files, "save_figure", lambda figure, path: None)
    monkeypatch.setattr(phrase_plots, "plot_phrase", lambda roll, title: None)
    phrase_files.write_phrases(tmp_path, rolls, audio=None)
    np.testing.assert_array_equal(seen[0], rolls[:16])


def test_without_the_parts_for_sound_one_line_says_so(rolls, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "symusic", None)
    lines = []
    phrase_files.write_phrases(tmp_path, rolls[:1], log=lines.append)
    (line,) = lines
    assert "pip install" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "all_phrases.mid",
        "grid.png",
        "phrase_0000.mid",
        "phrase_0000.png",
        "phrases.npz",
    ]


def test_progress_is_reported_when_it_takes_long(rolls, tmp_path, monkeypatch):
    monkeypatch.setattr(phrase_files, "_SECONDS_BETWEEN_LINES", -1)
    lines = []
    phrase_files.write_phrases(tmp_path, rolls, audio=None, pictures=False, log=lines.append)
    assert [line.split(" phrases")[0] for line in lines] == ["1 of 3", "2 of 3", "3 of 3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rolls": np.zeros((2, 4, 48, 84, 5), bool)}, "expected \\[B, 192"),
        ({"rolls": np.zeros((0, 192, 84, 5), bool)}, "there are 0 phrases"),
        ({"rolls": np.zeros((2, 192, 84, 5), np.float32)}, "binarize"),
        ({"names": ["one"]}, "2 phrases and 1 names"),
        ({"probabilities": np.zeros((1, 192, 84, 5))}, "probabilities has shape"),
        ({"tempo": 0.0}, "tempo is"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, change, message):
    arguments = {"rolls": np.zeros((2, 192, 84, 5), bool), "audio": None, "pictures": False, **change}
    with unchecked(), pytest.raises(ValueError, match=message):
        phrase_files.write_phrases(tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_keys_are_read_back(tmp_path):
    """Phrases of C major in other keys are transposed back by their signatures; the notes alone suggest G major."""
    rng = np.random.default_rng(3)
    rolls_in_c = np.zeros((4, 16, 12, 84, 5), bool)
    for roll in rolls_in_c.reshape(-1, 12, 84, 5):
        roll[:9, rng.choice([43, 47, 50, 45, 40, 55, 59, 62], 3), rng.integers(1, 5)] = True
    rolls_in_c = rolls_in_c.reshape(4, 192, 84, 5)
    assert all(estimate_key(times) == (7, False) for times in sounding_steps(rolls_in_c))
    shifts = [2, -5, 0, 4]
    moved = transpose(rolls_in_c, np.array(shifts))
    phrase_files.write_phrases(tmp_path, moved, tonics=shifts, audio=None, pictures=False)
    for i, semitones in enumerate(shifts):
        source = formats.open_source(tmp_path / f"phrase_{i:04d}.mid", options=Options(tonality="signature"))
        (chunk,) = source.chunks
        assert chunk.semitones == [-semitones]
        np.testing.assert_array_equal(unpack(chunk.rows)[0], rolls_in_c[i])
