"""The exit status of a command, and its last line where it fails."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from wae_jax.errors import RequestError, UserError
from wae_jax.remote import is_url

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
