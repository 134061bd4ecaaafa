from __future__ import annotations

import io

import numpy as np
import pytest

from wae_jax.data.build import read_inputs
from wae_jax.data.build.sources import BuildSpec, Input, Options

SHAPE = (4, 48, 84, 5)


def make_rolls(num_phrases, seed=0):
    return np.random.default_rng(seed).random((num_phrases, *SHAPE)) < 0.01


def packed(rolls):
    return np.packbits(rolls.reshape(len(rolls), -1), axis=1)


def ingest(inputs, file):
    spec = BuildSpec(inputs, Options(), min_tracks=1, seed=0, valid_fraction=0.1, test_fraction=0.1)
    return read_inputs.ingest(spec, file, num_workers=1)


def save(path, rolls, songs=None):
    np.save(path, rolls)
    if songs is not None:
        lines = [f"{i}\t{song}\t{4 * i}" for i, song in enumerate(songs)]
        path.with_suffix(".tsv").write_text("\n".join(["phrase\tsong\tfirst_bar", *lines, ""]))
    return str(path)


def test_active_phrases_are_read_with_their_songs(tmp_path, capsys):
    first, second = make_rolls(4, 0), make_rolls(3, 1)
    first[[0, 2]] = False
    inputs = [
        Input(save(tmp_path / "a.npy", first, songs="abcd")),
        Input(save(tmp_path / "b.npy", second), rows=slice(1, None)),
    ]
    file = io.BytesIO()
    ingested = ingest(inputs, file)
    assert file.getvalue() == packed(np.concatenate([first[[1, 3]], second[1:]])).tobytes()
    table = ingested.table
    names = ["" if song < 0 else table.songs[song] for song in table.records["song"].tolist()]
    assert names == ["b", "d", "", ""]
    assert table.records["source"].tolist() == [0, 0, 1, 1]
    assert table.records["first_bar"].tolist() == [4, 12, -1, -1]
    assert np.isnan(table.records["tempo"]).all()
    assert len(set(map(tuple, table.records["key"].tolist()))) == 4
    assert ingested.num_silent == 2
    assert ingested.sources[1].rows == (1, 3)
    assert ingested.skipped == {}
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
    ingested = ingest([*inputs, Input(inputs[0].path)], file)
    assert file.getvalue() == packed(whole).tobytes() * 2
    assert ingested.table.records["source"].tolist() == [0, 0, 2, 2]
    assert ingested.num_silent == 0
    assert ingested.skipped == {1: "phrases 576 to 599 hold values from 0 to 2; expected 0 and 1"}
    assert f"skipped {tmp_path}/b.npy: phrases 576 to 599" in capsys.readouterr().err


def test_a_full_disk_is_not_taken_for_a_bad_input(tmp_path):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        ingest([Input(save(tmp_path / "a.npy", make_rolls(1)))], Full())


def test_a_bar_that_no_song_has_is_a_reason(tmp_path):
    path = save(tmp_path / "a.npy", make_rolls(2), songs="ab")
    sidecar = tmp_path / "a.tsv"
    sidecar.write_text(sidecar.read_text().replace("b\t4", f"b\t{10**20}"))
    file = io.BytesIO()
    ingested = ingest([Input(path)], file)
    assert file.getvalue() == b""
    assert "OverflowError" in ingested.skipped[0]
