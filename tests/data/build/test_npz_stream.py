from __future__ import annotations

import io
import math
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from wae_jax.data.build import npz_stream
from wae_jax.errors import SourceError


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
    with npz_stream.open_array(path, name) as stream:
        return stream.read(math.prod(stream.shape))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<u4", ">i2", "u1", "<f4"])
def test_parts_of_rows_are_the_array(tmp_path, monkeypatch, save, fortran, dtype):
    monkeypatch.setattr(npz_stream, "_NUMBERS_AT_A_TIME", 35)
    monkeypatch.setattr(npz_stream, "_BYTES_AT_A_TIME", 16)
    array = np.random.default_rng(0).integers(0, 100, (5, 79)).astype(dtype)
    save(tmp_path / "a.npz", first=np.arange(3), x=np.asfortranarray(array) if fortran else array, last=1.5)
    read = np.full(array.shape, -1.0)
    filled = np.zeros(5, int)
    with npz_stream.open_array(tmp_path / "a.npz", "x") as stream:
        assert (stream.shape, stream.dtype, stream.fortran_order) == ((5, 79), dtype, fortran)
        for row, column, numbers in stream.row_parts():
            assert 0 < len(numbers) <= 35
            assert column == filled[row]
            read[row, column : column + len(numbers)] = numbers
            filled[row] += len(numbers)
            assert (np.diff(filled) <= 0).all()
    np.testing.assert_array_equal(read, array)


def test_an_array_without_numbers_has_no_part(tmp_path):
    for order in "CF":
        np.savez(tmp_path / "a.npz", x=np.zeros((5, 0), order=order))
        with npz_stream.open_array(tmp_path / "a.npz", "x") as stream:
            assert list(stream.row_parts()) == []


def test_memory_does_not_grow_with_the_array(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(5_000_000).reshape(5, -1) // 1000)
    tracemalloc.start()
    try:
        with npz_stream.open_array(tmp_path / "a.npz", "x") as stream:
            last = [numbers[-1] for _, _, numbers in stream.row_parts()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert last[-1] == 4_999
    assert peak < 4_000_000 < 5_000_000 * 8


def test_keys(tmp_path):
    np.savez(tmp_path / "a.npz", shape=1, nonzero=2)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("notes.txt", "no array")
    assert npz_stream.array_names(tmp_path / "a.npz") == ["nonzero", "shape"]


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
    with pytest.raises(SourceError, match=message), npz_stream.open_array(path, "x"):
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
    stream = npz_stream.ArrayStream("x", (3,), np.dtype("<i8"), False, io.BytesIO(bytes(23)))
    with pytest.raises(SourceError, match="its array x ends early"):
        stream.read(3)
