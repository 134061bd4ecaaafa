"""Phrases out of a song: whole 4/4 bars, four at a time, cut from its notes by exact integer arithmetic.

What a file says of a song is in `Song`; all the rest are functions of its arrays. A roll of a whole song is never
made, since a small file may last for hours.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wae_jax import keys
from wae_jax.pianoroll import (
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
from wae_jax.sources import Options, SourceError

# About three hours. A file of some bytes can ask for millions.
MAX_BARS = 5000

# A reason names at most so many meters.
_METERS_NAMED = 5

_IS_DRUM = np.array([track.is_drum for track in TRACKS])
# A pitch and a track as one number, pitch * NUM_TRACKS + track: a cell counts pitches from MIDI number 0, a place
# from the lowest of a phrase, so that a step of a phrase is a row of places.
_NUM_PLACES = NUM_PITCHES * NUM_TRACKS

_NUM_CELLS = NUM_STEPS * _NUM_PLACES
# So that they stay in the processor's cache: 1.3 MB, and 2 MB.
_WINDOWS_AT_ONCE = 16
_CELLS_AT_ONCE = 1 << 18

# What a song says that says nothing.
_NOTHING = functools.partial(np.zeros, (0, 3), np.int64)
_NO_TEMPOS = functools.partial(np.zeros, (0, 2), np.float64)


@dataclasses.dataclass(frozen=True)
class Song:
    """The notes of a song on the five tracks, and what it says of its bars, tempo and key.

    Attributes:
      ticks_per_beat: ticks a quarter note.
      start: the tick from 0 at which each note starts; in any order.
      end: the tick at which it ends, not before its start.
      pitch: MIDI numbers 0 to 127.
      track: which of `TRACKS` plays it.
      meters: by tick: a bar begins at the tick, and from there on bars have this numerator and this
        denominator, both positive; 4/4 before the first.
      tempos: by tick: the tick and the quarter notes a minute from there on, and of the first also
        before; empty where the song does not tell.
      keys: by tick: the tick, the tonic from there on (a pitch class from 0 for C), and 1 for minor.
      end_tick: where the song ends, if not with its last note.
    """

    ticks_per_beat: int
    start: Int64[np.ndarray, " notes"]
    end: Int64[np.ndarray, " notes"]
    pitch: Int64[np.ndarray, " notes"]
    track: Int64[np.ndarray, " notes"]
    meters: Int64[np.ndarray, "meters 3"] = dataclasses.field(default_factory=_NOTHING)
    tempos: Float64[np.ndarray, "tempos 2"] = dataclasses.field(default_factory=_NO_TEMPOS)
    keys: Int64[np.ndarray, "keys 3"] = dataclasses.field(default_factory=_NOTHING)
    end_tick: int | None = None


class Stretch(NamedTuple):
    """Whole bars of one meter in a row, the first at `tick`; `first_bar` of the song's bars come before them."""

    tick: int
    first_bar: int
    num_bars: int
    meter: str


@dataclasses.dataclass(frozen=True)
class Phrases:
    """The phrases of a song; the fields are those of `sources.Chunk` and `sources.Source`."""

    rows: PackedPhrases
    first_bars: list[int | None]
    tempos: list[float] | None
    notes_out_of_range: int


def family(program: int, is_drum: bool) -> int | None:
    """Which of `TRACKS` plays a General MIDI program (from 0), or None where none does.

    The rule by which the Lakh Pianoroll Dataset was merged into LPD-5 (`merger_5.py` of
    salu133445/lakh-pianoroll-dataset): drums by their flag; organs, winds and synthesisers go to the strings;
    synthesiser effects, percussion and sound effects are dropped.
    """
    if is_drum:
        return 0
    if not 0 <= program < 96:
        return 4 if 104 <= program < 112 else None
    return {0: 1, 3: 2, 4: 3}.get(program // 8, 4)


def stretches(song: Song) -> list[Stretch]:
    """The bars of a song, in order.

    A meter that comes inside a bar starts a new bar there; the bar that it cuts is counted, but in no stretch. A
    meter that is said again at a bar line changes nothing. The bar in which the song ends is a whole one.

    Raises:
      SourceError: if there are more than `MAX_BARS` bars.
    """
    last = song.end_tick
    if last is None:
        last = max(int(song.start.max(initial=-1)) + 1, int(song.end.max(initial=0)))
    # Of several meters at a tick the last holds.
    meters = {0: (4, 4)} | {tick: (above, below) for tick, above, below in song.meters.tolist() if tick < last}

    def bars(meter: tuple[int, int], ticks: int) -> tuple[int, int]:
        """How many whole bars, and more than 0 if that is not all; a bar need not last a whole number of ticks."""
        above, below = meter
        return divmod(ticks * below, 4 * song.ticks_per_beat * above)

    changes: list[tuple[int, tuple[int, int]]] = []
    for tick, meter in meters.items():
        if not changes or meter != changes[-1][1] or bars(meter, tick - changes[-1][0])[1]:
            changes.append((tick, meter))
    found = []
    num_bars = 0
    for (tick, meter), until in zip(changes, [*(tick for tick, _ in changes[1:]), last], strict=True):
        whole, more = bars(meter, until - tick)
        if more and until == last:
            whole, more = whole + 1, 0
        if whole:
            found.append(Stretch(tick, num_bars, whole, "{}/{}".format(*meter)))
        num_bars += whole + bool(more)
    if num_bars > MAX_BARS:
        raise SourceError(f"has {num_bars} bars; expected at most {MAX_BARS}")
    return found


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
    windows = _windows(song, options.hop_bars)
    ticks = np.array([tick for tick, _ in windows])
    shift_at = _shifts(song, options.tonality)
    shifts = np.array([shift_at(tick) for tick, _ in windows])
    end = np.where(_IS_DRUM[song.track], song.start, song.end) if options.drum_length == "onset" else song.end

    edges = ticks[:, None] + _first_tick(song, np.array([0, NUM_STEPS]))
    over, begun = (np.searchsorted(edge, song.start, side="right") for edge in (edges[:, 1], edges[:, 0]))
    # The windows in which a note starts are those that have begun and are not over.
    note, window = np.repeat(np.arange(len(over)), begun - over), _ranges(over, begun - over)
    begins = ticks[window]
    place = _place(song.pitch[note], song.track[note], shifts[window])
    started = _Sounds(window, place, _step(song, song.start[note] - begins), _step(song, end[note] - begins))
    is_inside = (place >= 0) & (place < _NUM_PLACES)
    held = _held(song, end, begun, ticks, shifts)
    chosen, rows = _paint(_Sounds(*map(np.concatenate, zip(held, started.only(is_inside), strict=True))))
    if not chosen.size:
        raise SourceError("has no note of MIDI numbers 24 to 107 where there are four whole bars of 4/4 in a row")
    return Phrases(
        rows,
        [windows[i][1] for i in chosen.tolist()],
        _tempos(song, ticks[chosen]),
        notes_out_of_range=len(set(note[~is_inside].tolist())),
    )


class _Sounds(NamedTuple):
    """What sounds in which of the windows.

    Attributes:
      window: which.
      place: of a phrase.
      since: the step at which it starts; -1 where that is before the window.
      until: the step before which it ends; one step after its start at least is meant.
    """

    window: Int64[np.ndarray, " n"]
    place: Int64[np.ndarray, " n"]
    since: Int64[np.ndarray, " n"]
    until: Int64[np.ndarray, " n"]

    def only(self, chosen: Bool[np.ndarray, " n"] | Int64[np.ndarray, " n"]) -> _Sounds:
        """Those that a mask or their numbers select, in the order of the numbers."""
        return _Sounds(*(field[chosen] for field in self))


def _ranges(
    first: Int64[np.ndarray, " ranges"], counts: Int64[np.ndarray, " ranges"], step: int = 1
) -> Int64[np.ndarray, " n"]:
    """One behind the other: from each first number so many, `step` apart."""
    ends = np.cumsum(counts)
    return np.repeat(first - (ends - counts) * step, counts) + np.arange(0, step * counts.sum(), step)


def _held(
    song: Song,
    end: Int64[np.ndarray, " notes"],
    next_window: Int64[np.ndarray, " notes"],
    ticks: Int64[np.ndarray, " windows"],
    shifts: Int64[np.ndarray, " windows"],
) -> _Sounds:
    """What has started before a window and sounds in it, once a window, pitch and track.

    Args:
      song: its notes.
      end: where they end.
      next_window: the first window that begins after each has started; the number of windows if there is none.
      ticks: where the windows start.
      shifts: of the windows.
    """
    # What does not sound in the next window sounds in no later one; that is so of most notes.
    edges, heard_from = (ticks + tick for tick in _first_tick(song, np.array([0, 1])))
    note = np.flatnonzero(end >= np.append(heard_from, np.iinfo(np.int64).max)[next_window])
    cell = song.pitch[note] * NUM_TRACKS + song.track[note]
    order = np.lexsort((song.start[note], cell))
    note = note[order]
    used, first, of_cell = np.unique(cell[order], return_index=True, return_inverse=True)
    # Cells one behind the other on one axis of time, so that a search or a running maximum is one for all of them.
    beyond = int(end.max()) + 2
    starts = song.start[note] + of_cell * beyond
    latest_end = np.maximum.accumulate(end[note] + of_cell * beyond)
    limit = np.clip(edges, 0, beyond - 1)[:, None] + np.arange(len(used)) * beyond
    earlier = np.searchsorted(starts, limit)
    window, k = np.nonzero(earlier > first)
    until = _step(song, latest_end[earlier[window, k] - 1] - k * beyond - ticks[window])
    place = _place(used[k] // NUM_TRACKS, used[k] % NUM_TRACKS, shifts[window])
    found = _Sounds(window, place, np.full(window.shape, -1), until)
    return found.only((until > 0) & (place >= 0) & (place < _NUM_PLACES))


def _windows(song: Song, hop_bars: int) -> list[tuple[int, int]]:
    """The tick and the bar at which each window of four bars of 4/4 starts, in order."""
    found = stretches(song)
    first_note = song.start.min(keepdims=True)
    windows = []
    for stretch in found:
        if stretch.meter == "4/4":
            silent = max(0, int(_step(song, first_note - stretch.tick)[0]) // STEPS_PER_BAR)
            for i in range(silent, stretch.num_bars - NUM_BARS + 1, hop_bars):
                windows.append((stretch.tick + i * 4 * song.ticks_per_beat, stretch.first_bar + i))
    if windows:
        return windows
    counts: dict[str, int] = {}
    for stretch in found:
        counts[stretch.meter] = counts.get(stretch.meter, 0) + stretch.num_bars
    named = [f"{meter} ({count} bar{'s' * (count > 1)})" for meter, count in counts.items()]
    if len(named) > _METERS_NAMED:
        named[_METERS_NAMED:] = [f"{len(named) - _METERS_NAMED} more"]
    raise SourceError(
        f"has no four whole bars of 4/4 in a row from its first note on: its meters are {', '.join(named)}"
    )


def _step(song: Song, ticks: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The step nearest to each tick, both counted from the same bar line; halves go up."""
    return (2 * STEPS_PER_BEAT * ticks + song.ticks_per_beat) // (2 * song.ticks_per_beat)


def _first_tick(song: Song, steps: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The first of the ticks to which each step is the nearest."""
    return -((1 - 2 * steps) * song.ticks_per_beat // (2 * STEPS_PER_BEAT))


def _place(
    pitch: Int64[np.ndarray, " n"], track: Int64[np.ndarray, " n"], shift: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """The places of notes once the pitched tracks are moved up; not in 0 to 419 where a phrase lacks the pitch."""
    return (pitch - LOWEST_PITCH + np.where(_IS_DRUM[track], 0, shift)) * NUM_TRACKS + track


def _paint(sounds: _Sounds) -> tuple[Int64[np.ndarray, " B"], PackedPhrases]:
    """The windows in which anything sounds, in order, and their rolls."""
    counts = np.bincount(sounds.window)
    chosen = np.flatnonzero(counts)
    ends = np.cumsum(counts[chosen])
    # As 16 bits, which hold any window of `MAX_BARS`, they are sorted by their digits, in one pass.
    sounds = sounds.only(np.argsort(sounds.window.astype(np.uint16), kind="stable"))
    # Cells of all rolls in one row, where the same place a step later is _NUM_PLACES further on.
    row = np.repeat(np.arange(len(chosen)), counts[chosen])
    line = row % _WINDOWS_AT_ONCE * _NUM_CELLS + sounds.place
    first, after = np.maximum(sounds.since, 0), np.minimum(np.maximum(sounds.since + 1, sounds.until), NUM_STEPS)
    start = line + first * _NUM_PLACES

    rows = np.empty((len(chosen), _NUM_CELLS // 8), np.uint8)
    on = np.empty((min(_WINDOWS_AT_ONCE, len(chosen)), _NUM_CELLS), bool)
    done = 0
    for begin in range(0, len(chosen), _WINDOWS_AT_ONCE):
        part = rows[begin : begin + _WINDOWS_AT_ONCE]
        end = int(ends[begin + len(part) - 1])
        on[:] = False
        _strike(on.reshape(-1), *(array[done:end] for array in (start, after - first, sounds.since)))
        part[:] = np.packbits(on[: len(part)], axis=1)
        done = end
    return chosen, rows


def _strike(
    on: Bool[np.ndarray, " cells"],
    start: Int64[np.ndarray, " n"],
    steps: Int64[np.ndarray, " n"],
    since: Int64[np.ndarray, " n"],
) -> None:
    """Turns on what sounds, and off the step before each start unless it is a start itself."""
    ends = np.cumsum(steps)
    begin = 0
    while begin < len(steps):
        # Not all at once: thousands of notes may lie upon each other.
        limit = (int(ends[begin - 1]) if begin else 0) + _CELLS_AT_ONCE
        end = max(begin + 1, int(np.searchsorted(ends, limit, side="right")))
        on[_ranges(start[begin:end], steps[begin:end], _NUM_PLACES)] = True
        begin = end
    on[start[since > 0] - _NUM_PLACES] = False
    on[start[since >= 0]] = True


def _tempos(song: Song, ticks: Int64[np.ndarray, " B"]) -> list[float] | None:
    """The tempo at each tick."""
    if not len(song.tempos):
        return None
    current = np.searchsorted(song.tempos[:, 0], ticks, side="right") - 1
    return song.tempos[np.maximum(current, 0), 1].tolist()


def _shifts(song: Song, tonality: str) -> Callable[[int], int]:
    """A function that says how many semitones the pitched tracks of the phrase at a tick are moved up."""
    if tonality == "keep":
        return lambda tick: 0
    pitched = ~_IS_DRUM[song.track]
    durations = np.bincount(song.pitch[pitched] % 12, (song.end - song.start)[pitched], minlength=12)
    estimated = keys.shift_to_c(*keys.estimate_key(durations))
    signatures = song.keys if tonality == "signature" else song.keys[:0]

    def shift_at(tick: int) -> int:
        current = int(np.searchsorted(signatures[:, 0], tick, side="right")) - 1
        if current < 0:
            return estimated
        _, tonic, is_minor = signatures[current].tolist()
        return keys.shift_to_c(tonic, bool(is_minor))

    return shift_at
