"""Calls of the devices: steps mapped over them, and the number of steps of a run and of one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from wae_jax.config import Config
from wae_jax.data.pipeline import BATCH_AXIS

_STEPS_ON_ACCELERATORS = 8


def parallel_step(
    step: Callable[..., Any], *, donate_state: bool = False, devices: Sequence[jax.Device] | None = None
) -> Callable[..., Any]:
    """Maps `step(state, batch)` over the local devices of all processes.

    Args:
      step: a pure function whose results are reduced over `BATCH_AXIS`, and so are the same on all devices.
      donate_state: whether the memory of the state may be reused for the result, which is the state of the next call.
      devices: the devices to use; None means all local ones.

    Returns:
      A function of a state placed by `pipeline.replicate` and a batch with a leading axis of devices.
    """
    # Axes of None keep the state free of a device axis, and make the step compile once.
    mapped = jax.pmap(
        step,
        axis_name=BATCH_AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=(0,) if donate_state else (),
        devices=devices,
    )
    if jax.default_backend() != "cpu":
        return mapped

    # CPU devices share threads. Steps that wait for another device in a collective can take all of them, so that the
    # other device never comes there; one step at a time has a thread for each device.
    if donate_state:
        # Its state is the result of the step before, whose end is all that there is to wait for: while this step runs,
        # the host can make the next batch.
        return lambda state, batch: mapped(jax.block_until_ready(state), batch)
    return lambda state, batch: jax.block_until_ready(mapped(jax.block_until_ready(state), batch))


def num_train_steps(config: Config, num_phrases: int) -> int:
    """The number of steps of a run: as configured, or else of its pretraining and epochs together."""
    if config.num_train_steps:
        return config.num_train_steps
    return config.objective.pretrain_steps + max(1, round(config.num_epochs * num_phrases / config.batch_size))


def max_steps_per_call(configured: int, *, stops: Sequence[int]) -> int:
    """The largest number of steps of one call: as configured, or the platform's default if that is 0.

    It is no larger than the shortest distance of `stops`, as in `steps_of_call`: no longer call would ever fit, so that
    every step would be a call of its own.
    """
    wanted = configured or (1 if jax.default_backend() == "cpu" else _STEPS_ON_ACCELERATORS)
    return min(wanted, *stops)


def steps_of_call(step: int, *, at_most: int, total: int, stops: Sequence[int]) -> int:
    """The number of steps of the call after `step` steps: `at_most` or 1, so that only two programs are compiled.

    It depends on nothing but the arguments: a resumed run makes the calls of an uninterrupted one, with the same
    programs and the same rounding.

    Args:
      step: steps done.
      at_most: steps of a call.
      total: steps of the run.
      stops: no call goes past a multiple of any of these.
    """
    start = max(step // every * every for every in stops)
    end = min(total, *((step // every + 1) * every for every in stops))
    return at_most if (step - start) % at_most == 0 and step + at_most <= end else 1
