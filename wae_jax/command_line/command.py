"""A command: its parser, types of its arguments that are refused with the range expected, and its exit status."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from typing import Any

from wae_jax.errors import RequestError, UserError
from wae_jax.remote import is_url

LARGEST_SEED = 2**32 - 1


def make_parser(command: str, description: str | None, **options: Any) -> argparse.ArgumentParser:
    """The parser of `python -m wae_jax.COMMAND`, whose description keeps its lines."""
    return argparse.ArgumentParser(
        prog=f"python -m wae_jax.{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Returns a reader of whole numbers from `minimum` to `maximum`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number {bounds}")
        return value

    return read


def number(minimum: float, maximum: float, unit: str = "") -> Callable[[str], float]:
    """Returns a reader of numbers from `minimum` to `maximum`; `unit` is for the message."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r}; expected {minimum:g} to {maximum:g} {unit}".rstrip())
        return value

    return read


INTERRUPTED = 130  # as a shell reports a program that Ctrl-C has ended


def run_command(command: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Runs a command; errors that a user can act on are printed as one line.

    Where a file cannot be written, `output` of the command line is named, if there is one.

    Returns:
      The exit status: 0; 1 after an error; 130 after Ctrl-C.
    """
    output = getattr(arguments, "output", None)
    try:
        if output and is_url(output):
            raise RequestError(f"--output is {output}; expected a local path, from which the files can be copied there")
        command(arguments)
    except KeyboardInterrupt:
        left = f"; {output} may be incomplete" if output and os.path.exists(output) else ""
        print(f"interrupted{left}", file=sys.stderr)
        return INTERRUPTED
    except UserError as error:
        message = str(error)
    except OSError as error:
        # NumPy raises errors without a number where a disk is full.
        reason = error.strerror or f"cannot be written or read completely ({error}); is the disk full?"
        message = f"{error.filename or output}: {reason}"
    else:
        return 0
    print(f"error: {message}", file=sys.stderr)
    return 1
