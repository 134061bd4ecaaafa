"""A trained run, opened for reading: for all programs that make something of it."""

from __future__ import annotations

import dataclasses
import importlib.resources
import pathlib
from typing import Any

import jax
import numpy as np

from wae_jax.config import BinarizationRule, Config, read_config
from wae_jax.data.dataset import Dataset, spread
from wae_jax.data.load import open_data
from wae_jax.data.statistics import TrackStatistics, track_statistics
from wae_jax.errors import CheckpointError
from wae_jax.generation.calibration import calibrate
from wae_jax.generation.export_file import load_portable
from wae_jax.generation.latent_mixture import Mixture, fit_mixture
from wae_jax.generation.sampling import Sampler, make_sampler, with_mixture
from wae_jax.pianoroll import NUM_TRACKS, PackedPhrases, unpack
from wae_jax.training.checkpoint import Checkpointer, checkpoint_digest, digests
from wae_jax.training.state import TrainState, create_train_state
from wae_jax.training.workdir import load_config

SHIPPED = "wae_gan.npz"
_FITTED_PHRASES = 4096
_PHRASES_AT_A_TIME = 256
_FIT_SEED = 0  # whatever the seed of the draws, so that a run has one mixture


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained run.

    Attributes:
      config: its configuration.
      variables: its autoencoder's: {"params": ..., "batch_stats": ...}.
      sampler: its autoencoder.
      step: of the checkpoint.
      digest: of the checkpoint, or of the file that it was opened from.
      track_statistics: of the training data, where the run carries them with it.
      mixture: what codes are drawn from; None for the prior.
    """

    config: Config
    variables: dict[str, Any]
    sampler: Sampler
    step: int
    digest: str
    track_statistics: TrackStatistics | None = None
    mixture: Mixture | None = None

    def calibrated(self, rule: BinarizationRule) -> BinarizationRule:
        """The rule with what is to be found of it, which is found on draws.

        Raises:
          DatasetError: if that takes statistics of data that are no longer where they were.
        """
        return calibrate(rule, self.sampler, self.statistics)

    def own_rule(self) -> BinarizationRule:
        """The rule of its configuration, calibrated.

        Raises:
          DatasetError: as `calibrated`.
        """
        return self.calibrated(self.config.binarization)

    def statistics(self) -> TrackStatistics:
        """Of the training data.

        Raises:
          DatasetError: if the run does not carry them with it, and its data are no longer where they were.
        """
        return self.track_statistics or track_statistics(self.phrases("train"))

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

    def with_mixture(self, components: int = 0) -> Model:
        """The run, with codes drawn from a mixture of Gaussians fitted to the codes of its training phrases.

        Up to 4,096 phrases are encoded, spread over the split, which takes some seconds.

        Args:
          components: of the mixture; 0 chooses their number on codes held out.

        Raises:
          DatasetError: if its data are no longer where they were.
          ValueError: if there are fewer than 2 training phrases or fewer than components, or a code is not finite.
        """
        rows = self.phrases("train")
        places = spread(len(rows), _FITTED_PHRASES)
        codes = [
            self.sampler.encode(unpack(np.asarray(rows[places[start : start + _PHRASES_AT_A_TIME]])))
            for start in range(0, len(places), _PHRASES_AT_A_TIME)
        ]
        if not codes:
            raise ValueError("there are no training phrases; expected at least 2, to fit a mixture to their codes")
        mixture = fit_mixture(np.concatenate(codes), components=components, seed=_FIT_SEED)
        return dataclasses.replace(self, sampler=with_mixture(self.sampler, mixture), mixture=mixture)


def open_run(source: str | None, checkpoint: str = "best") -> Model:
    """Opens a trained run, wherever it is.

    Args:
      source: a work folder made by `wae_jax.main`; or a file made by `wae_jax.export`; or None for the run that ships
        with the package, a WAE-GAN trained on the built-in corpus.
      checkpoint: "best", "latest" or the number of a step. A file holds one checkpoint, which is both.

    Raises:
      WorkdirError: if there is no configuration.
      CheckpointError: if there is no such checkpoint, or it is damaged.
      ConfigError: if the configuration is of another version of this package.
    """
    if source is None:
        shipped = importlib.resources.files("wae_jax").joinpath("shipped", SHIPPED)
        with importlib.resources.as_file(shipped) as path:
            return _load_file(path, checkpoint)
    if pathlib.Path(source).is_file():
        return _load_file(pathlib.Path(source), checkpoint)
    return load_run(source, checkpoint)


def _load_file(path: pathlib.Path, checkpoint: str) -> Model:
    held = load_portable(path)
    if checkpoint not in ("best", "latest", str(held.step)):
        raise CheckpointError(
            f"{path} has no checkpoint {checkpoint!r}; it holds that of step {held.step} alone: expected best, latest "
            f"or {held.step}"
        )
    sampler = make_sampler(held.config, held.variables)
    return Model(held.config, held.variables, sampler, held.step, held.digest, held.track_statistics)


def load_run(workdir: str, checkpoint: str) -> Model:
    """Opens a work folder for reading.

    Args:
      workdir: made by `wae_jax.main`.
      checkpoint: "best", "latest" or the number of a step.

    Raises:
      WorkdirError: if there is no configuration.
      CheckpointError: if there is no such checkpoint, or it is damaged.
      ConfigError: if the configuration is of another version of this package.
    """
    config = read_config(load_config(workdir))
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
    return _run_of(config, state, meta["step"], checkpoint_digest(meta))


def run_of_state(config: Config, state: TrainState) -> Model:
    """A run as it stands in training; its digest is that of a checkpoint with this state."""
    host = jax.device_get(state)
    leaves = {path: {"sha256": digest} for path, digest in digests(host).items()}
    return _run_of(config, host, int(host.step), checkpoint_digest({"leaves": leaves}))


def _run_of(config: Config, state: TrainState, step: int, digest: str) -> Model:
    variables = state.evaluation_variables()
    return Model(config, variables, make_sampler(config, variables), step, digest)
