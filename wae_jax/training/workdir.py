"""The workdir of a run, local or at a URL: one run at a time, with one configuration.

    <workdir>/.lock        held by the run that uses a local workdir
    <workdir>/config.json  the configuration, nothing else
    <workdir>/run.json     format version, wae_jax version, name and digest of the training data

Of several processes, the first one alone writes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import json
import os
import pathlib
import socket
import warnings
from collections.abc import Mapping
from typing import Any

from wae_jax import __version__
from wae_jax.config import flatten_config
from wae_jax.errors import WorkdirError
from wae_jax.files import Closing, whole_file
from wae_jax.remote import CHECKPOINTS_FOLDER, RemoteFolder, is_url, temporary_folder

LOCK_FILE = ".lock"
CONFIG_FILE = "config.json"
RUN_FILE = "run.json"
FORMAT_VERSION = 1

# Patterns of the fields that may change when a run is resumed: its length, and how often it reports and saves.
FREE_FIELDS = ("num_train_steps", "num_epochs", "*_every_steps", "steps_per_call", "data.placement")

_ABSENT = object()


class WorkdirLock(Closing):
    """A lock on a local workdir, as a context manager; makes the folder if it is missing.

    The lock is the kernel's: it ends with the process, and a file left behind blocks nobody.

    Args:
      workdir: the folder.
    """

    def __init__(self, workdir: str | os.PathLike[str]) -> None:
        self._path = pathlib.Path(workdir) / LOCK_FILE
        self._descriptor: int | None = None

    def __enter__(self) -> WorkdirLock:
        """Takes the lock.

        Raises:
          WorkdirError: if another run holds it; the message names that run's process and host.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
                os.close(descriptor)
                raise WorkdirError(
                    f"{self._path.parent} is in use by another run ({holder or 'which is just starting'}); "
                    "wait for it, end it, or choose another workdir"
                ) from error
            # Some network file systems have no locks, which is no reason not to train on them.
            warnings.warn(
                f"{self._path} cannot be locked ({error.strerror}): nothing keeps a second run out of this workdir",
                stacklevel=2,
            )
        with contextlib.suppress(OSError):  # on a full disk, the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            os.fsync(descriptor)  # for other hosts to read
        self._descriptor = descriptor
        return self

    def close(self) -> None:
        """Releases the lock."""
        # The file stays: without it, two runs could lock two files of the same name.
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Workdir(Closing):
    """A workdir while a run uses it, as a context manager that all processes of the run enter.

    A run at a URL works in a temporary folder, into which the run is copied at the start, and from which `upload`
    copies what has changed. There is no lock at a URL.

    Args:
      path: a local folder or a URL.
      is_first: whether this is the first process of the run, which locks a local workdir and uploads.

    Attributes:
      path: as given, to be shown to users.
      folder: the local folder; at a URL, that of this process.
    """

    def __init__(self, path: str | os.PathLike[str], *, is_first: bool) -> None:
        self.path = os.fspath(path)
        self._is_first = is_first
        self._remote = RemoteFolder(self.path) if is_url(path) else None
        self.folder = temporary_folder() if self._remote else pathlib.Path(path)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Workdir:
        """Locks a local workdir; copies what there is at a URL.

        Raises:
          WorkdirError: if another run holds the lock.
          RemoteError: if the URL cannot be read.
        """
        if self._remote:
            self._remote.download_run(self.folder)
        elif self._is_first:
            self._stack.enter_context(WorkdirLock(self.folder))
        return self

    @property
    def is_remote(self) -> bool:
        """Whether the workdir is at a URL."""
        return self._remote is not None

    def holder(self) -> str | None:
        """A text that is the same in all processes that use the same workdir: its lock's holder, or its URL."""
        if self._remote:
            return self._remote.url
        try:
            return (self.folder / LOCK_FILE).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def upload(self) -> None:
        """Uploads what has changed to the workdir's URL; does nothing for a local workdir.

        Raises:
          RemoteError: if it cannot be written.
        """
        if self._remote and self._is_first:
            self._remote.upload_run(self.folder)

    def close(self) -> None:
        """Releases the lock."""
        self._stack.close()


def claim_config(
    workdir: str | os.PathLike[str],
    config: Mapping[str, Any],
    *,
    data_digest: str,
    data_name: str = "",
    path: str = "",
) -> None:
    """Writes a run's configuration into its local workdir, after comparing it with one that is there.

    `data.path` may change if the data are the same, and so may the fields of `FREE_FIELDS`.

    Args:
      workdir: the local folder; made if missing.
      config: the configuration as nested dictionaries of JSON values.
      data_digest: identifies the content of the training data.
      data_name: a name of the data for users.
      path: the workdir as the user gave it, for messages.

    Raises:
      WorkdirError: if the workdir is of another format version, if fields differ (all are listed, with both values), if
        the data differ, if there are checkpoints but no configuration, or if a file cannot be read.
      ValueError: if a field has a type that JSON does not know, or is not finite.
    """
    workdir = pathlib.Path(workdir)
    name = path or str(workdir)
    config = _plain(config)
    if (workdir / CONFIG_FILE).exists():
        stored = load_config(workdir)
        stored_digest = _read_json(workdir / RUN_FILE).get("data", {}).get("digest", "")
        if differences := _differences(stored, config, stored_digest, data_digest):
            raise WorkdirError(
                f"{name} belongs to a run with another configuration; choose another workdir, or restore its "
                "settings:\n" + "\n".join(f"  {difference}" for difference in differences)
            )
    elif (workdir / CHECKPOINTS_FOLDER).is_dir() and any((workdir / CHECKPOINTS_FOLDER).iterdir()):
        raise WorkdirError(
            f"{name} has checkpoints but no {CONFIG_FILE}, so that their configuration is unknown; restore its "
            f"{CONFIG_FILE} or choose another workdir"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    run = {"format_version": FORMAT_VERSION, "wae_jax": __version__, "data": {"name": data_name, "digest": data_digest}}
    # config.json last: with it the workdir is claimed.
    _write_json(workdir / RUN_FILE, run)
    _write_json(workdir / CONFIG_FILE, config)


def load_config(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """The configuration of a local workdir, as nested dictionaries.

    Raises:
      WorkdirError: if it is missing, cannot be read, or was written by a version with another format.
    """
    workdir = pathlib.Path(workdir)
    config = _read_json(workdir / CONFIG_FILE)
    run = _read_json(workdir / RUN_FILE) if (workdir / RUN_FILE).exists() else {}
    if run.get("format_version") != FORMAT_VERSION:
        writer = f"wae_jax {run['wae_jax']}" if "wae_jax" in run else "wae_jax before 0.2.0"
        raise WorkdirError(
            f"{workdir} was written by {writer}, and wae_jax {__version__} cannot read it; use that version for it, or "
            "train again in another workdir"
        )
    return config


def _differences(
    stored: Mapping[str, Any], present: Mapping[str, Any], stored_digest: str, present_digest: str
) -> list[str]:
    """The differences between two configurations and their data that a resumed run must not have."""
    same_data = stored_digest == present_digest
    free = [*FREE_FIELDS, "data.path"] if same_data else FREE_FIELDS
    before, now = flatten_config(stored), flatten_config(present)
    differences = [
        f"{name}: {_show(before.get(name, _ABSENT))} in the workdir, {_show(now.get(name, _ABSENT))} now"
        for name in sorted({**before, **now})
        if not _is_same(before.get(name, _ABSENT), now.get(name, _ABSENT))
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in free)
    ]
    if not same_data:
        differences.append(f"content of the data: digest {stored_digest} in the workdir, {present_digest} now")
    return differences


def _is_same(one: Any, other: Any) -> bool:
    # In Python True == 1, and 1 == 1.0; only the latter are the same setting.
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _show(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it will be read back: with lists for tuples, strings for keys."""
    for name, value in flatten_config(config).items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the field {name} of the configuration is {value!r}, which JSON cannot hold") from error
    return json.loads(json.dumps(config))


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WorkdirError(f"no {path.name} in {path.parent}; expected a workdir of wae_jax.main") from error
    except (OSError, ValueError) as error:
        raise WorkdirError(f"{path} cannot be read: {error}; restore an intact copy of it") from error
    if not isinstance(content, dict):
        raise WorkdirError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content


def _write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    with whole_file(path, durable=True) as part:
        part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
