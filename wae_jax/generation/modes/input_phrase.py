"""Four bars of a user's music, read from any file that `build_dataset` reads."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
from jaxtyping import Bool

from wae_jax.data.build import formats
from wae_jax.data.build.sources import Options
from wae_jax.errors import RequestError, SourceError
from wae_jax.pianoroll import NUM_BARS, unpack

# Phrases of songs may start at any bar.
_OPTIONS = Options(hop_bars=1, threshold=0.5)


@dataclasses.dataclass(frozen=True)
class InputPhrase:
    """Four bars of a user's music."""

    roll: Bool[np.ndarray, "T=192 P=84 K=5"]
    path: str
    start_bar: int  # the first of the four bars, from 1
    notes_left_out: int = 0  # of the whole file: their MIDI numbers are not 24 to 107

    @property
    def name(self) -> str:
        """The name of the file and the bars, for titles."""
        return f"{pathlib.Path(self.path).name}, bars {self.start_bar} to {self.start_bar + NUM_BARS - 1}"


def read_input_phrase(path: str | os.PathLike[str], start_bar: int | None = None) -> InputPhrase:
    """Reads four bars.

    Args:
      path: a MIDI file; a Multitrack of pypianoroll; or phrases as npz or npy, where the first has bars 1 to 4, the
        second 5 to 8 and so on.
      start_bar: the first of the bars, from 1; None for the first four of 4/4 that are not silent.

    Raises:
      RequestError: if the file cannot be read or has no such bars; the message lists those that it has.
    """
    path = pathlib.Path(path)
    try:
        read = _from_song if formats.format_of(path).is_song else _from_phrases
        return read(path, start_bar)
    except SourceError as error:
        raise RequestError(f"{path} {error}") from error


def _from_song(path: pathlib.Path, start_bar: int | None) -> InputPhrase:
    source = formats.open_source(path, options=_OPTIONS)
    chunk = next(source.chunks)
    bars = [bar + 1 for bar in chunk.first_bars or [] if bar is not None]
    if start_bar is not None and start_bar not in bars:
        raise SourceError(f"has no four bars of 4/4 with music from bar {start_bar} on; it has from {_ranges(bars)}")
    index = 0 if start_bar is None else bars.index(start_bar)
    roll = unpack(chunk.rows[index : index + 1])[0]
    return InputPhrase(roll, str(path), bars[index], source.notes_out_of_range)


def _from_phrases(path: pathlib.Path, start_bar: int | None) -> InputPhrase:
    num_phrases = formats.open_source(path, options=_OPTIONS).num_phrases or 0
    first = 1 if start_bar is None else start_bar
    index, offset = divmod(first - 1, NUM_BARS)
    if offset or index >= num_phrases:
        has = "one phrase, at bar 1" if num_phrases == 1 else f"{num_phrases} phrases, at bars 1, 5, 9 and so on"
        last = (num_phrases - 1) * NUM_BARS + 1
        raise SourceError(f"has {has} up to {last}; bar {first} is the start of none of them")
    source = formats.open_source(path, rows=slice(index, index + 1), options=_OPTIONS)
    found = InputPhrase(unpack(next(source.chunks).rows)[0], str(path), first)
    if not found.roll.any():
        raise SourceError(f"is silent in bars {first} to {first + NUM_BARS - 1}; choose others with --start-bar")
    return found


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as text, such as "bars 1 to 8 or 12"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    named = [str(first) if first == last else f"{first} to {last}" for first, last in runs[:8]]
    more = [f"{len(runs) - 8} more stretches"] if len(runs) > 8 else []
    return "bars " + " or ".join([*named, *more])
