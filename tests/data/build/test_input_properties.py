"""Properties of inputs and splits that hold for every input, tried on inputs that hypothesis makes up."""

import contextlib
import functools
import io
import os
import pathlib
import tempfile

import numpy as np
import pypianoroll
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import onsets
from tests.properties import CELLS, phrases, some
from wae_jax import build_dataset, pianoroll
from wae_jax.data import splits
from wae_jax.data.build import formats
from wae_jax.data.build.sources import Options
from wae_jax.render import midi, phrase_files
from wae_jax.render.multitrack import write_multitrack


@some(0.4)
@given(phrases(min_phrases=1))
def test_phrases_written_as_npz_are_read_back(rolls):
    with tempfile.TemporaryDirectory() as folder:
        phrase_files.write_phrases(folder, rolls, audio=None, pictures=False)
        source = formats.open_source(pathlib.Path(folder, "phrases.npz"))
        assert source.num_phrases == len(rolls)
        np.testing.assert_array_equal(np.concatenate([chunk.rows for chunk in source.chunks]), pianoroll.pack(rolls))


PROGRAMS = st.lists(st.integers(0, 127), min_size=5, max_size=5)


@some(0.5)
@given(phrases(min_phrases=1, max_phrases=1), CELLS, PROGRAMS, st.floats(10, 1000))
def test_files_of_a_phrase_are_read_back(rolls, cell, programs, tempo):
    """As the same phrase, whichever bars of it rest and whatever instruments play it."""
    rolls[0, cell[0], cell[1], cell[2]] = True
    with tempfile.TemporaryDirectory() as folder:
        for write, name in ((midi.write_midi, "phrase.mid"), (write_multitrack, "phrase.npz")):
            path = pathlib.Path(folder, name)
            write(path, rolls[0], tempo=tempo, programs=programs)
            for drum_length in ("full", "onset"):
                source = formats.open_source(path, options=Options(drum_length=drum_length))
                (chunk,) = source.chunks
                expected = rolls.copy()
                if drum_length == "onset":
                    expected[..., 0] = onsets(rolls)[..., 0]
                np.testing.assert_array_equal(pianoroll.unpack(chunk.rows), expected)
                assert chunk.tempos == pytest.approx([tempo], rel=1e-5)
                assert (chunk.first_bars, source.changes.num_out_of_range) == ([0], 0)


# Names of songs: any text, names of files that are no text, and few enough that songs have many phrases.
SONG_NAMES = st.one_of(st.sampled_from("abcdefgh"), st.text(max_size=4), st.binary(max_size=4).map(os.fsdecode))
ROWS = st.lists(st.tuples(SONG_NAMES, st.integers(0, 40)), max_size=60)


@some(5)
@given(ROWS, st.integers(0, 9), st.floats(0, 0.5), st.floats(0, 0.49), st.randoms(use_true_random=False))
def test_neither_a_song_nor_a_phrase_is_in_two_splits(rows, seed, valid, test, chance):
    def split(rows):
        return splits.split_by_song(
            [song for song, _ in rows],
            [phrase for _, phrase in rows],
            seed=seed,
            valid_fraction=valid,
            test_fraction=test,
        ).tolist()

    codes = split(rows)
    assert len(codes) == len(rows)
    of_song, of_phrase = {}, {}
    for (song, phrase), code in zip(rows, codes, strict=True):
        assert of_song.setdefault(song, code) == code
        assert of_phrase.setdefault(phrase, code) == code
    assert not rows or splits.TRAIN in codes
    assert valid > 0 or splits.VALID not in codes
    assert test > 0 or splits.TEST not in codes
    shuffled = chance.sample(list(zip(rows, codes, strict=True)), len(rows))
    assert split([row for row, _ in shuffled]) == [code for _, code in shuffled]


@functools.cache
def good_files() -> dict[str, bytes]:
    """One input of each kind that `build_dataset` reads, small."""
    rolls = np.random.default_rng(0).random((3, *pianoroll.PHRASE_SHAPE)) < 0.01
    bars = rolls.reshape(3, 4, 48, 84, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        np.save(folder / "dense.npy", bars)
        np.save(folder / "floats.npy", rolls.astype(np.float16))
        for save, stem in ((np.savez, "stored"), (np.savez_compressed, "deflated")):
            save(folder / f"{stem}.npz", nonzero=np.array(np.nonzero(bars)), shape=np.array(bars.shape))
        midi.write_midi(folder / "song.mid", rolls)
        tracks = [
            pypianoroll.BinaryTrack(
                name=track.name,
                program=track.program,
                is_drum=track.is_drum,
                pianoroll=np.pad(rolls[0, :, :, k], ((0, 0), (24, 20))),
            )
            for k, track in enumerate(pianoroll.TRACKS)
        ]
        pypianoroll.Multitrack(resolution=12, tracks=tracks).save(folder / "multitrack.npz")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module", autouse=True)
def _good_files_are_there():
    """Not first within a strategy: what writes them may import a module that draws random numbers."""
    good_files()


@st.composite
def damaged_files(draw):
    """A good input with a few bytes changed, put in, taken out or cut off, often where headers are."""
    name = draw(st.sampled_from(sorted(good_files())))
    data = bytearray(good_files()[name])
    for _ in range(draw(st.integers(1, 4))):
        near = min(200, len(data))
        place = draw(
            st.one_of(st.integers(0, near), st.integers(len(data) - near, len(data)), st.integers(0, len(data)))
        )
        match draw(st.sampled_from(["flip", "set", "insert", "remove", "cut", "repeat"])):
            case "flip":
                data[place : place + 1] = bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[place : place + 1])
            case "set":
                new = draw(st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"-1"]))
                data[place : place + len(new)] = new
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
            case "remove":
                del data[place : place + draw(st.integers(1, 50))]
            case "cut":
                del data[place:]
            case "repeat":
                data[place:place] = data[place : place + draw(st.integers(1, 100))]
    return name, bytes(data)


def build(folder, *arguments):
    """Runs `build_dataset` on a folder's inputs; the exit status, which must be told by a message if it is not 0."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        status = build_dataset.main([*arguments, "--threshold=0.5", "--output", str(folder / "set")])
    assert status == 0 or "error: " in told.getvalue()
    assert "Traceback" not in told.getvalue()
    return status


def assert_whole_or_absent(folder, status, inputs):
    """There is a whole data set after status 0, and nothing at all after status 1."""
    assert status in (0, 1)
    assert {path.name for path in folder.iterdir()} - {inputs} == ({"set"} if status == 0 else set())
    if status == 0:
        assert {path.name for path in (folder / "set").iterdir()} == {
            *("phrases.npy", "dataset.json", "index.tsv", "skipped.tsv")
        }
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            assert build_dataset.main(["--verify", str(folder / "set")]) == 0


@given(damaged_files().filter(lambda file: file[0] not in ("song.mid", "multitrack.npz")))
def test_damaged_arrays_are_refused_or_read_whole(file):
    name, data = file
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent)
        (folder / name).write_bytes(data)
        assert_whole_or_absent(folder, build(folder, "--input", str(folder / name)), name)


@some(0.4)  # the first example is the simplest, without songs
@given(st.lists(damaged_files(), min_size=20, max_size=30), st.booleans())
def test_damaged_files_in_a_folder_spoil_nothing(files, with_a_good_one):
    """Songs too, which are read in other processes; many at once, since these take seconds to start."""
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent)
        (folder / "inputs").mkdir()
        for i, (name, data) in enumerate(files):
            (folder / "inputs" / f"{i}_{name}").write_bytes(data)
        if with_a_good_one:
            (folder / "inputs" / "good.mid").write_bytes(good_files()["song.mid"])
        status = build(folder, "--input", str(folder / "inputs"), "--workers=1")
        assert_whole_or_absent(folder, status, "inputs")
        if with_a_good_one:
            assert status == 0
            told = (folder / "set" / "skipped.tsv").read_text() + (folder / "set" / "dataset.json").read_text()
            assert all(f"{i}_{name}" in told for i, (name, _) in enumerate(files))
