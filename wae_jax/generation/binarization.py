"""Which cells sound: from the probabilities of cells to notes.

A decoder says how likely each cell is, and a rule decides. Deciding each cell alone, above one half or at random,
breaks notes into splinters: where a decoder is unsure along a note, its cells fall now on one side of a threshold and
now on the other. The rules here let a note begin above one threshold and last while it stays above a lower one
(hysteresis, as Canny's edge detector has it, doi 10.1109/TPAMI.1986.4767851), close gaps and leave out what is too
short, unless the decoder is surer of it than it need be of a longer note. They apply to pitched tracks: drum notes are
onsets, one step long. And a track of which hardly anything is expected in a phrase is silent throughout, as tracks of
music are, where it would otherwise play a few stray notes in every phrase.

Thresholds, rests and what keeps short notes may be left to be found on draws of a run, which `calibration.py` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int16

from wae_jax.generation.sampling import binarize
from wae_jax.pianoroll import NUM_TRACKS, PITCHED_TRACKS, TRACK_NAMES, Probabilities, Rolls

if TYPE_CHECKING:
    import ml_collections

METHODS = ("hard", "bernoulli")
DENSITY = "density"
# Of what a rule has for each track: that it is to be found, and that there is none.
DATA, NONE = "data", "none"

# Single pitches of single phrases.
Lines = Bool[np.ndarray, "N T"]


class TrackRule(NamedTuple):
    """What a rule is for one track; see `Decision`.

    Attributes:
      threshold: None where cells are chosen at random.
      hold, close_gaps, min_length, keep_short: as there.
    """

    threshold: float | None
    hold: float = 1.0
    close_gaps: int = 0
    min_length: int = 1
    keep_short: float = 0.0

    @property
    def mends(self) -> bool:
        """Whether more is done than to choose cells one by one."""
        return self.hold < 1 or self.close_gaps > 0 or self.min_length > 1


@dataclasses.dataclass(frozen=True)
class Decision:
    """A rule.

    Attributes:
      method: "hard", above thresholds; or "bernoulli", each cell at random with its probability, and then no notes are
        held; gaps and short notes are dealt with in either case.
      thresholds: of each track, for "hard": a cell sounds whose probability is above it. None: those at which draws
        are as dense as the training data, which `calibration.calibrate` has to find first.
      hold: a note that has begun lasts while the probability is above this share of its track's threshold; 1 decides
        each cell alone.
      close_gaps: steps; silences of one pitch that are no longer, between two notes, become part of one note.
      min_length: steps; shorter notes are left out, after gaps have been closed.
      keep_short: of each track, for "hard": a note shorter than that stays where the probability of a cell of it is
        above so many times the threshold; 0 leaves out all of them. None: those at which draws have as many short notes
        as the training data, which `calibration.calibrate` has to find first.
      rests: of each track, in cells, for "hard": it is silent throughout a phrase in which its probabilities add up to
        less. None: those at which draws have as many empty bars as the training data, which `calibration.calibrate`
        has to find first.
    """

    method: str = "hard"
    thresholds: tuple[float, ...] | None = (0.5,) * NUM_TRACKS
    hold: float = 1.0
    close_gaps: int = 0
    min_length: int = 1
    keep_short: tuple[float, ...] | None = (0.0,) * NUM_TRACKS
    rests: tuple[float, ...] | None = (0.0,) * NUM_TRACKS

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"no way to binarise is called {self.method!r}; there are {' and '.join(METHODS)}")
        if self.thresholds is not None and (
            len(self.thresholds) != NUM_TRACKS or not all(0 <= threshold <= 1 for threshold in self.thresholds)
        ):
            raise ValueError(f"thresholds are {self.thresholds}; expected {NUM_TRACKS} numbers between 0 and 1")
        if not 0 <= self.hold <= 1:
            raise ValueError(f"hold is {self.hold}; expected a share between 0 and 1")
        if self.close_gaps < 0 or self.min_length < 1:
            raise ValueError(
                f"close_gaps is {self.close_gaps} and min_length {self.min_length}; expected steps, at least 0 and 1"
            )
        if self.keep_short is not None and (
            len(self.keep_short) != NUM_TRACKS or not all(each == 0 or each >= 1 for each in self.keep_short)
        ):
            raise ValueError(f"keep_short is {self.keep_short}; expected {NUM_TRACKS} factors of at least 1, or 0")
        if self.rests is not None and (len(self.rests) != NUM_TRACKS or not all(rest >= 0 for rest in self.rests)):
            raise ValueError(f"rests are {self.rests}; expected {NUM_TRACKS} numbers of cells, at least 0")

    @property
    def open_fields(self) -> list[str]:
        """The names of what is to be found."""
        return [name for name in ("thresholds", "keep_short", "rests") if getattr(self, name) is None]

    def rule_of(self, track: int) -> TrackRule:
        """What it is for a track; what is to be found has no say."""
        threshold = self.thresholds[track] if self.method == "hard" and self.thresholds else None
        if track not in PITCHED_TRACKS:
            return TrackRule(threshold)
        keep_short = self.keep_short[track] if self.keep_short else 0.0
        return TrackRule(threshold, self.hold, self.close_gaps, self.min_length, keep_short)

    def __str__(self) -> str:
        if self.method == "bernoulli":
            words = ["at random with their probability"]
        elif self.thresholds is None:
            words = ["above thresholds at which draws are as dense as the training data"]
        else:
            words = [f"above {_by_track(self.thresholds)}"]
        is_hard = self.method == "hard"
        if is_hard and self.hold < 1:
            words.append(f"and then, in one note, above {self.hold:g} times that")
        if self.close_gaps:
            words.append(f"with gaps of up to {self.close_gaps} steps closed")
        if self.min_length > 1:
            words.append(f"without notes shorter than {self.min_length} steps")
            if is_hard and self.keep_short is None:
                words[-1] += ", but for as many as the training data have"
            elif is_hard and self.keep_short and any(self.keep_short):
                words[-1] += f" that stay below {_by_track(self.keep_short)} times the threshold"
        if is_hard and self.rests is None:
            words.append("with tracks at rest so that draws have as many empty bars as the training data")
        elif is_hard and self.rests and any(self.rests):
            words.append(f"with tracks at rest where fewer cells are expected than {_by_track(self.rests)}")
        return ", ".join(words)


def _by_track(numbers: Sequence[float]) -> str:
    """The number of all tracks; or numbers with the names of theirs, where those of 0 have no say and are left out."""
    if len(set(numbers)) == 1:
        return f"{numbers[0]:g}"
    named = zip(numbers, TRACK_NAMES, strict=True)
    return ", ".join(f"{each:.3g} ({name})" for each, name in named if each)


def decision_of_config(config: ml_collections.ConfigDict) -> Decision:
    """The rule of a run's configuration: `decision`, and `eval.threshold` where thresholds are fixed."""
    settings = config.decision
    return Decision(
        method=settings.method,
        thresholds=None if settings.thresholds == DENSITY else (float(config.eval.threshold),) * NUM_TRACKS,
        hold=float(settings.hold),
        close_gaps=settings.close_gaps,
        min_length=settings.min_length,
        keep_short=None if settings.keep_short == DATA else (0.0,) * NUM_TRACKS,
        rests=None if settings.rests == DATA else (0.0,) * NUM_TRACKS,
    )


def as_flags(decision: Decision) -> dict[str, Any]:
    """A rule as JSON can hold it, by the names of the flags that ask for it."""
    return {
        "binarize": decision.method,
        "threshold": _as_flag(decision.thresholds, is_open=DENSITY),
        "hold": decision.hold,
        "close_gaps": decision.close_gaps,
        "min_length": decision.min_length,
        "keep_short": _as_flag(decision.keep_short, is_open=DATA, is_zero=NONE),
        "rests": _as_flag(decision.rests, is_open=DATA, is_zero=NONE),
    }


def _as_flag(numbers: tuple[float, ...] | None, *, is_open: str, is_zero: str | float = 0.0) -> Any:
    if numbers is None:
        return is_open
    if len(set(numbers)) > 1:
        return list(numbers)
    return numbers[0] or is_zero


def decide(probabilities: Probabilities, decision: Decision, *, seed: int = 0) -> Rolls:
    """Phrases from the probabilities of their cells.

    Args:
      probabilities: of each cell.
      decision: the rule.
      seed: for "bernoulli"; each phrase has random numbers of its own, whatever others there are.

    Raises:
      ValueError: if something is needed that has not been found yet.
    """
    if decision.method == "bernoulli":
        cells = binarize(probabilities, method="bernoulli", threshold=0.5, seed=seed)
    else:
        if decision.open_fields:
            raise ValueError(
                f"the decision has no {' and no '.join(decision.open_fields)} yet; expected one from "
                "`calibration.calibrate`"
            )
        cells = probabilities > np.asarray(decision.thresholds, probabilities.dtype)
        if any(decision.rests or ()):
            cells &= (expected_cells(probabilities) >= decision.rests)[:, None, None]
    for k in PITCHED_TRACKS:
        rule = decision.rule_of(k)
        if rule.mends:
            # Of most pitches no cell sounds, and then there is nothing to mend.
            phrases, pitches = np.nonzero(cells[..., k].any(axis=1))
            lines, likely = cells[phrases, :, pitches, k], probabilities[phrases, :, pitches, k]
            cells[phrases, :, pitches, k] = mended(lines, likely, rule)
    return cells


def mended(lines: Lines, probabilities: Float[np.ndarray, "N T"], rule: TrackRule) -> Lines:
    """Notes of the cells that were chosen, above a threshold or at random; the rows are pitches of phrases."""
    if rule.threshold is not None and rule.hold < 1:
        lines = hold(lines, probabilities > rule.threshold * rule.hold)
    if rule.close_gaps:
        lines = close_gaps(lines, rule.close_gaps)
    if rule.min_length > 1:
        long = remove_short(lines, rule.min_length)
        if rule.threshold is not None and rule.keep_short:
            some = (lines > long).any(axis=1)
            sure = probabilities[some] > rule.threshold * rule.keep_short
            long[some] |= keep_sure(lines[some], sure)
        return long
    return lines


def expected_cells(probabilities: Probabilities) -> Float64[np.ndarray, "B K=5"]:
    """How many cells of each track are expected to sound, by phrase: the sum of their probabilities."""
    return np.asarray(probabilities.sum(axis=(1, 2), dtype=np.float64))


def hold(start: Lines, stay: Lines) -> Lines:
    """Notes that begin where `start` says and last while `stay` says so.

    Args:
      start: where a note begins, or goes on; a part of `stay`.
      stay: where a note may last.
    """
    steps = np.arange(start.shape[1], dtype=np.int16)
    last_start = np.maximum.accumulate(np.where(start, steps, np.int16(-1)), axis=1)
    last_break = np.maximum.accumulate(np.where(stay, np.int16(-1), steps), axis=1)
    return last_start > last_break


def close_gaps(on: Lines, longest: int) -> Lines:
    """Fills silences of up to `longest` steps between two notes of one pitch."""
    before, after = _nearest(on)
    is_between = (before >= 0) & (after < on.shape[1])
    return on | (is_between & (after - before - 1 <= longest))


def remove_short(on: Lines, shortest: int) -> Lines:
    """Leaves out notes of fewer than `shortest` steps."""
    before, after = _nearest(~on)
    return on & (after - before - 1 >= shortest)


def keep_sure(on: Lines, sure: Lines) -> Lines:
    """Leaves out the notes that have no sure cell."""
    found = on & sure
    return hold(found, on) | hold(found[:, ::-1], on[:, ::-1])[:, ::-1]


def _nearest(here: Lines) -> tuple[Int16[np.ndarray, "N T"], Int16[np.ndarray, "N T"]]:
    """For each step the last before it, or itself, where something is, and the first after; -1 and T for none."""
    num_steps = here.shape[1]
    steps = np.arange(num_steps, dtype=np.int16)
    before = np.maximum.accumulate(np.where(here, steps, np.int16(-1)), axis=1)
    backwards = np.where(here, steps, np.int16(num_steps))[:, ::-1]
    return before, np.minimum.accumulate(backwards, axis=1)[:, ::-1]
