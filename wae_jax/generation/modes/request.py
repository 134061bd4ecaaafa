"""The request of a mode of `generate`, with the user's music in it, and its outcome, with measures that modes share.

A mode is a function of a trained model and a `Request` that returns `Phrases`, without side effects.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from wae_jax.config import BinarizationRule
from wae_jax.data.build import formats, key_estimation
from wae_jax.data.build.sources import DEFAULT_TONALITY, Options, Transposition
from wae_jax.data.build.transposition import transposition_of
from wae_jax.errors import RequestError, SourceError
from wae_jax.files import printable
from wae_jax.generation.binarization import binarize
from wae_jax.generation.model import Model
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import BYTES_PER_PHRASE, NUM_BARS, Codes, Probabilities, Rolls, unpack

# Phrases of songs may start at any bar.
_OPTIONS = Options(hop_bars=1, threshold=0.5)
# For the keys of all phrases of a song; folded, so that no phrase is left out.
_KEY_OPTIONS = dataclasses.replace(_OPTIONS, tonality=DEFAULT_TONALITY, out_of_range="fold")
# Phrases of an array before and after one, from which its key is estimated with it.
_NEIGHBORS = 32


@dataclasses.dataclass(frozen=True)
class InputPhrase:
    """Four bars of a user's music."""

    roll: Bool[np.ndarray, "T=192 P=84 K=5"]
    path: str
    start_bar: int  # the first of the four bars, from 1
    notes_left_out: int = 0  # of the whole file: their MIDI numbers are not 24 to 107
    tempo: float | None = None  # quarter notes a minute, for most of the four bars; None if the file has none
    transposition: Transposition | None = None  # to C major or A minor; None for drums alone

    @property
    def semitones(self) -> int:
        """By how much its transposition moves it up, from -6 to 5."""
        return self.transposition.semitones if self.transposition else 0

    @property
    def name(self) -> str:
        """The name of the file, escaped where it cannot be printed, and the bars, for titles."""
        return f"{printable(pathlib.Path(self.path).name)}, bars {self.start_bar} to {self.start_bar + NUM_BARS - 1}"


def read_input_phrase(path: str | os.PathLike[str], start_bar: int | None = None) -> InputPhrase:
    """Reads four bars.

    Args:
      path: a MIDI file; a Multitrack of pypianoroll; or phrases as npz or npy, where the first has bars 1 to 4, the
        second 5 to 8 and so on.
      start_bar: the first of the bars, from 1; None for the first four of 4/4 that begin with music, or else that have
        some.

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
    begins_with_music = chunk.rows[:, : BYTES_PER_PHRASE // NUM_BARS].any(axis=1)
    index = int(begins_with_music.argmax()) if start_bar is None else bars.index(start_bar)
    roll = unpack(chunk.rows[index : index + 1])[0]
    tempo = chunk.tempos[index] if chunk.tempos else None
    transposition = _transposition_of_bar(path, bars[index])
    return InputPhrase(roll, str(path), bars[index], source.changes.num_out_of_range, tempo, transposition)


def _transposition_of_bar(path: pathlib.Path, start_bar: int) -> Transposition | None:
    """As `build_dataset` would transpose the phrase of a song."""
    source = formats.open_source(path, options=_KEY_OPTIONS)
    chunk = next(source.chunks)
    assert chunk.first_bars is not None
    assert chunk.semitones is not None
    semitones = chunk.semitones[chunk.first_bars.index(start_bar - 1)]
    return next((each for each in source.changes.transpositions if each.semitones == semitones), None)


def _from_phrases(path: pathlib.Path, start_bar: int | None) -> InputPhrase:
    num_phrases = formats.open_source(path, options=_OPTIONS).num_phrases or 0
    first = 1 if start_bar is None else start_bar
    index, offset = divmod(first - 1, NUM_BARS)
    if offset or index >= num_phrases:
        has = "one phrase, at bar 1" if num_phrases == 1 else f"{num_phrases} phrases, at bars 1, 5, 9 and so on"
        last = (num_phrases - 1) * NUM_BARS + 1
        raise SourceError(f"has {has} up to {last}; bar {first} is the start of none of them")
    start = max(index - _NEIGHBORS, 0)
    chunks = list(formats.open_source(path, rows=slice(start, index + _NEIGHBORS + 1), options=_OPTIONS).chunks)
    rolls = unpack(np.concatenate([chunk.rows for chunk in chunks]))
    songs = np.array([song for chunk in chunks for song in chunk.songs or [""] * len(chunk.rows)])
    times = key_estimation.sounding_steps(rolls[songs == songs[index - start]]).sum(axis=0)
    key = transposition_of(*key_estimation.estimate_key(times), "estimate") if times.any() else None
    found = InputPhrase(rolls[index - start], str(path), first, transposition=key)
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


_RANDOM_PAIRS = 32


@dataclasses.dataclass(frozen=True)
class Request:
    """Arguments of a mode; each mode reads those that concern it."""

    num: int
    seed: int = 0  # of everything random; below 2**32
    rule: BinarizationRule = dataclasses.field(default_factory=BinarizationRule)  # with all its parts fitted
    inputs: tuple[InputPhrase, ...] = ()  # phrases of the user's
    keep: tuple[int, ...] = ()  # indices of the tracks that stay as they are
    attributes: Mapping[str, float] = dataclasses.field(default_factory=dict)  # changes by name, in standard deviations
    key: str | None = None  # of what is written, such as "D", or "random"; None for the user's, or C major and A minor
    may_be_fewer: bool = False  # whether a dataset with fewer phrases is no error, since `num` is a default

    def decode(self, model: Model, codes: Codes) -> tuple[Probabilities, Rolls]:
        """Probabilities of the phrases with these codes, and the phrases."""
        probabilities = model.decode(codes)
        return probabilities, self.binarize(probabilities)

    def binarize(self, probabilities: Probabilities) -> Rolls:
        """Phrases from the probabilities of their cells, by the request's rule and seed."""
        return binarize(probabilities, self.rule, seed=self.seed)

    def input_rolls(self) -> Rolls:
        """The user's phrases."""
        return np.stack([each.roll for each in self.inputs])


@dataclasses.dataclass(frozen=True)
class Phrases:
    """The outcome of a mode."""

    codes: Codes
    rolls: Rolls | None = None  # None where only codes were requested
    probabilities: Probabilities | None = None  # from which the phrases were binarized
    names: Sequence[str] | None = None  # titles, one a phrase
    originals: Bool[np.ndarray, "originals T=192 P=84 K=5"] | None = None  # phrases that they were made from
    original_names: Sequence[str] | None = None
    rows: Int64[np.ndarray, " rows"] | None = None  # of the originals in the validation split
    report: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # how near the request; for JSON
    table: str = ""  # the same as text


def silent_bars(rolls: Rolls) -> Bool[np.ndarray, "B bars"]:
    """The bars of each phrase in which no track has an active cell."""
    return np.logical_not(np.any(rolls.reshape(len(rolls), NUM_BARS, -1), axis=2))


def measure_smoothness(model: Model, request: Request, rolls: Rolls) -> tuple[dict[str, float | None], str]:
    """Mean shares of cells that differ, between neighbouring phrases and in 32 pairs of samples: JSON, and text."""
    samples = request.binarize(model.decode(model.sample_codes(request.seed, 2 * _RANDOM_PAIRS)))
    of_neighbours = 1 - cell_f1(rolls[:-1], rolls[1:])
    neighbours = float(of_neighbours.mean()) if len(of_neighbours) else None
    pairs = float((1 - cell_f1(samples[::2], samples[1::2])).mean())
    text = f"share of cells that differ: neighbours {_text(neighbours)}, random pairs of samples {_text(pairs)}"
    return {"difference_of_neighbours": neighbours, "difference_of_random_pairs": pairs}, text


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as text under them: words to the left, numbers to the right with three decimals."""
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_word = [isinstance(value, str) for value in rows[0].values()]
    return "\n".join(
        "  ".join(
            text.ljust(width) if word else text.rjust(width)
            for text, width, word in zip(line, widths, is_word, strict=True)
        ).rstrip()
        for line in cells
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
