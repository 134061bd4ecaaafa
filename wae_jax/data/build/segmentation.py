"""Phrases out of a song: whole 4/4 bars, four at a time, cut from its notes by exact integer arithmetic.

The bars of all windows are painted in a row, each once, in however many windows it is. A packed bar is a whole number
of bytes, so that a phrase is a copy of four of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from wae_jax.data.build import key_estimation
from wae_jax.data.build.rasterize import CELLS_PER_STEP, Runs, paint, runs, turn_on
from wae_jax.data.build.songs import Song, Stretch, stretches
from wae_jax.data.build.sources import Options
from wae_jax.errors import SourceError
from wae_jax.pianoroll import (
    BYTES_PER_PHRASE,
    CELLS_PER_PHRASE,
    LOWEST_PITCH,
    NUM_BARS,
    NUM_PITCHES,
    NUM_STEPS,
    NUM_TRACKS,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    TRACKS,
    PackedPhrases,
)

# A reason names at most so many meters.
_METERS_NAMED = 5

_IS_DRUM = np.array([track.is_drum for track in TRACKS])


@dataclasses.dataclass(frozen=True)
class Phrases:
    """The phrases of a song; the fields are those of `sources.Chunk` and `sources.Source`."""

    rows: PackedPhrases
    first_bars: list[int | None]
    tempos: list[float] | None
    notes_out_of_range: int


def cut(song: Song, options: Options) -> Phrases:
    """Cuts a song into phrases.

    Windows of four bars start where a stretch of 4/4 starts, and every `hop_bars` bars from there; bars before the
    song's first note are left out. Within a window a note starts at the step nearest to its start and ends at the
    step nearest to its end, halves going up, but lasts one step at least. One step of silence stays before a note
    whose pitch sounds already on its track, unless that step is itself the start of a note. What sounds over the
    window's edges is cut off there. A window without a note gives no phrase.

    Args:
      song: its notes and bars.
      options: `hop_bars`, `drum_length` and `tonality`.

    Returns:
      The phrases, in order. `notes_out_of_range` counts the notes that start in one of the windows, each once, and
      whose pitch, moved as the window's are, is outside MIDI numbers 24 to 107.

    Raises:
      SourceError: if there is no phrase, or the song has more than `MAX_BARS` bars.
    """
    if not song.start.size:
        raise SourceError("has no notes on the five tracks")
    windows, spans = _windows(song, options.hop_bars)
    shifts = _shifts(song, options.tonality, windows.tick)
    start, end = _painted_steps(song, spans, np.stack([song.start, song.end]))
    if options.drum_length == "onset":
        end = np.where(_IS_DRUM[song.track], start, end)
    sounds = runs(song.pitch * NUM_TRACKS + song.track, start, end)
    chosen, rows = _phrases(sounds, windows, shifts)
    if not len(rows):
        raise SourceError("has no note of MIDI numbers 24 to 107 where there are four whole bars of 4/4 in a row")
    return Phrases(
        rows,
        windows.bar[chosen].tolist(),
        _tempos(song, windows.tick[chosen]),
        notes_out_of_range=_count_out_of_range(sounds, windows, shifts),
    )


class _Windows(NamedTuple):
    """Where the windows begin, in order.

    Attributes:
      tick: of the song.
      bar: of the song.
      first: their first bars among those that are painted.
    """

    tick: Int64[np.ndarray, " windows"]
    bar: Int64[np.ndarray, " windows"]
    first: Int64[np.ndarray, " windows"]

    @property
    def end(self) -> Int64[np.ndarray, " windows"]:
        """The bars behind their last."""
        return self.first + NUM_BARS


class _Spans(NamedTuple):
    """The bars that are painted: in each stretch of 4/4 from the first window's first to the last window's last.

    Before each span and behind the last one is a bar more, in no window, for all that the song has there.

    Attributes:
      tick: where each begins.
      first: its first bar among those that are painted.
      num_bars: how many it has.
    """

    tick: Int64[np.ndarray, " spans"]
    first: Int64[np.ndarray, " spans"]
    num_bars: Int64[np.ndarray, " spans"]


def _windows(song: Song, hop_bars: int) -> tuple[_Windows, _Spans]:
    """The windows of four bars of 4/4, and where they lie."""
    found = stretches(song)
    first_note = song.start.min(keepdims=True)
    windows, spans = [], []
    first = 1
    for stretch in found:
        if stretch.meter != "4/4":
            continue
        silent = max(0, int(_step(song, first_note - stretch.tick)[0]) // STEPS_PER_BAR)
        bars = np.arange(silent, stretch.num_bars - NUM_BARS + 1, hop_bars)
        if len(bars):
            ticks = stretch.tick + bars * (4 * song.ticks_per_beat)
            windows.append((ticks, stretch.first_bar + bars, first + bars - silent))
            num_bars = int(bars[-1]) - silent + NUM_BARS
            spans.append((int(ticks[0]), first, num_bars))
            first += num_bars + 1
    if not windows:
        raise SourceError(
            f"has no four whole bars of 4/4 in a row from its first note on: its meters are {_named_meters(found)}"
        )
    return _Windows(*map(np.concatenate, zip(*windows, strict=True))), _Spans(*np.array(spans).T)


def _named_meters(found: Sequence[Stretch]) -> str:
    """The meters of stretches, each once, with how many bars it has."""
    counts: dict[str, int] = {}
    for stretch in found:
        counts[stretch.meter] = counts.get(stretch.meter, 0) + stretch.num_bars
    named = [f"{meter} ({count} bar{'s' * (count > 1)})" for meter, count in counts.items()]
    if len(named) > _METERS_NAMED:
        named[_METERS_NAMED:] = [f"{len(named) - _METERS_NAMED} more"]
    return ", ".join(named)


def _painted_steps(song: Song, spans: _Spans, ticks: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """The steps nearest to ticks, counted through all bars that are painted."""
    begins = spans.tick + _first_tick(song, 0)
    # Nearly all songs have a single span; before it, too, time is counted from its beginning.
    span = np.searchsorted(begins[1:], ticks, side="right") if len(begins) > 1 else 0
    steps = np.minimum(_step(song, ticks - spans.tick[span]), STEPS_PER_BAR * spans.num_bars[span])
    return np.maximum(steps, -1) + STEPS_PER_BAR * spans.first[span]


def _phrases(
    sounds: Runs, windows: _Windows, shifts: Int64[np.ndarray, " windows"]
) -> tuple[Bool[np.ndarray, " windows"], PackedPhrases]:
    """Which windows have a phrase, and the phrases."""
    # For each way in which windows are transposed all bars.
    kinds = np.array(sorted(set(shifts.tolist())))
    bars = np.zeros((len(kinds), int(windows.end[-1]) + 1, BYTES_PER_PHRASE // NUM_BARS), np.uint8)
    for painted, shift in zip(bars, kinds, strict=True):
        place, is_inside = _transposed(sounds.place, shift)
        paint(painted.reshape(-1), sounds.start * CELLS_PER_STEP + place, sounds.length * is_inside)
    first = np.searchsorted(kinds, shifts) * bars.shape[1] + windows.first
    of_windows = first[:, None] + np.arange(NUM_BARS)
    # Eight bytes at a time.
    is_on = np.any(bars.view(np.uint64), axis=2).reshape(-1)
    chosen = np.any(is_on[of_windows], axis=1)
    rows = bars.reshape(-1, bars.shape[2])[of_windows[chosen]].reshape(-1, BYTES_PER_PHRASE)
    _end_pauses(rows, sounds, windows, shifts, np.cumsum(chosen) - 1)
    return chosen, rows


def _end_pauses(
    rows: PackedPhrases,
    sounds: Runs,
    windows: _Windows,
    shifts: Int64[np.ndarray, " windows"],
    row_of: Int64[np.ndarray, " windows"],
) -> None:
    """Turns on the last steps of windows where they are off only for a note that starts behind the window."""
    pauses = np.flatnonzero(sounds.pauses)
    next_start = sounds.start[pauses] + sounds.length[pauses] + 1
    at_bar = next_start % STEPS_PER_BAR == 0
    place, bar = sounds.place[pauses[at_bar]], next_start[at_bar] // STEPS_PER_BAR
    window = np.searchsorted(windows.end[:-1], bar)
    is_end = windows.end[window] == bar
    window = window[is_end]
    place, is_inside = _transposed(place[is_end], shifts[window])
    last_step = row_of[window] * CELLS_PER_PHRASE + (NUM_STEPS - 1) * CELLS_PER_STEP
    turn_on(rows.reshape(-1), (last_step + place)[is_inside])


def _transposed(
    place: Int64[np.ndarray, " n"], shift: Int64[np.ndarray, " n"] | np.int64
) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """In which cell of a step each place is once the pitched tracks are moved up, and whether a step has that cell."""
    cell = place - LOWEST_PITCH * NUM_TRACKS
    if shift.any():
        cell += np.where(_IS_DRUM[place % NUM_TRACKS], 0, shift * NUM_TRACKS)
    return cell, (cell >= 0) & (cell < CELLS_PER_STEP)


def _count_out_of_range(sounds: Runs, windows: _Windows, shifts: Int64[np.ndarray, " windows"]) -> int:
    """How many notes start in a window in which there is no cell for them."""
    low = (LOWEST_PITCH - min(0, int(shifts.min()))) * NUM_TRACKS
    high = (LOWEST_PITCH + NUM_PITCHES - max(0, int(shifts.max()))) * NUM_TRACKS
    # Those for which there may be none, in a song that has them.
    notes = np.flatnonzero((sounds.place < low) | (sounds.place >= high))
    if not notes.size:
        return 0
    bar = sounds.start[notes] // STEPS_PER_BAR
    over, begun = (np.searchsorted(edge, bar, side="right") for edge in (windows.end, windows.first))
    counts = begun - over
    note = np.repeat(notes, counts)
    window = np.repeat(over - np.cumsum(counts) + counts, counts) + np.arange(len(note))
    _, is_inside = _transposed(sounds.place[note], shifts[window])
    return len(np.unique(note[~is_inside]))


def _step(song: Song, ticks: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """The step nearest to each tick, both counted from the same bar line; halves go up."""
    return (2 * STEPS_PER_BEAT * ticks + song.ticks_per_beat) // (2 * song.ticks_per_beat)


def _first_tick(song: Song, step: int) -> int:
    """The first of the ticks to which a step is the nearest."""
    return -((1 - 2 * step) * song.ticks_per_beat // (2 * STEPS_PER_BEAT))


def _tempos(song: Song, ticks: Int64[np.ndarray, " B"]) -> list[float] | None:
    """The tempo at each tick."""
    if not len(song.tempos):
        return None
    current = np.searchsorted(song.tempos[:, 0], ticks, side="right") - 1
    return song.tempos[np.maximum(current, 0), 1].tolist()


def _shifts(song: Song, tonality: str, ticks: Int64[np.ndarray, " windows"]) -> Int64[np.ndarray, " windows"]:
    """How many semitones the pitched tracks of the phrase at each tick are moved up."""
    if tonality == "keep":
        return np.zeros_like(ticks)
    pitched = ~_IS_DRUM[song.track]
    durations = np.bincount(song.pitch[pitched] % 12, (song.end - song.start)[pitched], minlength=12)
    estimated = key_estimation.shift_to_c(*key_estimation.estimate_key(durations))
    signatures = song.keys if tonality == "signature" else song.keys[:0]
    said = [key_estimation.shift_to_c(tonic, bool(is_minor)) for _, tonic, is_minor in signatures.tolist()]
    return np.array([estimated, *said])[np.searchsorted(signatures[:, 0], ticks, side="right")]
