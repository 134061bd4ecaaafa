"""A command: its parser, types of its arguments that are refused with the range expected, and its exit status."""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from wae_jax.command_line.compiled_programs import keep_compiled_programs
from wae_jax.command_line.host_memory import keep_freed_memory
from wae_jax.command_line.parser import CommandParser
from wae_jax.command_line.signals import INTERRUPTED, TERMINATED, Terminated, leave, raising_on_signals, take_interrupts
from wae_jax.command_line.terminal import any_text_on_stdout
from wae_jax.errors import RequestError, UserError
from wae_jax.files import printable
from wae_jax.programs import how_to_run
from wae_jax.remote import is_url

LARGEST_SEED = 2**32 - 1
LARGEST_NUM = 100_000  # phrases; a decoded one takes 300 kB of memory


def make_parser(
    command: str, description: str | None, *, examples: Sequence[str] = (), **options: Any
) -> CommandParser:
    """The parser of a command, whose description keeps its lines; the command takes Ctrl-C.

    Args:
      command: its module in `wae_jax`.
      description: in which, as in the examples, `python -m wae_jax.COMMAND` becomes the words that start this process.
      examples: command lines.
      options: of `CommandParser`.
    """
    take_interrupts()
    text, *lines = in_this_program(command, [description or "", *examples])
    return CommandParser(prog=how_to_run(command), description=text, examples=lines, **options)


def in_this_program(command: str, texts: Sequence[str]) -> list[str]:
    """Texts in which `python -m wae_jax.COMMAND` has become the words that start this process."""
    return [text.replace(f"python -m wae_jax.{command}", how_to_run(command)) for text in texts]


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


def path(text: str) -> str:
    """Reads a path or a URL; an empty one, as of a variable that is not set, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; expected a file or a folder")
    return text


def local_path(text: str) -> str:
    """Reads a path of the local file system; a URL is refused, for which pathlib would look in a folder `file:`."""
    if is_url(path(text)):
        raise argparse.ArgumentTypeError(f"{text} is a URL; expected a local path, where files can be copied")
    return text


def check_output(name: str, *, is_folder: bool) -> pathlib.Path:
    """The path of a file or folder to write, checked before the work is done.

    Raises:
      RequestError: if it is a URL, if the other of file and folder is there, or if it cannot be written there.
    """
    if is_url(name):
        raise RequestError(f"--output is {name}; expected a local path, from which the files can be copied there")
    output = pathlib.Path(name)
    if not is_folder and output.is_dir():
        raise RequestError(f"{output} is a folder; expected the name of a file in it, for --output")
    nearest = output if is_folder else output.parent
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise RequestError(f"{nearest} is no folder; expected --output to be {'' if is_folder else 'in '}one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(f"{nearest} cannot be written; expected another --output")
    return output


def run_command(
    command: Callable[[argparse.Namespace], None], arguments: argparse.Namespace, *, when_interrupted: str | None = None
) -> int:
    """Runs a command; errors that a user can act on are printed as one line.

    Where a file that an error does not name cannot be written, `output` of the command line is named, if there is one.

    Args:
      command: raises UserError and OSError.
      arguments: its parsed command line.
      when_interrupted: said after "interrupted"; None says that `output` may be incomplete, if it is a folder.

    Returns:
      The exit status: 0; 1 after an error; 130 after Ctrl-C and 143 after SIGTERM.
    """
    output = getattr(arguments, "output", None)
    status = 1
    try:
        with raising_on_signals(), any_text_on_stdout():
            command(arguments)
        return 0
    except KeyboardInterrupt as error:
        is_terminated = isinstance(error, Terminated)
        status = TERMINATED if is_terminated else INTERRUPTED
        # Single files are written whole.
        left = f"; {output} may be incomplete" if output and os.path.isdir(output) else ""
        left = left if when_interrupted is None else when_interrupted
        message = f"{'terminated' if is_terminated else 'interrupted'}{left}"
    except UserError as error:
        message = f"error: {error}"
    except OSError as error:
        message = f"error: {describe_failure(error, output)}"
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        message = "error: there is not enough memory; expected a smaller --num"
    print("\n".join(map(printable, message.split("\n"))), file=sys.stderr)
    return status


def describe_failure(error: OSError, output: str | None) -> str:
    """A sentence for a file that cannot be read or written: its name, or else `output`, and what the system said.

    Where both are unknown, the sentence is what the system said.
    """
    # NumPy raises errors without a number where a disk is full.
    reason = error.strerror or f"cannot be written or read completely ({error}); is the disk full?"
    return ": ".join(filter(None, (error.filename or output, reason)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the host or, in jax's words, of a device was not enough."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def run_program(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Runs a command as a program, and ends it with the exit status."""
    keep_freed_memory()
    keep_compiled_programs()
    status = main(None)
    if status in (INTERRUPTED, TERMINATED):
        leave(status)
    sys.exit(status)
