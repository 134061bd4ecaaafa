"""Ctrl-C and SIGTERM end a command after it has removed files that are half written."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from typing import NoReturn

from wae_jax.remote import remove_local_copies

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM  # exit statuses, as shells report the signals
_SECONDS_UNTIL_AGAIN = 0.01


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def take_interrupts() -> None:
    """Makes Ctrl-C raise KeyboardInterrupt, unless a shell has told this process to ignore it; see `wae_jax`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def raising_on_signals() -> Iterator[None]:
    """Makes Ctrl-C raise KeyboardInterrupt and SIGTERM `Terminated`, where neither is ignored or handled already."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    is_main = threading.current_thread() is threading.main_thread()
    taken = {number: default for number, default in defaults.items() if is_main and signal.getsignal(number) is default}
    for number in taken:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, default in taken.items():
            signal.signal(number, default)


def _raise(number: int, frame: types.FrameType | None) -> None:
    callbacks = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    while frame is not None:
        if frame.f_code in callbacks:
            # jax has a callback in the garbage collector, where an exception would be printed and lost.
            main = threading.main_thread().ident
            threading.Timer(_SECONDS_UNTIL_AGAIN, signal.pthread_kill, (main, number)).start()
            return
        frame = frame.f_back
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def leave(status: int) -> NoReturn:
    """Ends the process without taking its libraries down, which crash where a signal has stopped their threads."""
    remove_local_copies()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # the latter where the shell has closed it
            stream.flush()
    os._exit(status)
