"""A bucket in a folder, as a file system of fsspec's: shelf://bucket/name lies in $SHELF/bucket/name.

As at a bucket, objects are replaced as a whole, nothing can be added to one, and folders are nothing of their own.
`in_processes` makes it known to processes that a test starts. These are killed at their write number $SHELF_KILLS_AT,
and have no connection from number $SHELF_FAILS_AT on.
"""

import itertools
import os
import pathlib
import shutil
import signal

import fsspec
from fsspec.implementations.local import LocalFileSystem

_COUNT = itertools.count()


class Shelf(LocalFileSystem):
    """See above.

    Attributes:
      writes: the names of the objects written and removed since the start, as `+name` and `-name`.
      fail_at: from which write or removal on there is no connection; None for never.
    """

    protocol = "shelf"
    cachable = False
    writes: list[str] = []  # noqa: RUF012 - of all instances
    fail_at: int | None = None

    @classmethod
    def _strip_protocol(cls, path):
        root = os.environ["SHELF"]
        path = os.fspath(path)
        return f"{root}/{path.removeprefix('shelf://')}".rstrip("/") if path.startswith("shelf://") else path

    def _change(self, sign, path):
        name = os.path.relpath(path, os.environ["SHELF"])
        fail_at = int(os.environ.get("SHELF_FAILS_AT", "-1")) if self.fail_at is None else self.fail_at
        if 0 <= fail_at <= len(self.writes):
            raise ConnectionError("no connection")
        if len(self.writes) == int(os.environ.get("SHELF_KILLS_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        if os.path.basename(name) != ".lock":
            self.writes.append(sign + name)

    def _part(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return f"{os.environ['SHELF']}.part.{os.getpid()}.{next(_COUNT)}"

    def put_file(self, lpath, rpath, **kwargs):
        self._change("+", rpath)
        part = self._part(rpath)
        shutil.copyfile(lpath, part)
        os.replace(part, rpath)

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self._change("+", path)
        part = self._part(path)
        pathlib.Path(part).write_bytes(value)
        if mode == "create":
            try:
                os.link(part, path)
            finally:
                os.unlink(part)
        else:
            os.replace(part, path)

    def rm_file(self, path):
        os.stat(path)
        self._change("-", path)
        os.remove(path)


fsspec.register_implementation("shelf", Shelf)


def in_processes(folder: pathlib.Path) -> None:
    """Writes to a folder what makes shelf:// known to all processes that have the folder on their PYTHONPATH."""
    about = folder / "shelf-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[fsspec.specs]\nshelf = tests.shelf:Shelf\n")


def objects(folder: pathlib.Path) -> dict[str, bytes]:
    """Name and content of all objects below a folder of the shelf."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
