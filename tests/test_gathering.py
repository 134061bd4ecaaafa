from __future__ import annotations

import io

import numpy as np
import pytest

from wae_jax import gathering
from wae_jax.gathering import Input, Staged
from wae_jax.sources import Options

SHAPE = (4, 48, 84, 5)
OPTIONS = {"seed": 0, "valid_fraction": 0.1, "test_fraction": 0.1}


def make_rolls(num_phrases, seed=0):
    return np.random.default_rng(seed).random((num_phrases, *SHAPE)) < 0.01


def packed(rolls):
    return np.packbits(rolls.reshape(len(rolls), -1), axis=1)


def save(path, rolls, songs=None):
    np.save(path, rolls)
    if songs is not None:
        lines = [f"{i}\t{song}\t{4 * i}" for i, song in enumerate(songs)]
        path.with_suffix(".tsv").write_text("\n".join(["phrase\tsong\tfirst_bar", *lines, ""]))
    return str(path)


def test_gathers_sounding_phrases_with_their_songs(tmp_path, capsys):
    first, second = make_rolls(4, 0), make_rolls(3, 1)
    first[[0, 2]] = False
    inputs = [
        Input(save(tmp_path / "a.npy", first, songs="abcd")),
        Input(save(tmp_path / "b.npy", second), rows=slice(1, None)),
    ]
    file = io.BytesIO()
    gathered = gathering.gather(inputs, file, options=Options())
    assert file.getvalue() == packed(np.concatenate([first[[1, 3]], second[1:]])).tobytes()
    assert [phrase[:3] for phrase in gathered.phrases] == [(0, "b", 4), (0, "d", 12), (1, None, None), (1, None, None)]
    assert len({phrase.key for phrase in gathered.phrases}) == 4
    assert gathered.num_silent == 2
    assert gathered.opened[1].rows == (1, 3)
    assert gathered.skipped == {}
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"read {tmp_path}/a.npy: 4 phrases, 2 songs",
        f"read {tmp_path}/b.npy: 2 phrases, unknown songs",
    ]
    assert err == ""


def test_an_input_that_breaks_half_way_leaves_nothing(tmp_path, capsys):
    broken = np.zeros((600, *SHAPE), np.uint8)
    broken[:, 0, 0, 0, 0] = 1
    broken[1] = 0
    broken[599, 0, 0, 0, 0] = 2
    whole = make_rolls(2)
    inputs = [Input(save(tmp_path / name, rolls)) for name, rolls in [("a.npy", whole), ("b.npy", broken)]]
    file = io.BytesIO()
    gathered = gathering.gather([*inputs, Input(inputs[0].path)], file, options=Options())
    assert file.getvalue() == packed(whole).tobytes() * 2
    assert [phrase.source for phrase in gathered.phrases] == [0, 0, 2, 2]
    assert gathered.num_silent == 0
    assert gathered.skipped == {1: "phrases 512 to 599 hold values from 0 to 2; expected 0 and 1"}
    assert f"skipped {tmp_path}/b.npy: phrases 512 to 599" in capsys.readouterr().err


def test_a_full_disk_is_not_taken_for_a_bad_input(tmp_path):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        gathering.gather([Input(save(tmp_path / "a.npy", make_rolls(1)))], Full(), options=Options())


def staged(*entries):
    return [Staged(source, song, None, key.encode()) for source, song, key in entries]


def test_training_keeps_what_two_splits_share():
    phrases = staged((0, None, "x"), (0, None, "x"), (1, None, "x"), (1, None, "y"), (2, None, "y"), (2, None, "z"))
    plan = gathering.plan_rows(phrases, ["train", "valid", "test"], **OPTIONS)
    assert plan.rows.tolist() == [0, 3, 5]
    assert plan.codes.tolist() == [0, 1, 2]
    assert (plan.num_duplicates, plan.num_across) == (3, 2)
    assert "--train" in plan.rule


def test_blocks_of_each_input_without_songs():
    phrases = staged(*[(0, None, f"a{i // 2}") for i in range(40)], *[(1, None, f"b{i}") for i in range(10)])
    plan = gathering.plan_rows(phrases, [None, None], **OPTIONS)
    # Twenty phrases remain of the first input: 16 train, 2 valid, 2 test; of the second 8, 1 and 1.
    train = [*range(0, 32, 2), *range(40, 48)]
    assert plan.rows.tolist() == [*train, 32, 34, 48, 36, 38, 49]
    assert plan.codes.tolist() == [0] * 24 + [1] * 3 + [2] * 3
    assert (plan.num_duplicates, plan.num_across) == (20, 0)
    assert "contiguous blocks" in plan.rule
    assert "song:" not in plan.rule


def test_songs_that_share_a_phrase_go_together_over_inputs():
    rng = np.random.default_rng(0)
    entries = [(i % 2, f"song {i // 4}", f"own {i}") for i in range(400)]
    shared = [
        (int(i % 2), f"song {song}", f"shared {i // 2}") for i, song in enumerate(rng.permutation(100)[:40].tolist())
    ]
    phrases = staged(*entries, *shared)
    plan = gathering.plan_rows(phrases, [None, None], **OPTIONS)
    assert plan.num_duplicates == 20
    assert len(plan.rows) == 420
    assert set(plan.codes.tolist()) == {0, 1, 2}
    assert (np.diff(plan.codes) >= 0).all()
    split_of = {}
    for row, code in zip(plan.rows.tolist(), plan.codes.tolist(), strict=True):
        assert split_of.setdefault(phrases[row].song, code) == code
    for (_, first, _), (_, second, _) in zip(shared[::2], shared[1::2], strict=True):
        assert split_of[first] == split_of[second]
    assert "by song: sha256 of seed 0" in plan.rule
    assert "blocks" not in plan.rule


def test_songs_and_blocks_side_by_side():
    phrases = staged(*[(0, f"song {i}", f"a{i}") for i in range(50)], *[(1, None, f"b{i}") for i in range(10)])
    plan = gathering.plan_rows(phrases, [None, None], **OPTIONS)
    codes = dict(zip(plan.rows.tolist(), plan.codes.tolist(), strict=True))
    assert [codes[row] for row in range(50, 60)] == [0] * 8 + [1, 2]
    assert {codes[row] for row in range(50)} == {0, 1, 2}
    assert "by song" in plan.rule
    assert "contiguous blocks" in plan.rule
