from __future__ import annotations

import io
import math
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from wae_jax.data.build import musegan_npz
from wae_jax.errors import SourceError

BARS = (4, 48, 84, 5)
CELLS = 4 * 48 * 84 * 5


def make_nonzero(num_phrases, num_cells=60, seed=0):
    """Sorted as by np.nonzero; the first phrase, the last and one in the middle are silent."""
    rng = np.random.default_rng(seed)
    phrases = np.setdiff1d(np.arange(1, num_phrases - 1), [num_phrases // 2])
    places = np.sort(rng.choice(phrases, num_cells) * CELLS + rng.integers(0, CELLS, num_cells))
    return np.array(np.unravel_index(places, (num_phrases, *BARS)))


def save(path, nonzero, num_phrases, save=np.savez, **others):
    save(path, nonzero=nonzero, shape=(num_phrases, *BARS), **others)
    return path


def dense(nonzero, num_phrases):
    rolls = np.zeros((num_phrases, *BARS), bool)
    for cell in nonzero.T:
        rolls[tuple(cell)] = True
    return rolls.reshape(num_phrases, CELLS)


def read(path, start=0, stop=None):
    num_phrases = musegan_npz.read_shape(path)[0]
    stop = num_phrases if stop is None else stop
    return musegan_npz.read_cells(path, num_phrases, start, stop).dense(start, stop)


@pytest.mark.parametrize("part", [1, 3, 7, 50, 1000])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i8", ">i4", "u1", "<u8"])
def test_cells_in_any_order_of_bytes_and_axes(tmp_path, monkeypatch, part, order, dtype):
    monkeypatch.setattr(musegan_npz, "_NUMBERS_AT_A_TIME", part)
    nonzero = make_nonzero(9)
    for columns in (np.arange(60), np.random.default_rng(1).permutation(60)):
        path = save(tmp_path / "a.npz", np.asarray(nonzero[:, columns], dtype, order=order), 9)
        np.testing.assert_array_equal(read(path), dense(nonzero, 9))


def test_compressed_after_the_shape_and_beside_other_arrays(tmp_path):
    nonzero = make_nonzero(9)
    np.savez_compressed(tmp_path / "a.npz", shape=(9, *BARS), nonzero=nonzero, tempo=120.0)
    np.testing.assert_array_equal(read(tmp_path / "a.npz"), dense(nonzero, 9))


@pytest.mark.parametrize("order", ["C", "F"])
def test_only_the_cells_of_the_wanted_phrases_are_kept(tmp_path, monkeypatch, order):
    monkeypatch.setattr(musegan_npz, "_NUMBERS_AT_A_TIME", 10)
    nonzero = make_nonzero(9)
    path = save(tmp_path / "a.npz", np.asarray(nonzero, order=order), 9)
    for start in range(9):
        for stop in range(start + 1, 10):
            cells = musegan_npz.read_cells(path, 9, start, stop)
            np.testing.assert_array_equal(cells.dense(start, stop), dense(nonzero, 9)[start:stop])
            assert len(cells.cells) == ((nonzero[0] >= start) & (nonzero[0] < stop)).sum()


def test_one_fall_anywhere_among_the_phrases_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(musegan_npz, "_NUMBERS_AT_A_TIME", 3)
    for fall in range(1, 9):
        nonzero = np.zeros((5, 9), int)
        nonzero[0] = np.arange(9) + 2
        nonzero[0, fall:] -= 2
        nonzero[3] = np.arange(9) * 9
        path = save(tmp_path / "a.npz", nonzero, 11)
        np.testing.assert_array_equal(read(path), dense(nonzero, 11))


def test_a_cell_may_stand_twice(tmp_path):
    nonzero = np.array([[1, 1, 2, 2], [3, 3, 0, 0], [47, 47, 1, 0], [83, 83, 2, 0], [4, 4, 3, 0]])
    np.testing.assert_array_equal(read(save(tmp_path / "a.npz", nonzero, 3)), dense(nonzero, 3))


def test_silence(tmp_path):
    rolls = read(save(tmp_path / "a.npz", np.zeros((5, 0), int), 3))
    assert rolls.shape == (3, CELLS)
    assert not rolls.any()


@pytest.mark.parametrize("shuffled", [False, True])
def test_cells_beyond_what_32_bits_count(tmp_path, shuffled):
    last = 2**32 // CELLS
    phrases = np.array([0, last - 1, last, last, last + 1, 2 * last, 2 * last + 1])
    cells = np.array([5, CELLS - 1, 0, CELLS - 1, 17, CELLS - 1, CELLS - 2])
    nonzero = np.array([phrases, *np.unravel_index(cells, BARS)])[:, :: -1 if shuffled else 1]
    path = save(tmp_path / "a.npz", nonzero, 110_000)
    all_cells = musegan_npz.read_cells(path, musegan_npz.read_shape(path)[0], 0, 110_000)
    for start, stop in [(0, 2), (last - 2, last + 3), (2 * last - 1, 2 * last + 3), (109_990, 110_000)]:
        found = np.argwhere(all_cells.dense(start, stop)) + np.array([start, 0])
        assert found.tolist() == [[p, c] for p, c in zip(phrases, cells, strict=True) if start <= p < stop]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", range(5))
@pytest.mark.parametrize("column", [0, 31, 59])
def test_an_index_out_of_range_is_named(tmp_path, monkeypatch, order, axis, column):
    monkeypatch.setattr(musegan_npz, "_NUMBERS_AT_A_TIME", 10)
    size = (9, *BARS)[axis]
    for wrong, found in ((size, f"to {size}"), (-1, "from -1 ")):
        nonzero = make_nonzero(9)
        nonzero[axis, column] = wrong
        path = save(tmp_path / "a.npz", np.asarray(nonzero, order=order), 9)
        message = rf"nonzero\[{axis}\] reaches .*{found}.*; expected 0 to {size - 1}"
        # Whichever phrases are wanted, here one without a cell.
        with pytest.raises(SourceError, match=message):
            read(path, 8, 9)


def test_damage_is_found_whatever_phrases_are_wanted(tmp_path):
    """One bit anywhere in the indices: in range or not, in order or not, the checksum speaks."""
    path = save(tmp_path / "a.npz", make_nonzero(9), 9)
    whole = path.read_bytes()
    start = whole.index(b"NUMPY") + 128
    for place in range(start, start + 5 * 60 * 8, 13):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(Exception, match=r"Bad CRC-32 for file 'nonzero\.npy'"):
            read(path, 8, 9)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"has the keys \(none\); expected nonzero and shape"),
        ({"pianoroll": 1, "nonzero": 2}, "has the keys nonzero, pianoroll; expected nonzero and shape"),
        ({"shape": [3, 4, 48, 5, 84]}, r"has shape = \[3, 4, 48, 5, 84\]; expected \[N, 4, 48, 84, 5\]"),
        ({"shape": [3, 14, 48, 84, 5]}, r"has shape = \[3, 14, 48, 84, 5\]; expected"),
        ({"shape": [10_000_001, *BARS]}, "expected at most 10000000 phrases"),
        ({"shape": [-1, *BARS]}, r"has shape = \[-1, 4, 48, 84, 5\]; expected"),
        ({"shape": [*BARS]}, r"has shape = \[4, 48, 84, 5\]; expected"),
        ({"shape": []}, r"has shape = an array of float64 \(0,\); expected"),
        ({"shape": np.zeros(0, int)}, r"has shape = \[\]; expected"),
        ({"shape": 3}, r"has shape = an array of int64 \(\); expected"),
        ({"shape": np.ones(100_000, int)}, r"has shape = an array of int64 \(100000,\); expected"),
        ({"shape": [3.0, *BARS]}, r"has shape = an array of float64 \(5,\); expected"),
        ({"nonzero": np.zeros((4, 7), int)}, r"has nonzero of int64 \(4, 7\); expected integers of shape \(5, number"),
        ({"nonzero": np.zeros(5, int)}, r"has nonzero of int64 \(5,\); expected"),
        ({"nonzero": np.zeros((5, 7), np.float32)}, r"has nonzero of float32 \(5, 7\); expected"),
        ({"nonzero": np.zeros((5, 7), bool)}, r"has nonzero of bool \(5, 7\); expected"),
    ],
)
def test_other_npz_files_are_refused(tmp_path, arrays, message):
    if arrays and "pianoroll" not in arrays:
        arrays = {"shape": (3, *BARS), "nonzero": np.zeros((5, 7), int)} | arrays
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=message):
        musegan_npz.read_shape(tmp_path / "a.npz")


def test_memory_does_not_grow_with_the_array(tmp_path):
    nonzero = np.zeros((5, 1_000_000), int)
    nonzero[0] = np.arange(1_000_000) // 1000
    np.savez_compressed(tmp_path / "a.npz", nonzero=nonzero, shape=(1000, *BARS))
    tracemalloc.start()
    try:
        cells = musegan_npz.read_cells(tmp_path / "a.npz", 1000, 10, 12)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert cells.borders.tolist() == [0, 1000, 2000]
    assert peak < 4_000_000 < nonzero.nbytes


def test_members_that_are_no_arrays_are_ignored(tmp_path):
    path = save(tmp_path / "a.npz", make_nonzero(9), 9)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "no array")
    assert musegan_npz.read_shape(path) == (9, *BARS)


def npy_bytes(descr="<i8", fortran_order=False, shape=(5, 3), body=bytes(120), version=(1, 0)):
    """The bytes of an .npy file, which may contradict themselves."""
    header = f"{{'descr': {descr!r}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}\n".encode()
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + header + body


def save_member(path, content, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", content)
    return path


def read_whole(path, name="x"):
    with musegan_npz.open_array(path, name) as stream:
        return stream.read(math.prod(stream.shape))


def test_zip64_as_written_for_sizes_not_known_before(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        np.save(member, np.arange(1000))
    np.testing.assert_array_equal(read_whole(tmp_path / "a.npz"), np.arange(1000))


def test_header_of_version_2_and_of_python_2(tmp_path):
    body = np.arange(15).tobytes()
    for content in (npy_bytes(body=body, version=(2, 0)), npy_bytes(body=body, shape="(5L, 3L)")):
        np.testing.assert_array_equal(read_whole(save_member(tmp_path / "a.npz", content)), np.arange(15))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy_bytes("|O"), r"its array x holds Python objects \(object\); expected numbers"),
        (npy_bytes([("a", "<i4"), ("b", "|O")]), "holds Python objects"),
        # Long before the memory is asked for.
        (
            npy_bytes(shape=(5, 10**12)),
            r"array x has \d+ bytes; expected 400000000000\d\d for int64 \(5, 1000000000000\)",
        ),
        (npy_bytes(body=bytes(119)), f"has {len(npy_bytes()) - 1} bytes; expected {len(npy_bytes())} for"),
        (npy_bytes(body=bytes(121)), f"has {len(npy_bytes()) + 1} bytes; expected {len(npy_bytes())} for"),
        (npy_bytes(shape=(5, -3)), r"for int64 \(5, -3\)"),
        (npy_bytes(version=(3, 0)), r"version \(3, 0\) of the npy format; expected 1.0 or 2.0"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, content, message):
    path = save_member(tmp_path / "a.npz", content)
    with pytest.raises(SourceError, match=message), musegan_npz.open_array(path, "x"):
        pass


def test_pickles_are_never_run(tmp_path):
    flag = tmp_path / "flag"

    class Bomb:
        def __reduce__(self):
            return (flag.touch, ())

    pickled = pickle.dumps(np.array([Bomb()], object))
    for content in (npy_bytes("|O", shape=(1,), body=pickled), pickled):
        with pytest.raises(ValueError, match=r"Python objects|magic"):
            read_whole(save_member(tmp_path / "a.npz", content))
    assert not flag.exists()


@pytest.mark.parametrize(("compression", "harmless"), [(zipfile.ZIP_STORED, 0), (zipfile.ZIP_DEFLATED, 1)])
def test_every_damaged_byte_is_found(tmp_path, compression, harmless):
    content = npy_bytes(body=np.random.default_rng(0).bytes(120))
    path = save_member(tmp_path / "a.npz", content, compression)
    numbers = read_whole(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        end = archive.start_dir
    not_found = 0
    for place in range(30 + len("x.npy"), end):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        try:
            read = read_whole(path)
        except Exception:  # Zip, deflate and header complain in their own ways.
            continue
        # The last byte of what deflate gives is not used to its last bit.
        np.testing.assert_array_equal(read, numbers)
        not_found += 1
    assert not_found <= harmless


def test_every_truncation_is_found(tmp_path):
    path = save_member(tmp_path / "a.npz", npy_bytes(), zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(zipfile.BadZipFile):
            read_whole(path)


def test_a_stream_that_ends_early_is_found():
    stream = musegan_npz.ArrayStream("x", (3,), np.dtype("<i8"), False, io.BytesIO(bytes(23)))
    with pytest.raises(SourceError, match="its array x ends early"):
        stream.read(3)
