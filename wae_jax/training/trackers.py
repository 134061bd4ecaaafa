"""Trackers of experiments: Weights & Biases, MLflow and trackio, each an optional package, behind one interface.

Where they store is theirs to know: WANDB_MODE, WANDB_PROJECT, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, TRACKIO_DIR
and the like work as they document it.
"""

from __future__ import annotations

import abc
import importlib
import importlib.util
import os
import pathlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wae_jax.errors import ConfigError

Image = UInt8[np.ndarray, "height width channels"]
_PROJECT = "wae_jax"


class Tracker(abc.ABC):
    """A run of a tracker; every method may raise any exception.

    Args:
      name: of the run, for people.
      run_id: of the run to continue; None for a new one.
      config: the fields of the configuration, by dotted name.

    Attributes:
      run_id: identifies the run for later.
      advice: what to look at where a run cannot be started.
    """

    run_id: str
    advice = "check its settings"

    @abc.abstractmethod
    def __init__(self, name: str, run_id: str | None, config: Mapping[str, Any]) -> None: ...

    @abc.abstractmethod
    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs finite numbers."""

    @abc.abstractmethod
    def log_images(self, step: int, images: Mapping[str, Image]) -> None:
        """Logs images."""

    @abc.abstractmethod
    def log_sounds(self, step: int, sounds: Mapping[str, pathlib.Path]) -> None:
        """Logs sound files."""

    @abc.abstractmethod
    def finish(self, *, has_failed: bool) -> None:
        """Ends the run, which may be continued, as failed or finished where the tracker tells these apart."""


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases."""

    advice = "run wandb login, or set WANDB_MODE=offline"

    def __init__(self, name: str, run_id: str | None, config: Mapping[str, Any]) -> None:
        self._wandb: Any = importlib.import_module("wandb")
        self.run_id = run_id or _new_id(name)
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or _PROJECT,
            name=name,
            id=self.run_id,
            resume="allow",
            config=dict(config),
            allow_val_change=True,  # a resumed run may be longer
            settings=self._wandb.Settings(console="off"),  # stdout and stderr are the program's
        )
        # Its own counter of steps refuses those that a resumed run makes a second time.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs finite numbers."""
        self._run.log({"step": step, **scalars})

    def log_images(self, step: int, images: Mapping[str, Image]) -> None:
        """Logs images."""
        self._run.log({"step": step, **{name: self._wandb.Image(image) for name, image in images.items()}})

    def log_sounds(self, step: int, sounds: Mapping[str, pathlib.Path]) -> None:
        """Logs sound files."""
        self._run.log({"step": step, **{name: self._wandb.Audio(str(path)) for name, path in sounds.items()}})

    def finish(self, *, has_failed: bool) -> None:
        """Ends the run, which may be continued."""
        self._run.finish(exit_code=int(has_failed))


class MLflow(Tracker):
    """A run of MLflow."""

    advice = "set MLFLOW_TRACKING_URI to the address of a server that is running"

    def __init__(self, name: str, run_id: str | None, config: Mapping[str, Any]) -> None:
        # By default a server that is gone is waited for more than a quarter of an hour.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        mlflow: Any = importlib.import_module("mlflow")
        self._entities: Any = importlib.import_module("mlflow.entities")
        self._client = mlflow.MlflowClient()
        if run_id is None:
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _PROJECT
            found = self._client.get_experiment_by_name(experiment)
            experiment_id = found.experiment_id if found else self._client.create_experiment(experiment)
            self.run_id = self._client.create_run(experiment_id, run_name=name).info.run_id
        else:
            self.run_id = run_id
            self._client.update_run(run_id, status="RUNNING")
        # Parameters cannot be changed.
        known = self._client.get_run(self.run_id).data.params
        params = [self._entities.Param(key, str(value)) for key, value in config.items() if key not in known]
        for start in range(0, len(params), 100):
            self._client.log_batch(self.run_id, params=params[start : start + 100])

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs finite numbers."""
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(key, value, now, step) for key, value in scalars.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def log_images(self, step: int, images: Mapping[str, Image]) -> None:
        """Logs images."""
        for name, image in images.items():
            self._client.log_image(self.run_id, image, key=name, step=step, synchronous=True)

    def log_sounds(self, step: int, sounds: Mapping[str, pathlib.Path]) -> None:
        """Logs sound files, in a folder a step: it has no sound of its own."""
        for name, path in sounds.items():
            self._client.log_artifact(self.run_id, str(path), f"step_{step:08d}/{os.path.dirname(name)}")

    def finish(self, *, has_failed: bool) -> None:
        """Ends the run, which may be continued."""
        self._client.set_terminated(self.run_id, "FAILED" if has_failed else "FINISHED")


class Trackio(Tracker):
    """A run of trackio, which knows runs by their names."""

    def __init__(self, name: str, run_id: str | None, config: Mapping[str, Any]) -> None:
        self._trackio: Any = importlib.import_module("trackio")
        self.run_id = run_id or _new_id(name)
        self._run = self._trackio.init(
            project=_PROJECT, name=self.run_id, resume="allow", config=dict(config), embed=False
        )

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs finite numbers."""
        self._run.log(dict(scalars), step=step)

    def log_images(self, step: int, images: Mapping[str, Image]) -> None:
        """Logs images."""
        self._run.log({name: self._trackio.Image(image) for name, image in images.items()}, step=step)

    def log_sounds(self, step: int, sounds: Mapping[str, pathlib.Path]) -> None:
        """Logs sound files."""
        self._run.log({name: self._trackio.Audio(str(path)) for name, path in sounds.items()}, step=step)

    def finish(self, *, has_failed: bool) -> None:
        """Ends the run, which may be continued; failed runs are not marked."""
        self._run.finish()


# By the value of the field `tracker`, which is also the name of the package and of the extra that brings it.
TRACKERS: dict[str, type[Tracker]] = {"wandb": WeightsAndBiases, "mlflow": MLflow, "trackio": Trackio}


def check_tracker(name: str) -> None:
    """Raises ConfigError unless the package of the tracker is installed; "none" needs none."""
    if name in TRACKERS and importlib.util.find_spec(name) is None:
        raise ConfigError(
            f"tracker is {name!r}, which needs a package that is missing; pip install 'wae_jax[{name}]', or set "
            "tracker to 'none'"
        )


def _new_id(name: str) -> str:
    return f"{name}-{secrets.token_hex(4)}"
