"""Silences threads of libraries that print tracebacks of errors which the checkpointer raises in any case."""

from __future__ import annotations

import asyncio.base_events
import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator

_ORBAX = f"{os.sep}orbax{os.sep}"


@contextlib.contextmanager
def quiet_checkpoint_errors() -> Iterator[None]:
    """Keeps tracebacks of a failed checkpoint off the terminal; the checkpointer raises the first error in a sentence.

    orbax logs what a thread of it raises, and closes the thread's event loop. tensorstore then reports the other arrays
    to that loop from its own threads, each of which fails, where nobody can catch it.
    """
    logger, hook = logging.getLogger("absl"), sys.unraisablehook

    def is_shown(record: logging.LogRecord) -> bool:
        return record.exc_info is None or _ORBAX not in record.pathname

    def print_error(unraisable: sys.UnraisableHookArgs) -> None:
        frames = traceback.extract_tb(unraisable.exc_traceback)
        if not (frames and frames[-1].filename == asyncio.base_events.__file__):
            hook(unraisable)

    logger.addFilter(is_shown)
    sys.unraisablehook = print_error
    try:
        yield
    finally:
        logger.removeFilter(is_shown)
        sys.unraisablehook = hook
