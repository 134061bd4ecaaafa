"""Verified checkpoints of the training state, written in the background by orbax.

A checkpoint is a folder `<directory>/<step>/` with two items: `state`, the arrays, and `meta`, JSON with the step, the
metrics, the caller's own fields, and the shape, dtype and sha256 of every array. orbax notices missing and truncated
files but restores a flipped byte silently, so every restore compares the digests too.

The state is written as NumPy arrays, so that it can be restored on any number of devices and processes. Of several
processes, the first one writes and all of them read.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from wae_jax.errors import CheckpointError, CheckpointMismatchError
from wae_jax.files import Closing
from wae_jax.training.checkpoint_meta import (
    PyTree,
    check_leaves,
    digests,
    make_meta,
    named_leaves,
    one_line,
    read_meta,
    shape_and_dtype,
)
from wae_jax.training.processes import check_agreement


def steps_to_keep(scores: Mapping[int, float | None], *, keep_latest: int, best_mode: str) -> set[int]:
    """The steps whose checkpoints stay: the latest ones, and the best of those that have a score.

    Args:
      scores: the metric of each step, None where there is none.
      keep_latest: how many of the highest steps stay.
      best_mode: "min" or "max".
    """
    best = _best_step(scores, best_mode)
    return {*sorted(scores)[-keep_latest:], *([] if best is None else [best])}


class Checkpointer(Closing):
    """Saves in the background, keeps the latest checkpoints and the best one, and verifies what it restores.

    Args:
      directory: a local folder that all processes see, made by the first save. Only one run may write to it at a time.
      best_metric: the metric, among those given to `save`, that ranks checkpoints.
      best_mode: "min" or "max".
      keep_latest: how many of the newest checkpoints stay; two leave one to fall back on.
      read_only: never writes, renames or deletes anything; safe beside a run that is writing.

    Raises:
      ValueError: if `best_mode` or `keep_latest` is out of range.
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
        if best_mode not in ("min", "max"):
            raise ValueError(f"best_mode is {best_mode!r}; expected 'min' or 'max'")
        if keep_latest < 1:
            raise ValueError(f"keep_latest is {keep_latest}; expected at least 1")
        self.directory = pathlib.Path(directory).absolute()
        self._best_metric = best_metric
        self._best_mode = best_mode
        self._keep_latest = keep_latest
        self._is_writer = not read_only and jax.process_index() == 0
        self._read_only = read_only
        self._manager: ocp.CheckpointManager | None = None
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
          meta: further fields to store, as JSON; step, metrics, leaves and sha256 are reserved.

        Raises:
          CheckpointError: if the previous write failed in the background (then this one is not started), if this one
            cannot be started, if a later step exists, or if the checkpointer is read-only.
          ValueError: if `meta` is no JSON or uses a reserved field.
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
            if self._manager is None:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._manager = _open_manager(self.directory)
            self._manager.save(step, args=items, force=True)
        except Exception as error:
            raise self._failure(error) from error

    def wait(self) -> None:
        """Waits until the write in the background is complete, then removes checkpoints that are not to stay.

        Raises:
          CheckpointError: if the write failed; the message names the file and the newest good step.
        """
        if self._pending is None or self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failure(error) from error
        self._pending = None
        scores = self._scores()
        for step in set(scores) - steps_to_keep(scores, keep_latest=self._keep_latest, best_mode=self._best_mode):
            # Renamed first: a kill amid the removal must not leave a damaged checkpoint.
            self._path(step).rename(self.directory / f"{step}{ocp.path.step.TMP_DIR_SUFFIX}removed")
        self._remove_unfinished()

    def close(self) -> None:
        """Waits as `wait` does, with the same errors, and ends the background threads."""
        self.wait()
        self._close_manager()

    def all_steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending. Waits for a write in progress."""
        self.wait()
        return self._found_steps()

    def best_step(self) -> int | None:
        """The step with the best metric; None if no checkpoint has it. Waits for a write in progress."""
        self.wait()
        return _best_step(self._scores(), self._best_mode)

    def restore(self, step: int, target_state: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """Reads and verifies one checkpoint.

        Args:
          step: its step.
          target_state: a PyTree of arrays or `jax.ShapeDtypeStruct` with the expected structure, shapes and dtypes.

        Returns:
          The state, in the structure of `target_state`, with NumPy leaves; and its meta: `step`, `metrics` (None
          where a number was not finite), `leaves` with shape, dtype and sha256, and the fields given to `save`.

        Raises:
          CheckpointMismatchError: if the checkpoint is intact but holds other leaves, shapes or dtypes.
          CheckpointError: if there is no such step, or a file is missing, truncated or altered.
        """
        if step not in (steps := self.all_steps()):
            raise CheckpointError(f"there is no checkpoint of step {step} in {self.directory}; there are {steps}")
        return _read(self._path(step), target_state)

    def restore_best(self, target_state: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """Reads the best checkpoint; arguments, result and errors as for `restore`."""
        step = self.best_step()
        if step is None:
            raise CheckpointError(f"no checkpoint in {self.directory} has the metric {self._best_metric!r}")
        return self.restore(step, target_state)

    def restore_latest(self, target_state: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """Reads the newest good checkpoint; all processes of a run call it together.

        Newer ones that are damaged, or hold another state, are skipped with a warning and, unless read-only, renamed
        to `<step>.damaged`, so that their steps can be saved again. Argument and result are as for `restore`, with None
        if there is no checkpoint at all.

        Raises:
          CheckpointMismatchError: if none is good and the newest intact one holds other leaves, shapes or dtypes.
          CheckpointError: if all are damaged; nothing is renamed.
          DeviceError: if the processes of a run find different checkpoints.
        """
        skipped: dict[int, CheckpointError] = {}
        restored = None
        # Listed anew each time, because a run that is writing may remove a step meanwhile.
        while restored is None and (steps := [step for step in self.all_steps() if step not in skipped]):
            try:
                restored = _read(self._path(steps[-1]), target_state)
            except CheckpointError as error:
                skipped[steps[-1]] = error
        if not self._read_only:
            check_agreement({"newest good checkpoint": restored[1]["step"] if restored else None})
        if restored is None and skipped:
            mismatches = [why for why in skipped.values() if isinstance(why, CheckpointMismatchError)]
            reasons = "\n".join(f"  {why}" for why in skipped.values())
            raise next(iter(mismatches), CheckpointError(f"no checkpoint in {self.directory} is good:\n{reasons}"))
        if skipped:
            self._close_manager()  # it remembers the steps that are now renamed
        for step, why in skipped.items():
            if restored is not None and self._path(step).is_dir() and step > restored[1]["step"]:
                moved = self._move_aside(step)
                warnings.warn(f"skipped the checkpoint of step {step}{moved}: {why}", stacklevel=2)
        return restored

    def _path(self, step: int) -> pathlib.Path:
        return self.directory / str(step)

    def _found_steps(self) -> list[int]:
        # orbax gives a checkpoint its final name when it is complete.
        return sorted(int(path.name) for path in self.directory.glob("*") if path.name.isdecimal() and path.is_dir())

    def _scores(self) -> dict[int, float | None]:
        scores: dict[int, float | None] = {}
        for step in self._found_steps():
            try:
                scores[step] = read_meta(self._path(step))["metrics"].get(self._best_metric)
            except CheckpointError:
                scores[step] = None  # reported by whoever restores it
        return scores

    def _failure(self, error: Exception) -> CheckpointError:
        """Cleans up after a failed write and returns the error to raise."""
        step, self._pending = self._pending, None
        with contextlib.suppress(Exception):  # the same error once more
            self._close_manager()
        self._remove_unfinished()
        steps = self._found_steps()
        left = f"the checkpoint of step {steps[-1]} is complete" if steps else "there is no earlier one"
        return CheckpointError(
            f"writing the checkpoint of step {step} to {self.directory} failed; {left}. The error was {one_line(error)}"
        )

    def _close_manager(self) -> None:
        manager, self._manager = self._manager, None
        if manager is not None:
            manager.close()

    def _remove_unfinished(self) -> None:
        """Removes the remains of killed and failed writes; on a full disk, the next one needs the room."""
        if self._is_writer and self.directory.is_dir():
            for path in self.directory.glob(f"*{ocp.path.step.TMP_DIR_SUFFIX}*"):
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


def _open_manager(directory: pathlib.Path) -> ocp.CheckpointManager:
    """A manager that removes nothing, and waits for no other process: the state is the same in all of them."""
    alone = ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix="wae_jax_checkpoint"
    )
    # lightweight_initialize: otherwise one damaged file of any step keeps the folder from being opened.
    options = ocp.CheckpointManagerOptions(multiprocessing_options=alone, lightweight_initialize=True, create=False)
    return ocp.CheckpointManager(directory, options=options)


def _best_step(scores: Mapping[int, float | None], best_mode: str) -> int | None:
    """The step with the best score, the earlier of equal ones; None if none has a score."""
    sign = 1.0 if best_mode == "min" else -1.0
    ranked = [(sign * score, step) for step, score in scores.items() if score is not None]
    return min(ranked)[1] if ranked else None


def _read(path: pathlib.Path, target_state: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """Reads and verifies one checkpoint, independently of other processes."""
    meta = read_meta(path)
    check_leaves(path, meta["leaves"], named_leaves(target_state))
    # A target of NumPy arrays makes orbax return NumPy arrays, whatever devices there are.
    target = jax.tree.map(lambda leaf: np.empty(*shape_and_dtype(leaf)), target_state)
    try:
        state = ocp.StandardCheckpointHandler().restore(path / "state", args=ocp.args.StandardRestore(target))
        found = digests(state)
    except Exception as error:  # orbax has many errors for damage
        raise CheckpointError(f"checkpoint {path}: its item state cannot be read: {one_line(error)}") from error
    for name, leaf in meta["leaves"].items():
        if found[name] != leaf["sha256"]:
            raise CheckpointError(
                f"checkpoint {path}: leaf {name} is damaged: its sha256 is {found[name]}, expected {leaf['sha256']}"
            )
    return state, meta
