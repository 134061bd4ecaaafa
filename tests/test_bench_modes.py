"""The bench of modes: metrics against numbers worked out by hand, and its tables for a run of the tests."""

import json
import math

import numpy as np
import pytest

import wae_jax
from tests.bench import heard, modes
from tests.bench import mode_metrics as metrics
from tests.bench.mode_measures import COMPARISONS, MEASURES, NEXT, OTHER, STRANGER, Comparison
from tests.helpers import build_small_dataset, phrase_of, train_briefly
from tests.searching import shorten_searches
from wae_jax.data.dataset import load_dataset
from wae_jax.pianoroll import unpack

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)
KEPT = np.isin(np.arange(5), (DRUMS, BASS))
C, E, G, F_SHARP = 24, 28, 31, 30  # rows of the roll two octaves up


def tonal(semitones):
    """Distance of two pitch classes in the space of Harte, Sandler and Gasser: chords of its three circles."""
    circles = (1, 7 / 6), (1, 3 / 2), (0.5, 2 / 3)
    return math.sqrt(sum(2 * r * r * (1 - math.cos(semitones * math.pi * turn)) for r, turn in circles))


def test_tonal_distance_is_between_kept_and_other_tracks():
    # Piano and guitar would be near each other; strings never sound with the bass.
    rolls = phrase_of((BASS, C, 0, 12), (PIANO, G, 0, 12), (GUITAR, F_SHARP, 3, 6), (STRINGS, C, 24, 12))
    found = metrics.tonal_distance_between(rolls, KEPT)
    np.testing.assert_allclose(found, (tonal(7) + tonal(6)) / 2)
    assert np.isnan(metrics.tonal_distance_between(phrase_of((BASS, C, 0, 12)), KEPT))[0]


def test_silent_tracks_are_counted_among_the_others():
    rolls = np.concatenate([phrase_of((PIANO, C, 0, 1)), phrase_of((DRUMS, C, 0, 1), (BASS, C, 0, 1))])
    np.testing.assert_allclose(metrics.silent_share(rolls, KEPT), [2 / 3, 1])


def test_growing_steps_are_counted():
    assert metrics.growing_share(np.array([0.1, 0.3, 0.2, 0.4, 0.4])) == 0.5


def test_effects_of_edits_by_hand():
    found = metrics.edit_effect(np.array([1.5, np.nan, -0.5, 0.25]), 0, -1.0)
    assert found == {"reached": -1.5, "missed": 2.5, "others": 0.375}


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([0.1, 0.2, 0.3], "better"),
        ([-0.1, -0.2, -0.3], "worse"),
        ([0.1, -0.2, 0.15, -0.1], "not distinguishable"),
        ([0.0, 0.0, 0.0], "not distinguishable"),
        ([0.1, np.nan, np.nan], "undefined"),
    ],
)
def test_verdicts(differences, word):
    differences = np.array(differences)
    assert metrics.verdict(differences)[0] == word
    turned = {"better": "worse", "worse": "better"}
    assert metrics.verdict(differences, higher_is_better=False)[0] == turned.get(word, word)
    assert metrics.verdict(differences)[1].mean[0] == pytest.approx(np.nanmean(differences))


def test_usable_phrases_have_music_in_every_bar_and_both_kinds_of_tracks():
    active = np.zeros((5, 4, 5), bool)
    active[0, :, DRUMS] = active[0, 1, BASS] = active[0, 3, PIANO] = True
    active[1:] = active[0]
    active[1, 2] = False  # a silent bar
    active[2, :, BASS] = False  # no pitched track is kept
    active[3, :, PIANO] = False  # nothing to replace
    active[4, :, DRUMS] = False
    active[4, :, BASS] = active[4, :, STRINGS] = True
    np.testing.assert_array_equal(metrics.is_usable(active, KEPT), [True, False, False, False, True])


def test_rows_are_a_phrase_the_next_and_one_apart():
    # Windows that overlap; none that follows; no third; unknown bars; the others.
    bars = [0, 2, 4, 6, 8, 10, 0, 8, 16, 0, 4, None, None, None, *range(0, 40, 4)]
    songs = np.repeat([0, 1, 2, 3, 4], [6, 3, 2, 3, 10])
    usable = np.ones(len(bars), bool)
    usable[[18, 20]] = False
    seen = set()
    for seed in range(30):
        rows = metrics.choose_rows(songs, bars, usable, num=5, seed=seed)
        assert sorted(songs[rows[:, 0]]) == [0, 4]
        for first, following, other in rows.tolist():
            assert len(set(songs[[first, following, other]])) == 1
            assert usable[first]
            assert bars[following] == bars[first] + 4
            assert bars[other] <= bars[first] - 4 or bars[other] >= bars[first] + 8
        seen |= {tuple(row) for row in rows.tolist()}
        np.testing.assert_array_equal(rows, metrics.choose_rows(songs, bars, usable, num=5, seed=seed))
        assert len(metrics.choose_rows(songs, bars, usable, num=1, seed=seed)) == 1
    # Of the first song, all that there are: bars 0, 4, 8 in any way that leaves one apart.
    assert {row for row in seen if row[0] < 6} == {(0, 2, 4), (1, 3, 5), (2, 4, 0), (3, 5, 0), (3, 5, 1), (0, 2, 5)}


@pytest.fixture(scope="module")
def songs_in_c(tmp_path_factory):
    """A dataset whose test split has songs of four phrases."""
    return build_small_dataset(tmp_path_factory.mktemp("songs"), [0, 4, 8, 12] * 10, "--test-fraction=0.4")


def test_songs_are_of_the_split_and_strangers_of_other_songs(songs_in_c):
    chosen = modes.choose_songs(str(songs_in_c), "test", num=3, seed=0, keep=(DRUMS, BASS))
    data = load_dataset(songs_in_c)
    rows, lines = unpack(np.asarray(data.split("test"))), data.read_index()[slice(*data.splits["test"])]
    name_of = {row.tobytes(): line.song for row, line in zip(rows, lines, strict=True)}
    assert len({song.name for song in chosen}) == len(chosen) == 3
    for song in chosen:
        assert {name_of[each.tobytes()] for each in (song.phrase, song.following, song.other)} == {song.name}
        assert name_of[song.stranger.tobytes()] != song.name
    with pytest.raises(SystemExit, match="1 songs of the test split"):
        modes.choose_songs(str(songs_in_c), "test", num=1, seed=0, keep=(DRUMS, BASS))


def test_songs_of_a_further_dataset_fill_up(songs_in_c):
    keep = (DRUMS, BASS)
    own = modes.choose_songs(str(songs_in_c), "test", num=99, seed=0, keep=keep)
    for num in (len(own) - 1, len(own), len(own) + 1):
        found = modes.songs_of_several([str(songs_in_c)] * 2, "test", num=num, seed=0, keep=keep)
        assert [song.name for song in found] == [song.name for song in [*own, own[0]][:num]]


def test_models_that_have_seen_a_song_are_refused(songs_in_c, tmp_path, monkeypatch):
    workdir = str(train_briefly(tmp_path))
    chosen = modes.choose_songs(str(songs_in_c), "test", num=3, seed=0, keep=(DRUMS, BASS))
    model = wae_jax.load(workdir)
    assert modes.songs_seen(model, chosen) == []
    trained = unpack(np.asarray(model.phrases("train")[5:6]))
    seen = [chosen[0], chosen[1]._replace(phrase=trained)]
    assert modes.songs_seen(model, seen) == [chosen[1].name]
    monkeypatch.setattr(modes, "choose_songs", lambda *args, **options: seen)
    monkeypatch.setattr("sys.argv", ["modes", f"--model={workdir}", f"--data={songs_in_c}"])
    with pytest.raises(SystemExit, match=f"trained on phrases of {chosen[1].name}; expected others"):
        modes.main()


def test_modes_of_a_run_are_measured(songs_in_c, tmp_path, monkeypatch, capsys):
    shorten_searches(monkeypatch, num_steps=2)
    workdir, output = str(train_briefly(tmp_path / "run")), tmp_path / "found.json"
    flags = [f"--model={workdir}", f"--data={songs_in_c}", "--songs=3", f"--json={output}"]
    monkeypatch.setattr("sys.argv", ["modes", *flags])
    modes.main()
    printed = capsys.readouterr().out
    *lines, tables = printed.split("\n\n", 1)
    lines = [json.loads(line) for line in lines[0].splitlines()]
    found = json.loads(output.read_text())
    chosen = modes.choose_songs(str(songs_in_c), "test", num=3, seed=0, keep=(DRUMS, BASS))
    assert [line["song"] for line in lines] == found["songs"] == [song.name for song in chosen]
    assert found["modes"].keys() == MEASURES.keys()
    of = {mode: by_model[workdir] for mode, by_model in found["modes"].items()}
    # Of decoders that are hardly trained it is known only what they leave alone; the baselines are the songs'.
    assert of["accompany"]["kept tracks exact"]["values"] == [1, 1, 1]
    np.testing.assert_allclose(of["continue"]["key, the phrase copied"]["values"], 1, rtol=1e-3)
    for measure, part in ((OTHER, "other"), (STRANGER, "stranger")):
        pairs = [(song.phrase, getattr(song, part)) for song in chosen]
        f1 = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]
        np.testing.assert_allclose(of["reconstruct"][measure]["values"], f1, rtol=1e-3)
        np.testing.assert_allclose(of["vary"][measure]["values"], 1 - np.array(f1), rtol=1e-3)
        following = [(song.following, getattr(song, part)) for song in chosen]
        f1 = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in following]
        np.testing.assert_allclose(of["continue"][f"F1 with the next, {measure}"]["values"], f1, rtol=1e-3)
    own = [1 - song.phrase[..., ~KEPT].any(axis=(0, 1, 2)).mean() for song in chosen]
    np.testing.assert_allclose(of["accompany"]["silent tracks, own"]["values"], own, rtol=1e-3)
    for mode, comparisons in COMPARISONS.items():
        assert f"`{mode}`, {workdir}: " in tables
        for comparison in comparisons:
            assert f"| {comparison} | " in tables
            assert {comparison.of, comparison.baseline} <= of[mode].keys()
    mean, low, high = (of["vary"][STRANGER][end] for end in ("mean", "low", "high"))
    assert f"| {STRANGER} | {mean:.3f} [{low:.3f}, {high:.3f}] |" in tables


def test_words_say_what_the_numbers_do():
    made, copied, following = "F1 with the next, made", "F1 with the next, the phrase copied", f"key, {NEXT}"
    by_model = {
        "one": {
            made: np.array([0.5, 0.6, 0.7]),
            copied: np.array([0.1, 0.2, 0.3]),
            "key, made": np.zeros(3),
            following: np.array([0.1, 0.1, 0.2]),
        },
        "two": {made: np.array([0.1, 0.2, 0.3]), copied: np.array([0.1, 0.3, 0.2]), "key, made": np.ones(3)},
    }
    table = modes.comparison_table("continue", by_model)
    copy = "F1 with the next: made against the phrase copied"
    assert f"| {copy} | better: 0.400 [0.400, 0.400] | not distinguishable: 0.000 [" in table
    one, two = table.splitlines()[-3::2]
    assert one.startswith(f"`continue`, one: better: {copy}.")
    assert f"worse: key: made against {NEXT}." in one
    assert two.startswith(f"`continue`, two: not distinguishable: {copy}. undefined: ")
    assert modes.compare(by_model["two"], Comparison("key, made", following)) == ("undefined", "-")


def test_comparisons_name_what_they_share_once():
    assert str(Comparison("key, made", f"key, {NEXT}")) == f"key: made against {NEXT}"
    assert str(Comparison("a, the rule", "b, the rule")) == "a, the rule against b, the rule"
    assert str(Comparison("amount 1", OTHER)) == f"amount 1 against {OTHER}"


@pytest.mark.slow  # a search for a code in each of four modes
def test_songs_beside_what_becomes_of_them(songs_in_c, tmp_path, monkeypatch):
    shorten_searches(monkeypatch)
    workdir = train_briefly(tmp_path / "run")
    flags = (f"--model={workdir}", f"--data={songs_in_c}", "--songs=4", f"--output={tmp_path / 'heard'}")
    monkeypatch.setattr("sys.argv", ["heard", *flags])
    heard.main()
    lines = [json.loads(line) for line in (tmp_path / "heard" / "pairs.jsonl").read_text().splitlines()]
    assert [line["mode"] for line in lines] == ["vary", "continue", "accompany", "edit"]
    assert len({line["song"] for line in lines}) == 4
    assert all(0 <= line["f1"] <= 1 for line in lines)
    assert sorted(path.name for path in (tmp_path / "heard").glob("*.png")) == [f"0{i}.png" for i in (1, 2, 3, 4)]
    assert lines[0]["song"] in (tmp_path / "heard" / "listen.html").read_text()


def test_a_phrase_agrees_with_itself_whole(songs_in_c):
    song = modes.choose_songs(str(songs_in_c), "test", num=2, seed=0, keep=(DRUMS, BASS))[0]
    assert heard.agreements(song, song.phrase) == {"f1": 1, "key": 1, "groove": 1, "density": 1}
    half = song.phrase.copy()
    half[:, 96:] = False
    assert heard.agreements(song, half)["f1"] == pytest.approx(f1_of_half(song.phrase), abs=1e-3)


def f1_of_half(phrase):
    first = phrase[:, :96].sum()
    return 2 * first / (first + phrase.sum())
