"""Addresses such as gs://bucket/runs/x, and copies of what is there in folders: the only file that knows fsspec.

Everything else takes paths of folders and files. What is at an address is copied to one to be read, and what has been
written to one is uploaded. Copies that are worth keeping lie in `cache_folder`, each in a folder of its own:

    <digest of the address>/.address    what it is a copy of
    <digest of the address>/<name>      the copy, named as the last part of the address
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from wae_jax.files import whole_file

_ADDRESS_FILE = ".address"
# Without it a data set is none: it is removed first and uploaded last.
_TELLING_FILE = "dataset.json"


class RemoteError(RuntimeError):
    """Something at an address cannot be read or written; the message says what, and why."""


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether this is an address, and not a path."""
    return "://" in os.fspath(path)


class Store:
    """The objects below an address, by their names there; "" is an object at the address itself.

    An object is written as a whole, and seen as a whole or not at all.

    Args:
      address: such as gs://bucket/runs/x, with any protocol that fsspec knows.

    Raises:
      RemoteError: here and in all methods, if what is asked for cannot be done.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._system, self._root = _file_system(address)

    def sizes(self, below: str = "") -> dict[str, int]:
        """Bytes of every object, in the order of names; of those below a name, where one is given."""
        with self._telling("listed", below), contextlib.suppress(FileNotFoundError):
            self._system.invalidate_cache()  # others write, too
            found = self._system.find(self._path(below), detail=True)
            # Consoles make empty objects that look like folders.
            files = {path: info for path, info in found.items() if info["type"] == "file" and not path.endswith("/")}
            return {path.removeprefix(self._root).lstrip("/"): int(files[path]["size"]) for path in sorted(files)}
        return {}

    def read(self, name: str) -> bytes | None:
        """The content of an object; None where there is none."""
        with self._telling("read", name), contextlib.suppress(FileNotFoundError):
            content: bytes = self._system.cat_file(self._path(name))
            return content
        return None

    def get(self, name: str, path: pathlib.Path) -> bool:
        """Copies an object to a file, and makes the folder for it; whether there is such an object."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._telling(f"copied to {path}", name), contextlib.suppress(FileNotFoundError), whole_file(path) as part:
            self._system.get_file(self._path(name), str(part))
            return True
        return False

    def write(self, name: str, content: bytes) -> None:
        """Writes an object; one that is there is replaced."""
        with self._telling("written", name):
            self._system.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Writes an object unless there is one of this name; whether it did. Of several who try, one succeeds."""
        with self._telling("written", name), contextlib.suppress(FileExistsError):
            self._system.pipe_file(self._path(name), content, mode="create")
            return True
        return False

    def put(self, path: pathlib.Path, name: str) -> None:
        """Writes an object from a file; one that is there is replaced."""
        with self._telling(f"written from {path}", name):
            self._system.put_file(str(path), self._path(name))

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""
        with self._telling("removed", name), contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextlib.contextmanager
    def _telling(self, done: str, name: str) -> Iterator[None]:
        """Every file system has errors of its own."""
        try:
            yield
        except Exception as error:
            where = f"{self.address}/{name}" if name else self.address
            raise RemoteError(f"{where} could not be {done} ({_reason(error)})") from error


def _file_system(address: str) -> tuple[Any, str]:
    """What knows an address, and what it calls it."""
    # Not above: few runs have need of it.
    import fsspec

    protocol, _, rest = address.partition("://")
    if not rest.strip("/"):
        raise RemoteError(f"{address} is no address of a folder or file; expected such as {protocol}://bucket/runs/x")
    try:
        system, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        how = "pip install 'wae_jax[gcs]'" if protocol in ("gs", "gcs") else str(error)
        raise RemoteError(
            f"{address}: a package is missing, without which {protocol}:// is not known: {how}"
        ) from error
    except Exception as error:
        raise RemoteError(f"{address} cannot be opened ({_reason(error)})") from error
    return system, root.rstrip("/")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def cache_folder() -> pathlib.Path:
    """Where copies are: the folder that WAE_JAX_CACHE names, or wae_jax in the user's folder of caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(os.environ.get("WAE_JAX_CACHE") or pathlib.Path(caches, "wae_jax"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def copy_path(address: str, folder: pathlib.Path) -> pathlib.Path:
    """The path of the copy of an address in a folder that is made for it."""
    address = address.rstrip("/")
    name = address.rpartition("/")[2]
    if name in ("", ".", ".."):
        raise RemoteError(f"{address} has no name at its end; expected an address such as gs://bucket/runs/x")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _ADDRESS_FILE).is_file():
        # Under a name of its own: other processes and threads may be about to do the same.
        descriptor, part = tempfile.mkstemp(prefix=f"{_ADDRESS_FILE}.", dir=folder)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(address)
        os.replace(part, folder / _ADDRESS_FILE)
    return folder / name


def kept_copy(address: str, purpose: str) -> pathlib.Path:
    """The path of the copy of an address that is kept on this machine for a purpose."""
    digest = hashlib.sha256(f"{purpose} {address.rstrip('/')}".encode()).hexdigest()
    return copy_path(address, cache_folder() / digest[:16])


def address_of(path: str | os.PathLike[str]) -> str:
    """The address that a path holds the copy of; the path itself where it is of none."""
    file = pathlib.Path(path).parent / _ADDRESS_FILE
    return file.read_text(encoding="utf-8") if file.is_file() else os.fspath(path)


@contextlib.contextmanager
def alone(path: pathlib.Path) -> Iterator[None]:
    """A block that one process of this machine is in at a time, for the sake of a copy."""
    with path.with_name(".used").open("w") as file:
        # Some network file systems know no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def written_to(address: str, *, overwrite: bool = True) -> Iterator[pathlib.Path]:
    """Lets a file or folder be written to a path, and uploads it at the end of the block, unless that raises.

    Args:
      address: what it is to be called.
      overwrite: whether something may be there already.

    Raises:
      RemoteError: if something is there that may not be overwritten; or if the upload fails: what was to be uploaded
        is then kept, and the message names it.
    """
    store = Store(address)
    if not overwrite and store.sizes():
        raise RemoteError(f"{address} is there already; choose another, or pass --overwrite")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="output-", dir=cache_folder()))
    path = copy_path(address, scratch)
    try:
        yield path
    except BaseException:
        shutil.rmtree(scratch)
        raise
    try:
        _upload(path, store)
    except RemoteError as error:
        raise RemoteError(f"{error}; what was to be uploaded is kept in {path}") from error
    shutil.rmtree(scratch)


def _upload(path: pathlib.Path, store: Store) -> None:
    if path.is_file():
        store.put(path, "")
        return
    names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    if _TELLING_FILE in names:
        store.remove(_TELLING_FILE)
    for name in sorted(names, key=lambda name: (name == _TELLING_FILE, name)):
        store.put(path / name, name)
