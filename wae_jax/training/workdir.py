"""The work folder of a run: one run at a time, and the same configuration each time it goes on.

    <workdir>/.lock        held by the run that is using the folder
    <workdir>/config.json  the configuration, nothing else
    <workdir>/data.json    name and digest of the data it was trained on

In a run of several processes the first one alone calls these.
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
from collections.abc import Collection, Mapping
from typing import Any

from wae_jax.config import flatten_config
from wae_jax.errors import WorkdirError
from wae_jax.files import Closing, whole_file

LOCK_FILE = ".lock"
CONFIG_FILE = "config.json"
DATA_FILE = "data.json"
CHECKPOINTS_FOLDER = "checkpoints"

# What may change between one start of a run and the next: how long it goes on and how often it looks up.
FREE_FIELDS = ("num_train_steps", "num_epochs", "*_every_steps", "steps_per_call", "data.placement")

_ABSENT = object()


class WorkdirLock(Closing):
    """Holds the work folder for one run, as a context manager; makes the folder where there is none.

    The lock is the kernel's: it ends with the process, however that ends, and the file left behind blocks nobody.

    Args:
      workdir: the folder.
    """

    def __init__(self, workdir: str | os.PathLike[str]) -> None:
        self._path = pathlib.Path(workdir) / LOCK_FILE
        self._descriptor: int | None = None

    def __enter__(self) -> WorkdirLock:
        """Takes the lock.

        Raises:
          WorkdirError: if another run holds it; the message names that run's process and machine.
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
                    "wait for it, end it, or choose another work folder"
                ) from error
            # Some network file systems know no locks. That is no reason not to train on them.
            warnings.warn(
                f"{self._path} cannot be locked ({error.strerror}): nothing keeps a second run out of this work folder",
                stacklevel=2,
            )
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            os.fsync(descriptor)  # for other hosts to read
        self._descriptor = descriptor
        return self

    def close(self) -> None:
        """Gives the lock back."""
        # The file stays: removing it would let two runs hold locks on two files of the same name.
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def holder(workdir: str | os.PathLike[str]) -> str | None:
    """Who holds a work folder, or has held it last: process and host; None where nobody has.

    Hosts that read the same right after a lock has been taken look at the same folder.
    """
    try:
        return (pathlib.Path(workdir) / LOCK_FILE).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


class Workdir(Closing):
    """A work folder while a run uses it, as a context manager that all processes of the run enter.

    Args:
      folder: where the run works.
      is_first: whether this is the run's first process, which holds the folder for all.
    """

    def __init__(self, folder: str | os.PathLike[str], *, is_first: bool) -> None:
        self.folder = pathlib.Path(folder)
        self._is_first = is_first
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Workdir:
        """Takes the lock; raises WorkdirError if another run holds it."""
        if self._is_first:
            self._held.enter_context(WorkdirLock(self.folder))
        return self

    def holder(self) -> str | None:
        """Who holds it; processes that read the same look at the same folder."""
        return holder(self.folder)

    def close(self) -> None:
        """Gives back what is held."""
        self._held.close()


def claim_config(
    workdir: str | os.PathLike[str],
    config: Mapping[str, Any],
    *,
    data_digest: str,
    free_fields: Collection[str] = FREE_FIELDS,
    data_name: str = "",
) -> None:
    """Makes a work folder this run's own, or sees to it that it already is.

    The first time, the configuration is written to the folder. From then on it is compared with what is there, and
    differences that would make one run out of two different ones are refused. `data.path` may change if the data are
    the same. Differences that are allowed are written down.

    Args:
      workdir: the folder; made where there is none.
      config: the configuration as nested plain dictionaries of what JSON knows.
      data_digest: identifies the content of the data, whatever their path.
      free_fields: patterns, as for file names, of dotted field names that may change.
      data_name: what the data are called, to be read by people.

    Raises:
      WorkdirError: if fields differ (all are listed, with both values), if the data differ, if the folder has
        checkpoints but no configuration, or if one of the two files cannot be read.
      ValueError: if a field is of a type that JSON does not know, or not finite.
    """
    workdir = pathlib.Path(workdir)
    config = _plain(config)
    if (workdir / CONFIG_FILE).exists():
        stored_data = _read_json(workdir / DATA_FILE)
        _compare(workdir, load_config(workdir), config, stored_data.get("digest"), data_digest, free_fields)
    elif _is_occupied(workdir / CHECKPOINTS_FOLDER):
        raise WorkdirError(
            f"{workdir} has checkpoints but no {CONFIG_FILE}, so there is no telling what they are of; "
            f"put its {CONFIG_FILE} back or choose another work folder"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    # config.json last: only with it is the folder claimed.
    _write_json(workdir / DATA_FILE, {"digest": data_digest, "name": data_name})
    _write_json(workdir / CONFIG_FILE, config)


def load_config(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the configuration of a work folder back, as nested dictionaries.

    Raises:
      WorkdirError: if it is missing or cannot be read.
    """
    return _read_json(pathlib.Path(workdir) / CONFIG_FILE)


def _compare(
    workdir: pathlib.Path,
    stored: Mapping[str, Any],
    present: Mapping[str, Any],
    stored_digest: Any,
    digest: str,
    free_fields: Collection[str],
) -> None:
    """Raises WorkdirError if the present configuration or data may not go on with the stored one's run."""
    same_data = stored_digest == digest
    free = [*free_fields, "data.path"] if same_data else free_fields
    before, now = flatten_config(stored), flatten_config(present)
    differences = [
        f"{name}: {_show(before.get(name, _ABSENT))} in the work folder, {_show(now.get(name, _ABSENT))} now"
        for name in sorted({**before, **now})
        if not _is_same(before.get(name, _ABSENT), now.get(name, _ABSENT))
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in free)
    ]
    if not same_data:
        differences.append(f"content of the data: digest {stored_digest} in the work folder, {digest} now")
    if differences:
        raise WorkdirError(
            f"{workdir} belongs to a run with another configuration; choose another work folder, "
            "or go back to its settings:\n" + "\n".join(f"  {difference}" for difference in differences)
        )


def _is_same(one: Any, other: Any) -> bool:
    # In Python True == 1, and 1 == 1.0; only the latter pair means the same setting.
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _show(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value)


def _is_occupied(folder: pathlib.Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it will be read back: lists for tuples, strings for keys."""
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
        raise WorkdirError(f"no {path.name} in {path.parent}: is this a work folder made by wae_jax.main?") from error
    except (OSError, ValueError) as error:
        raise WorkdirError(f"{path} cannot be read: {error}; put back an intact copy of it") from error
    if not isinstance(content, dict):
        raise WorkdirError(f"{path} holds a {type(content).__name__} where a JSON object is expected")
    return content


def _write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    with whole_file(path, durable=True) as part:
        part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
