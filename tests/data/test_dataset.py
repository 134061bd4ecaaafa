from __future__ import annotations

import json

import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax.data import dataset
from wae_jax.errors import DatasetError


def make_rows(num_rows, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num_rows, 10080), np.uint8)


def description(**changes):
    return {
        "format": "wae_jax packed phrases",
        "format_version": 2,
        "num_phrases": 5,
        "tracks": ["Drums", "Piano", "Guitar", "Bass", "Strings"],
        "splits": {"train": [0, 3], "valid": [3, 4], "test": [4, 5]},
        "phrases_sha256": "ab" * 32,
        **changes,
    }


def write_folder(folder, rows=None, **changes):
    np.save(folder / "phrases.npy", make_rows(5) if rows is None else rows)
    (folder / "dataset.json").write_text(json.dumps(description(**changes)))
    return folder


def test_loads_what_was_written(tmp_path):
    data = dataset.load_dataset(write_folder(tmp_path))
    assert isinstance(data.phrases, np.memmap)
    np.testing.assert_array_equal(data.phrases, make_rows(5))
    assert data.splits == {"train": (0, 3), "valid": (3, 4), "test": (4, 5)}
    np.testing.assert_array_equal(data.split("valid"), make_rows(5)[3:4])
    assert data.name == str(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        data.phrases[0, 0] = 1


def test_an_unknown_split_names_those_there_are(tmp_path):
    data = dataset.load_dataset(write_folder(tmp_path, splits={"train": [0, 4], "test": [4, 5]}))
    for rows_of in (data.split, data.songs):
        with pytest.raises(DatasetError, match="has no valid split; it has train, test"):
            rows_of("valid")


def write_index(folder, songs):
    lines = [f"{row}\ttrain\t0\t{song}\t0\t\n" for row, song in enumerate(songs)]
    (folder / "index.tsv").write_text("row\tsplit\tsource\tsong\tfirst_bar\ttempo\n" + "".join(lines))


def test_songs_are_numbers_and_unknown_ones_differ(tmp_path):
    data = dataset.load_dataset(write_folder(tmp_path))
    write_index(tmp_path, ["b", "a", "b", "", ""])
    assert data.songs("train").tolist() == [0, 1, 0]
    assert data.songs("valid") is None
    whole = dataset.load_dataset(write_folder(tmp_path, splits={"train": [0, 5]}))
    assert whole.songs("train").tolist() == [0, 1, 0, 2, 3]


def test_the_row_that_follows_is_four_bars_later_in_the_same_song_file_and_key(tmp_path):
    places = [
        # Source, song, first bar, semitones; and the row that follows.
        (0, "a", 4, 2, 2),
        (0, "a", 0, 2, 0),
        (0, "a", 8, 2, -1),  # row 3 is in another key
        (0, "a", 12, 1, -1),
        (1, "a", 12, 1, -1),  # the same song in another file
        (1, "b", 4, "", -1),
        (1, "b", 0, "", 5),
        (2, "", 0, 0, -1),  # of unknown songs
        (2, "", 4, 0, -1),
        (3, "c", "", 0, -1),  # of unknown bars
        (3, "c", "", 0, -1),
        (3, "c", 0, 0, -1),  # row 12 is of another split
        (3, "c", 4, 0, -1),
    ]
    data = dataset.load_dataset(
        write_folder(tmp_path, make_rows(13), num_phrases=13, splits={"train": [0, 12], "test": [12, 13]})
    )
    header = "row\tsplit\tsource\tsong\tfirst_bar\ttempo\tsemitones\n"
    lines = [f"{row}\t\t{a}\t{song}\t{bar}\t\t{shift}\n" for row, (a, song, bar, shift, _) in enumerate(places)]
    (tmp_path / "index.tsv").write_text(header + "".join(lines))
    assert data.following("train").tolist() == [place[-1] for place in places[:12]]
    assert data.following("test").tolist() == [-1]


def test_rows_of_a_song_in_memory_follow_one_another():
    rows = make_rows(60)
    songs = np.arange(60) % 20
    data = dataset.from_songs(rows, songs, name="memory", valid_fraction=0.1, test_fraction=0.1)
    place = {row.tobytes(): i for i, row in enumerate(rows)}
    for split in data.splits:
        places = np.array([place[row.tobytes()] for row in data.split(split)])
        following = data.following(split)
        expected = np.where(places < 40, places + 20, -1)
        np.testing.assert_array_equal(np.where(following < 0, -1, places[following]), expected)


def test_the_tonality_is_that_of_the_build(tmp_path):
    for options, expected in (
        ({"options": {"tonality": "signature"}}, "c"),
        ({"options": {"tonality": "estimate"}}, "c"),
        ({"options": {"tonality": "keep"}}, "all"),
        ({"options": {"tonality": "signature"}, "tonality": "all"}, "all"),
        ({"options": {"tonality": "signature"}, "tonality": "c"}, "c"),
        ({"options": {}}, "all"),
        ({}, "all"),
    ):
        assert dataset.load_dataset(write_folder(tmp_path, **options)).tonality == expected


def test_shifts_are_unknown_in_datasets_of_the_first_version(tmp_path):
    write_folder(tmp_path, format_version=1)
    write_index(tmp_path, ["a", "b", "c", "d", "e"])
    assert dataset.load_dataset(tmp_path).songs("train").tolist() == [0, 1, 2]
    assert {line.semitones for line in dataset.read_index(tmp_path, 5)} == {None}
    write_folder(tmp_path)
    lines = [f"{row}\ttrain\t0\ta\t0\t90\t{shift}\n" for row, shift in enumerate(["-6", "5", "0", "", "1"])]
    (tmp_path / "index.tsv").write_text("row\tsplit\tsource\tsong\tfirst_bar\ttempo\tsemitones\n" + "".join(lines))
    assert [line.semitones for line in dataset.read_index(tmp_path, 5)] == [-6, 5, 0, None, 1]


def test_an_index_that_does_not_fit_is_named(tmp_path):
    data = dataset.load_dataset(write_folder(tmp_path))
    with pytest.raises(DatasetError, match=r"index\.tsv cannot be read"):
        data.songs("train")
    (tmp_path / "index.tsv").write_text("")
    with pytest.raises(DatasetError, match="has the columns"):
        data.songs("train")
    write_index(tmp_path, ["a", "b"])
    with pytest.raises(DatasetError, match=r"index\.tsv has 2 rows, phrases\.npy 5"):
        data.songs("train")


def test_songs_in_memory_keep_to_their_rows():
    rows = make_rows(12)
    names = ["one", "two", "three"] * 4
    data = dataset.from_songs(rows, names, name="memory", valid_fraction=0.3, test_fraction=0.3)
    name_of = {row.tobytes(): name for row, name in zip(rows, names, strict=True)}
    for split in data.splits:
        expected = [name_of[row.tobytes()] for row in data.split(split)]
        numbers = data.songs(split).tolist()
        assert len(set(zip(expected, numbers, strict=True))) == len(set(expected)) == len(set(numbers))


def test_digest_depends_on_rows_and_splits_alone(tmp_path):
    digests = []
    for i, changes in enumerate(
        [{}, {"wae_jax_version": "other"}, {"phrases_sha256": "cd" * 32}, {"splits": {"train": [0, 5]}}]
    ):
        (tmp_path / str(i)).mkdir()
        digests.append(dataset.load_dataset(write_folder(tmp_path / str(i), **changes)).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert all(len(digest) == 64 for digest in digests)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "something"}, "does not describe a dataset"),
        ({"format_version": 3}, "has format_version 3; this version of wae_jax reads 1 and 2"),
        ({"num_phrases": "5"}, "num_phrases = '5'; expected int"),
        ({"num_phrases": 6}, r"holds uint8 \(5, 10080\); dataset.json promises uint8 \(6, 10080\)"),
        ({"splits": [[0, 5]]}, "expected dict"),
        ({"splits": {"train": [0, 6]}}, "split 'train' is .* stop <= 5"),
        ({"splits": {"train": [-1, 5]}}, "split 'train' is .* stop <= 5"),
        ({"splits": {"train": [3, 2]}}, "split 'train' is .* stop <= 5"),
        ({"splits": {"train": [0]}}, r"expected \[start, stop\]"),
        ({"splits": {"train": [0, 2.5]}}, r"expected \[start, stop\]"),
        ({"splits": {"train": 5}}, r"expected \[start, stop\]"),
        ({"splits": {"test": [2, 5], "train": [0, 3]}}, "splits 'train' and 'test' share row 2"),
        ({"phrases_sha256": None}, "phrases_sha256 = None; expected str"),
        ({"tracks": ["Bass", "Drums", "Guitar", "Piano", "Strings"]}, "expected .*in this order"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, changes, message):
    write_folder(tmp_path, **changes)
    with pytest.raises(DatasetError, match=message):
        dataset.load_dataset(tmp_path)


@pytest.mark.parametrize("rows", [make_rows(4), make_rows(5)[:, 1:], make_rows(5).astype(np.int16), make_rows(5)[0]])
def test_rows_that_break_the_promise_are_refused(tmp_path, rows):
    write_folder(tmp_path, rows)
    with pytest.raises(DatasetError, match="promises uint8"):
        dataset.load_dataset(tmp_path)


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no dataset.json; .*build_dataset"):
        dataset.load_dataset(tmp_path / "nowhere")
    write_folder(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": ')
    with pytest.raises(DatasetError, match="cannot be read as JSON"):
        dataset.load_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("[1]")
    with pytest.raises(DatasetError, match="does not describe"):
        dataset.load_dataset(tmp_path)
    write_folder(tmp_path)
    (tmp_path / "phrases.npy").write_bytes((tmp_path / "phrases.npy").read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"phrases.npy cannot be read"):
        dataset.load_dataset(tmp_path)
    np.save(tmp_path / "phrases.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"phrases.npy cannot be read"):
        dataset.load_dataset(tmp_path)
    (tmp_path / "phrases.npy").unlink()
    with pytest.raises(DatasetError, match=r"phrases.npy is missing"):
        dataset.load_dataset(tmp_path)


def test_a_header_that_is_no_python_is_refused(tmp_path):
    write_folder(tmp_path)
    content = (tmp_path / "phrases.npy").read_bytes()
    (tmp_path / "phrases.npy").write_bytes(content.replace(b"}", b" ", 1))
    with pytest.raises(DatasetError, match=r"phrases.npy cannot be read"):
        dataset.load_dataset(tmp_path)


def test_a_description_nested_too_deeply_is_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(DatasetError, match="cannot be read as JSON: it is nested too deeply"):
        dataset.load_dataset(tmp_path)


def test_a_split_without_rows_is_none(tmp_path):
    write_folder(tmp_path, splits={"train": [0, 5], "valid": [5, 5]})
    assert dataset.load_dataset(tmp_path).splits == {"train": (0, 5)}


def test_split_rows():
    assert dataset.split_rows(np.array([0, 0, 1, 2, 2])) == {"train": (0, 2), "valid": (2, 3), "test": (3, 5)}
    assert dataset.split_rows(np.array([0, 2], np.int8)) == {"train": (0, 1), "test": (1, 2)}


def from_songs(rows, songs, **changes):
    options = {"name": "tiny", "valid_fraction": 0.1, "test_fraction": 0.1, **changes}
    return dataset.from_songs(rows, np.asarray(songs), **options)


def test_songs_in_memory_split_without_leaking():
    rows = make_rows(40)
    songs = np.repeat(np.arange(20, dtype=np.int32), 2)
    rows[5] = rows[30]  # Songs 2 and 15 share a phrase.
    rows[[1, 8, 19]] = 0  # Silence joins nothing: songs 0, 4 and 9.
    data = from_songs(rows, songs)
    assert data.name == "tiny"
    assert sorted(data.splits) == ["test", "train", "valid"]
    assert sorted(row.tobytes() for row in data.phrases) == sorted(row.tobytes() for row in rows)
    of_song = {}
    for name in data.splits:
        places = [next(i for i in range(40) if (rows[i] == row).all()) for row in data.split(name) if row.any()]
        assert places == sorted(places)
        for place in places:
            assert of_song.setdefault(int(songs[place]), name) == name
    assert of_song[2] == of_song[15]


def test_songs_that_share_only_silence_are_split_apart():
    rows = make_rows(60)
    rows[::2] = 0
    data = from_songs(rows, np.repeat(np.arange(30), 2))
    # Joined they would be one group, which could only train.
    assert sorted(data.splits) == ["test", "train", "valid"]


def test_songs_in_memory_are_reproducible():
    rows, songs = make_rows(30), np.arange(30)
    first, again, other = from_songs(rows, songs), from_songs(rows, songs), from_songs(rows, songs, seed=1)
    assert first.digest == again.digest
    np.testing.assert_array_equal(first.phrases, again.phrases)
    assert other.digest != first.digest
    assert from_songs(rows, songs, test_fraction=0.0).splits.keys() == {"train", "valid"}


@unchecked()
def test_songs_and_phrases_must_match():
    with pytest.raises(ValueError, match="3 phrases and 2 songs"):
        from_songs(make_rows(3), [0, 1])
    with pytest.raises(ValueError, match="at least one"):
        from_songs(make_rows(0), [])


def visited(seed, num_rows, batch_size, num_steps):
    return np.concatenate(
        [dataset.batch_indices(seed, step, num_rows=num_rows, batch_size=batch_size) for step in range(num_steps)]
    )


@pytest.mark.parametrize(("num_rows", "batch_size"), [(12, 4), (10, 4), (7, 3), (3, 8), (1, 5), (5, 5), (100, 64)])
def test_every_epoch_visits_every_row_once(num_rows, batch_size):
    num_steps = -(-4 * num_rows // batch_size)
    rows = visited(3, num_rows, batch_size, num_steps)
    assert rows.dtype == np.int64
    epochs = rows[: 4 * num_rows].reshape(4, num_rows)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(num_rows), (4, 1)))
    if num_rows >= 10:
        assert len({epoch.tobytes() for epoch in epochs}) == 4


def test_the_sequence_does_not_depend_on_the_batch_size():
    np.testing.assert_array_equal(visited(0, 11, 4, 9), visited(0, 11, 12, 3))


def test_batches_are_pure():
    late = dataset.batch_indices(1, 40, num_rows=50, batch_size=8)
    visited(1, 50, 8, 30)
    visited(2, 51, 8, 30)
    dataset._epoch_order.cache_clear()
    again = dataset.batch_indices(1, 40, num_rows=50, batch_size=8)
    np.testing.assert_array_equal(late, again)
    again += 1
    np.testing.assert_array_equal(dataset.batch_indices(1, 40, num_rows=50, batch_size=8), late)


def test_seeds_shuffle_differently():
    assert len({visited(seed, 20, 20, 1).tobytes() for seed in range(10)}) == 10


def test_orders_stay_the_same_for_ever():
    # Written down once: a run resumed with a later version must go on with the same batches.
    assert dataset.batch_indices(0, 0, num_rows=10, batch_size=12).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9, 7, 4]


@pytest.mark.parametrize(
    ("seed", "step", "num_rows", "batch_size"), [(-1, 0, 5, 2), (0, -1, 5, 2), (0, 0, 0, 2), (0, 0, 5, 0)]
)
def test_numbers_out_of_range_are_refused(seed, step, num_rows, batch_size):
    with pytest.raises(ValueError, match="expected seed and step of at least 0"):
        dataset.batch_indices(seed, step, num_rows=num_rows, batch_size=batch_size)
