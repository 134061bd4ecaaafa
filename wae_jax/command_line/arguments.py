"""Parsers of commands, and types of arguments: numbers within a range, refused with the range."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

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
