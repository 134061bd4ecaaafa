"""What `generate` writes is read back as it was: phrases from all of its files, and codes."""

import functools
import json
import pathlib
import shlex
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wae_jax
from tests.helpers import CORPUS_MODEL, onsets, random_rolls, train_briefly
from tests.properties import CELLS, phrases, some
from tests.searching import shorten_searches
from wae_jax import generate
from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.errors import RequestError
from wae_jax.generation.modes.input_phrase import read_input_phrase, read_input_phrases
from wae_jax.pianoroll import unpack
from wae_jax.render.midi import write_midi
from wae_jax.render.phrase_files import write_phrases

read = functools.partial(wae_jax.read_phrases, tonality="keep", drum_length="full")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_briefly(tmp_path_factory.mktemp("run"))


QUICK = ("--no-audio", "--no-pictures", "--no-page")


def run(workdir, output, *flags, quick=QUICK):
    return generate.main([f"--workdir={workdir}", f"--output={output}", *quick, *flags])


PROGRAMS = st.lists(st.integers(0, 127), min_size=5, max_size=5)


@some(0.5)
@given(phrases(min_phrases=1, max_phrases=4), st.lists(CELLS, min_size=4, max_size=4), PROGRAMS, st.floats(10, 1000))
def test_every_file_of_phrases_is_read_back(rolls, cells, programs, tempo):
    for roll, cell in zip(rolls, cells, strict=False):
        roll[cell] = True  # none is silent
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        options = {"tempo": tempo, "programs": programs, "audio": None, "pictures": False}
        write_phrases(folder, rolls, multitracks=True, **options)
        for together in ("phrases.npz", "all_phrases.mid"):
            np.testing.assert_array_equal(read(folder / together), rolls)
        for i, roll in enumerate(rolls):
            for suffix in (".mid", ".npz"):
                np.testing.assert_array_equal(read(folder / f"phrase_{i:04d}{suffix}"), roll[None])


def test_phrases_after_a_silent_one_are_read_where_they_are(tmp_path):
    rolls = np.zeros((4, 192, 84, 5), bool)
    rolls[[1, 3], 48:60, 36, 1] = True  # after a silent phrase and a bar's rest
    write_phrases(tmp_path, rolls, audio=None, pictures=False)
    found = read_input_phrases(tmp_path / "all_phrases.mid")
    assert [phrase.start_bar for phrase in found] == [5, 13]
    np.testing.assert_array_equal([phrase.roll for phrase in found], rolls[[1, 3]])


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Three phrases in D major, drums of one step, at 90 bpm."""
    packed, _ = make_demo_corpus(num_songs=1, phrases_per_song=3, seed=3)
    rolls = unpack(packed)
    rolls[..., 1:] = np.roll(rolls[..., 1:], 2, axis=-2)
    path = tmp_path_factory.mktemp("song") / "my song.mid"
    write_midi(path, rolls, tempo=90)
    return path


SOUND = ["--tempo=133.7", "--programs=drums=16,piano=120,bass=0,strings=33", "--multitracks"]


@pytest.mark.parametrize(
    "flags", [["--num=3", "--key=Eb"], ["--mode=continue", "--num=6"], ["--mode=continue", "SONG"]]
)
def test_music_of_any_tempo_and_instruments_is_read_back(tmp_path, song, corpus_model, monkeypatch, flags):
    shorten_searches(monkeypatch, num_steps=5)
    flags = [f"--input={song}" if flag == "SONG" else flag for flag in flags]
    assert run(CORPUS_MODEL, tmp_path / "o", *SOUND, *flags) == 0
    rolls = read(tmp_path / "o" / "phrases.npz")
    assert rolls.any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(read(tmp_path / "o" / "all_phrases.mid"), rolls)
    for i, roll in enumerate(rolls):
        for suffix in (".mid", ".npz"):
            path = tmp_path / "o" / f"phrase_{i:04d}{suffix}"
            np.testing.assert_array_equal(read(path), roll[None])
            assert read_input_phrase(path).tempo == pytest.approx(133.7)
    # In other modes of the command too.
    own = ["--mode=encode", f"--input={tmp_path / 'o/all_phrases.mid'}"]
    assert run(CORPUS_MODEL, tmp_path / "e", *own, quick=()) == 0
    own = corpus_model.encode(wae_jax.read_phrases(tmp_path / "o" / "all_phrases.mid"))
    np.testing.assert_allclose(np.load(tmp_path / "e" / "codes.npy"), own, atol=1e-4)


def test_codes_of_every_mode_are_decoded_to_the_same_music(workdir, tmp_path):
    music = ["--key=Bm", "--probabilities", "--threshold=0.03", "--multitracks"]
    assert run(workdir, tmp_path / "a", *music, "--num=3", "--tempo=80") == 0
    codes = f"--codes={tmp_path / 'a' / 'codes.npy'}"
    assert run(workdir, tmp_path / "b", "--mode=decode", codes, *music, "--tempo=80", quick=("--no-audio",)) == 0
    one, other = (tmp_path / name for name in "ab")
    made = {path.name for path in one.iterdir()}
    assert {path.name for path in other.iterdir()} > made
    assert {"listen.html", "grid.png", "phrase_0002.png"} <= {path.name for path in other.iterdir()}
    np.testing.assert_array_equal(read(one / "phrases.npz"), read(other / "phrases.npz"))
    for name in ("codes.npy", "probabilities.npy"):
        np.testing.assert_array_equal(np.load(one / name), np.load(other / name))
    assert (one / "phrase_0001.mid").read_bytes() == (other / "phrase_0001.mid").read_bytes()
    requested = json.loads((other / "report.json").read_text())["requested"]
    assert (requested["mode"], requested["num"], requested["codes"]) == ("decode", 3, codes.partition("=")[2])


def test_a_song_is_encoded_whole_and_the_command_back_is_told(workdir, song, tmp_path, capsys):
    assert run(workdir, tmp_path / "e f", "--mode=encode", f"--input={song}", quick=()) == 0
    told = capsys.readouterr().out
    assert "my song.mid, bars 1 to 12: in D major as estimated, moved by -2 semitones to be encoded" in told
    folder = tmp_path / "e f"
    assert (
        f"wrote the codes of 3 phrases of my song.mid, bars 1 to 12, to {folder / 'codes.npy'}: 4 numbers each" in told
    )
    assert {path.name for path in folder.iterdir()} == {"codes.npy", "report.json"}
    rows = json.loads((folder / "report.json").read_text())["phrases"]
    assert [(row["phrase"], row["start_bar"], round(row["tempo"], 2)) for row in rows] == [
        (f"my song.mid, bars {bar} to {bar + 3}", bar, 90) for bar in (1, 5, 9)
    ]
    model = wae_jax.load(workdir)
    codes = np.load(folder / "codes.npy")
    np.testing.assert_array_equal(codes, model.encode(wae_jax.read_phrases(song)))

    (back,) = [line.partition(": ")[2] for line in told.splitlines() if line.startswith("to decode them")]
    program, *flags = shlex.split(back)[2:]
    assert (program, flags[-1]) == ("wae_jax.generate", f"--output={folder / 'decoded'}")
    assert {"--key=D", "--tempo=90", f"--workdir={workdir}"} <= set(flags)
    assert generate.main([*flags, "--threshold=0.03", *QUICK]) == 0
    expected = np.zeros_like(rolls := model.decode(codes) > np.float32(0.03))
    expected[..., 0] = rolls[..., 0]
    expected[..., 2:, 1:] = rolls[..., :-2, 1:]
    np.testing.assert_array_equal(read(folder / "decoded" / "phrases.npz")[..., 2:82, :], expected[..., 2:82, :])
    assert read_input_phrase(folder / "decoded" / "all_phrases.mid").tempo == pytest.approx(90)


def test_bars_and_arrays_are_encoded_too(workdir, song, tmp_path, capsys):
    assert run(workdir, tmp_path / "a", "--mode=encode", f"--input={song}", "--start-bar=5", quick=()) == 0
    assert "wrote the codes of 1 phrase of my song.mid, bars 5 to 8, to" in capsys.readouterr().out
    model = wae_jax.load(workdir)
    in_c = wae_jax.read_phrases(song)
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "codes.npy"), model.encode(in_c[1:2]))
    np.save(tmp_path / "in_d.npy", read(song))
    assert run(workdir, tmp_path / "b", "--mode=encode", f"--input={tmp_path / 'in_d.npy'}", quick=()) == 0
    told = capsys.readouterr().out
    assert "--key=D --tempo=100" in told
    np.testing.assert_array_equal(np.load(tmp_path / "b" / "codes.npy"), model.encode(in_c))
    # Phrases of the validation split are in C, and have no tempo.
    assert run(workdir, tmp_path / "v", "--mode=encode", "--num=2", quick=()) == 0
    told = capsys.readouterr().out
    assert f"2 phrases of the validation split, whose rows in it are in {tmp_path / 'v' / 'rows.npy'}, to " in told
    assert "--key" not in told
    assert "--tempo" not in told


def write_wrong_codes(folder):
    wrong = {
        "other": np.zeros((2, 5)),
        "nan": np.array([[0.0] * 4, [0, np.nan, 0, 0]]),
        "large": np.full((1, 4), 1e300),
        "words": np.array([["a", "b"]]),
        "none": np.zeros((0, 4)),
        "one": np.zeros(4),
    }
    for name, array in wrong.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "arrays.npz", codes=wrong["other"])
    (folder / "cut.npy").write_bytes((folder / "other.npy").read_bytes()[:-8])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "folder.npy").mkdir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.npy", "nowhere.npy does not exist; expected a .npy file with a code a row"),
        ("folder.npy", "folder.npy is a folder; expected a .npy file"),
        ("other.npy", "have 5 dimensions, and those of the model 4; expected codes of this model"),
        ("nan.npy", "nan.npy has numbers in row 1 (counted from 0) that are not finite"),
        ("large.npy", "large.npy has numbers in row 0 (counted from 0) that are not finite"),
        ("words.npy", "words.npy is of type <U1, not of numbers"),
        ("none.npy", "none.npy has shape (0, 4), which is not of one or more codes"),
        ("one.npy", "one.npy has shape (4,), which is not of one or more codes"),
        ("arrays.npz", "arrays.npz cannot be read (ValueError: the magic string is not correct"),
        ("cut.npy", "cut.npy cannot be read (ValueError: mmap length is greater"),
        ("empty.npy", "empty.npy cannot be read (ValueError: EOF"),
    ],
)
def test_files_without_codes_of_the_model_are_refused(workdir, tmp_path, capsys, name, message):
    write_wrong_codes(tmp_path)
    assert run(workdir, tmp_path / "out", "--mode=decode", f"--codes={tmp_path / name}", "--threshold=0.03") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_codes_that_overflow_in_the_decoder_are_refused(tmp_path, capsys):
    np.save(tmp_path / "codes.npy", np.array([[0.0] * 32, [1e38] * 32]))
    flags = ["--mode=decode", f"--codes={tmp_path / 'codes.npy'}", "--threshold=0.3", "--track-gate=0"]
    assert run(CORPUS_MODEL, tmp_path / "out", *flags) == 1
    assert "row 1 of --codes (counted from 0) is too large to decode" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=decode"], "--mode=decode needs --codes"),
        (["--codes=a.npy"], "--codes applies only to --mode=decode"),
        (["--mode=decode", "--codes=a.npy", "--num=3"], "--num does not apply to --mode=decode with --codes"),
        (["--mode=encode", "--input=a.mid", "--num=3"], "--num does not apply to --mode=encode with --input"),
        (["--mode=decode", "--codes=gs://a/b.npy"], "gs://a/b.npy is a URL; expected a local path"),
    ],
)
def test_flags_of_codes_that_make_no_sense_together_are_refused(tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit, match="2"):
        run("none", tmp_path / "out", *flags)
    assert message in capsys.readouterr().err


def test_codes_that_are_read_are_not_overwritten(workdir, tmp_path, capsys):
    assert run(workdir, tmp_path / "e", "--mode=encode", "--num=2", quick=()) == 0
    flags = ["--mode=decode", f"--codes={tmp_path / 'e' / 'codes.npy'}", "--overwrite"]
    assert run(workdir, tmp_path / "e", *flags, "--threshold=0.03") == 1
    assert "codes.npy, which is to be read; choose another --output" in capsys.readouterr().err


def test_drums_have_one_step_by_default(tmp_path):
    rolls = random_rolls(2, density=0.3)
    write_midi(tmp_path / "a.mid", rolls)
    np.testing.assert_array_equal(read(tmp_path / "a.mid"), rolls)
    by_default = wae_jax.read_phrases(tmp_path / "a.mid", tonality="keep")
    np.testing.assert_array_equal(by_default[..., 0], onsets(rolls)[..., 0])
    with pytest.raises(RequestError, match="drum_length is 'short'; expected one of onset, full"):
        wae_jax.read_phrases(tmp_path / "a.mid", drum_length="short")
