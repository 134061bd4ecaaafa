"""A trained run, opened for reading: for all programs that make something of it."""

from __future__ import annotations

import dataclasses
import pathlib

import ml_collections

from wae_jax.checkpoint import Checkpointer, CheckpointError, checkpoint_digest
from wae_jax.data_source import open_data
from wae_jax.dataset import Dataset
from wae_jax.pianoroll import NUM_TRACKS, PackedPhrases
from wae_jax.sampling import Sampler, make_sampler
from wae_jax.schema import check_config, complete_config
from wae_jax.train_state import create_train_state
from wae_jax.workdir import load_config


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run.

    Attributes:
      config: its configuration.
      sampler: its autoencoder.
      step: of the checkpoint.
      digest: of the checkpoint.
    """

    config: ml_collections.ConfigDict
    sampler: Sampler
    step: int
    digest: str

    def data(self) -> Dataset:
        """The data it was trained on.

        Raises:
          DatasetError: if they are no longer where they were.
        """
        data = self.config.data
        return open_data(data.path, num_songs=data.num_songs, phrases_per_song=data.phrases_per_song)

    def phrases(self, split: str) -> PackedPhrases:
        """The packed rows of one split of its data."""
        return self.data().split(split)


def load_run(workdir: str, checkpoint: str) -> Run:
    """Opens a work folder for reading.

    Args:
      workdir: made by `wae_jax.main`.
      checkpoint: "best", "latest" or the number of a step.

    Raises:
      WorkdirError: if there is no configuration.
      CheckpointError: if there is no such checkpoint, or it is damaged.
      ConfigError: if the configuration is of another version of this package.
    """
    config = ml_collections.ConfigDict(complete_config(load_config(workdir)))
    check_config(config.to_dict())
    target = create_train_state(config, track_densities=(0.5,) * NUM_TRACKS, num_train_steps=1)
    checkpoints = Checkpointer(
        pathlib.Path(workdir) / "checkpoints",
        best_metric=config.best_metric,
        best_mode=config.best_mode,
        read_only=True,
    )
    with checkpoints:
        if checkpoint == "best" and checkpoints.best_step() is not None:
            state, meta = checkpoints.restore_best(target)
        elif checkpoint in ("best", "latest"):
            restored = checkpoints.restore_latest(target)
            if restored is None:
                raise CheckpointError(f"{workdir} has no checkpoint yet; wait for the run's first evaluation")
            state, meta = restored
        elif checkpoint.isdigit():
            state, meta = checkpoints.restore(int(checkpoint), target)
        else:
            raise CheckpointError(
                f"no checkpoint is called {checkpoint!r}; expected best, latest or the number of a step"
            )
    return Run(config, make_sampler(config, state.evaluation_variables()), meta["step"], checkpoint_digest(meta))
