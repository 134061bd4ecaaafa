"""Types of fields, and checks of values against them: ranges, choices, sequences, numbers for each track."""

from __future__ import annotations

import dataclasses
import math
import sys
import typing
from typing import Annotated, Any, Literal

# Those of `wae_jax.pianoroll`, which this package may not import.
NUM_STEPS, NUM_PITCHES, NUM_TRACKS = 192, 84, 5

# The value of a part of the binarization rule that is still to be fitted, and the type of such a part.
FIT: Literal["fit"] = "fit"
PerTrack = tuple[float, ...] | Literal["fit"]


@dataclasses.dataclass(frozen=True)
class Range:
    """A range of numbers; `above` and `below` exclude their bound."""

    minimum: float = -math.inf
    above: float = -math.inf
    maximum: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.minimum <= value <= self.maximum and self.above < value < self.below

    def __str__(self) -> str:
        bounds = {"at least": self.minimum, "above": self.above, "at most": self.maximum, "below": self.below}
        return " and ".join(f"{word} {bound:.15g}" for word, bound in bounds.items() if math.isfinite(bound))


def read_per_track(value: Any) -> PerTrack:
    """Reads one number for each track.

    Args:
      value: `FIT`, a number for all tracks, a sequence of five, or the text of one of these.

    Raises:
      ValueError: if it is none of these.
    """
    if isinstance(value, str):
        value = FIT if value == FIT else [float(each) for each in value.split(",")]
    if value == FIT:
        return FIT
    try:
        numbers = tuple(map(float, value)) if isinstance(value, list | tuple) else (float(value),)
    except OverflowError:  # an integer of a thousand digits
        numbers = (math.inf,)
    numbers *= NUM_TRACKS if len(numbers) == 1 else 1
    if len(numbers) != NUM_TRACKS or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{value!r}; expected {FIT!r}, a number, or {NUM_TRACKS} of them with commas between")
    return numbers


def format_per_track(value: PerTrack) -> str:
    """The text that `read_per_track` reads back: one number if all tracks have the same."""
    if isinstance(value, str):
        return value
    return ",".join(f"{each:g}" for each in (value[:1] if len(set(value)) == 1 else value))


def type_hints(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, with their ranges."""
    return typing.get_type_hints(cls, include_extras=True)


def find_problem(hint: Any, value: Any) -> str | None:
    """The values that a type allows, such as "a whole number, at least 1"; None if `value` is one of them."""
    if typing.get_origin(hint) is Annotated:
        kind, allowed = typing.get_args(hint)
        word = "a whole number" if kind is int else "a number"
        is_right = find_problem(kind, value) is None and value in allowed
        return None if is_right else f"{word}, {allowed}"
    if typing.get_origin(hint) is Literal:
        return None if value in typing.get_args(hint) else "one of " + ", ".join(map(repr, typing.get_args(hint)))
    if hint == PerTrack:
        try:
            read_per_track(value)
        except (TypeError, ValueError):
            return f"{FIT!r}, a number, or {NUM_TRACKS} of them"
        return None
    if typing.get_origin(hint) is tuple:
        return _sequence_problem(typing.get_args(hint), value)
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        return None if is_number else "a finite number"
    is_right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    return None if is_right else {int: "a whole number", bool: "True or False", str: "text"}[hint]


def _sequence_problem(kinds: tuple[Any, ...], value: Any) -> str | None:
    is_sequence = isinstance(value, list | tuple)
    if kinds[-1] is ...:
        is_right = is_sequence and not any(find_problem(kinds[0], item) for item in value)
        expected = f"a sequence of any number of values, each {find_problem(kinds[0], None)}"
    else:
        is_right = is_sequence and len(value) == len(kinds) and not any(map(find_problem, kinds, value))
        each = "; then ".join(str(find_problem(kind, None)) for kind in kinds)
        expected = f"a sequence of {len(kinds)} values: {each}"
    return None if is_right else expected


def convert(hint: Any, value: Any) -> Any:
    """A value that `find_problem` accepts, as the field holds it: tuples for lists, floats for integers."""
    if hint == PerTrack:
        return read_per_track(value)
    if typing.get_origin(hint) is Annotated:
        return convert(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        return tuple(map(convert, kinds[:1] * len(value) if kinds[-1] is ... else kinds, value))
    return float(value) if hint is float else value
