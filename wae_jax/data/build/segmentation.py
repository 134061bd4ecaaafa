"""Cuts a song into phrases: whole 4/4 bars, four at a time, by exact integer arithmetic.

The bars of all windows are rasterized into one strip, each bar once, however many windows contain it. A packed bar is
a whole number of bytes, so that a phrase is a copy of four of them.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from wae_jax.data.build import key_estimation
from wae_jax.data.build.rasterize import CELLS_PER_STEP, Runs, activate_cells, activate_runs, merge_notes
from wae_jax.data.build.songs import Song, Stretch, stretches
from wae_jax.data.build.sources import Chunk, Options
from wae_jax.errors import SourceError
from wae_jax.pianoroll import (
    BYTES_PER_PHRASE,
    CELLS_PER_PHRASE,
    LOWEST_PITCH,
    NUM_BARS,
    NUM_STEPS,
    NUM_TRACKS,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    TRACKS,
    PackedPhrases,
)

_MAX_METERS_NAMED = 5
_IS_DRUM = np.array([track.is_drum for track in TRACKS])


def cut(song: Song, options: Options) -> tuple[Chunk, int]:
    """Cuts a song into phrases.

    Windows of four bars start where a stretch of 4/4 starts, and every `hop_bars` bars from there; bars before the
    song's first note are left out. Within a window a note starts at the step nearest to its start and ends at the step
    nearest to its end, halves rounded up, but lasts at least one step. One step of silence stays before a note whose
    pitch is already active on its track, unless that step is itself the start of a note. Notes are cut off at the edges
    of the window. A window without a note gives no phrase.

    Returns:
      The phrases, in order, and the number of notes that start in a window and whose pitch, transposed as in the
      window, is outside MIDI numbers 24 to 107.

    Raises:
      SourceError: if there is no phrase, or the song has more than `MAX_BARS` bars.
    """
    if not song.start.size:
        raise SourceError("has no notes on the five tracks")
    windows, spans = _find_windows(song, options.hop_bars)
    shifts = _shifts(song, options.tonality, windows.tick)
    start, end = _strip_steps(song, spans, np.stack([song.start, song.end]))
    if options.drum_length == "onset":
        end = np.where(_IS_DRUM[song.track], start, end)
    runs = merge_notes(song.pitch * NUM_TRACKS + song.track, start, end)
    rows, num_out_of_range = _rasterize_windows(runs, windows, shifts)
    is_active = rows.view(np.uint64).any(axis=1)
    if not is_active.any():
        raise SourceError("has no note of MIDI numbers 24 to 107 where there are four whole bars of 4/4 in a row")
    tempos = _tempos(song, windows.tick[is_active])
    return Chunk(rows[is_active], first_bars=windows.bar[is_active].tolist(), tempos=tempos), num_out_of_range


class _Windows(NamedTuple):
    tick: Int64[np.ndarray, " windows"]  # where it begins in the song
    bar: Int64[np.ndarray, " windows"]  # its first bar in the song
    first: Int64[np.ndarray, " windows"]  # its first bar in the strip

    @property
    def bars(self) -> Int64[np.ndarray, "windows bars=4"]:
        """The bars of each window in the strip."""
        return self.first[:, None] + np.arange(NUM_BARS)

    @property
    def end(self) -> Int64[np.ndarray, " windows"]:
        """The bar of the strip after the last of each window."""
        return self.first + NUM_BARS


class _Spans(NamedTuple):
    """Bars of the song in the strip: from the first to the last window of each stretch of 4/4.

    Before each span and after the last one the strip has one more bar, in no window, for everything else in the song.
    """

    tick: Int64[np.ndarray, " spans"]  # where it begins in the song
    first: Int64[np.ndarray, " spans"]  # its first bar in the strip
    num_bars: Int64[np.ndarray, " spans"]


def _find_windows(song: Song, hop_bars: int) -> tuple[_Windows, _Spans]:
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
            f"has no four whole bars of 4/4 in a row from its first note on: its meters are {_describe_meters(found)}"
        )
    return _Windows(*map(np.concatenate, zip(*windows, strict=True))), _Spans(*np.array(spans).T)


def _describe_meters(found: Sequence[Stretch]) -> str:
    counts: dict[str, int] = collections.defaultdict(int)
    for stretch in found:
        counts[stretch.meter] += stretch.num_bars
    named = [f"{meter} ({count} bar{'s' * (count > 1)})" for meter, count in counts.items()]
    if len(named) > _MAX_METERS_NAMED:
        named[_MAX_METERS_NAMED:] = [f"{len(named) - _MAX_METERS_NAMED} more"]
    return ", ".join(named)


def _strip_steps(song: Song, spans: _Spans, ticks: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """The steps of the strip nearest to ticks of the song."""
    # The first tick to which step 0 of a span is the nearest.
    begins = spans.tick - song.ticks_per_beat // (2 * STEPS_PER_BEAT)
    # Nearly all songs have a single span; time before it is counted from its beginning too.
    span = np.searchsorted(begins[1:], ticks, side="right") if len(begins) > 1 else 0
    steps = np.minimum(_step(song, ticks - spans.tick[span]), STEPS_PER_BAR * spans.num_bars[span])
    return np.maximum(steps, -1) + STEPS_PER_BAR * spans.first[span]


def _rasterize_windows(
    runs: Runs, windows: _Windows, shifts: Int64[np.ndarray, " windows"]
) -> tuple[PackedPhrases, int]:
    """The packed phrases of all windows, silent ones included, and the number of notes out of range."""
    rows = np.empty((len(shifts), NUM_BARS, BYTES_PER_PHRASE // NUM_BARS), np.uint8)
    num_bars = int(windows.end[-1]) + 1
    is_out_of_range = np.zeros(len(runs.start), bool)
    for shift in sorted(set(shifts.tolist())):
        chosen = shifts == shift
        cell, is_inside = _transposed(runs.pitch_track, np.int64(shift))
        strip = np.zeros((num_bars, rows.shape[2]), np.uint8)
        activate_runs(strip.reshape(-1), runs.start * CELLS_PER_STEP + cell, runs.length * is_inside)
        rows[chosen] = strip[windows.bars[chosen]]
        is_in_window = np.zeros(num_bars, bool)
        is_in_window[windows.bars[chosen]] = True
        is_out_of_range |= is_in_window[runs.start // STEPS_PER_BAR] & ~is_inside
    packed = rows.reshape(-1, BYTES_PER_PHRASE)
    _fill_last_steps(packed, runs, windows, shifts)
    return packed, int(is_out_of_range.sum())


def _fill_last_steps(rows: PackedPhrases, runs: Runs, windows: _Windows, shifts: Int64[np.ndarray, " windows"]) -> None:
    """Activates the last steps of windows that are silent only because a note starts after the window."""
    pauses = np.flatnonzero(runs.pauses)
    next_start = runs.start[pauses] + runs.length[pauses] + 1
    window = np.searchsorted(windows.end[:-1], next_start // STEPS_PER_BAR)
    chosen = next_start == windows.end[window] * STEPS_PER_BAR
    window = window[chosen]
    cell, is_inside = _transposed(runs.pitch_track[pauses[chosen]], shifts[window])
    cells = window * CELLS_PER_PHRASE + (NUM_STEPS - 1) * CELLS_PER_STEP + cell
    activate_cells(rows.reshape(-1), cells[is_inside])


def _transposed(
    pitch_track: Int64[np.ndarray, " n"], shift: Int64[np.ndarray, " n"] | np.int64
) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The index of each pitch and track in a step, pitched tracks transposed up, and whether it lies in the range."""
    cell = pitch_track - LOWEST_PITCH * NUM_TRACKS
    if shift.any():
        cell += np.where(_IS_DRUM[pitch_track % NUM_TRACKS], 0, shift * NUM_TRACKS)
    return cell, (cell >= 0) & (cell < CELLS_PER_STEP)


def _step(song: Song, ticks: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """The step nearest to each tick, both counted from the same bar line; halves are rounded up."""
    return (2 * STEPS_PER_BEAT * ticks + song.ticks_per_beat) // (2 * song.ticks_per_beat)


def _tempos(song: Song, ticks: Int64[np.ndarray, " B"]) -> list[float] | None:
    if not len(song.tempos):
        return None
    current = np.searchsorted(song.tempos[:, 0], ticks, side="right") - 1
    return song.tempos[np.maximum(current, 0), 1].tolist()


def _shifts(song: Song, tonality: str, ticks: Int64[np.ndarray, " windows"]) -> Int64[np.ndarray, " windows"]:
    """Semitones by which the pitched tracks of the phrase at each tick are transposed up."""
    if tonality == "keep":
        return np.zeros_like(ticks)
    pitched = ~_IS_DRUM[song.track]
    durations = np.bincount(song.pitch[pitched] % 12, (song.end - song.start)[pitched], minlength=12)
    estimated = key_estimation.shift_to_c(*key_estimation.estimate_key(durations))
    signatures = song.keys if tonality == "signature" else song.keys[:0]
    written = [key_estimation.shift_to_c(tonic, bool(is_minor)) for _, tonic, is_minor in signatures.tolist()]
    return np.array([estimated, *written])[np.searchsorted(signatures[:, 0], ticks, side="right")]
