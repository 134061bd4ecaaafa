"""Checkpoints: the whole training state on disk through orbax, and back again, verified.

A checkpoint is a folder `<directory>/<step>/` with two items: `state`, the arrays, and `meta`, JSON with the step, the
metrics, what the caller adds, and shape, dtype and sha256 of every array. orbax notices files that are missing or cut
short; a flipped byte it restores without a word, so every restore here compares the digests as well.

The state is written as plain NumPy arrays: how many devices or processes wrote it does not matter to who reads it.
Saving and `restore_latest` are for all processes of a run together, on a folder that all of them see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import pathlib
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from wae_jax.errors import CheckpointError, CheckpointMismatchError
from wae_jax.files import Closing

PyTree = Any

_RESERVED = ("leaves", "metrics", "sha256", "step")
# What a process of a run can find where it looks for the newest good checkpoint, if not a step.
_NO_CHECKPOINT = -1
_NO_GOOD_CHECKPOINT = -2
# How long after a failure the other reads or writes are waited for; nothing but the terminal depends on it.
_SECONDS_FOR_STRAGGLERS = 0.1


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    frames = traceback.walk_tb(error.__traceback__) if error else ()
    paths = [record.pathname, *(frame.f_code.co_filename for frame, _ in frames)]
    return not any(f"{os.sep}orbax{os.sep}" in path for path in paths)


# orbax logs dozens of lines for a save and, for a failed one, the same traceback some ten times from its threads; what
# matters of it is raised here as one CheckpointError. All of it goes through absl's one logger, which the rest of a
# program uses too, so that only a filter tells the two apart. Its writes that fail after the first are told by asyncio,
# as exceptions nobody has asked for, whenever the garbage is collected.
for _name in ("absl", "asyncio"):
    logging.getLogger(_name).addFilter(_is_not_from_orbax)


def _named_leaves(state: PyTree) -> dict[str, Any]:
    """The leaves of a state by their path, such as `autoencoder/params/encoder/kernel`, in the state's order."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    if len(named) != len(leaves):
        raise ValueError("two leaves of the state have the same path; a key must not contain what looks like a path")
    return named


def _describe(leaf: Any) -> tuple[list[int], str]:
    """Shape and dtype of an array, a `jax.ShapeDtypeStruct` or a Python number, as JSON can hold them."""
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return list(array.shape), np.dtype(array.dtype).name


def _digest(leaf: np.ndarray) -> str:
    shape, dtype = _describe(leaf)
    return hashlib.sha256(f"{dtype}{shape}".encode() + np.asarray(leaf).tobytes()).hexdigest()


def digests(state: PyTree) -> dict[str, str]:
    """Identifies every leaf of a state by its content.

    Args:
      state: a PyTree of arrays.

    Returns:
      For the path of each leaf (`autoencoder/params/encoder/kernel`) the sha256 of dtype, shape and bytes, in hex.
    """
    return {path: _digest(leaf) for path, leaf in _named_leaves(jax.device_get(state)).items()}


def checkpoint_digest(meta: Mapping[str, Any]) -> str:
    """Identifies the state of a checkpoint by one number, to be told where its products came from.

    Args:
      meta: as returned with the state by `Checkpointer.restore`.

    Returns:
      The sha256 over the paths and digests of all leaves, in hex.
    """
    lines = [f"{path} {leaf['sha256']}\n" for path, leaf in sorted(meta["leaves"].items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def steps_to_keep(scores: Mapping[int, float | None], *, keep_latest: int, keep_best: int, best_mode: str) -> set[int]:
    """Chooses the checkpoints that stay when a new one has been written.

    Args:
      scores: for each step the metric that decides which is best, None where a checkpoint has none.
      keep_latest: how many of the highest steps stay.
      keep_best: how many of the best scores stay besides; those without a score are never among them.
      best_mode: "min" or "max".

    Returns:
      The steps to keep.
    """
    return set(sorted(scores)[-keep_latest:]) | set(_best_first(scores, best_mode)[:keep_best])


def _best_first(scores: Mapping[int, float | None], best_mode: str) -> list[int]:
    """The steps that have a score, best first; of two equal ones, the earlier first."""
    sign = 1.0 if best_mode == "min" else -1.0
    return [step for _, step in sorted((sign * score, step) for step, score in scores.items() if score is not None)]


@dataclasses.dataclass(frozen=True)
class _KeepChosen:
    """`steps_to_keep` as orbax's preservation policy.

    orbax's own `BestN` reads the metrics from a file of its own when a folder is opened, and one damaged file then
    closes the whole folder.
    """

    scores: Mapping[int, float | None]
    keep_latest: int
    keep_best: int
    best_mode: str

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        keep = steps_to_keep(
            {info.step: self.scores.get(info.step) for info in checkpoints},
            keep_latest=self.keep_latest,
            keep_best=self.keep_best,
            best_mode=self.best_mode,
        )
        return [info.step in keep for info in checkpoints]


def _seal(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _make_meta(step: int, host: PyTree, metrics: Mapping[str, float] | None, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What is written beside the state: see the file's docstring."""
    if taken := sorted(set(meta) & set(_RESERVED)):
        raise ValueError(f"meta of step {step} has the fields {taken}, which the checkpoint itself fills in")
    leaves = {}
    for path, leaf in _named_leaves(host).items():
        shape, dtype = _describe(leaf)
        leaves[path] = {"shape": shape, "dtype": dtype, "sha256": _digest(leaf)}
    # JSON has no NaN and no infinity.
    numbers = {name: float(value) if math.isfinite(value) else None for name, value in (metrics or {}).items()}
    try:
        # Once through JSON, so that what is sealed is what will be read: lists for tuples, strings for keys.
        plain = json.loads(json.dumps({**meta, "step": step, "metrics": numbers, "leaves": leaves}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"meta of step {step} cannot be written as JSON: {error}") from error
    return {**plain, "sha256": _seal(plain)}


def _read_meta(path: pathlib.Path) -> dict[str, Any]:
    try:
        meta = ocp.JsonCheckpointHandler().restore(path / "meta")
        seal = meta.pop("sha256")
    except Exception as error:  # a damaged file shows itself in many ways
        raise CheckpointError(f"checkpoint {path}: its item meta cannot be read: {_reason(error)}") from error
    if seal != _seal(meta):
        raise CheckpointError(f"checkpoint {path}: its item meta is damaged: the sha256 does not match the content")
    return meta


def _reason(error: BaseException) -> str:
    """One line on an error.

    tensorstore's messages go on for a screen: what was wrong stands at their end, before a list of their settings.
    """
    text = " ".join(str(error).split()).partition(" [tensorstore_spec=")[0]
    return f"{type(error).__name__}: {text if len(text) <= 400 else f'{text[:150]} ... {text[-250:]}'}"


@contextlib.contextmanager
def _without_stragglers() -> Iterator[None]:
    """Keeps one failing read or write from being reported by all the others.

    orbax reads or writes all arrays at once and closes its event loop at the first failure; each of them that ends
    later then prints a traceback that ends in "Event loop is closed" from a thread of tensorstore.
    """
    hook = sys.unraisablehook

    def ignore_closed_loop(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = ignore_closed_loop
    try:
        yield
    except Exception:
        time.sleep(_SECONDS_FOR_STRAGGLERS)
        raise
    finally:
        sys.unraisablehook = hook


def _check_leaves(path: pathlib.Path, leaves: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    """Compares what a checkpoint holds with what is asked for; raises CheckpointMismatchError with every difference."""
    differences = [f"{name} is missing" for name in target if name not in leaves]
    differences += [f"{name} is not part of the state asked for" for name in leaves if name not in target]
    for name in target:
        if name in leaves:
            held, wanted = (leaves[name]["shape"], leaves[name]["dtype"]), _describe(target[name])
            if held != wanted:
                differences.append(f"{name} is {held[1]}{held[0]} where {wanted[1]}{wanted[0]} is expected")
    if differences:
        more = f"; and {len(differences) - 8} more" if len(differences) > 8 else ""
        raise CheckpointMismatchError(
            f"checkpoint {path} holds another state than the one asked for (another model or optimizer?): "
            f"{'; '.join(differences[:8])}{more}"
        )


def _read(path: pathlib.Path, target_state: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """Reads and verifies one checkpoint. Needs no other process: each reads the folder for itself."""
    meta = _read_meta(path)
    _check_leaves(path, meta["leaves"], _named_leaves(target_state))
    # A target of NumPy arrays makes orbax return NumPy arrays, whatever devices there are.
    target = jax.tree.map(lambda leaf: np.empty(*_describe(leaf)), target_state)
    try:
        with _without_stragglers():
            state = ocp.StandardCheckpointHandler().restore(path / "state", args=ocp.args.StandardRestore(target))
        found = digests(state)
    except Exception as error:  # a damaged file shows itself in many ways
        raise CheckpointError(f"checkpoint {path}: its item state cannot be read: {_reason(error)}") from error
    for name, leaf in meta["leaves"].items():
        if found[name] != leaf["sha256"]:
            raise CheckpointError(
                f"checkpoint {path}: leaf {name} is damaged: its sha256 is {found[name]}, "
                f"and {leaf['sha256']} was written"
            )
    return state, meta


class Checkpointer(Closing):
    """Saves in the background, keeps the latest and the best, restores what it has verified.

    Args:
      directory: the folder of the checkpoints; made by the first save. Only one run at a time may write to it.
      best_metric: the name, among the metrics given to `save`, that decides which checkpoint is best.
      best_mode: "min" or "max".
      keep_latest: how many of the newest checkpoints stay. Two, so that there is one to fall back on.
      keep_best: how many of the best checkpoints stay besides.
      read_only: never writes, moves or deletes anything; may look on while a run writes.

    Raises:
      ValueError: if `best_mode` or one of the counts makes no sense.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        best_metric: str = "eval/reconstruction",
        best_mode: str = "min",
        keep_latest: int = 2,
        keep_best: int = 1,
        read_only: bool = False,
    ) -> None:
        if best_mode not in ("min", "max"):
            raise ValueError(f"best_mode is {best_mode!r}; expected 'min' or 'max'")
        if keep_latest < 1 or keep_best < 0:
            raise ValueError(f"keep_latest is {keep_latest} and keep_best {keep_best}; expected at least 1 and 0")
        self.directory = pathlib.Path(directory).absolute()
        self._best_metric = best_metric
        self._best_mode = best_mode
        self._keep_latest = keep_latest
        self._keep_best = keep_best
        self._read_only = read_only
        self._scores: dict[int, float | None] = {}
        self._manager: ocp.CheckpointManager | None = None
        self._pending: int | None = None
        self._while_writing = contextlib.ExitStack()
        self._remove_unfinished()

    def save(
        self,
        step: int,
        state: PyTree,
        metrics: Mapping[str, float] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes a checkpoint in the background; returns as soon as the state is copied to the host.

        In a run of several processes all of them call this with the same state; the first one writes.
        A step that is there already is left as it is.

        Args:
          step: how many steps the state has behind it.
          state: a PyTree of arrays, each wholly on this process's devices or on the host.
          metrics: numbers of this state; without the best metric, or with a NaN there, it is never the best.
          meta: whatever else is to be kept with it; must fit into JSON, and not use the names step, metrics, leaves and
            sha256.

        Raises:
          CheckpointError: if the write before this one failed in the background (this one is then not begun, the
            earlier checkpoints stay as they are, and the next call tries again), if this one cannot be begun, if
            `step` is lower than that of the newest checkpoint, or if the checkpointer only reads.
          ValueError: if `meta` does not fit into JSON or uses a name that is taken.
        """
        if self._read_only:
            raise CheckpointError(f"{self.directory} was opened for reading only; step {step} was not saved")
        step = int(step)
        steps = self.all_steps()
        if step in steps:
            return
        if steps and step < steps[-1]:
            # orbax would return without having saved and without a word.
            raise CheckpointError(
                f"step {step} was not saved: {self.directory} already holds step {steps[-1]}, which is later; "
                "continue from that one, or start anew in another folder"
            )
        host = jax.tree.map(np.asarray, jax.device_get(state))
        sealed = _make_meta(step, host, metrics, meta or {})
        self._scores[step] = sealed["metrics"].get(self._best_metric)
        self._pending = step
        try:
            if self._manager is None:
                self._manager = self._open_manager()
            self._while_writing.enter_context(_without_stragglers())
            items = ocp.args.Composite(state=ocp.args.StandardSave(host), meta=ocp.args.JsonSave(sealed))
            # force: whether it is time to save has been decided by the caller. orbax copies the arrays before it
            # returns, so that the next step may overwrite what they are views of.
            self._manager.save(step, args=items, force=True)
        except Exception as error:
            raise self._give_up(error) from error

    def all_steps(self) -> list[int]:
        """The steps that have a complete checkpoint, rising. Waits for a write in progress, and raises as `wait`."""
        self.wait()
        found = sorted(info.step for info in ocp.path.step.standard_name_format().find_all(self.directory))
        scores = {step: self._scores[step] if step in self._scores else self._read_score(step) for step in found}
        # In place: the preservation policy holds this very dictionary.
        self._scores.clear()
        self._scores.update(scores)
        return found

    def latest_step(self) -> int | None:
        """The highest step that has a complete checkpoint; None if there is none. Waits and raises as `wait`."""
        return max(self.all_steps(), default=None)

    def best_step(self) -> int | None:
        """The step whose metric is best; None if no checkpoint has that metric. Waits and raises as `wait`."""
        self.all_steps()
        return next(iter(_best_first(self._scores, self._best_mode)), None)

    def restore(self, step: int, target_state: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """Reads one checkpoint and verifies it.

        Args:
          step: which one.
          target_state: a PyTree of arrays or `jax.ShapeDtypeStruct`: the structure, shapes and dtypes expected.

        Returns:
          The state, in the structure of `target_state`, with NumPy leaves; and its meta: `step`, `metrics` (None
          where a number was not finite), `leaves` with shape, dtype and sha256 of each, and what was given to `save`.

        Raises:
          CheckpointMismatchError: if the checkpoint is intact but holds other leaves, shapes or dtypes.
          CheckpointError: if there is no such step, or a file is missing, cut short or altered.
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
        """Reads the newest checkpoint that is good.

        Those that are damaged, or hold another state while an earlier one holds that asked for, are skipped with a
        warning that says which and why, and, unless only reading, moved to `<step>.damaged`: left in place, they would
        stand in the way of saving those steps again.

        Args:
          target_state: as for `restore`.

        Returns:
          As `restore`; None if there is no checkpoint at all.

        Raises:
          CheckpointMismatchError: if none is good and the newest undamaged one holds other leaves, shapes or dtypes.
          CheckpointError: if there are checkpoints but all are damaged (in both cases all are left where they are), or
            if the processes of a run find different ones.
        """
        skipped: dict[int, CheckpointError] = {}
        restored = None
        # Listed anew each time: a run that is writing while this one looks on may delete a step meanwhile.
        while restored is None and (steps := [step for step in self.all_steps() if step not in skipped]):
            try:
                restored = _read(self._path(steps[-1]), target_state)
            except CheckpointError as error:
                skipped[steps[-1]] = error
        if not self._read_only:
            nothing = _NO_GOOD_CHECKPOINT if skipped else _NO_CHECKPOINT
            self._check_agreement(nothing if restored is None else restored[1]["step"])
        if restored is None:
            for why in skipped.values():
                if isinstance(why, CheckpointMismatchError):
                    raise why
            if skipped:
                reasons = "\n".join(f"  {why}" for why in skipped.values())
                raise CheckpointError(f"no checkpoint in {self.directory} is good; nothing was changed:\n{reasons}")
            return None
        newest = restored[1]["step"]
        if self._read_only:
            # What is gone, or older than what was found, was not damaged: the run that is writing was deleting it.
            skipped = {step: why for step, why in skipped.items() if step > newest and self._path(step).is_dir()}
        for step, why in skipped.items():
            warnings.warn(
                f"skipped the checkpoint of step {step}{self._move_aside(step)}, going on from step {newest}: {why}",
                stacklevel=2,
            )
        if skipped:
            self._close_manager()  # it would go on believing in the steps that have been moved
        if not self._read_only and jax.process_count() > 1:
            multihost_utils.sync_global_devices("wae_jax: damaged checkpoints moved aside")
        return restored

    def wait(self) -> None:
        """Waits until the write in the background is done.

        Raises:
          CheckpointError: if it failed; says what, where, and which step is still good. The next `save` tries again.
        """
        if self._pending is None or self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._give_up(error) from error
        self._pending = None
        self._while_writing.close()

    def close(self) -> None:
        """Waits as `wait` does, raising the same, and ends the threads of the background."""
        self.wait()
        self._close_manager()

    def _path(self, step: int) -> pathlib.Path:
        return self.directory / str(step)

    def _open_manager(self) -> ocp.CheckpointManager:
        policy = _KeepChosen(self._scores, self._keep_latest, self._keep_best, self._best_mode)
        # lightweight_initialize: without it a damaged file of any one step keeps the folder from opening.
        options = ocp.CheckpointManagerOptions(preservation_policy=policy, lightweight_initialize=True)
        return ocp.CheckpointManager(self.directory, options=options)

    def _close_manager(self) -> None:
        """Ends orbax's manager and with it what it believes of the folder; the next save makes a new one."""
        manager, self._manager = self._manager, None
        if manager is not None:
            manager.close()

    def _give_up(self, error: Exception) -> CheckpointError:
        """Clears away the write that failed and returns what to raise."""
        step, self._pending = self._pending, None
        with contextlib.suppress(Exception):  # the same error once more
            self._close_manager()
        time.sleep(_SECONDS_FOR_STRAGGLERS)
        self._while_writing.close()
        self._remove_unfinished()
        steps = self.all_steps()
        left = f"the checkpoint of step {steps[-1]} is complete" if steps else "there is no earlier one"
        return CheckpointError(
            f"writing the checkpoint of step {step} to {self.directory} failed; {left}. The error was {_reason(error)}"
        )

    def _remove_unfinished(self) -> None:
        """Removes what a write that was killed or failed has left; on a full disk, the next one needs the room."""
        if not self._read_only and self.directory.is_dir() and jax.process_index() == 0:
            for path in self.directory.glob(f"*{ocp.path.step.TMP_DIR_SUFFIX}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _read_score(self, step: int) -> float | None:
        try:
            return _read_meta(self._path(step))["metrics"].get(self._best_metric)
        except CheckpointError:
            return None  # whoever restores it is told

    def _move_aside(self, step: int) -> str:
        """Renames the folder of a damaged checkpoint; returns what to add to the warning."""
        if self._read_only or jax.process_index() != 0:
            return ""
        aside = self.directory / f"{step}.damaged"
        while aside.exists():
            aside = aside.with_name(aside.name + "_")
        self._path(step).rename(aside)
        return f" (moved to {aside})"

    def _check_agreement(self, outcome: int) -> None:
        """Raises CheckpointError unless all processes of the run came to the same outcome, a step or `_NO_...`."""
        if jax.process_count() == 1:
            return
        outcomes = multihost_utils.process_allgather(np.int32(outcome)).ravel().tolist()
        if len(set(outcomes)) > 1:
            names = {_NO_CHECKPOINT: "no checkpoint", _NO_GOOD_CHECKPOINT: "no good checkpoint"}
            found = ", ".join(f"process {i}: {names.get(step, f'step {step}')}" for i, step in enumerate(outcomes))
            raise CheckpointError(
                f"the processes do not find the same newest checkpoint in {self.directory} ({found}): "
                "is it one folder that all of them share?"
            )
