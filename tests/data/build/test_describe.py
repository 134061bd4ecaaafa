from __future__ import annotations

import json
import re

import mido
import numpy as np
import pytest
from matplotlib import image

from wae_jax import build_dataset, pianoroll
from wae_jax.data import dataset
from wae_jax.data.build import describe


@pytest.fixture
def folder(tmp_path):
    """Forty phrases of twenty songs: a guitar in C major, and drums in every other phrase."""
    rolls = np.zeros((40, 192, 84, 5), bool)
    for i in range(40):
        scale = np.random.default_rng(i).permutation((36, 38, 40, 41, 43, 45, 47, 48))  # no near-duplicates
        for step, pitch in enumerate(scale):
            rolls[i, 24 * step : 24 * step + 20, pitch, 2] = True
        rolls[i, 190, 40, 2] = True
        rolls[i, :, 36, 2] = True
        rolls[i, i, 10, 0] = bool(i % 2)
        rolls[i, 100 + i, 60, 2] = True
    np.save(tmp_path / "a.npy", rolls)
    lines = [f"{i}\tsong {i // 2}\t{4 * (i % 2)}" for i in range(40)]
    (tmp_path / "a.tsv").write_text("\n".join(["phrase\tsong\tfirst_bar", *lines, ""]))
    output = tmp_path / "set"
    assert build_dataset.main(["--input", str(tmp_path / "a.npy"), "--output", str(output)]) == 0
    return output


def test_description_tells_what_is_in_the_data_and_shows_it(folder, capsys):
    assert build_dataset.main(["--describe", str(folder)]) == 0
    text = capsys.readouterr().out
    sizes = {name: len(dataset.load_dataset(folder).split(name)) for name in ("train", "valid", "test")}
    assert "40 phrases (" + ", ".join(f"{name} {size}" for name, size in sizes.items()) + ")" in text
    assert "sources: 1 files, and 0 that gave no phrase" in text
    assert "songs: 20, of 2 to 2 phrases, median 2" in text
    assert "estimated keys of the songs: C major 100%" in text
    assert "tempo: unknown" in text
    # By hand: a C of 192 steps, seven other notes of 20, two single cells.
    cells = 192 + 7 * 20 + 1 + 1
    assert f"Guitar {cells / (192 * 84):.3%}" in text
    assert f"Drums {0.5 / (192 * 84):.3%}" in text
    guitar = re.search(r"Guitar is active +([\d.]+) +([\d.]+) +([\d.]+)", text)
    assert guitar is not None
    assert set(guitar.groups()) == {"1.000"}
    picture = image.imread(folder / "phrases.png")
    assert picture.shape[0] > 400
    assert picture.std() > 0.01
    file = mido.MidiFile(folder / "phrases.mid")
    assert file.length == pytest.approx(16 * 4 * 4 * 60 / pianoroll.DEFAULT_TEMPO, rel=1e-3)
    # A data set that was described is still one, and may be replaced.
    assert build_dataset.main(["--verify", str(folder)]) == 0
    again = ["--input", str(folder.parent / "a.npy"), "--output", str(folder), "--overwrite"]
    assert build_dataset.main(again) == 0


def test_silence_and_unknown_songs_have_a_description_too(tmp_path):
    rolls = np.zeros((3, 192, 84, 5), bool)
    rolls[[0, 1, 2], [0, 1, 2], 5, 0] = True
    np.save(tmp_path / "a.npy", rolls)
    assert build_dataset.main(["--input", str(tmp_path / "a.npy"), "--output", str(tmp_path / "set")]) == 0
    text = describe.describe(tmp_path / "set")
    assert "songs: unknown" in text
    assert "none: no pitched track is active" in text


def change_row(folder):
    phrases = np.load(folder / "phrases.npy")
    phrases[7, 0] ^= 1
    np.save(folder / "phrases.npy", phrases)


def repeat_row(folder):
    phrases = np.load(folder / "phrases.npy")
    phrases[-1] = phrases[0]
    np.save(folder / "phrases.npy", phrases)


def silence_row(folder):
    phrases = np.load(folder / "phrases.npy")
    phrases[3] = 0
    np.save(folder / "phrases.npy", phrases)


def edit_index(old, new):
    def edit(folder):
        path = folder / "index.tsv"
        text = path.read_text()
        assert re.search(old, text, re.MULTILINE)
        path.write_text(re.sub(old, new, text, count=1, flags=re.MULTILINE))

    return edit


def move_border(folder):
    path = folder / "dataset.json"
    description = json.loads(path.read_text())
    description["splits"]["train"][1] -= 1
    path.write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_row, r"phrases\.npy has changed: its sha256 is \w{64}, dataset\.json says \w{64}"),
        (repeat_row, r"rows 0 \(train\) and 39 \(test\) are equal"),
        (silence_row, "row 3 is silent"),
        (edit_index("^5\ttrain", "5\ttest"), r"row 5 is of train; index\.tsv says 'test'"),
        (edit_index("^5\ttrain\t0", "5\ttrain\t1"), r"source 0 has 39 rows in index\.tsv; dataset\.json says 40"),
        (edit_index("^5\ttrain.*\n", ""), r"index\.tsv, line 7: row 6; expected 5"),
        (edit_index("^39.*\n", ""), r"index\.tsv has 39 rows, phrases\.npy 40"),
        (edit_index("^5\ttrain", "5\ttrain\tx"), r"index\.tsv, line 7: "),
        (edit_index("\ttempo", ""), r"index\.tsv has the columns"),
        (move_border, "the splits hold 39 rows of 40"),
    ],
)
def test_verification_finds_what_is_wrong(folder, damage, message, capsys):
    damage(folder)
    assert build_dataset.main(["--verify", str(folder)]) == 1
    err = capsys.readouterr().err
    assert re.search(message, err.replace("\\n", "\n"))


def test_a_folder_without_a_data_set_is_refused(tmp_path, capsys):
    for option in ("--describe", "--verify"):
        assert build_dataset.main([option, str(tmp_path)]) == 1
        assert "expected a folder made by python -m wae_jax.build_dataset" in capsys.readouterr().err


def test_a_missing_file_is_not_said_to_be_unwritable(folder, capsys):
    (folder / "skipped.tsv").unlink()
    assert build_dataset.main(["--describe", str(folder)]) == 1
    error = capsys.readouterr().err
    assert "skipped.tsv" in error
    assert "cannot write" not in error
