"""A work folder at an address such as gs://bucket/runs/x: a run works in a copy of it, and uploads what it writes.

At the address lies what lies in a work folder, and besides:

    checkpoints/<step>/complete.json    the checkpoint's files with size and sha256, uploaded after them
    .lock                               which run is using it, and how often it has said so
    .writer                             whose copy it was written from last

An upload may break off anywhere: a checkpoint without its complete.json does not count, and what an older one needs is
there before it and removed after it. In a run of several processes the first alone uploads.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wae_jax.files import file_sha256
from wae_jax.remote import RemoteError, Store, is_remote, kept_copy
from wae_jax.remote_lock import RemoteLock, holder
from wae_jax.workdir import CHECKPOINTS_FOLDER, CONFIG_FILE, DATA_FILE, Workdir, WorkdirLock

COMPLETE_FILE = "complete.json"
WRITER = ".writer"
# What is read of a work folder, besides checkpoints. Evaluations are written by another program, which uploads them.
_EVALUATIONS = ("evaluation.json", "evaluation/evaluation.json")
_READ = (DATA_FILE, CONFIG_FILE, "metrics.jsonl", *_EVALUATIONS)
# Made when the copy holds all that was at the address.
_WHOLE = ".whole"

# Log lines alone are uploaded no more often than this.
_SECONDS_BETWEEN_LOGS = 30.0


def describe_checkpoint(folder: pathlib.Path) -> bytes:
    """What complete.json says of a checkpoint: the size and the sha256 of each file."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = [path.stat().st_size, file_sha256(path)]
    return json.dumps(files, indent=1).encode()


def complete_steps(names: Mapping[str, Any]) -> list[int]:
    """The steps of the checkpoints that are complete, rising, out of the names of all objects."""
    pattern = re.compile(rf"{CHECKPOINTS_FOLDER}/(\d+)/{re.escape(COMPLETE_FILE)}")
    return sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)


def pull(store: Store, folder: pathlib.Path, *, checkpoints: bool = True) -> None:
    """Copies what can be gone on from, and what is told of a run, to an empty folder.

    Args:
      store: the work folder at its address.
      folder: the copy.
      checkpoints: whether to copy them, too.

    Raises:
      RemoteError: if a checkpoint that is complete by its complete.json is not.
    """
    names = store.sizes()
    for name in _READ:
        if name in names:
            store.get(name, folder / name)
    for step in complete_steps(names) if checkpoints else ():
        _pull_checkpoint(store, folder, f"{CHECKPOINTS_FOLDER}/{step}")


def _pull_checkpoint(store: Store, folder: pathlib.Path, name: str) -> None:
    complete = store.read(f"{name}/{COMPLETE_FILE}")
    try:
        files = list(json.loads(complete or b"{}"))
    except ValueError:
        files = []
    there = all(store.get(f"{name}/{file}", folder / name / file) for file in files)
    if complete is not None and there and describe_checkpoint(folder / name) == complete:
        return
    shutil.rmtree(folder / name, ignore_errors=True)
    # Else a run that is writing has removed it meanwhile.
    if store.read(f"{name}/{COMPLETE_FILE}") is not None:
        raise RemoteError(
            f"{store.address}/{name} is damaged: its files are not those in {COMPLETE_FILE}; "
            "try again, or remove it to go on from an earlier one"
        )


class MirroredWorkdir(Workdir):
    """A work folder at an address, with a copy on this machine in which the run works.

    Where this copy was the last that the address was written from, it is as far as the address or further, and the run
    goes on from it; else from what is at the address.

    Args:
      address: of the work folder.
      process: which process of the run this is; each has a copy of its own.
    """

    def __init__(self, address: str, *, process: int) -> None:
        self._store = Store(address)
        super().__init__(kept_copy(address, f"run of process {process}"), is_first=process == 0)
        # Steps of which there is anything at the address; and what has been uploaded, as it was here.
        self._there: set[int] = set()
        self._sent: dict[str, tuple[int, int]] = {}
        self._next_logs = 0.0

    def __enter__(self) -> MirroredWorkdir:
        """Takes the locks, here and at the address, and makes both sides hold the same.

        Raises:
          WorkdirError: if another run holds one of them.
          RemoteError: if what is at the address cannot be read or written.
        """
        if self._is_first:
            with contextlib.ExitStack() as stack:
                stack.enter_context(WorkdirLock(self.folder))
                self._lock = stack.enter_context(RemoteLock(self._store, self._token()))
                self._synchronise()
                self._held = stack.pop_all()
        return self

    def holder(self) -> str | None:
        """Who holds the address."""
        return holder(self._store)

    def follow(self) -> None:
        """Copies what is at the address, for a process that is not the first."""
        if not self._is_first:
            self._copy_all()

    def restored(self) -> None:
        """Forgets the copied checkpoints of a process that is not the first: it does not see what happens to them."""
        if not self._is_first:
            _clear(self.folder)

    def publish(self, settle: Callable[[], object], *, now: bool) -> None:
        """Uploads what is new since the last time.

        Args:
          settle: sees to it that nothing in the folder is being written; called before it is looked at.
          now: False leaves it to a later call if the last upload was seconds ago.

        Raises:
          WorkdirError: if another run has taken the folder over.
          RemoteError: if an upload fails; the message names the copy, which has all that was to be uploaded.
        """
        if not self._is_first or not (now or time.monotonic() >= self._next_logs):
            return
        settle()
        self._push()
        self._next_logs = time.monotonic() + _SECONDS_BETWEEN_LOGS

    def _token(self) -> str:
        """Identifies this copy, from one run to the next."""
        file = self.folder.with_name(".token")
        if not file.exists():
            file.write_text(secrets.token_hex(16))
        return f"{file.read_text()} on {socket.gethostname()}"

    def _synchronise(self) -> None:
        writer = self._token().encode()
        is_ahead = (self.folder / _WHOLE).exists() and self._store.read(WRITER) == writer
        if is_ahead:
            for name in _EVALUATIONS:
                self._store.get(name, self.folder / name)
        else:
            self._copy_all()
            (self.folder / _WHOLE).touch()
            self._store.write(WRITER, writer)
        names = self._store.sizes()
        pattern = re.compile(rf"{CHECKPOINTS_FOLDER}/(\d+)/.*")
        self._there = {int(match[1]) for match in map(pattern.fullmatch, names) if match}
        # What has a folder of its own is of one step, and not written again.
        old = {name: _state(path) for name, path in self._files() if "/" in name}
        self._sent = {name: state for name, state in old.items() if names.get(name) == state[0]}
        if is_ahead:
            self._push()

    def _copy_all(self) -> None:
        _clear(self.folder)
        pull(self._store, self.folder)

    def _push(self) -> None:
        try:
            self._lock.check()
            self._push_all()
        except RemoteError as error:
            raise RemoteError(
                f"{error}; all of it is kept in {self.folder}, and the same command on this machine goes on from there"
            ) from error

    def _push_all(self) -> None:
        # What a checkpoint needs comes before it, and config.json after what it needs.
        for name, path in sorted(self._files(), key=lambda file: (file[0] == CONFIG_FILE, file[0])):
            if self._sent.get(name) != (state := _state(path)):
                self._store.put(path, name)
                self._sent[name] = state
        steps = {int(path.name): path for path in self.folder.glob(f"{CHECKPOINTS_FOLDER}/*") if path.name.isdecimal()}
        for step, path in sorted(steps.items()):
            name = f"{CHECKPOINTS_FOLDER}/{step}"
            if self._sent.get(name) != (state := (path.stat().st_ino, path.stat().st_mtime_ns)):
                self._push_checkpoint(step, path)
                self._sent[name] = state
        # Only beside others: a run does not remove its last checkpoint.
        for step in sorted(self._there - steps.keys()) if steps else ():
            self._remove_checkpoint(step)

    def _push_checkpoint(self, step: int, path: pathlib.Path) -> None:
        name, complete = f"{CHECKPOINTS_FOLDER}/{step}", describe_checkpoint(path)
        if step in self._there:
            if self._store.read(f"{name}/{COMPLETE_FILE}") == complete:
                return
            self._remove_checkpoint(step)
        self._there.add(step)
        for file in json.loads(complete):
            self._store.put(path / file, f"{name}/{file}")
        self._store.write(f"{name}/{COMPLETE_FILE}", complete)

    def _remove_checkpoint(self, step: int) -> None:
        name = f"{CHECKPOINTS_FOLDER}/{step}"
        self._store.remove(f"{name}/{COMPLETE_FILE}")
        for file in self._store.sizes(name):
            self._store.remove(file)
        self._there.discard(step)

    def _files(self) -> Iterator[tuple[str, pathlib.Path]]:
        """The files to upload but for checkpoints, with their names at the address."""
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder)
            hidden = any(part.startswith(".") for part in name.parts)
            # Of the folder of checkpoints, those that were moved aside.
            of_others = name.parts[0] == CHECKPOINTS_FOLDER and ".damaged" not in name.as_posix()
            if path.is_file() and not hidden and not of_others and name.as_posix() not in _EVALUATIONS:
                yield name.as_posix(), path


def _state(path: pathlib.Path) -> tuple[int, int]:
    """What is different when a file is another: its size and the time of its last change."""
    return path.stat().st_size, path.stat().st_mtime_ns


def _clear(folder: pathlib.Path) -> None:
    """Empties a copy; but for its lock, which is held."""
    (folder / _WHOLE).unlink(missing_ok=True)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def open_workdir(workdir: str, *, process: int) -> Workdir:
    """The work folder of a run, to be entered by all its processes.

    Args:
      workdir: a folder, or the address of one.
      process: which process of the run this is.
    """
    return MirroredWorkdir(workdir, process=process) if is_remote(workdir) else Workdir(workdir, is_first=process == 0)
