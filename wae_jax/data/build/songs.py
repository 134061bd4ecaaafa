"""A song: its notes on the five tracks, and what it says of its bars, tempo and key.

What a file says of a song is in `Song`. A roll of a whole song is never made, since a small file may last for hours.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from wae_jax.errors import SourceError

# About three hours. A file of some bytes can ask for millions.
MAX_BARS = 5000

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
