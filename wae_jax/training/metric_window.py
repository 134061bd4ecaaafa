"""The metrics of the steps since the last log line."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Array, Float

from wae_jax.training.finiteness import non_finite_error

# How many calls the host may queue on the devices: enough to keep them busy.
_CALLS_IN_FLIGHT = 2


class MetricWindow:
    """Metrics of the steps since the last log line, fetched from the devices when they are needed.

    A checkpoint carries the window, so that the lines of a resumed run are those of an uninterrupted one.

    Args:
      fetched: the metrics of steps that are in the window already, as `fetch` returns them.
    """

    def __init__(self, fetched: list[dict[str, float]]) -> None:
        self._fetched = fetched
        self._waiting: list[tuple[int, Mapping[str, Float[Array, " S"]]]] = []

    def add(self, step: int, metrics: Mapping[str, Float[Array, " S"]]) -> None:
        """Adds the metrics of the S steps up to `step`; waits until at most `_CALLS_IN_FLIGHT` calls are unfinished."""
        self._waiting.append((step, metrics))
        if len(self._waiting) > _CALLS_IN_FLIGHT:
            jax.block_until_ready(self._waiting[-1 - _CALLS_IN_FLIGHT][1])

    def fetch(self) -> list[dict[str, float]]:
        """The metrics of each step of the window.

        Raises:
          NonFiniteLossError: if a loss or gradient is not finite; the message names the first such step.
        """
        for last, stacked in self._waiting:
            metrics = jax.device_get(stacked)
            count = len(next(iter(metrics.values())))
            for i, step in enumerate(range(last - count + 1, last + 1)):
                values = {name: float(each[i]) for name, each in metrics.items()}
                wrong = [name for name, value in values.items() if not np.isfinite(value)]
                if wrong:
                    raise non_finite_error(wrong, f"at step {step}")
                self._fetched.append(values)
        self._waiting = []
        return self._fetched

    def average(self) -> dict[str, float]:
        """The mean of each metric over the window, which is then empty. Raises as `fetch`."""
        steps = self.fetch()
        self._fetched = []
        return {name: float(np.mean([values[name] for values in steps])) for name in steps[0]}
