"""The command that makes music, with a small trained model."""

import json
import shutil

import mido
import numpy as np
import pypianoroll
import pytest
import soundfile

import wae_jax
from tests.helpers import CORPUS_MODEL, random_rolls, train_briefly
from tests.listening.parsing import data_of
from tests.searching import shorten_searches
from wae_jax import export, generate
from wae_jax.command_line.generate_flags import make_request, parse_attribute, parse_tracks
from wae_jax.config import BinarizationRule
from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.errors import DatasetError
from wae_jax.generation.modes.input_phrase import InputPhrase, read_input_phrase
from wae_jax.pianoroll import unpack
from wae_jax.render.midi import write_midi


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_briefly(tmp_path_factory.mktemp("run"))


def run(workdir, output, *flags, quick=("--no-audio", "--no-pictures", "--no-page", "--threshold=0.03")):
    return generate.main([f"--workdir={workdir}", f"--output={output}", *quick, *flags])


def load(folder):
    stored = np.load(folder / "phrases.npz", allow_pickle=False)
    dense = np.zeros(stored["shape"], bool)
    dense[tuple(stored["nonzero"])] = True
    return dense


def test_samples_depend_on_the_seed_and_not_on_their_number(workdir, tmp_path, capsys):
    assert run(workdir, tmp_path / "a", "--num=3", "--probabilities", quick=("--no-audio", "--threshold=0.03")) == 0
    table = capsys.readouterr().out
    assert "cells a phrase" in table
    assert "training data" in table
    assert run(workdir, tmp_path / "b", "--num=2") == 0
    assert run(workdir, tmp_path / "c", "--num=2", "--seed=1") == 0
    first, second, other = (np.load(tmp_path / name / "codes.npy") for name in "abc")
    np.testing.assert_array_equal(first[:2], second)
    assert not np.allclose(second, other)
    np.testing.assert_array_equal(load(tmp_path / "a")[:2], load(tmp_path / "b"))
    probabilities = np.load(tmp_path / "a" / "probabilities.npy")
    assert probabilities.shape == (3, 192, 84, 5)
    assert len(list((tmp_path / "a").glob("phrase_*.mid"))) == 3
    assert (tmp_path / "a" / "listen.html").is_file()
    assert not (tmp_path / "b" / "listen.html").exists()


def test_without_an_output_the_first_free_folder_is_taken(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = [f"--workdir={workdir}", "--num=1", "--no-audio", "--no-pictures", "--no-page", "--threshold=0.03"]
    for folder in ("music", "music_2", "music_3"):
        assert generate.main(short) == 0
        assert f"wrote 1 phrases to {folder}\n" in capsys.readouterr().out
        assert (tmp_path / folder / "phrase_0000.mid").is_file()
    assert generate.main([*short, "--overwrite"]) == 0
    assert "wrote 1 phrases to music\n" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 3


def test_reconstructions_lie_beside_their_originals(workdir, tmp_path):
    assert run(workdir, tmp_path / "r", "--mode=reconstruct", "--num=2") == 0
    assert load(tmp_path / "r").shape == load(tmp_path / "r" / "originals").shape == (2, 4, 48, 84, 5)
    assert load(tmp_path / "r" / "originals").any()
    assert len(np.load(tmp_path / "r" / "rows.npy")) == 2


def test_codes_alone(workdir, tmp_path):
    assert run(workdir, tmp_path / "e", "--mode=encode", "--num=3", quick=()) == 0
    assert {path.name for path in (tmp_path / "e").iterdir()} == {"codes.npy", "rows.npy"}


def test_interpolation_begins_and_ends_at_codes_of_phrases(workdir, tmp_path):
    assert run(workdir, tmp_path / "i", "--mode=interpolate", "--num=9") == 0
    run(workdir, tmp_path / "e", "--mode=encode", "--num=3", quick=())
    path, ends = np.load(tmp_path / "i" / "codes.npy"), np.load(tmp_path / "e" / "codes.npy")
    assert path.shape == (9, 4)
    assert any(np.allclose(path[0], end, atol=1e-5) for end in ends)
    assert any(np.allclose(path[8], end, atol=1e-5) for end in ends)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=reconstruct", "--num=100000"], "--num is 100000; expected at most"),
        (["--mode=interpolate", "--num=3000"], "--num is 3000; expected at most"),
        (["--checkpoint=newest"], "expected best, latest or the number of a step"),
        (["--checkpoint=²"], "expected best, latest or the number of a step"),
        (["--checkpoint=77"], "77"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(workdir, tmp_path, capsys, flags, message):
    assert run(workdir, tmp_path / "out", *flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_folders_that_are_not_right_are_refused(workdir, tmp_path, capsys):
    assert run(tmp_path, tmp_path / "out") == 1
    assert "config.json" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert run(workdir, tmp_path / "full") == 1
    assert "not an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["--num=0", "--threshold=2", "--tempo=0", "--seed=-1", "--seed=4294967296", "--binarization=soft"]
)
def test_flags_out_of_range_are_refused(workdir, tmp_path, flag):
    with pytest.raises(SystemExit, match="2"):
        run(workdir, tmp_path / "out", flag)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Two songs of three phrases each, at 90 and 140 bpm."""
    folder = tmp_path_factory.mktemp("songs")
    for i, (name, tempo) in enumerate({"a.mid": 90, "b.mid": 140}.items()):
        write_midi(folder / name, random_rolls(3, density=0.01, seed=i), tempo=tempo)
    return folder


def tempos(folder):
    """The tempos of all MIDI files of a folder and its subfolders, in whole bpm."""
    messages = [message for path in folder.rglob("*.mid") for message in mido.MidiFile(path).tracks[0]]
    return {round(mido.tempo2bpm(message.tempo)) for message in messages if message.type == "set_tempo"}


@pytest.fixture
def quick(monkeypatch):
    shorten_searches(monkeypatch, num_steps=5)


OWN = {
    "vary": (["--num=3"], 4),
    "continue": (["--num=6"], 6),
    "accompany": (["--keep=drums,bass", "--num=2"], 2),
    "edit": (["--attribute=density:+1"], 2),
}


@pytest.mark.parametrize("mode", OWN)
def test_what_is_made_of_ones_own_music_depends_on_it(workdir, songs, tmp_path, capsys, quick, mode):
    flags, num = OWN[mode]
    for name in "ab":
        assert run(workdir, tmp_path / name, f"--mode={mode}", f"--input={songs / f'{name}.mid'}", *flags) == 0
        report = json.loads((tmp_path / name / "report.json").read_text())
        assert report["requested"]["input"] == str(songs / f"{name}.mid")
        assert report["requested"]["mode"] == mode
        assert report["model"]["step"] == 3
        assert load(tmp_path / name).shape[0] == num
        assert "F1" in capsys.readouterr().out
        assert tempos(tmp_path / name) == {90 if name == "a" else 140}
    # Of a run of three steps all codes decode to much the same, so that a search may stay where it started; that
    # phrases differ, the tests of each mode hold.
    one, other = (np.load(tmp_path / name / "codes.npy") for name in "ab")
    differ = np.abs(one - other).max(axis=1) > 1e-3
    assert differ.any() if mode == "accompany" else differ[0 if mode == "continue" else slice(None)].all()
    if mode == "continue":
        np.testing.assert_array_equal(load(tmp_path / "a")[0], own_bars(songs / "a.mid"))
    else:
        np.testing.assert_array_equal(load(tmp_path / "a" / "originals")[0], own_bars(songs / "a.mid"))
    if mode != "vary":
        return
    flags = [f"--input={songs / 'a.mid'}", "--start-bar=5", *flags]
    assert run(workdir, tmp_path / "later", f"--mode={mode}", *flags) == 0
    assert np.abs(np.load(tmp_path / "later" / "codes.npy") - one).max() > 1e-3
    assert json.loads((tmp_path / "later" / "report.json").read_text())["requested"]["start_bar"] == 5


def own_bars(path):
    return read_input_phrase(path).roll.reshape(4, 48, 84, 5)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A song in C major, and the same song in D and in E flat, far from the edges of the range."""
    folder = tmp_path_factory.mktemp("keys")
    packed, _ = make_demo_corpus(num_songs=1, phrases_per_song=3, seed=3)
    for name, up in (("c", 0), ("d", 2), ("eb", 3)):
        write_midi(folder / f"{name}.mid", higher(unpack(packed), up))
    return folder


def higher(rolls, up):
    """Phrases with pitched tracks so many semitones higher."""
    moved = np.roll(rolls, up, axis=-2)
    moved[..., 0] = rolls[..., 0]
    return moved


@pytest.mark.parametrize("mode", OWN)
def test_what_is_made_of_the_same_music_in_another_key_is_the_same_in_that_key(
    workdir, keys, tmp_path, capsys, quick, mode
):
    flags, _ = OWN[mode]
    for name, key in (("c", []), ("d", []), ("d in eb", ["--key=Cm"])):
        own = f"--input={keys / name.split()[0]}.mid"
        assert run(workdir, tmp_path / name, f"--mode={mode}", own, *flags, *key) == 0
    assert "c.mid, bars 1 to 4: in C major as estimated, moved by +0 semitones" in (out := capsys.readouterr().out)
    assert "d.mid, bars 1 to 4: in D major as estimated, moved by -2 semitones to be encoded" in out
    assert "phrases are moved by +2 semitones from C major and A minor" in out
    in_c = load(tmp_path / "c")
    for name, up in (("d", 2), ("d in eb", 3)):
        np.testing.assert_allclose(np.load(tmp_path / name / "codes.npy"), np.load(tmp_path / "c" / "codes.npy"))
        np.testing.assert_array_equal(load(tmp_path / name)[..., 9:75, :], higher(in_c, up)[..., 9:75, :])
        found = json.loads((tmp_path / name / "report.json").read_text())["transposed"]
        assert set(found["phrases"]) == {up}
        assert (found["inputs"][0]["semitones"], found["inputs"][0]["written_semitones"]) == (-2, up - 2)
        if mode != "continue":
            originals = load(tmp_path / name / "originals")
            np.testing.assert_array_equal(originals[0], higher(own_bars(keys / "c.mid"), up))
            kept = [0, 3] if mode == "accompany" else []
            for roll in load(tmp_path / name):
                np.testing.assert_array_equal(roll[..., kept], originals[0][..., kept])


def test_a_walk_from_one_key_to_another_has_the_first_key(workdir, keys, tmp_path, quick):
    for name in ("d", "c"):
        ends = [f"--from={keys / f'{name}.mid'}", f"--to={keys / 'eb.mid'}"]
        assert run(workdir, tmp_path / name, "--mode=interpolate", "--num=3", *ends) == 0
    np.testing.assert_array_equal(load(tmp_path / "d")[..., 9:75, :], higher(load(tmp_path / "c"), 2)[..., 9:75, :])
    for i, name in enumerate(("d", "eb")):
        np.testing.assert_array_equal(load(tmp_path / "d" / "originals")[i], own_bars(keys / f"{name}.mid"))


def test_samples_are_written_shown_and_reported_in_the_requested_keys(workdir, tmp_path, capsys):
    shown = ["--no-audio", "--no-pictures", "--threshold=0.03", "--num=4"]
    assert run(workdir, tmp_path / "c", quick=shown) == 0
    assert "semitones" not in capsys.readouterr().out
    in_c = load(tmp_path / "c")
    for key, expected in (("Bm", [2] * 4), ("random", None)):
        folder = tmp_path / key
        assert run(workdir, folder, f"--key={key}", "--probabilities", quick=shown) == 0
        report = json.loads((folder / "report.json").read_text())
        shifts = report["transposed"]["phrases"]
        assert report["requested"]["key"] == key
        assert "semitones" in capsys.readouterr().out
        assert expected in (shifts, None)
        phrases = load(folder)
        (section,) = data_of((folder / "listen.html").read_text(encoding="utf-8"))["sections"]
        on_page = [phrase["notes"] for group in section["groups"] for phrase in group["phrases"]]
        for i, up in enumerate(shifts):
            np.testing.assert_array_equal(phrases[i][..., 9:75, :], higher(in_c[i], up)[..., 9:75, :])
            pitches = {(track, int(p) + 24) for p, track in np.argwhere(phrases[i].any(axis=(0, 1)))}
            assert {(track, pitch) for track, pitch, *_ in on_page[i]} == pitches
            played = [m for t in mido.MidiFile(folder / f"phrase_{i:04d}.mid").tracks for m in t if m.type == "note_on"]
            assert {message.note for message in played if message.velocity} == {pitch for _, pitch in pitches}
        probable = np.load(folder / "probabilities.npy").reshape(phrases.shape)
        np.testing.assert_array_equal(probable > np.float32(0.03), phrases)


def test_a_model_knows_whether_its_music_was_in_one_tonality(workdir, keys, tmp_path, capsys, quick):
    assert export.main([f"--workdir={workdir}", f"--output={tmp_path / 'c.npz'}", "--num=2"]) == 0
    own = ["--mode=vary", "--num=1", f"--input={keys / 'd.mid'}"]
    assert run(tmp_path / "c.npz", tmp_path / "c", *own) == 0
    assert "moved by -2 semitones" in capsys.readouterr().out
    many = shutil.copytree(workdir, tmp_path / "many")
    config = json.loads((many / "config.json").read_text())
    config["data"]["tonality"] = "all"
    (many / "config.json").write_text(json.dumps(config))
    assert run(many, tmp_path / "all", *own) == 0
    assert "semitones" not in capsys.readouterr().out
    assert "transposed" not in json.loads((tmp_path / "all" / "report.json").read_text())
    assert run(many, tmp_path / "no", "--key=D") == 1
    assert "--key is D, and the model was trained on music in many keys" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_walk_between_two_files(workdir, songs, tmp_path, quick):
    ends = [f"--from={songs / 'a.mid'}", f"--to={songs / 'b.mid'}"]
    assert run(workdir, tmp_path / "there", "--mode=interpolate", *ends) == 0
    assert load(tmp_path / "there").shape[0] == 9
    assert tempos(tmp_path / "there") == {90}
    np.testing.assert_array_equal(load(tmp_path / "there" / "originals")[1], own_bars(songs / "b.mid"))
    there = np.load(tmp_path / "there" / "codes.npy")
    assert run(workdir, tmp_path / "later", "--mode=interpolate", *ends, "--to-bar=9", "--num=2") == 0
    later = np.load(tmp_path / "later" / "codes.npy")
    np.testing.assert_allclose(later[0], there[0], atol=1e-4)
    assert np.abs(later[1] - there[8]).max() > 1e-3
    assert run(workdir, tmp_path / "one", "--mode=interpolate", *ends, "--num=1") == 1


def test_the_tempo_of_ones_own_music_is_that_of_everything_written(workdir, songs, tmp_path, quick, capsys):
    own = ["--mode=vary", f"--input={songs / 'a.mid'}", "--num=1"]
    shown = ["--audio-format=wav", "--multitracks", "--no-pictures", "--threshold=0.03"]
    assert run(workdir, tmp_path / "a", *own, quick=shown) == 0
    assert "tempo: 90 bpm" in capsys.readouterr().out
    assert json.loads((tmp_path / "a" / "report.json").read_text())["tempo"] == pytest.approx(90)
    assert data_of((tmp_path / "a" / "listen.html").read_text(encoding="utf-8"))["tempo"] == 90
    for folder in (tmp_path / "a", tmp_path / "a" / "originals"):
        assert set(pypianoroll.load(folder / "phrase_0000.npz").tempo.ravel().round(3)) == {90}
        # Four bars last 10.7 seconds, in which sounds may go on for 1.5 seconds.
        assert 16 * 60 / 90 - 0.1 < soundfile.info(folder / "phrase_0000.wav").duration < 16 * 60 / 90 + 1.6
    assert run(workdir, tmp_path / "b", *own, "--tempo=77") == 0
    assert tempos(tmp_path / "b") == {77}
    # Arrays have no tempo.
    own[1] = f"--input={tmp_path / 'a' / 'originals' / 'phrases.npz'}"
    assert run(workdir, tmp_path / "c", *own) == 0
    assert tempos(tmp_path / "c") == {100}


def test_without_a_workdir_the_model_that_ships_is_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where none of its training data are
    flags = [f"--output={tmp_path / 'out'}", "--no-audio", "--no-pictures", "--no-page", "--num=2"]
    assert generate.main(flags) == 0
    told = capsys.readouterr().out
    assert f"the model that ships with wae_jax: step {wae_jax.load().step}, checkpoint" in told
    assert "bars are silent" in told
    expected = wae_jax.load().sample_codes(0, 2)
    np.testing.assert_allclose(np.load(tmp_path / "out" / "codes.npy"), expected, atol=1e-6)
    assert load(tmp_path / "out").any()


def test_a_run_without_its_data_still_makes_music(tmp_path, capsys, monkeypatch):
    def gone(run, split):
        raise DatasetError("the data are gone")

    monkeypatch.setattr("wae_jax.generation.model.Model.phrases", gone)
    flags = [f"--workdir={CORPUS_MODEL}", "--no-audio", "--no-pictures", "--num=2", "--threshold=0.3"]
    assert generate.main([f"--output={tmp_path / 'out'}", *flags]) == 0
    told = capsys.readouterr().out
    assert "nothing to compare with in the table below: the data are gone" in told
    assert "no listening page" not in told
    assert (tmp_path / "out" / "listen.html").exists()
    assert generate.main([f"--output={tmp_path / 'edit'}", "--mode=edit", "--attribute=density:1", *flags]) == 0
    instead = {
        "reconstruct": "--mode=encode with music of your own, and --mode=decode with its codes",
        "encode": "--input with music of your own",
        "interpolate": "--from and --to with music of your own",
    }
    for mode, expected in instead.items():
        own = flags[:1] if mode == "encode" else flags
        assert generate.main([f"--output={tmp_path / mode}", f"--mode={mode}", *own]) == 1
        assert capsys.readouterr().err == f"error: the data are gone; or {expected}\n"
        assert not (tmp_path / mode).exists()


def test_reconstructions_tell_their_f1(workdir, tmp_path):
    assert run(workdir, tmp_path / "r", "--mode=reconstruct", "--num=3") == 0
    found = json.loads((tmp_path / "r" / "report.json").read_text())["f1"]
    pairs = zip(load(tmp_path / "r"), load(tmp_path / "r" / "originals"), strict=True)
    np.testing.assert_allclose(found, [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=vary", "--input=nowhere.mid"], "nowhere.mid does not exist; expected a MIDI"),
        (["--mode=vary", "--input=A", "--start-bar=11"], "it has from bars 1 to 9"),
        (["--mode=continue", "--input=QUIET"], "is silent in bar 2"),
        (["--mode=accompany", "--input=QUIET", "--keep=strings"], "silent; expected --keep with some of Piano"),
        (["--mode=edit", "--input=QUIET", "--start-bar=2", "--attribute=density:1"], "no four bars"),
    ],
)
def test_music_that_will_not_do_is_refused_with_the_reason(workdir, songs, tmp_path, capsys, quick, flags, message):
    quiet = np.zeros((1, 192, 84, 5), bool)
    quiet[0, :48, 30, 1] = quiet[0, 100:, 30, 1] = True
    write_midi(tmp_path / "quiet.mid", quiet)
    places = {"--input=A": f"--input={songs / 'a.mid'}", "--input=QUIET": f"--input={tmp_path / 'quiet.mid'}"}
    assert run(workdir, tmp_path / "out", *(places.get(flag, flag) for flag in flags)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input=a.mid"], "--input applies only to --mode=encode or vary or continue or accompany or edit"),
        (["--mode=vary", "--input=a.mid", "--keep=bass"], "--keep applies only to --mode=accompany"),
        (["--mode=vary"], "--mode=vary needs --input"),
        (["--mode=accompany", "--input=a.mid"], "needs --input and --keep"),
        (["--mode=accompany", "--input=a.mid", "--keep=drums,flute"], "'flute' is no track; expected some of drums, "),
        (["--mode=accompany", "--input=a.mid", "--keep=bass,drums,piano,guitar,strings"], "none is left to make"),
        (["--mode=edit", "--attribute=speed:1"], "with one of the names density, polyphony, note-length, register"),
        (["--mode=edit", "--attribute=density"], "expected NAME:CHANGE"),
        (["--mode=edit", "--attribute=density:much"], "up to 5 standard deviations either way"),
        (["--mode=edit", "--attribute=density:0"], "up to 5 standard deviations either way"),
        (["--mode=edit", "--attribute=density:9"], "up to 5 standard deviations either way"),
        (["--mode=edit", "--attribute=density:1", "--attribute=density:2"], "names one attribute twice"),
        (
            ["--mode=edit", "--attribute=density:1", "--input=a.mid", "--num=4"],
            "--num does not apply to --mode=edit",
        ),
        (["--mode=continue", "--start-bar=5"], "expected --input too"),
        (
            ["--mode=vary", "--input=a.mid", "--start-bar=0"],
            "'0'; expected a whole number of at least 1",
        ),
        (["--mode=interpolate", "--from=a.mid"], "expected both"),
        (["--mode=encode", "--key=D"], "--key applies only to music"),
        (["--key=d"], "'d' is no key; expected one such as C, F#, Bb, Am or Bbm, or random"),
        (["--mode=interpolate", "--input=a.mid"], "--input applies only to"),
    ],
)
def test_flags_that_make_no_sense_together_are_refused(workdir, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit, match="2"):
        run(workdir, tmp_path / "out", *flags)
    assert message in capsys.readouterr().err


def test_flags_of_modes_are_read():
    assert parse_tracks("Bass, drums") == (0, 3)
    assert parse_attribute("note-length:-1.5") == ("note length", -1.5)
    assert parse_attribute("Drum_Busyness:+2") == ("drum busyness", 2.0)
    flags = ["--output=o", "--mode=edit", "--attribute=density:1", "--attribute=register:-1"]
    assert generate.parse_arguments(flags).attribute == [("density", 1.0), ("register", -1.0)]


@pytest.mark.parametrize(
    ("flags", "num", "may_be_fewer"),
    [
        ([], 16, True),
        (["--mode=reconstruct", "--num=5"], 5, False),
        (["--mode=continue"], 16, True),
        (["--mode=edit", "--attribute=density:1"], 8, True),
        (["--mode=edit", "--attribute=density:1", "--input=a.mid"], 1, True),
    ],
)
def test_the_number_of_phrases_depends_on_the_mode(flags, num, may_be_fewer):
    arguments = generate.parse_arguments(["--output=o", *flags])
    inputs = (InputPhrase(random_rolls(1)[0], "a.mid", 1),) if arguments.input else ()
    request = make_request(arguments, inputs, BinarizationRule())
    assert (request.num, request.may_be_fewer) == (num, may_be_fewer)


@pytest.mark.parametrize("mode", ["encode", "reconstruct", "interpolate"])
def test_by_default_there_are_no_more_phrases_than_a_small_validation_split_has(workdir, tmp_path, monkeypatch, mode):
    few = wae_jax.load(workdir).phrases("valid")[:3]
    monkeypatch.setattr("wae_jax.generation.model.Model.phrases", lambda model, split: few)
    quick = () if mode == "encode" else ("--no-audio", "--no-pictures", "--no-page", "--threshold=0.03")
    assert run(workdir, tmp_path / "o", f"--mode={mode}", quick=quick) == 0
    assert len(np.load(tmp_path / "o" / "codes.npy")) == (16 if mode == "interpolate" else 3)


def test_a_path_through_one_validation_phrase_is_refused(workdir, tmp_path, capsys, monkeypatch):
    one = wae_jax.load(workdir).phrases("valid")[:1]
    monkeypatch.setattr("wae_jax.generation.model.Model.phrases", lambda model, split: one)
    assert run(workdir, tmp_path / "o", "--mode=interpolate") == 1
    assert capsys.readouterr().err == (
        "error: the validation split of the built-in corpus has 1 phrase, and a path has two ends; expected --from and "
        "--to with music of your own, or a model whose data have more\n"
    )
    assert not (tmp_path / "o").exists()


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_overwriting_leaves_nothing_of_an_earlier_output_and_all_else(workdir, tmp_path, capsys):
    again, own = tmp_path / "again", {"notes.txt", "phrase_1.mid", "originals/mine.mid"}
    assert run(workdir, again, "--mode=reconstruct", "--num=3", "--probabilities", quick=("--no-audio",)) == 0
    assert "to listen, open" in capsys.readouterr().out
    for name in own:
        (again / name).write_text("mine")
    assert run(workdir, again, "--num=2") == 1
    assert "not an empty folder" in capsys.readouterr().err
    before = files_in(again)
    assert run(workdir, again, "--num=2", "--overwrite") == 0
    told = capsys.readouterr().out
    assert run(workdir, tmp_path / "fresh", "--num=2") == 0
    assert files_in(again) == files_in(tmp_path / "fresh") | own
    assert f"removed {len(before - own)} files of an earlier output from {again}\n" in told
    assert "to listen" not in told
    # Of an interrupted command, or one that makes codes alone, there is no report.
    (again / "report.json").unlink()
    assert run(workdir, again, "--mode=encode", "--num=2", "--overwrite", quick=()) == 0
    assert files_in(again) == {"codes.npy", "rows.npy"} | own


def test_overwriting_keeps_the_old_music_where_nothing_is_made(workdir, tmp_path, capsys):
    assert run(workdir, tmp_path / "o", "--num=2") == 0
    before = files_in(tmp_path / "o")
    assert run(workdir, tmp_path / "o", "--mode=reconstruct", "--num=100000", "--overwrite") == 1
    own = f"--input={tmp_path / 'o' / 'all_phrases.mid'}"
    assert run(workdir, tmp_path / "o", "--mode=vary", own, "--overwrite") == 1
    assert "all_phrases.mid, which is to be read; choose another --output" in capsys.readouterr().err
    assert files_in(tmp_path / "o") == before
    before = files_in(workdir)
    assert run(workdir, workdir, "--num=2", "--overwrite") == 1
    assert "is the workdir of a run" in capsys.readouterr().err
    assert files_in(workdir) == before


def test_a_page_that_was_not_written_is_not_announced(workdir, tmp_path, capsys, monkeypatch):
    assert run(workdir, tmp_path / "o", "--num=1", quick=("--no-audio", "--no-pictures")) == 0

    def fail(*arguments, **options):
        raise DatasetError("the data are gone")

    monkeypatch.setattr(generate, "write_page", fail)
    capsys.readouterr()
    assert run(workdir, tmp_path / "o", "--num=1", "--overwrite", quick=("--no-audio", "--no-pictures")) == 0
    told = capsys.readouterr().out
    assert "no listening page" in told
    assert "to listen, open" not in told
    assert not (tmp_path / "o" / "listen.html").exists()


def test_ctrl_c_prints_one_line_and_exits_with_its_status(workdir, tmp_path, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(generate, "write_phrases", interrupt)
    assert run(workdir, tmp_path / "o", "--num=1") == 130
    assert capsys.readouterr().err == f"interrupted; {tmp_path / 'o'} may be incomplete\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "o/a.mid"), "error: o/a.mid: No space left on device\n"),
        (OSError("100 requested and 0 written"), "is the disk full?"),
    ],
)
def test_a_full_disk_is_said_in_a_sentence(workdir, tmp_path, capsys, monkeypatch, error, message):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(generate, "write_phrases", fail)
    assert run(workdir, tmp_path / "o", "--num=1") == 1
    assert message in capsys.readouterr().err


def test_an_exported_model_makes_the_same_music(workdir, tmp_path):
    assert export.main([f"--workdir={workdir}", f"--output={tmp_path / 'a.npz'}", "--num=2"]) == 0
    assert export.main([f"--workdir={tmp_path / 'a.npz'}", f"--output={tmp_path / 'b.npz'}", "--num=2"]) == 0
    assert run(tmp_path / "b.npz", tmp_path / "b", "--num=2") == 0
    once = wae_jax.load(tmp_path / "a.npz")
    rolls = once.sample(2) > np.float32(0.03)
    np.testing.assert_array_equal(load(tmp_path / "b").reshape(rolls.shape), rolls)


@pytest.mark.slow  # `test_evaluate` samples from an estimate, `test_learned_prior` checks its moments
def test_samples_of_a_density_estimate_lie_where_the_codes_of_training_phrases_do(workdir, tmp_path):
    assert run(workdir, tmp_path / "m", "--num=200", "--prior=kernel_density") == 0
    assert run(workdir, tmp_path / "n", "--num=3", "--prior=kernel_density") == 0
    assert run(workdir, tmp_path / "p", "--num=200", "--prior=normal") == 0
    codes, normal = (np.load(tmp_path / name / "codes.npy") for name in ("m", "p"))
    np.testing.assert_allclose(np.load(tmp_path / "n" / "codes.npy"), codes[:3], rtol=1e-5, atol=1e-6)
    opened = wae_jax.load(workdir)
    training = opened.encode(unpack(np.asarray(opened.phrases("train"))))
    error = 4 * training.std(axis=0) / np.sqrt(len(codes))
    assert np.all(np.abs(codes.mean(axis=0) - training.mean(axis=0)) < error + 0.05)
    # The normal prior's are elsewhere: a run of a few steps has codes near one another.
    assert codes.std(axis=0).max() < 0.8 * normal.std(axis=0).min()
    assert json.loads((tmp_path / "m" / "report.json").read_text())["requested"]["prior"] == "kernel_density"
