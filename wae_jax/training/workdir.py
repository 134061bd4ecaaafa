"""The workdir of a run, local or at a URL: one run at a time, with one configuration.

    <workdir>/.lock        held by the run that uses a local workdir
    <workdir>/config.json  the configuration, nothing else
    <workdir>/run.json     format version, wae_jax version, name and digest of the training data

Of several processes, the first one alone writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import fnmatch
import json
import os
import pathlib
import socket
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from wae_jax import __version__
from wae_jax.config import comparable_fields
from wae_jax.errors import WorkdirError
from wae_jax.files import parse_json, whole_file
from wae_jax.remote import CHECKPOINTS_FOLDER, RemoteFolder, is_url

LOCK_FILE = ".lock"
CONFIG_FILE = "config.json"
RUN_FILE = "run.json"
FORMAT_VERSION = 3

# Patterns of the fields that may change when a run is resumed: its length, where and how often it reports and saves.
FREE_FIELDS = ("num_train_steps", "num_epochs", "*_every_steps", "steps_per_call", "data.placement", "tracker")


@contextlib.contextmanager
def lock_workdir(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Holds the lock of a local workdir; makes the folder if it is missing.

    The lock is the kernel's: it ends with the process, and a file left behind blocks nobody.

    Raises:
      WorkdirError: if another run holds it; the message names that run's process and host.
    """
    path = pathlib.Path(folder) / LOCK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: without it, two runs could lock two files of the same name.
    with path.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            holder = os.pread(file.fileno(), 1000, 0).decode(errors="replace").strip()
            raise WorkdirError(
                f"{path.parent} is in use by another run ({holder or 'which is just starting'}); wait for it, end it, "
                "or choose another workdir"
            ) from error
        except OSError as error:  # some network file systems have no locks, which is no reason not to train on them
            warnings.warn(
                f"{path} cannot be locked ({error.strerror}): nothing keeps a second run out of this workdir",
                stacklevel=2,
            )
        with contextlib.suppress(OSError):  # on a full disk, the lock holds all the same
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            os.fsync(file)  # for other hosts to read
        yield


@dataclasses.dataclass(frozen=True)
class Workdir:
    """A workdir while a run uses it."""

    name: str  # the folder or URL as the user gave it
    folder: pathlib.Path  # the local folder; for a URL, a temporary one of this process
    remote: RemoteFolder | None = None  # the folder at the URL; None for a local workdir

    def holder(self) -> str | None:
        """A text that is the same in all processes that use the same workdir: its lock's holder, or its URL."""
        if self.remote:
            return self.remote.url
        try:
            return (self.folder / LOCK_FILE).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None


@contextlib.contextmanager
def open_workdir(path: str | os.PathLike[str], *, is_first: bool) -> Iterator[Workdir]:
    """Opens a workdir; all processes of a run do.

    A run at a URL works in a temporary folder, into which the run is copied here. There is no lock at a URL.

    Args:
      path: a local folder or a URL.
      is_first: whether this is the first process of the run, which locks a local workdir.

    Raises:
      WorkdirError: if another run holds the lock.
      RemoteError: if the URL cannot be read.
    """
    name = os.fspath(path)
    if is_url(path):
        with tempfile.TemporaryDirectory(prefix="wae_jax_") as folder:
            remote = RemoteFolder(name)
            remote.download_run(pathlib.Path(folder))
            yield Workdir(name, pathlib.Path(folder), remote)
    else:
        with lock_workdir(path) if is_first else contextlib.nullcontext():
            yield Workdir(name, pathlib.Path(path))


def claim_config(workdir: Workdir, config: Mapping[str, Any], *, data_digest: str, data_name: str = "") -> None:
    """Writes a run's configuration into its workdir, after comparing it with one that is there.

    `data.path` and `data.tonality` may change if the data are the same; the fields of `FREE_FIELDS` always may.

    Args:
      workdir: its folder is made if it is missing.
      config: the configuration as nested dictionaries of JSON values.
      data_digest: identifies the content of the training data.
      data_name: a name of the data for users.

    Raises:
      WorkdirError: if the workdir is of another format version, if fields differ (all are listed, with both values), if
        the data differ, if there are checkpoints but no configuration, or if a file cannot be read.
    """
    folder, name = workdir.folder, workdir.name
    config = json.loads(json.dumps(config, allow_nan=False))  # as it will be read back: with lists for tuples
    checkpoints = folder / CHECKPOINTS_FOLDER
    if (folder / CONFIG_FILE).exists():
        stored = load_config(folder, name=name)
        of_data = _read_json(folder / RUN_FILE, name).get("data")
        stored_digest = of_data.get("digest", "") if isinstance(of_data, dict) else ""
        if differences := _differences(stored, config, stored_digest, data_digest):
            raise WorkdirError(
                f"{name} belongs to a run with another configuration; choose another workdir, or restore its "
                "settings:\n" + "\n".join(f"  {difference}" for difference in differences)
            )
    elif checkpoints.is_dir() and any(checkpoints.iterdir()):
        raise WorkdirError(
            f"{name} has checkpoints but no {CONFIG_FILE}, so that their configuration is unknown; restore its "
            f"{CONFIG_FILE} or choose another workdir"
        )
    folder.mkdir(parents=True, exist_ok=True)
    run = {"format_version": FORMAT_VERSION, "wae_jax": __version__, "data": {"name": data_name, "digest": data_digest}}
    # config.json last: with it the workdir is claimed.
    for file, content in ((RUN_FILE, run), (CONFIG_FILE, config)):
        with whole_file(folder / file, durable=True) as part:
            part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_config(folder: str | os.PathLike[str], *, name: str = "") -> dict[str, Any]:
    """The configuration of a local workdir, as nested dictionaries.

    Args:
      folder: the workdir, or a local copy of it.
      name: the workdir for messages, if it is not `folder`.

    Raises:
      WorkdirError: if it is missing, cannot be read, or was written by a version with another format.
    """
    folder, name = pathlib.Path(folder), name or os.fspath(folder)
    config = _read_json(folder / CONFIG_FILE, name)
    run = _read_json(folder / RUN_FILE, name) if (folder / RUN_FILE).exists() else {}
    if run.get("format_version") != FORMAT_VERSION:
        raise WorkdirError(
            f"{name} was written by wae_jax {run.get('wae_jax', 'before 0.2.0')}, and wae_jax {__version__} cannot "
            "read it; use that version for it, or train again in another workdir"
        )
    return config


def _differences(
    stored: Mapping[str, Any], present: Mapping[str, Any], stored_digest: str, present_digest: str
) -> list[str]:
    """The differences between two configurations and their data that a resumed run must not have."""
    same_data = stored_digest == present_digest
    free = [*FREE_FIELDS, "data.path", "data.tonality"] if same_data else FREE_FIELDS
    before, now = map(comparable_fields, (stored, present))

    def show(fields: Mapping[str, Any], name: str) -> str:
        return json.dumps(fields[name]) if name in fields else "absent"

    differences = [
        f"{name}: {show(before, name)} in the workdir, {show(now, name)} now"
        for name in sorted({**before, **now})
        if (name in before, before.get(name)) != (name in now, now.get(name))
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in free)
    ]
    if not same_data:
        differences.append(f"content of the data: digest {stored_digest} in the workdir, {present_digest} now")
    return differences


def _read_json(path: pathlib.Path, name: str) -> dict[str, Any]:
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise WorkdirError(f"no {path.name} in {name}; expected a workdir of wae_jax.main") from error
    except (OSError, ValueError) as error:
        raise WorkdirError(f"{path.name} in {name} cannot be read: {error}; restore an intact copy of it") from error
    if not isinstance(content, dict):
        raise WorkdirError(f"{path.name} in {name} holds a {type(content).__name__}; expected a JSON object")
    return content
