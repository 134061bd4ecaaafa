"""Cuts a song into phrases: whole 4/4 bars, four at a time, by exact integer arithmetic.

The bars of all windows are rasterized into one strip, each bar once, however many windows contain it. A packed bar is
a whole number of bytes, so that a phrase is a copy of four of them.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from wae_jax.data.build.pitch_range import folded, is_outside, octaves_of_tracks, transposed
from wae_jax.data.build.rasterize import CELLS_PER_STEP, Runs, activate_cells, activate_runs, merge_notes
from wae_jax.data.build.songs import IS_DRUM, Song, Stretch, last_tick, stretches
from wae_jax.data.build.sources import Chunk, NoteChanges, Options, OutOfRange, Transposition
from wae_jax.data.build.transposition import find_transpositions
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
    TRACK_NAMES,
    PackedPhrases,
)

_MAX_METERS_NAMED = 5


def cut(song: Song, options: Options) -> tuple[Chunk, NoteChanges]:
    """Cuts a song into phrases.

    Windows of four bars start every `hop_bars` bars of a stretch of 4/4, one of them with the bar of the song's first
    note, since many files begin with a silent bar that sets up instruments. But if the last notes would be in none of
    these, or the file says that it begins with a phrase, the first window starts where the stretch does, so that a
    phrase whose first bar rests is the same phrase when it is read back. Within a window a note starts at the step
    nearest to its start and ends at the step nearest to its end, halves rounded up, but lasts at least one step. One
    step of silence stays before a note whose pitch is already active on its track, unless that step is itself the start
    of a note. Notes are cut off at the edges of the window. A window without a note gives no phrase. The tempo of a
    phrase is the one that lasts longest in it.

    Returns:
      The phrases, in order, and how their notes were transposed, left out or moved into the range of pitches.

    Raises:
      SourceError: if there is no phrase, or the song has more than `MAX_BARS` bars.
    """
    if not song.start.size:
        raise SourceError("has no notes on the five tracks")
    windows, spans = _find_windows(song, options.hop_bars)
    transpositions: list[Transposition] = []
    applied = shifts = np.zeros_like(windows.tick)
    if options.tonality != "keep" and not IS_DRUM[song.track].all():
        transpositions, applied = find_transpositions(song, options.tonality, windows.tick)
        shifts = np.array([each.semitones for each in transpositions])[applied]
    steps = _strip_steps(song, spans, np.stack([song.start, song.end]))
    if options.drum_length == "onset":
        steps[1] = np.where(IS_DRUM[song.track], *steps)
    rows, out_of_range = _rasterize_song(song, steps, windows, shifts, should_fold=options.out_of_range == "fold")
    is_active = rows.view(np.uint64).any(axis=1)
    if not is_active.any():
        raise SourceError("has no note of MIDI numbers 24 to 107 where there are four whole bars of 4/4 in a row")
    tempos = _tempos(song, windows.tick[is_active])
    bars, semitones = windows.bar[is_active].tolist(), shifts[is_active].tolist()
    chunk = Chunk(rows[is_active], first_bars=bars, tempos=tempos, semitones=semitones)
    used = dict.fromkeys(transpositions[i] for i in applied[is_active].tolist()) if transpositions else {}
    return chunk, NoteChanges(list(used), out_of_range)


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
    windows, spans = [], []
    first = 1
    for stretch in found:
        if stretch.meter != "4/4":
            continue
        bars = _window_bars(song, stretch, hop_bars)
        if len(bars):
            ticks = stretch.tick + bars * (4 * song.ticks_per_beat)
            windows.append((ticks, stretch.first_bar + bars, first + bars - bars[0]))
            num_bars = int(bars[-1] - bars[0]) + NUM_BARS
            spans.append((int(ticks[0]), first, num_bars))
            first += num_bars + 1
    if not windows:
        raise SourceError(f"has no four whole bars of 4/4 in a row: its meters are {_describe_meters(found)}")
    return _Windows(*map(np.concatenate, zip(*windows, strict=True))), _Spans(*np.array(spans).T)


def _window_bars(song: Song, stretch: Stretch, hop_bars: int) -> Int64[np.ndarray, " windows"]:
    """The first bars of the windows of a stretch, counted from its beginning."""
    first_step, last_step = _step(song, np.array([song.start.min(), last_tick(song)]) - stretch.tick).tolist()
    first_with_note, after_notes = max(0, first_step) // STEPS_PER_BAR, -(-last_step // STEPS_PER_BAR)
    offset = 0 if song.begins_with_phrase else first_with_note % hop_bars
    choices = (np.arange(first, stretch.num_bars - NUM_BARS + 1, hop_bars) for first in (offset, 0))
    # The one whose windows have more of the song's last bars; the first one if both have the same.
    return max(choices, key=lambda bars: min(after_notes, bars[-1] + NUM_BARS) if len(bars) else 0)


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


def _rasterize_song(
    song: Song,
    steps: Int64[np.ndarray, "2 notes"],
    windows: _Windows,
    shifts: Int64[np.ndarray, " windows"],
    *,
    should_fold: bool,
) -> tuple[PackedPhrases, dict[str, OutOfRange]]:
    """The packed phrases of all windows, silent ones included, and the notes out of range, by track.

    Args:
      song: the song.
      steps: of the strip, at which each note starts and ends.
      windows: all windows.
      shifts: semitones by which the pitched tracks are transposed up in each window.
      should_fold: whether notes out of range are moved by octaves; they are left out otherwise.
    """
    octaves = octaves_of_tracks(song, shifts) if should_fold else np.zeros(NUM_TRACKS, np.int64)
    rows = np.empty((len(shifts), BYTES_PER_PHRASE), np.uint8)
    num_bars = int(windows.end[-1]) + 1
    is_heard, is_out = np.zeros((2, len(song.start)), bool)
    for shift in sorted(set(shifts.tolist())):
        chosen = shifts == shift
        part = _Windows(*(column[chosen] for column in windows))
        pitch = transposed(song, shift)
        is_in_part = np.isin(steps[0] // STEPS_PER_BAR, part.bars)
        is_heard |= is_in_part
        is_out |= is_in_part & is_outside(pitch)
        if should_fold:
            pitch = folded(song, pitch, octaves)
        kept = ~is_outside(pitch)
        cells = (pitch - LOWEST_PITCH) * NUM_TRACKS + song.track
        rows[chosen] = _rasterize_windows(merge_notes(cells[kept], *steps[:, kept]), part, num_bars)
    counts = np.stack([np.bincount(song.track[each], minlength=NUM_TRACKS) for each in (is_out, is_heard)] + [octaves])
    found = zip(TRACK_NAMES, map(OutOfRange._make, counts.T.tolist()), strict=True)
    return rows, {name: each for name, each in found if each.outside or each.octaves}


def _rasterize_windows(runs: Runs, windows: _Windows, num_bars: int) -> PackedPhrases:
    """The packed phrases of windows, silent ones included, in a strip of `num_bars` bars."""
    strip = np.zeros((num_bars, BYTES_PER_PHRASE // NUM_BARS), np.uint8)
    activate_runs(strip.reshape(-1), runs.start * CELLS_PER_STEP + runs.pitch_track, runs.length)
    rows = strip[windows.bars].reshape(-1, BYTES_PER_PHRASE)
    # The last steps of windows that are silent only because a note starts after the window.
    pauses = np.flatnonzero(runs.pauses)
    next_start = runs.start[pauses] + runs.length[pauses] + 1
    window = np.searchsorted(windows.end[:-1], next_start // STEPS_PER_BAR)
    is_last = next_start == windows.end[window] * STEPS_PER_BAR
    cells = window * CELLS_PER_PHRASE + (NUM_STEPS - 1) * CELLS_PER_STEP + runs.pitch_track[pauses]
    activate_cells(rows.reshape(-1), cells[is_last])
    return rows


def _step(song: Song, ticks: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """The step nearest to each tick, both counted from the same bar line; halves are rounded up."""
    return (2 * STEPS_PER_BEAT * ticks + song.ticks_per_beat) // (2 * song.ticks_per_beat)


def _tempos(song: Song, ticks: Int64[np.ndarray, " B"]) -> list[float] | None:
    if not len(song.tempos):
        return None
    stops = ticks + NUM_BARS * 4 * song.ticks_per_beat
    # Indices of the first tempo in each window, and of the one after its last.
    first = np.maximum(np.searchsorted(song.tempos[:, 0], ticks, side="right") - 1, 0)
    after = np.maximum(np.searchsorted(song.tempos[:, 0], stops), first + 1)
    return [
        float(song.tempos[i, 1]) if j == i + 1 else _longest_tempo(song.tempos[i:j], tick, stop)
        for i, j, tick, stop in zip(first, after, ticks.tolist(), stops.tolist(), strict=True)
    ]


def _longest_tempo(tempos: Float64[np.ndarray, "tempos 2"], tick: int, stop: int) -> float:
    """The tempo that lasts longest from a tick to another; `tempos` are those between them.

    That at the first tick would be wrong where a file states its first tempo on the second beat, as some do.
    """
    lasts: dict[float, float] = collections.defaultdict(float)
    for tempo, ticks in zip(tempos[:, 1].tolist(), np.diff([tick, *tempos[1:, 0], stop]).tolist(), strict=True):
        lasts[tempo] += ticks
    return max(lasts, key=lasts.__getitem__)
