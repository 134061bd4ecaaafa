"""Atomic writing of files, their digests, and a base class of context managers."""

from __future__ import annotations

import abc
import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NoReturn, Self

_LONGEST_NAME = 255 - len("..part")  # bytes: a name of more has no room for the temporary one


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[pathlib.Path]:
    """Writes a file atomically: yields a temporary path and renames it to `path` at the end of the block.

    A reader sees the old file or the complete new one, even if this process is killed. If the block raises, the
    temporary file is removed; an OSError of it, or one without a file, then names `path` as its file.

    Args:
      path: the final name; an existing file is replaced.
      durable: whether to wait until the file is on the disk, so that it survives a power failure.
    """
    path = pathlib.Path(path)
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    part = path.with_name(f".{name}.part")
    try:
        yield part
        if durable:
            with part.open("rb") as written:
                os.fsync(written.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        # The temporary name tells a user nothing; errors of a full disk have no file, and NumPy's have no number. Those
        # of a subclass without one are of what is read: fsspec's where there is nothing at a URL, or it is not reached.
        if not isinstance(error, OSError) or error.filename not in (None, os.fspath(part)):
            raise
        if error.errno is None and type(error) is not OSError:
            raise
        if error.errno is None:
            reason = f"cannot be written completely ({error}); is the disk full?"
            raise OSError(errno.EIO, reason, os.fspath(path)) from error
        error.filename = os.fspath(path)
        raise


def file_sha256(path: pathlib.Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
      ValueError: if it is not JSON, which has no NaN, or not in UTF-8, or nested a thousand deep.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_metrics(path: pathlib.Path) -> Iterator[dict[str, float]]:
    """The numbers, by name, of each line of a metrics.jsonl, "step" among them; damaged lines are left out.

    There are none if there is no file.
    """
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, RecursionError):
            # Integers as floats too, since one of a thousand digits is none for NumPy.
            row = json.loads(line, parse_int=float)
            fields = row.items() if isinstance(row, dict) else ()
            numbers = {name: value for name, value in fields if isinstance(value, float)}
            if math.isfinite(numbers.get("step", math.nan)):
                yield numbers


def printable(text: str) -> str:
    r"""The text with escapes such as `\x1b` and `\udce9` for characters that no font or encoding has.

    Names of files may hold any byte but `/`; one that is not UTF-8 reads as half of a surrogate pair.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Closing(abc.ABC):
    """A context manager that calls `close` at the end of its block, also after an exception."""

    @abc.abstractmethod
    def close(self) -> None:
        """Releases what the object holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
