"""Verified checkpoints of the training state, written in the background by orbax.

A checkpoint is a folder `<directory>/<step>/` with two items: `state`, the arrays, and `meta`, JSON with the step, the
metrics, the caller's own fields, and the shape, dtype and sha256 of every array. orbax notices missing and truncated
files but restores a flipped byte silently, so every restore compares the digests too.

The state is written as NumPy arrays, so that it can be restored on any number of devices and processes. Of several
processes, the first one writes and all of them read.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import pathlib
import shutil
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from wae_jax.errors import CheckpointError
from wae_jax.files import Closing
from wae_jax.training.checkpoint_meta import PyTree, check_leaves, describe_leaves, make_meta, one_line, read_meta
from wae_jax.training.processes import check_agreement

_UNFINISHED = ocp.path.step.TMP_DIR_SUFFIX  # in the names of folders that orbax has not completed


class Checkpointer(Closing):
    """Saves in the background, keeps the latest checkpoints and the best one, and verifies what it restores.

    Args:
      directory: a local folder that all processes see, made by the first save. Only one run may write to it at a time.
      best_metric: the metric, among those given to `save`, that ranks checkpoints.
      best_mode: "min" or "max".
      keep_latest: how many of the newest checkpoints stay; two leave one to fall back on.
      read_only: never writes, renames or deletes anything; safe beside a run that is writing.

    Raises:
      CheckpointError: if orbax would take the path of the directory for another one.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        best_metric: str = "eval/reconstruction",
        best_mode: str = "min",
        keep_latest: int = 2,
        read_only: bool = False,
    ) -> None:
        self.directory = pathlib.Path(directory).absolute()
        _check_path(self.directory)
        self._best_metric = best_metric
        self._sign = {"min": 1, "max": -1}[best_mode]
        self._keep_latest = keep_latest
        self._is_writer = not read_only and jax.process_index() == 0
        self._read_only = read_only
        self._orbax: ocp.AsyncCheckpointer | None = None
        self._pending: int | None = None
        self._remove_unfinished()

    def save(
        self,
        step: int,
        state: PyTree,
        metrics: Mapping[str, float] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Starts writing a checkpoint and returns as soon as the state has been copied to the host.

        An existing step is left as it is. In processes other than the first this does nothing.

        Args:
          step: the number of training steps behind the state.
          state: a PyTree of arrays, each complete on this process's devices or on the host.
          metrics: metrics of this state; without a finite best metric it never counts as the best.
          meta: further fields to store, as JSON.

        Raises:
          CheckpointError: if the previous write failed in the background (then this one is not started), if this one
            cannot be started, if a later step exists, or if the checkpointer is read-only.
          ValueError: if `meta` is no JSON.
        """
        if self._read_only:
            raise CheckpointError(f"{self.directory} was opened for reading only; step {step} was not saved")
        if not self._is_writer or step in (steps := self.all_steps()):
            return
        if steps and step < steps[-1]:
            raise CheckpointError(f"step {step} was not saved: {self.directory} already holds the later {steps[-1]}")
        # A copy, because the next step may overwrite the memory while it is being written.
        host = jax.tree.map(np.array, jax.device_get(state))
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(host),
            meta=ocp.args.JsonSave(make_meta(step, host, metrics or {}, meta or {})),
        )
        self._pending = step
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._orbax = self._orbax or _open_orbax()
            self._orbax.save(self._path(step), args=items)
        except Exception as error:
            raise self._failure(error) from error

    def wait(self) -> None:
        """Waits until the write in the background is complete, then removes checkpoints that are not to stay.

        Raises:
          CheckpointError: if the write failed; the message names the file and the newest good step.
        """
        if self._pending is None or self._orbax is None:
            return
        try:
            self._orbax.wait_until_finished()
        except Exception as error:
            raise self._failure(error) from error
        self._pending = None
        steps = self._found_steps()
        for step in set(steps) - {*steps[-self._keep_latest :], self.best_step()}:
            # Renamed first: a kill during the removal must not leave a damaged checkpoint.
            self._path(step).rename(self.directory / f"{step}{_UNFINISHED}removed")
        self._remove_unfinished()

    def close(self) -> None:
        """Waits as `wait` does, with the same errors, and ends the background threads."""
        self.wait()
        self._close_orbax()

    def all_steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending. Waits for a write in progress."""
        self.wait()
        return self._found_steps()

    def best_step(self) -> int | None:
        """The step with the best metric, the earlier of equals; None if none has it. Waits for a write in progress."""
        ranked = []
        for step in self.all_steps():
            with contextlib.suppress(CheckpointError):  # reported by whoever restores it
                score = read_meta(self._path(step))["metrics"].get(self._best_metric)
                ranked += [] if score is None else [(self._sign * score, step)]
        return min(ranked)[1] if ranked else None

    def restore(self, step: int, target_state: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """Reads and verifies one checkpoint.

        Args:
          step: its step.
          target_state: a PyTree of arrays or `jax.ShapeDtypeStruct` with the expected structure, shapes and dtypes.

        Returns:
          The state, in the structure of `target_state`, with NumPy leaves; and its meta: `step`, `metrics` (None
          where a number was not finite), `leaves` with shape, dtype and sha256, and the fields given to `save`.

        Raises:
          CheckpointError: if there is no such step, a file is missing, truncated or altered, or the checkpoint holds
            other leaves, shapes or dtypes.
        """
        if step not in (steps := self.all_steps()):
            raise CheckpointError(f"there is no checkpoint of step {step} in {self.directory}; there are {steps}")
        path = self._path(step)
        meta = read_meta(path)
        check_leaves(path, meta["leaves"], target_state)
        # A target of NumPy arrays makes orbax return NumPy arrays, whatever devices there are.
        target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), target_state)
        try:
            # Partial, for empty parts that earlier versions had; that the leaves are the same has just been checked.
            state = ocp.PyTreeCheckpointHandler().restore(
                path / "state", args=ocp.args.PyTreeRestore(target, partial_restore=True)
            )
            found = describe_leaves(state)
        except Exception as error:  # orbax has many errors for damage
            raise CheckpointError(f"checkpoint {path}: its item state cannot be read: {one_line(error)}") from error
        for name, leaf in meta["leaves"].items():
            if (sha256 := found[name]["sha256"]) != leaf["sha256"]:
                raise CheckpointError(
                    f"checkpoint {path}: leaf {name} is damaged: its sha256 is {sha256}, expected {leaf['sha256']}"
                )
        return state, meta

    def restore_latest(self, target_state: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """Reads the newest good checkpoint; all processes of a run call it together.

        Newer ones that are damaged, or hold another state, are skipped with a warning and, unless read-only, renamed
        to `<step>.damaged`, so that their steps can be saved again. Argument and result are as for `restore`, with None
        if there is no checkpoint at all.

        Raises:
          CheckpointError: if none is good; the message has the reason for each, and nothing is renamed.
          DeviceError: if the processes of a run find different checkpoints.
        """
        skipped: dict[int, CheckpointError] = {}
        restored = None
        # Listed anew each time, because a run that is writing may remove a step meanwhile.
        while restored is None and (steps := [step for step in self.all_steps() if step not in skipped]):
            try:
                restored = self.restore(steps[-1], target_state)
            except CheckpointError as error:
                skipped[steps[-1]] = error
        if not self._read_only:
            check_agreement({"newest good checkpoint": restored[1]["step"] if restored else None})
        if restored is None and skipped:
            reasons = "\n".join(f"  {why}" for why in skipped.values())
            raise CheckpointError(f"no checkpoint in {self.directory} is good:\n{reasons}")
        for step, why in skipped.items():
            if self._path(step).is_dir():
                warnings.warn(f"skipped the checkpoint of step {step}{self._move_aside(step)}: {why}", stacklevel=2)
        return restored

    def _path(self, step: int) -> pathlib.Path:
        return self.directory / str(step)

    def _found_steps(self) -> list[int]:
        # orbax gives a checkpoint its final name when it is complete.
        return sorted(int(path.name) for path in self.directory.glob("*") if path.name.isdecimal() and path.is_dir())

    def _failure(self, error: Exception) -> CheckpointError:
        """Cleans up after a failed write and returns the error to raise."""
        step, self._pending = self._pending, None
        with contextlib.suppress(Exception):  # the same error once more
            self._close_orbax()
        self._remove_unfinished()
        steps = self._found_steps()
        left = f"the checkpoint of step {steps[-1]} is complete" if steps else "there is no earlier one"
        full = os.strerror(errno.ENOSPC)
        # The errors of tensorstore have no number.
        why = f"The disk is full: {full}" if full in str(error) else f"The error was {one_line(error)}"
        return CheckpointError(f"writing the checkpoint of step {step} to {self.directory} failed; {left}. {why}")

    def _close_orbax(self) -> None:
        orbax, self._orbax = self._orbax, None
        if orbax is not None:
            orbax.close()

    def _remove_unfinished(self) -> None:
        """Removes the remains of killed and failed writes; on a full disk, the next one needs the room."""
        if self._is_writer:
            for path in self.directory.glob(f"*{_UNFINISHED}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _move_aside(self, step: int) -> str:
        """Renames the folder of a damaged checkpoint; returns a remark for the warning."""
        if not self._is_writer:
            return ""
        aside = self.directory / f"{step}.damaged"
        while aside.exists():
            aside = aside.with_name(aside.name + "_")
        self._path(step).rename(aside)
        return f" (renamed to {aside})"


def _check_path(directory: pathlib.Path) -> None:
    r"""Raises CheckpointError for a path that orbax and tensorstore read otherwise.

    A backslash is a slash for tensorstore, which takes UTF-8 alone; for orbax `[1]` is a pattern that means `1`.
    """
    for part in directory.parts:
        is_utf8 = part == part.encode(errors="replace").decode()
        if not is_utf8 or "\\" in part or not fnmatch.fnmatchcase(part, part):
            raise CheckpointError(
                f"no checkpoint can be kept in {directory}, since orbax would read {part!r} as another name; expected "
                "a workdir whose path has no backslash, no brackets [ ] and no bytes that are not UTF-8"
            )


def _open_orbax() -> ocp.AsyncCheckpointer:
    """A checkpointer that waits for no other process: the state is the same in all of them."""
    alone = ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix="wae_jax_checkpoint"
    )
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=alone))
    return ocp.AsyncCheckpointer(handler, multiprocessing_options=alone)
