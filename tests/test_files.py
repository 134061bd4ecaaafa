from __future__ import annotations

import errno

import pytest

from wae_jax.files import Closing, parse_json, read_metrics, whole_file


def test_a_file_gets_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.parent == tmp_path
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "new")]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "caf\udce9" + "x" * 251])
def test_a_file_may_have_the_longest_name_there_is(tmp_path, name):
    with whole_file(tmp_path / name) as part:
        part.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "new")]


def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with whole_file(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]


def full(path):
    """A file on a full disk, which takes only what fits into a buffer."""
    path.symlink_to("/dev/full")
    return path


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path):
    (tmp_path / "gone").mkdir()
    with pytest.raises(OSError, match="No space left on device") as raised, whole_file(tmp_path / "a.txt") as part:
        full(part).write_bytes(b"0" * 100)
    assert raised.value.filename == str(tmp_path / "a.txt")
    assert raised.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="0 written") as raised, whole_file(tmp_path / "a.npy"):
        raise OSError("9 requested and 0 written")  # NumPy's words
    assert raised.value.filename == str(tmp_path / "a.npy")
    assert raised.value.strerror == "cannot be written completely (9 requested and 0 written); is the disk full?"
    with pytest.raises(FileNotFoundError) as raised, whole_file(tmp_path / "nowhere" / "a.txt") as part:
        part.write_bytes(b"0")
    assert raised.value.filename == str(tmp_path / "nowhere" / "a.txt")
    # One without a number that is no plain OSError is not of the disk.
    with pytest.raises(FileNotFoundError, match=r"^bucket/a$"), whole_file(tmp_path / "a.txt"):
        raise FileNotFoundError("bucket/a")  # fsspec's words
    # One that has another file keeps it.
    with pytest.raises(FileNotFoundError) as raised, whole_file(tmp_path / "a.txt"):
        (tmp_path / "gone" / "source").read_bytes()
    assert raised.value.filename == str(tmp_path / "gone" / "source")
    assert [path.name for path in tmp_path.iterdir()] == ["gone"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff\xfe", "NaN", "[-Infinity]", "1" * 5000, "{'a': 1}"])
def test_what_is_no_json_is_one_kind_of_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's messages
        parse_json(text)


def test_metrics_are_read_line_by_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert list(read_metrics(path)) == []
    lines = [
        '{"step": 1, "a": 0.5, "b": null, "c": "x", "d": true}',
        '{"step": 2, "a": 1}',
        *('{"a": 1}', '{"step": "3"}', "[1]", "3", "null", "", "[" * 100_000, '{"step": 4, "a": 0.', '{"step": NaN}'),
        f'{{"step": 5, "a": {"9" * 5000}}}',
    ]
    path.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    assert list(read_metrics(path)) == [{"step": 1, "a": 0.5}, {"step": 2, "a": 1}, {"step": 5, "a": float("inf")}]


def test_closing_closes_however_the_block_ends():
    class Door(Closing):
        is_open = True

        def close(self):
            self.is_open = False

    def slam(door):
        with door as entered:
            assert entered is door
            raise ZeroDivisionError

    door = Door()
    with pytest.raises(ZeroDivisionError):
        slam(door)
    assert not door.is_open
