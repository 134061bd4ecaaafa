"""The progress line of a run on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from tqdm import tqdm

from wae_jax.files import Closing
from wae_jax.training.metric_writer import as_number

_MAX_METRICS = 4
_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 10.0  # between two updates


class Progress(Closing):
    """Shows steps, phrases a second, time left and the latest metrics.

    On a terminal one line is updated in place; elsewhere a line is added every ten seconds.

    Args:
      total_steps: the last step of the run.
      batch_size: phrases a step, of all processes together.
      initial_step: the step that the run starts from.
      enabled: False makes every method do nothing; of several processes, one reports.
      stream: where to write; None is stderr.
      seconds: between two updates; None is the default.
    """

    def __init__(
        self,
        total_steps: int,
        batch_size: int,
        *,
        initial_step: int = 0,
        enabled: bool = True,
        stream: TextIO | None = None,
        seconds: float | None = None,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        is_terminal = stream.isatty()
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._bar = tqdm(
            desc=self._description(initial_step),
            total=total_steps * batch_size,
            initial=initial_step * batch_size,
            unit=" phrases",
            unit_scale=True,
            file=_SafeStream(stream),
            mininterval=seconds if seconds is not None else _TERMINAL_SECONDS if is_terminal else _LOG_SECONDS,
            miniters=1,
            dynamic_ncols=is_terminal,
            disable=not enabled,
            bar_format="{desc}, {rate_noinv_fmt}, {remaining} left{postfix}",
        )

    def update(self, step: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Reports that `step` steps are done, if it is time to; `metrics` are shown from now on."""
        self._bar.set_description_str(self._description(step), refresh=False)
        if metrics:
            shown = list(metrics.items())[:_MAX_METRICS]
            text = ", ".join(f"{name} {as_number(name, value):.4g}" for name, value in shown)
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(step * self._batch_size - self._bar.n)

    def close(self) -> None:
        """Shows the last update and ends the line."""
        self._bar.close()

    def _description(self, step: int) -> str:
        return f"step {step:,}/{self._total_steps:,}"


class _SafeStream:
    """A stream for tqdm that writes lines where there is no terminal, and nothing once it is closed.

    A broken pipe or a closed terminal must not end the run.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._is_terminal = stream.isatty()

    def write(self, text: str) -> None:
        """Writes one update."""
        if not self._is_terminal:
            text = f"{text.strip()}\n" if text.strip() else ""
        try:
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def flush(self) -> None:
        """Does nothing: every write is flushed."""

    def __getattr__(self, name: str) -> Any:
        """Everything else, such as the file descriptor by which tqdm finds the terminal's width."""
        return getattr(self._stream, name)
