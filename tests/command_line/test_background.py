"""Tracebacks of threads that write checkpoints are not printed; all others are."""

import logging
import sys
import types

from wae_jax.command_line.background import quiet_checkpoint_errors


def unraisable(error):
    return types.SimpleNamespace(exc_type=type(error), exc_value=error, exc_traceback=error.__traceback__)


def closed_loop_error():
    import asyncio

    loop = asyncio.new_event_loop()
    loop.close()
    try:
        loop.call_soon_threadsafe(print)
    except RuntimeError as error:
        return error


def own_error():
    try:
        raise RuntimeError("Event loop is closed")
    except RuntimeError as error:
        return error


def test_reports_to_a_closed_event_loop_are_dropped(monkeypatch):
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    before = sys.unraisablehook
    with quiet_checkpoint_errors():
        sys.unraisablehook(unraisable(closed_loop_error()))
        assert printed == []
        for error in (own_error(), ValueError("without a traceback")):
            sys.unraisablehook(shown := unraisable(error))
            assert printed.pop() is shown
    assert sys.unraisablehook == before


def test_errors_that_orbax_logs_are_dropped_and_its_warnings_are_not():
    shown = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())
    logger = logging.getLogger("absl")
    logger.addHandler(handler)
    error = (RuntimeError, own_error(), None)

    def log(message, path, exc_info):
        logger.handle(logging.LogRecord("absl", logging.ERROR, path, 1, message, None, exc_info))

    try:
        with quiet_checkpoint_errors():
            log("hidden", "/site-packages/orbax/checkpoint/future.py", error)
            log("a warning", "/site-packages/orbax/checkpoint/future.py", None)
            log("another library", "/site-packages/other/file.py", error)
        log("afterwards", "/site-packages/orbax/checkpoint/future.py", error)
    finally:
        logger.removeHandler(handler)
    assert shown == ["a warning", "another library", "afterwards"]
