"""Folders at URLs such as gs://bucket/runs/x, through fsspec; models at hf://user/name, through `wae_jax.hub`."""

from __future__ import annotations

import atexit
import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Collection, Iterator

from wae_jax.errors import RemoteError
from wae_jax.files import whole_file
from wae_jax.hub import download, is_hub_url

CHECKPOINTS_FOLDER = "checkpoints"
# Inside a checkpoint: uploaded last and removed first, so that a checkpoint without it does not count.
_CHECKPOINT_MARK = "meta/metadata"

_LOCAL_COPIES: list[pathlib.Path] = []  # of this process


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL, such as gs://bucket/folder."""
    return "://" in os.fspath(path)


class RemoteFolder:
    """A folder at a URL; of its files, those in `checkpoints/<step>/` belong together.

    Object stores write single files atomically, but not several. So a checkpoint's mark is uploaded last.

    Args:
      url: URL of the folder, of a file system that fsspec knows.

    Raises:
      RemoteError: here and in all methods, if the URL cannot be reached.
    """

    def __init__(self, url: str) -> None:
        # Not above: most runs are local.
        import fsspec

        self.url = url.rstrip("/")
        with self._errors("opened"):
            self._files, self._root = fsspec.url_to_fs(self.url)
        # Time and size of the local files that are the same at the URL, by name.
        self._same: dict[str, tuple[int, int]] = {}

    def names(self) -> list[str]:
        """The names of all files, relative to the folder."""
        with self._errors("listed"):
            self._files.invalidate_cache()
            try:
                found = self._files.find(self._root)
            except FileNotFoundError:
                found = []
        return sorted(name[len(self._root) :].lstrip("/") for name in found)

    def download(self, names: Collection[str], folder: pathlib.Path) -> None:
        """Copies files into a local folder; RemoteError also if one does not exist."""
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._errors(f"read: {name}"), whole_file(path) as part:
                self._files.get_file(f"{self._root}/{name}", str(part))
            self._same[name] = _signature(path)

    def download_run(self, folder: pathlib.Path) -> None:
        """Copies what is read of a run: configuration, metrics, evaluations, complete checkpoints."""
        names = self.names()
        for step in {_checkpoint_of(name) for name in names if name.endswith(f"/{_CHECKPOINT_MARK}")} - {""}:
            try:
                self.download([name for name in names if _checkpoint_of(name) == step], folder)
            except RemoteError:
                if f"{step}/{_CHECKPOINT_MARK}" in self.names():
                    raise  # otherwise the run that is writing has removed it meanwhile
        others = [name for name in names if name.split("/")[0] not in (CHECKPOINTS_FOLDER, "samples")]
        self.download([name for name in others if name.endswith((".json", ".jsonl"))], folder)

    def upload_run(self, folder: pathlib.Path) -> None:
        """Uploads what has changed in a local workdir, and removes the checkpoints that are gone there.

        The order keeps a run that is killed here resumable: metrics before the checkpoints that they belong to, and
        every checkpoint before an older one is removed.
        """
        local = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        local = {name: path for name, path in local.items() if _is_complete(name)}
        for name in sorted(local, key=_upload_order):
            signature = _signature(local[name])
            if self._same.get(name) != signature:
                with self._errors(f"written: {name}"):
                    self._files.makedirs(os.path.dirname(f"{self._root}/{name}"), exist_ok=True)
                    self._files.put_file(str(local[name]), f"{self._root}/{name}")
                self._same[name] = signature
        gone = [name for name in self.names() if _checkpoint_of(name) and name not in local]
        for name in sorted(gone, key=_upload_order, reverse=True):
            with self._errors(f"removed: {name}"):
                self._files.rm_file(f"{self._root}/{name}")
            self._same.pop(name, None)

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every back end of fsspec has errors of its own
            raise RemoteError(f"{self.url} could not be {what} ({type(error).__name__}: {error})") from error


def local_copy(path: str | os.PathLike[str]) -> pathlib.Path:
    """A run or an exported model as a local path.

    It is copied from a URL to a folder that is removed at exit; a model on the hub stays in the cache of its library.

    Raises:
      RemoteError: if there is nothing at the URL, or it cannot be reached.
    """
    if not is_url(path):
        return pathlib.Path(path)
    if is_hub_url(path):
        return download(os.fspath(path))
    remote = RemoteFolder(os.fspath(path))
    names = remote.names()
    if not names:
        raise RemoteError(f"there is nothing at {remote.url}; expected a workdir of wae_jax.main or an exported model")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wae_jax_"))
    _LOCAL_COPIES.append(folder)
    if names == [""]:  # a single file
        parent, _, name = remote.url.rpartition("/")
        RemoteFolder(parent).download([name], folder)
        return folder / name
    remote.download_run(folder)
    return folder


@atexit.register
def remove_local_copies() -> None:
    """Removes what `local_copy` has made; also for a process that ends without the functions of `atexit`."""
    while _LOCAL_COPIES:
        shutil.rmtree(_LOCAL_COPIES.pop(), ignore_errors=True)


def _signature(path: pathlib.Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _checkpoint_of(name: str) -> str:
    """The folder `checkpoints/<step>` that a file belongs to; empty for other files."""
    parts = name.split("/")
    is_part = len(parts) > 2 and parts[0] == CHECKPOINTS_FOLDER and parts[1].isdecimal()
    return "/".join(parts[:2]) if is_part else ""


def _is_complete(name: str) -> bool:
    """Whether a local file is to be uploaded: neither hidden, nor part of an unfinished or damaged checkpoint."""
    is_hidden = any(part.startswith(".") for part in name.split("/"))
    return not is_hidden and (bool(_checkpoint_of(name)) or not name.startswith(f"{CHECKPOINTS_FOLDER}/"))


def _upload_order(name: str) -> tuple[object, ...]:
    """Other files first, config.json last of them; then checkpoints, oldest first, their marks last."""
    checkpoint = _checkpoint_of(name)
    step = int(checkpoint.rpartition("/")[2]) if checkpoint else -1
    return step, name in ("config.json", f"{checkpoint}/{_CHECKPOINT_MARK}"), name
