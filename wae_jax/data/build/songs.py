"""Songs: notes on the five tracks, meters, tempos and keys.

A piano-roll of a whole song never exists, since a small file may last for hours.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from wae_jax.errors import SourceError
from wae_jax.pianoroll import NUM_BARS, TRACK_NAMES, TRACKS

# About three hours. A file of a few bytes can claim millions.
MAX_BARS = 5000

# Of each of the `TRACKS`.
IS_DRUM = np.array([track.is_drum for track in TRACKS])

_NO_EVENTS = functools.partial(np.zeros, (0, 3), np.int64)
_NO_TEMPOS = functools.partial(np.zeros, (0, 2), np.float64)


@dataclasses.dataclass(frozen=True)
class Song:
    """The notes of a song on the five tracks, and its meters, tempos and keys by tick.

    A meter is its tick, where a bar begins, numerator and denominator, both positive; before the first it is 4/4. A
    tempo is its tick and quarter notes a minute; the first holds before its tick too, and there is none if it is
    unknown. A key is its tick, tonic (a pitch class, 0 is C) and 1 for minor.
    """

    ticks_per_beat: int  # a beat is a quarter note
    start: Int64[np.ndarray, " notes"]  # ticks from 0, in any order
    end: Int64[np.ndarray, " notes"]  # not before the start
    pitch: Int64[np.ndarray, " notes"]  # MIDI numbers
    track: Int64[np.ndarray, " notes"]  # indices into `TRACKS`
    meters: Int64[np.ndarray, "meters 3"] = dataclasses.field(default_factory=_NO_EVENTS)
    tempos: Float64[np.ndarray, "tempos 2"] = dataclasses.field(default_factory=_NO_TEMPOS)
    keys: Int64[np.ndarray, "keys 3"] = dataclasses.field(default_factory=_NO_EVENTS)
    begins_with_phrase: bool = False  # the file says that its first bar is that of a phrase
    end_tick: int = 0  # where silence after the last note ends; before the last note if there is none


class Stretch(NamedTuple):
    """Consecutive whole bars of one meter: the tick and the index of the first, and how many there are."""

    tick: int
    first_bar: int
    num_bars: int
    meter: str


def family(program: int, is_drum: bool) -> int | None:
    """The track, an index into `TRACKS`, of a General MIDI program (from 0); None if it has none.

    The rule by which the Lakh Pianoroll Dataset was merged into LPD-5 (`merger_5.py` of
    salu133445/lakh-pianoroll-dataset): drums by their flag; organs, winds and synthesizers become strings; synthesizer
    effects, percussion and sound effects are dropped.
    """
    if is_drum:
        return 0
    if not 0 <= program < 96:
        return 4 if 104 <= program < 112 else None
    return {0: 1, 3: 2, 4: 3}.get(program // 8, 4)


def tracks_by_name(names: Sequence[str | None]) -> dict[str, int]:
    """The index into `TRACKS` by name if each of the five is just once among the names of a file's tracks; else none.

    Other tracks may be among them.
    """
    is_each_once = all(names.count(name) == 1 for name in TRACK_NAMES)
    return {name: k for k, name in enumerate(TRACK_NAMES)} if is_each_once else {}


def last_tick(song: Song) -> int:
    """The tick at which the last note ends; a note lasts at least one tick."""
    return max(int(song.start.max(initial=-1)) + 1, int(song.end.max(initial=0)))


def stretches(song: Song) -> list[Stretch]:
    """The bars of a song, in order.

    A meter inside a bar starts a new bar there; the bar that it cuts is counted, but in no stretch. A meter repeated at
    a bar line changes nothing, and neither does one after the last note. The bar in which the song ends counts as a
    whole one. Silence after the last note is counted up to four bars of 4/4, for a phrase has no more of it: the tracks
    of some files end hours later.

    Raises:
      SourceError: if there are more than `MAX_BARS` bars.
    """
    last = last_tick(song)
    end = max(last, min(song.end_tick, last + NUM_BARS * 4 * song.ticks_per_beat))
    # Of several meters at one tick the last one holds.
    meters = {0: (4, 4)} | {tick: (above, below) for tick, above, below in song.meters.tolist() if tick < last}

    def bars(meter: tuple[int, int], ticks: int) -> tuple[int, int]:
        """Number of whole bars, and a positive remainder; a bar need not last a whole number of ticks."""
        above, below = meter
        return divmod(ticks * below, 4 * song.ticks_per_beat * above)

    changes: list[tuple[int, tuple[int, int]]] = []
    for tick, meter in meters.items():
        if not changes or meter != changes[-1][1] or bars(meter, tick - changes[-1][0])[1]:
            changes.append((tick, meter))
    found = []
    num_bars = 0
    for (tick, meter), until in zip(changes, [*(tick for tick, _ in changes[1:]), end], strict=True):
        whole, more = bars(meter, until - tick)
        if more and until == end:
            whole, more = whole + 1, 0
        if whole:
            found.append(Stretch(tick, num_bars, whole, "{}/{}".format(*meter)))
        num_bars += whole + bool(more)
    if num_bars > MAX_BARS:
        raise SourceError(f"has {num_bars} bars; expected at most {MAX_BARS}")
    return found
