"""The content of a survey, and the command that writes it."""

import collections
import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.helpers import CORPUS_MODEL, changed
from tests.listening.binarization_cases import cells_of
from tests.listening.parsing import assert_loads_nothing, data_of
from wae_jax import listen
from wae_jax.config import BinarizationRule
from wae_jax.data.dataset import load_dataset
from wae_jax.errors import RequestError
from wae_jax.generation.model import Model
from wae_jax.listening import document
from wae_jax.listening.survey import page as survey_page
from wae_jax.listening.survey.design import NOISE, is_check
from wae_jax.listening.survey.page import REAL_NAME, load_models, make_survey, make_survey_page, scatter
from wae_jax.listening.survey.results import QUESTIONS, unseal
from wae_jax.pianoroll import unpack


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two exported models, which are the same."""
    folder = tmp_path_factory.mktemp("runs")
    return [str(shutil.copy(CORPUS_MODEL, folder / name)) for name in ("one_gan.npz", "other_mmd.npz")]


@pytest.fixture(scope="module")
def models(files):
    return load_models(files, "best")


# Nothing to calibrate.
FIXED = BinarizationRule(thresholds=(0.3,) * 5)
FIXED_FLAGS = ("--threshold=0.4", "--short-note-threshold=0", "--track-gate=0")


def test_every_clip_is_of_the_source_that_the_key_says(models, corpus_model, small_data):
    real = load_dataset(small_data)
    survey = make_survey(
        models,
        real,
        num=12,
        num_checks=3,
        seed=4,
        rules=dict.fromkeys(models, FIXED),
    )
    key = survey.key
    assert list(key.sources) == ["one_gan.npz", "other_mmd.npz", REAL_NAME]
    assert len(survey.pairs) == 1 + 12 + 3
    practice, *pairs = survey.pairs
    held_out = {row.tobytes() for row in unpack(np.asarray(real.split("valid")))}
    heard = collections.defaultdict(list)
    for sides, clips in zip(key.pairs, pairs, strict=True):
        for source, clip in zip(sides, clips, strict=True):
            heard[source].append(cells_of(clip))
    # Both models have the same samples: each is a clip once, in order; the first of one model is in the practice pair.
    samples = list(corpus_model.sample(12, seed=4) > 0.3)
    np.testing.assert_array_equal(heard[0], samples[1 : 1 + len(heard[0])])
    np.testing.assert_array_equal(heard[1], samples[: len(heard[1])])
    assert len(heard[0]) == len(heard[1]) == 8
    assert np.array(heard[0]).any(axis=(1, 2, 3)).all()
    in_practice = [cells_of(clip) for clip in practice]
    assert sum(np.array_equal(clip, samples[0]) for clip in in_practice) == 1
    assert sum(clip.tobytes() in held_out for clip in in_practice) == 1
    assert all(clip.tobytes() in held_out for clip in heard[2])
    # 8 that are compared, 3 in checks.
    assert len(heard[2]) == 8 + 3
    for sides, clips in zip(key.pairs, pairs, strict=True):
        if is_check(sides):
            noise, real_clip = (cells_of(clips[sides.index(side)]) for side in (NOISE, 2))
            np.testing.assert_array_equal(noise.sum(axis=(0, 1)), real_clip.sum(axis=(0, 1)))
            assert (noise & real_clip).sum() < 0.1 * noise.sum()
    assert key.provenance["real"]["data"] == str(small_data)
    assert key.provenance["models"]["one_gan.npz"]["digest"] == models["one_gan.npz"].digest


def test_real_music_is_not_heard_twice_where_there_is_enough(models, small_data):
    real = load_dataset(small_data)
    available = len(real.split("valid"))
    for num in (6, 40):
        survey = make_survey(models, real, num=num, rules=dict.fromkeys(models, FIXED))
        heard = [
            json.dumps(clip)
            for pair, clips in zip(survey.key.pairs, survey.pairs[1:], strict=True)
            for side, clip in zip(pair, clips, strict=True)
            if side == 2
        ]
        wanted = len(heard) + 1
        assert survey.num_repeated == max(0, wanted - available)
        times = collections.Counter(heard)
        assert max(times.values()) <= -(-wanted // available)


def test_silent_phrases_are_left_out(small_data):
    real = load_dataset(small_data)
    phrases = np.array(real.phrases)
    start, stop = real.splits["valid"]
    phrases[start : stop - 2] = 0
    quiet = type(real)(phrases, real.splits, "", "quiet", list)
    chosen = survey_page._choose(quiet, "valid", 5, np.random.default_rng(0))
    assert {roll.tobytes() for roll in chosen} == {roll.tobytes() for roll in unpack(phrases[stop - 2 : stop])}
    phrases[:] = 0
    with pytest.raises(RequestError, match="no phrase with a note"):
        survey_page._choose(quiet, "valid", 5, np.random.default_rng(0))


def test_noise_has_as_many_cells_anywhere():
    roll = np.zeros((192, 84, 5), bool)
    roll[:, :10, 1] = True
    roll[0, 0, 0] = True
    noise = scatter(roll, np.random.default_rng(0))
    assert noise.sum(axis=(0, 1)).tolist() == [1, 1920, 0, 0, 0]
    # As many in each quarter of the time and in each half of the pitches, up to what chance does.
    for part in (*np.split(noise[..., 1], 4), *np.split(noise[..., 1], 4, axis=1)):
        assert part.sum() == pytest.approx(480, abs=80)


def test_nothing_to_be_read_in_the_page_names_a_source(models, small_data):
    survey = make_survey(models, load_dataset(small_data), num=6, rules=dict.fromkeys(models, FIXED))
    page = make_survey_page(survey)
    for word in ("one_gan", "other_mmd", ".npz", str(small_data), survey.key.provenance["real"]["digest"]):
        assert word not in page, word
    data = data_of(page)
    # The first screen says that there is real music, and the rule that there is noise; no clip is called so.
    assert REAL_NAME not in json.dumps(data)
    assert json.loads(unseal(data["key"]))["sources"] == list(survey.key.sources)
    assert data["survey"] == survey.key.survey_id
    assert [question["name"] for question in data["questions"]] == list(QUESTIONS)
    # Neither which pair is a check: all are two lists of notes.
    assert all(len(pair) == 2 and all(isinstance(clip, list) for clip in pair) for pair in data["pairs"])
    assert_loads_nothing(page)


def command(*flags):
    return listen.main(["survey", *map(str, flags)])


def test_the_command_writes_the_same_page_for_the_same_seed(files, small_data, tmp_path, capsys):
    flags = ["--runs", *files, "--real", small_data, "--num=6", *FIXED_FLAGS]
    pages = [tmp_path / "new" / name for name in ("a.html", "b.html", "c.html")]
    assert command(*flags, "--seed=5", "--output", pages[0]) == 0
    said = capsys.readouterr().out
    survey = data_of(pages[0].read_text())["survey"]
    assert f"survey {survey} of one_gan.npz, other_mmd.npz, real music: 6 pairs, 2 checks" in said
    assert "more than 0 of the 2 pairs" in said
    assert f"{pages[0].stat().st_size / 1e6:.1f} MB" in said
    assert "repeated" not in said
    assert command(*flags, "--seed=5", "--output", pages[1]) == 0
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert command(*flags, "--seed=6", "--checks=4", "--max-failed-checks=2", "--output", pages[2]) == 0
    data = data_of(pages[2].read_text())
    assert data["survey"] != survey
    assert "more than 2 of the 4 pairs" in data["rule"]


class Silent(Model):
    """A model of silence, so that nothing is computed."""

    def decode(self, codes):
        return np.zeros((len(codes), 192, 84, 5), np.float32)


def test_without_real_music_that_of_the_first_model_is_taken(corpus_model, small_data, tmp_path, monkeypatch):
    models = {}
    for name, path in (("a", small_data), ("b", "nowhere")):
        config = changed(corpus_model.config, data__path=str(path))
        models[name] = Silent(config, corpus_model.variables, 0, "", corpus_model.track_statistics)
    monkeypatch.setattr(listen, "load_models", lambda paths, checkpoint: models)
    assert command("--runs", "a", "b", "--num=3", *FIXED_FLAGS, "--output", tmp_path / "s.html") == 0
    key = json.loads(unseal(data_of((tmp_path / "s.html").read_text())["key"]))
    assert key["provenance"]["real"]["data"] == str(small_data)


def test_where_there_is_no_real_music_other_music_is_asked_for(corpus_model, tmp_path, monkeypatch, capsys):
    config = changed(corpus_model.config, data__path="nowhere")
    model = dataclasses.replace(corpus_model, config=config)
    monkeypatch.setattr(listen, "load_models", lambda paths, checkpoint: {"a": model})
    assert command("--runs", "a", "--num=3", *FIXED_FLAGS, "--output", tmp_path / "s.html") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the training data of the model are missing: nowhere holds no dataset.json")
    assert error.endswith("; or --real with other music\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num=2"], "2 pairs; expected at least 3"),
        (["--checks=0"], "expected 1 to 40 checks"),
        (["--checks=41"], "expected 1 to 40 checks"),
        (["--checks=3", "--max-failed-checks=3"], "fewer failures than checks"),
        (["--max-failed-checks=-1"], "fewer failures than checks"),
        (["--split=dev"], "has no dev split; it has train"),
        (["--real=nowhere"], "nowhere"),
        (["--checkpoint=7"], "no checkpoint '7'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(files, small_data, tmp_path, capsys, flags, message):
    always = ("--runs", *files, "--real", small_data, *FIXED_FLAGS, "--output", tmp_path / "s.html")
    assert command(*always, *flags) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bad_outputs_and_runs_are_refused(files, small_data, tmp_path, capsys, monkeypatch):
    flags = ["--real", small_data, "--num=6", *FIXED_FLAGS]
    assert command("--runs", files[0], *flags, "--output", tmp_path) == 1
    assert "is a folder; expected the name of a file" in capsys.readouterr().err
    assert command("--runs", files[0], files[0], *flags, "--output", tmp_path / "s.html") == 1
    assert "twice; expected each run once" in capsys.readouterr().err
    assert command("--runs", tmp_path / "none", *flags, "--output", tmp_path / "s.html") == 1
    assert "config.json" in capsys.readouterr().err
    monkeypatch.setattr(document, "LARGEST_PAGE", 1000)
    assert command("--runs", files[0], *flags, "--output", tmp_path / "s.html") == 1
    assert "--num" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    for flag in ("--seed=-1", "--threshold=2", "--num=0"):
        with pytest.raises(SystemExit, match="2"):
            command("--runs", files[0], "--output=s.html", flag)


def test_runs_called_alike_are_told_apart_by_their_paths(files, tmp_path):
    twin = tmp_path / "one_gan.npz"
    shutil.copy(files[0], twin)
    assert list(load_models([str(files[0]), str(twin)], "best")) == [str(files[0]), str(twin)]
    named = tmp_path / REAL_NAME
    shutil.copy(files[0], named)
    assert list(load_models([str(named)], "best")) == [str(named)]


@pytest.mark.parametrize("name", ["survey", "score"])
def test_help_shows_how_to_use_it(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        listen.main([name, "--help"])
    assert f"python -m wae_jax.listen {name}" in capsys.readouterr().out
