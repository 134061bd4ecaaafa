"""Checks of a run before it starts: its configuration against networks, devices and data."""

from __future__ import annotations

import collections
import difflib

import jax

from wae_jax.config import Config
from wae_jax.data.dataset import Dataset
from wae_jax.errors import ConfigError, DeviceError
from wae_jax.models.networks import find_network
from wae_jax.pianoroll import NUM_PITCHES, NUM_STEPS
from wae_jax.training.evaluation_step import metric_names
from wae_jax.training.run import Hooks
from wae_jax.training.trackers import check_tracker


def check_config(config: Config) -> None:
    """Checks a configuration against the networks, the devices and the precision that JAX is set to.

    Raises:
      ConfigError: if there is no such network, the refiner or the precision is impossible, or a package is missing.
      DeviceError: if the global batch does not divide over all devices.
    """
    find_network(config.model.network, dropout_rate=config.model.dropout_rate)
    steps, pitches = config.refiner.strides
    if NUM_STEPS % steps or NUM_PITCHES % pitches:
        raise ConfigError(
            f"refiner.strides is {config.refiner.strides}; expected divisors of {NUM_STEPS} steps and of {NUM_PITCHES} "
            "pitches"
        )
    if config.dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise ConfigError(
            "dtype is 'float64', which JAX computes in float32 unless told otherwise; "
            "set the environment variable JAX_ENABLE_X64=1, or dtype to 'float32'"
        )
    check_tracker(config.tracker)
    if config.batch_size % jax.device_count():
        raise DeviceError(
            f"batch_size {config.batch_size} does not divide over {jax.device_count()} devices "
            f"({jax.process_count()} processes x {jax.local_device_count()}); expected a multiple"
        )


def check_best_metric(config: Config, data: Dataset, hooks: Hooks) -> None:
    """Raises ConfigError unless the evaluations of the run have the metric that ranks checkpoints."""
    sizes = {f"num_{name}": len(data.split(name)) for name in ("train", "valid")}
    names = [*metric_names(config, **sizes), *hooks.metric_names(config, data)]
    if config.best_metric in names:
        return
    close = difflib.get_close_matches(config.best_metric, names, n=1)
    group = (close or [config.best_metric])[0].partition("/")[0]
    listed = [name for name in names if name.startswith(f"{group}/")] or names
    raise ConfigError(
        f"best_metric is {config.best_metric!r}, which the evaluations of this run do not have"
        + (f"; did you mean {close[0]!r}? Expected" if close else "; expected")
        + f" one of {', '.join(listed)}"
    )


def check_devices() -> None:
    """Raises DeviceError unless all processes have equally many devices."""
    counts = collections.Counter(device.process_index for device in jax.devices())
    if len(set(counts.values())) > 1:
        each = ", ".join(f"process {i} has {count}" for i, count in sorted(counts.items()))
        raise DeviceError(f"the processes of a run need equally many devices; {each}")


def check_splits(data: Dataset) -> None:
    """Raises ConfigError unless the data can be trained and validated on."""
    for name in ("train", "valid"):
        if name not in data.splits:
            raise ConfigError(f"{data.name} has no {name} split; build the dataset with one")
