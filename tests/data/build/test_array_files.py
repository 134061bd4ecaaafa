from __future__ import annotations

import hashlib
import io
import pickle
import zipfile

import numpy as np
import pytest

from wae_jax.data.build import array_files, formats, sources
from wae_jax.errors import SourceError

BARS = (4, 48, 84, 5)


def make_rolls(num_phrases, seed=0):
    return np.random.default_rng(seed).random((num_phrases, *BARS)) < 0.01


def packed(rolls):
    return np.packbits(rolls.reshape(len(rolls), -1), axis=1)


def save_npz(path, rolls, dtype=np.int64, order=None):
    nonzero = np.array(np.nonzero(rolls), dtype)
    np.savez_compressed(path, nonzero=nonzero if order is None else nonzero[:, order], shape=rolls.shape)
    return path


def save_npy(path, array):
    np.save(path, array)
    return path


def save_sidecar(path, lines):
    path.write_bytes("".join(f"{line}\n" for line in ["phrase\tsong\tfirst_bar", *lines]).encode())
    return path


def read(path, **options):
    source = formats.open_source(path, **options)
    chunks = list(source.chunks)
    rows = np.concatenate([chunk.rows for chunk in chunks])
    if chunks[0].songs is None:
        assert all(chunk.songs is None and chunk.first_bars is None for chunk in chunks)
        return source, rows, None, None
    songs = [song for chunk in chunks for song in chunk.songs]
    return source, rows, songs, [bar for chunk in chunks for bar in chunk.first_bars]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint64, ">i8", ">u2"])
def test_npz_round_trip(tmp_path, dtype):
    rolls = make_rolls(5)
    source, rows, songs, _ = read(save_npz(tmp_path / "a.npz", rolls, dtype))
    np.testing.assert_array_equal(rows, packed(rolls))
    assert rows.dtype == np.uint8
    assert (source.num_phrases, source.rows, songs) == (5, None, None)
    assert source.sha256 == hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()


def test_npz_in_any_order_of_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "PHRASES_PER_CHUNK", 2)
    rolls = make_rolls(5)
    rolls[2] = False
    for order in (None, np.random.default_rng(1).permutation(rolls.sum())):
        _, rows, _, _ = read(save_npz(tmp_path / "a.npz", rolls, order=order))
        np.testing.assert_array_equal(rows, packed(rolls))


def test_no_phrase_comes_out_of_an_npz_that_is_damaged_at_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "PHRASES_PER_CHUNK", 1)
    nonzero = np.array(np.nonzero(make_rolls(5)))
    nonzero[4, -1] = 5
    np.savez(tmp_path / "a.npz", nonzero=nonzero, shape=(5, *BARS))
    source = formats.open_source(tmp_path / "a.npz")
    with pytest.raises(SourceError, match=r"nonzero\[4\] reaches from 0 to 5; expected 0 to 4"):
        next(source.chunks)


def test_npz_of_silence(tmp_path):
    _, rows, _, _ = read(save_npz(tmp_path / "a.npz", np.zeros((3, *BARS), bool)))
    assert rows.shape == (3, 10080)
    assert not rows.any()


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, ">i2"])
@pytest.mark.parametrize("shape", [BARS, (192, 84, 5)])
def test_npy_round_trip(tmp_path, dtype, shape, monkeypatch):
    monkeypatch.setattr(array_files, "PHRASES_PER_CHUNK", 2)
    rolls = make_rolls(5)
    _, rows, _, _ = read(save_npy(tmp_path / "a.npy", rolls.reshape(-1, *shape).astype(dtype)))
    np.testing.assert_array_equal(rows, packed(rolls))


@pytest.mark.parametrize("shape", [BARS, (192, 84, 5)])
def test_npy_in_fortran_order(tmp_path, shape, monkeypatch):
    monkeypatch.setattr(array_files, "PHRASES_PER_CHUNK", 2)
    monkeypatch.setattr(array_files, "_PHRASES_AT_ONCE_IN_FORTRAN_ORDER", 4)
    rolls = make_rolls(7)
    path = save_npy(tmp_path / "a.npy", np.asfortranarray(rolls.reshape(-1, *shape)))
    for rows in (slice(None), slice(1, 6), slice(6, 7)):
        _, got, _, _ = read(path, rows=rows)
        np.testing.assert_array_equal(got, packed(rolls[rows]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_on_above_the_threshold(tmp_path, dtype):
    values = np.zeros((1, *BARS), dtype)
    values[0, 0, 0, 0] = [0.25, 0.5, 0.75, 1, -1]
    path = save_npy(tmp_path / "a.npy", values)
    _, rows, _, _ = read(path, options=sources.Options(threshold=0.5))
    np.testing.assert_array_equal(rows, packed(values > 0.5))
    assert np.unpackbits(rows[0])[:5].tolist() == [0, 0, 1, 1, 0]
    with pytest.raises(SourceError, match="floats need --threshold"):
        formats.open_source(path)


def test_kinds_are_told_apart_by_content(tmp_path):
    rolls = make_rolls(2)
    save_npz(tmp_path / "a.npz", rolls).rename(tmp_path / "a.npy")
    save_npy(tmp_path / "b.npy", rolls).rename(tmp_path / "b")
    for name in ("a.npy", "b"):
        np.testing.assert_array_equal(read(tmp_path / name)[1], packed(rolls))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(slice(1, 3), [1, 2]), (slice(-2, None), [3, 4]), (slice(None, -4), [0]), (slice(3, 99), [3, 4])],
)
def test_rows_are_those_of_a_slice(tmp_path, rows, expected):
    rolls = make_rolls(5)
    save_sidecar(tmp_path / "a.tsv", [f"{i}\tsong {i}\t{4 * i}" for i in range(5)])
    for path in (save_npz(tmp_path / "a.npz", rolls), save_npy(tmp_path / "a.npy", rolls)):
        source, got, songs, first_bars = read(path, rows=rows)
        np.testing.assert_array_equal(got, packed(rolls)[expected])
        assert songs == [f"song {i}" for i in expected]
        assert first_bars == [4 * i for i in expected]
        assert (source.num_phrases, source.rows) == (len(expected), (expected[0], expected[-1] + 1))


def test_rows_that_select_nothing_are_refused(tmp_path):
    path = save_npy(tmp_path / "a.npy", make_rolls(3))
    with pytest.raises(SourceError, match="rows 5: select none of its 3 phrases"):
        formats.open_source(path, rows=slice(5, None))


def test_sidecar_names_may_hold_anything_but_tab_and_line_feed(tmp_path):
    names = ["Bärenlied é\u2028x", "a\x0bb\rc\\n"]
    path = save_sidecar(tmp_path / "a.tsv", [f"0\t{names[0]}\t", f"1\t{names[1]}\t12"])
    assert array_files.read_sidecar(path, 2) == (names, [None, 12])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert array_files.read_sidecar(path, 2) == (names, [None, 12])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the file is empty"),
        (b"phrase,song,first_bar\n", "line 1: the columns are"),
        (b"phrase\tsong\n", "line 1: the columns are"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t0\n", "line 2: the file ends after 1 phrases; expected 2"),
        (b"phrase\tsong\tfirst_bar\n", "line 1: the file ends after 0 phrases; expected 2"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t0\n1\ta\n", "line 3: 2 columns; expected 3"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t0\n1\ta\tb\t0\n", "line 3: 4 columns; expected 3"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t0\n\n", "line 3: 1 columns; expected 3"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t0\n2\ta\t4\n", "line 3: phrase '2'; expected 1"),
        (b"phrase\tsong\tfirst_bar\n1\ta\t0\n0\ta\t4\n", "line 2: phrase '1'; expected 0"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t0\n1\ta\t4\n2\ta\t8\n", "line 4: one line too many for 2 phrases"),
        (b"phrase\tsong\tfirst_bar\n0\t\t0\n1\ta\t4\n", "line 2: no song"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t-1\n1\ta\t4\n", "line 2: first_bar '-1'"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t0\n1\ta\t1.5\n", "line 3: first_bar '1.5'"),
        (b"phrase\tsong\tfirst_bar\n0\ta\t0\n1\t\xff\t4\n", "line 3: not UTF-8"),
    ],
)
def test_malformed_sidecar_names_file_and_line(tmp_path, content, message):
    (tmp_path / "a.tsv").write_bytes(content)
    path = save_npy(tmp_path / "a.npy", make_rolls(2))
    with pytest.raises(SourceError) as raised:
        formats.open_source(path)
    assert f"{tmp_path / 'a.tsv'}, {message}" in str(raised.value)


def test_a_bad_value_is_found_where_it_stands(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "PHRASES_PER_CHUNK", 2)
    cells = make_rolls(5).astype(np.int16)
    cells[3, 1, 2, 3, 4] = 127
    chunks = formats.open_source(save_npy(tmp_path / "a.npy", cells)).chunks
    assert len(next(chunks).rows) == 2
    with pytest.raises(SourceError, match="phrases 2 to 3 hold values from 0 to 127; expected 0 and 1"):
        next(chunks)


def write_truncated(path):
    save_npy(path, make_rolls(2))
    path.write_bytes(path.read_bytes()[:-5])


def write_damaged_zip(path):
    save_npz(path, make_rolls(2))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def write_pickle_in_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        for key in ("nonzero", "shape"):
            array = io.BytesIO()
            np.save(array, np.array([{}]), allow_pickle=True)
            file.writestr(f"{key}.npy", array.getvalue())


def write_text_in_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("nonzero", "not an array")
        file.writestr("shape", "not an array")


def npz(**arrays):
    return lambda path: np.savez(path, **arrays)


def npy(array):
    return lambda path: np.save(path, array, allow_pickle=True)


INDICES = np.zeros((5, 3), np.int64)
SHAPE = np.array([1, *BARS])
BEAT_TOO_FAR = np.array([[0], [0], [48], [0], [0]])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.npz", lambda path: None, "does not exist"),
        ("a.npz", lambda path: path.mkdir(), "is a folder"),
        ("a.npz", lambda path: path.write_bytes(b""), "is empty"),
        ("a.npy", lambda path: path.write_bytes(pickle.dumps([1])), "is neither .*npy"),
        ("a.npz", lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "cannot be read"),
        ("a.npz", npz(), "expected nonzero"),
        ("a.npz", npz(nonzero=INDICES, pianoroll=1), "has the keys nonzero, pianoroll; expected nonzero and shape"),
        ("a.npz", npz(nonzero=INDICES, shape=SHAPE[1:]), r"expected \[N, 4, 48, 84, 5\]"),
        ("a.npz", npz(nonzero=INDICES, shape=SHAPE[[0, 1, 2, 4, 3]]), r"expected \[N, 4, 48, 84, 5\]"),
        ("a.npz", npz(nonzero=INDICES, shape=SHAPE * 1.0), r"expected \[N, 4, 48, 84, 5\]"),
        ("a.npz", npz(nonzero=INDICES, shape=np.int64(3)), r"expected \[N, 4, 48, 84, 5\]"),
        ("a.npz", npz(nonzero=INDICES[:, :0], shape=SHAPE * [0, 1, 1, 1, 1]), "holds no phrase"),
        ("a.npz", npz(nonzero=INDICES[:4], shape=SHAPE), r"int64 \(4, 3\); expected integers of shape \(5,"),
        ("a.npz", npz(nonzero=INDICES.T, shape=SHAPE), "expected integers of shape"),
        ("a.npz", npz(nonzero=INDICES * 1.0, shape=SHAPE), "expected integers of shape"),
        ("a.npz", npz(nonzero=INDICES + 1, shape=SHAPE), r"nonzero\[0\] reaches from 1 to 1; expected 0 to 0"),
        ("a.npz", npz(nonzero=INDICES - 1, shape=SHAPE), r"nonzero\[0\] reaches from -1"),
        ("a.npz", npz(nonzero=INDICES + BEAT_TOO_FAR, shape=SHAPE), r"nonzero\[2\] .* expected 0 to 47"),
        ("a.npz", write_damaged_zip, "cannot be read"),
        ("a.npz", write_pickle_in_zip, "its array shape holds Python objects"),
        ("a.npz", write_text_in_zip, "expected nonzero"),
        ("a.npy", npy(np.zeros((0, *BARS), bool)), "holds no phrase"),
        ("a.npy", npy(np.zeros(BARS, bool)), r"has shape \(4, 48, 84, 5\); expected \(N, 4, 48, 84, 5\) or \(N, 192,"),
        ("a.npy", npy(np.zeros((2, 192, 5, 84), bool)), "has shape"),
        ("a.npy", npy(np.float32(1)), "has shape"),
        ("a.npy", npy(np.zeros((1, *BARS), complex)), "has type complex128"),
        ("a.npy", npy(np.zeros((1, *BARS), "S1")), "has type"),
        ("a.npy", npy(np.full((1, *BARS), None)), "cannot be read"),
        ("a.npy", write_truncated, "cannot be read"),
        ("a.npy", npy(np.full((1, *BARS), 2, np.uint8)), "hold values from 2 to 2; expected 0 and 1"),
        ("a.npy", npy(np.full((1, *BARS), -1, np.int8)), "hold values from -1 to -1"),
        ("a.npy", npy(np.full((1, *BARS), np.nan, np.float32)), "hold NaN"),
    ],
)
def test_everything_else_is_refused_with_the_reason(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(SourceError, match=message):
        list(formats.open_source(tmp_path / name, options=sources.Options(threshold=0.5)).chunks)


def test_pickles_are_never_run(tmp_path):
    flag = tmp_path / "flag"

    class Bomb:
        def __reduce__(self):
            return (flag.touch, ())

    np.save(tmp_path / "a.npy", np.array([Bomb()], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", nonzero=np.array([Bomb()], object), shape=SHAPE)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.npy", "a.npz", "b.npy"):
        with pytest.raises(SourceError):
            list(formats.open_source(tmp_path / name).chunks)
    assert not flag.exists()


def chord(tonic, *, bass):
    """A phrase of a major triad and its root on the bass, with a drum."""
    roll = np.zeros((192, 84, 5), bool)
    roll[:, [36 + tonic, 40 + tonic, 43 + tonic], 1] = True
    roll[:, bass, 3] = True
    roll[::12, 12, 0] = True
    return roll


def test_songs_of_an_array_are_transposed_by_the_key_of_all_their_phrases(tmp_path):
    # D major: chords on D, G and A, the last over its third, C sharp, the lowest; and A flat.
    songs = ["in D", "in Ab", "in D", "in D", "drums"]
    rolls = np.stack([chord(2, bass=14), chord(8, bass=8), chord(7, bass=7), chord(9, bass=1), chord(0, bass=0)])
    rolls[4, :, :, 1:] = False
    save_sidecar(tmp_path / "a.tsv", [f"{i}\t{song}\t0" for i, song in enumerate(songs)])
    # By hand, root and bass, from C: down by two, where C sharp leaves the range and moves an octave up; or up by four.
    expected = [(0, 12), (12, 12), (5, 5), (7, 11)]
    for path in (save_npy(tmp_path / "a.npy", rolls), save_npz(tmp_path / "a.npz", rolls.reshape(-1, *BARS))):
        for rows, names in ((slice(None), ["D major", "Ab major"]), (slice(2, 4), ["D major"]), (slice(4, 5), [])):
            source = formats.open_source(path, rows=rows, options=sources.Options(tonality="estimate"))
            chunks = list(source.chunks)
            assert [each for chunk in chunks for each in chunk.semitones] == [-2, 4, -2, -2, 0][rows]
            moved = np.unpackbits(np.concatenate([chunk.rows for chunk in chunks]), axis=1).reshape(-1, 192, 84, 5)
            for roll, before, (root, bass) in zip(moved, rolls[rows], expected[rows], strict=False):
                assert np.flatnonzero(roll[0, :, 1]).tolist() == [36 + root, 40 + root, 43 + root]
                assert np.flatnonzero(roll[0, :, 3]).tolist() == [bass]
                np.testing.assert_array_equal(roll[..., 0], before[..., 0])
            assert [key.key for key in source.changes.transpositions] == names
    for tonality in ("keep", "signature"):
        source = formats.open_source(tmp_path / "a.npy", options=sources.Options(tonality=tonality))
        (chunk,) = source.chunks
        np.testing.assert_array_equal(chunk.rows, packed(rolls))
        assert (chunk.semitones, list(source.changes.transpositions)) == (None, [])


def test_keys_of_unnamed_songs_are_not_estimated(tmp_path):
    path = save_npy(tmp_path / "a.npy", make_rolls(2))
    with pytest.raises(SourceError, match=r"names no songs, .*; expected a\.tsv beside it, with the columns"):
        formats.open_source(path, options=sources.Options(tonality="estimate"))
