"""The constants of a run, and the hooks through which a program adds to it."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Int64, UInt8

from wae_jax.config import Config
from wae_jax.data.dataset import Dataset
from wae_jax.data.statistics import TrackStatistics, track_statistics
from wae_jax.training.background import Background
from wae_jax.training.checkpoint import Checkpointer
from wae_jax.training.initial_weights import TrainedModel
from wae_jax.training.metric_writer import MetricWriter
from wae_jax.training.state import TrainState
from wae_jax.training.workdir import Workdir


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """The constants of a run."""

    config: Config
    workdir: Workdir
    train_rows: UInt8[np.ndarray, "train bytes=10080"]  # packed phrases of the training split
    train_songs: Int64[np.ndarray, " train"] | None  # the song of each, for a learned prior; None if unknown
    train_following: Int64[np.ndarray, " train"] | None  # `Dataset.following`, if `data.shift_bars`
    valid_rows: UInt8[np.ndarray, "valid bytes=10080"]  # packed phrases of the validation split
    densities: tuple[float, ...]  # share of active cells in the training split, one number a track
    total_steps: int  # length of the run
    writer: MetricWriter  # of metrics and pictures, in the first process only
    checkpointer: Checkpointer
    background: Background  # for pictures and sound

    @property
    def folder(self) -> pathlib.Path:
        """The local folder of the run."""
        return self.workdir.folder

    @functools.cached_property
    def statistics(self) -> TrackStatistics:
        """Statistics of the training split, computed when first needed."""
        return track_statistics(self.train_rows, self.densities)

    def is_due(self, step: int, every: int) -> bool:
        """Whether an action of every `every` steps is due after `step`; always after the last step."""
        return step % every == 0 or step == self.total_steps

    def upload(self) -> None:
        """Uploads what has changed, with the newest checkpoint, if the workdir is at a URL."""
        if self.workdir.remote and jax.process_index() == 0:
            self.checkpointer.wait()
            self.background.wait()
            self.writer.flush()
            self.workdir.remote.upload_run(self.folder)


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Functions that a program adds to a run; the defaults add nothing. States are on the host.

    Attributes:
      evaluate: metrics to add to an evaluation, the same in all processes. Called in all of them.
      metric_names: the names of these metrics, of which an evaluation may leave some out. `best_metric` may be one.
      draw_curves: called after the metrics of an evaluation have been written, in the first process.
      finish: called at the end of a run that no signal has stopped, in the first process.
      load_model: opens the model that `init_from` names; raises UserError. None if the program cannot.
    """

    evaluate: Callable[[Run, TrainState], Mapping[str, float]] = lambda run, state: {}
    metric_names: Callable[[Config, Dataset], Sequence[str]] = lambda config, data: ()
    draw_curves: Callable[[Run], None] = lambda run: None
    finish: Callable[[Run, TrainState], None] = lambda run, state: None
    load_model: Callable[[str], TrainedModel] | None = None


NO_HOOKS = Hooks()
