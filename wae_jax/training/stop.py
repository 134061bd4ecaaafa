"""Signals that stop a run after it has saved."""

from __future__ import annotations

import signal
import threading
import types
from typing import Any

import jax
from jax.experimental import multihost_utils

from wae_jax.files import Closing


class Stop(Closing):
    """Turns SIGTERM and Ctrl-C into a question that the loop asks; a second Ctrl-C interrupts at once.

    In a run of several processes SIGTERM to one of them stops all; Ctrl-C ends a process without saving.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._previous: dict[int, Any] = {}
        self._num_calls = 0

    def __enter__(self) -> Stop:
        # With several processes, jax itself catches SIGTERM and notifies the others; a handler here would prevent that.
        if threading.current_thread() is threading.main_thread() and jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def close(self) -> None:
        """Restores the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        if self._signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def requested_by(self) -> str | None:
        """The name of the signal that asks the run to stop, or None; the same in all processes.

        All processes must call this equally often, after each call of the steps.
        """
        self._num_calls += 1
        if jax.process_count() > 1:
            # All processes agree on one of these calls.
            return "SIGTERM" if multihost_utils.reached_preemption_sync_point(self._num_calls) else None
        return None if self._signal is None else signal.Signals(self._signal).name
