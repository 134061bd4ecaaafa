"""Files that are whole or not there, their digests, and things that are closed."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import os
import pathlib
import types
from collections.abc import Iterator
from typing import Self


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[pathlib.Path]:
    """Lets a file be written under another name, and gives it its own when it is complete.

    Whoever reads `path`, and whenever this process is killed, sees the old file or the new one. If the block raises,
    nothing of the new one is left.

    Args:
      path: what the file is to be called; one of this name is replaced.
      durable: whether to wait until it lies on the disk, so that it outlives a power cut too.
    """
    path = pathlib.Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        if durable:
            with part.open("rb") as written:
                os.fsync(written.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def file_sha256(path: pathlib.Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Closing(abc.ABC):
    """A context manager that is closed at the end of the block, however that ends."""

    @abc.abstractmethod
    def close(self) -> None:
        """Gives back what is held."""

    def __enter__(self) -> Self:
        """Gives the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()
