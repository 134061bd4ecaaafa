"""Whether datasets count as being in one tonality."""

import json

import numpy as np
import pytest

from tests.data.build.test_note_report import cadences, save_midi
from wae_jax import build_dataset
from wae_jax.data.dataset import load_dataset
from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.pianoroll import unpack


def build(folder, *options):
    command = ["--output", folder / "set", "--overwrite", "--workers", 1, *options]
    assert build_dataset.main([str(part) for part in command]) == 0
    return json.loads((folder / "set/dataset.json").read_text())


@pytest.mark.parametrize(("tonality", "said"), [("c", "C major and A minor"), ("all", "any key")])
def test_arrays_that_are_kept_are_looked_at(tmp_path, capsys, tonality, said):
    packed, songs = make_demo_corpus(num_songs=40, phrases_per_song=2, seed=0, tonality=tonality)
    np.save(tmp_path / "a.npy", unpack(packed))
    lines = "".join(f"{i}\t{song}\t\n" for i, song in enumerate(songs))
    (tmp_path / "a.tsv").write_text("phrase\tsong\tfirst_bar\n" + lines)
    described = build(tmp_path, "--input", tmp_path / "a.npy")
    assert described["tonality"] == load_dataset(tmp_path / "set").tonality == tonality
    assert (described["kept_in_c_major"] > 0.9) == (tonality == "c")
    assert f"in the scale of C major: taken to be in {said}" in capsys.readouterr().out
    # Moved song by song, both are in one tonality, and nothing is kept; as they are by request, nobody knows.
    for option, expected in (("estimate", "c"), ("keep", "all")):
        described = build(tmp_path, "--input", tmp_path / "a.npy", "--tonality", option)
        assert described["tonality"] == load_dataset(tmp_path / "set").tonality == expected
        assert not {"kept", "kept_in_c_major"} & described.keys()


def test_songs_are_in_one_tonality_once_they_are_transposed(tmp_path):
    for tonic in range(3):
        save_midi(tmp_path / f"{tonic}.mid", [cadences(tonic)])
    assert build(tmp_path, "--input", tmp_path)["tonality"] == "c"
    # An array in another key beside them.
    roll = np.zeros((1, 192, 84, 5), bool)
    roll[:, :, [37, 42, 44], 1] = True
    np.save(tmp_path / "a.npy", roll)
    assert build(tmp_path, "--input", tmp_path)["tonality"] == "all"
