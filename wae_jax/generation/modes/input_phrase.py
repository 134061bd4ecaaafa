"""Phrases out of users' files: four bars, or all that `build_dataset` would cut."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from wae_jax.data.build import formats, key_estimation
from wae_jax.data.build.sources import DEFAULT_TONALITY, Chunk, Options, Transposition, naming
from wae_jax.data.build.transposition import transposition_of
from wae_jax.errors import SourceError
from wae_jax.files import printable
from wae_jax.pianoroll import BYTES_PER_PHRASE, NUM_BARS, PackedPhrases, unpack

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
        """Semitones up, from -6 to 5, by which its transposition moves it; 0 without one."""
        return self.transposition.semitones if self.transposition else 0

    @property
    def name(self) -> str:
        """The name of the file, escaped where it cannot be printed, and the bars, for titles."""
        return self.name_to(self)

    def name_to(self, last: InputPhrase) -> str:
        """The name of the file and the bars from this phrase to the end of `last`, for titles."""
        return f"{printable(pathlib.Path(self.path).name)}, bars {self.start_bar} to {last.start_bar + NUM_BARS - 1}"


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
    with naming(path):
        read = _from_song if formats.format_of(path).is_song else _from_phrases
        return read(path, start_bar)


def read_input_phrases(path: str | os.PathLike[str]) -> list[InputPhrase]:
    """Reads all phrases of a file, as `build_dataset` cuts them; see `read_input_phrase`.

    Raises:
      RequestError: if the file cannot be read or has no phrase.
    """
    path = pathlib.Path(path)
    with naming(path):
        if formats.format_of(path).is_song:
            song = _open_song(path, hop_bars=NUM_BARS)
            return [song.phrase(i) for i in range(len(song.bars))]
        part = _read_array(path, slice(None))
        return [part.phrase(i, NUM_BARS * i + 1) for i in range(len(part.rows))]


class _OpenedSong(NamedTuple):
    path: pathlib.Path
    chunk: Chunk
    bars: list[int]  # the first of each window, from 1
    notes_left_out: int
    transpositions: Mapping[int, Transposition]  # by the first bar, as `build_dataset` would transpose the phrase

    def phrase(self, index: int) -> InputPhrase:
        """The phrase in the window with this index."""
        roll = unpack(self.chunk.rows[index : index + 1])[0]
        tempo = self.chunk.tempos[index] if self.chunk.tempos else None
        bar = self.bars[index]
        return InputPhrase(roll, str(self.path), bar, self.notes_left_out, tempo, self.transpositions.get(bar))


def _open_song(path: pathlib.Path, *, hop_bars: int) -> _OpenedSong:
    """The windows of a song that have music, `hop_bars` from one to the next."""
    source, in_c = (
        formats.open_source(path, options=dataclasses.replace(options, hop_bars=hop_bars))
        for options in (_OPTIONS, _KEY_OPTIONS)
    )
    chunk, moved = next(source.chunks), next(in_c.chunks)
    by_semitones = {each.semitones: each for each in reversed(in_c.changes.transpositions)}
    shifts = zip(_bars(moved), moved.semitones or [], strict=True)
    transpositions = {bar: by_semitones[up] for bar, up in shifts if up in by_semitones}
    return _OpenedSong(path, chunk, _bars(chunk), source.changes.num_out_of_range, transpositions)


def _bars(chunk: Chunk) -> list[int]:
    return [bar + 1 for bar in chunk.first_bars or [] if bar is not None]


def _from_song(path: pathlib.Path, start_bar: int | None) -> InputPhrase:
    song = _open_song(path, hop_bars=1)
    if start_bar is not None and start_bar not in song.bars:
        raise SourceError(
            f"has no four bars of 4/4 with music from bar {start_bar} on; it has from {_ranges(song.bars)}"
        )
    begins_with_music = song.chunk.rows[:, : BYTES_PER_PHRASE // NUM_BARS].any(axis=1)
    return song.phrase(int(begins_with_music.argmax()) if start_bar is None else song.bars.index(start_bar))


class _PartOfArray(NamedTuple):
    path: pathlib.Path
    rows: PackedPhrases
    songs: Shaped[np.ndarray, " B"]
    times: Float64[np.ndarray, "B pitch_classes=12"]

    def phrase(self, index: int, start_bar: int) -> InputPhrase:
        """A phrase by its index; its key is estimated from the nearby phrases of its song."""
        near = slice(max(index - _NEIGHBORS, 0), index + _NEIGHBORS + 1)
        times = self.times[near][self.songs[near] == self.songs[index]].sum(axis=0)
        key = transposition_of(*key_estimation.estimate_key(times), "estimate") if times.any() else None
        return InputPhrase(unpack(self.rows[index : index + 1])[0], str(self.path), start_bar, transposition=key)


def _read_array(path: pathlib.Path, rows: slice) -> _PartOfArray:
    chunks = list(formats.open_source(path, rows=rows, options=_OPTIONS).chunks)
    return _PartOfArray(
        path,
        np.concatenate([chunk.rows for chunk in chunks]),
        np.array([song for chunk in chunks for song in chunk.songs or [""] * len(chunk.rows)]),
        np.concatenate([key_estimation.sounding_steps(unpack(chunk.rows)) for chunk in chunks]),
    )


def _from_phrases(path: pathlib.Path, start_bar: int | None) -> InputPhrase:
    num_phrases = formats.open_source(path, options=_OPTIONS).num_phrases or 0
    first = 1 if start_bar is None else start_bar
    index, offset = divmod(first - 1, NUM_BARS)
    if offset or index >= num_phrases:
        has = "one phrase, at bar 1" if num_phrases == 1 else f"{num_phrases} phrases, at bars 1, 5, 9 and so on"
        last = (num_phrases - 1) * NUM_BARS + 1
        raise SourceError(f"has {has} up to {last}; bar {first} is the start of none of them")
    start = max(index - _NEIGHBORS, 0)
    found = _read_array(path, slice(start, index + _NEIGHBORS + 1)).phrase(index - start, first)
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
