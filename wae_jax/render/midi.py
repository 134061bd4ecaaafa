"""Phrases as MIDI files: one named track an instrument, exact to the tick."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from wae_jax.files import printable, whole_file
from wae_jax.pianoroll import (
    DEFAULT_TEMPO,
    LOWEST_PITCH,
    NUM_STEPS,
    PROGRAMS,
    STEPS_PER_BEAT,
    TRACKS,
    BinaryPiece,
    BinaryPieces,
)
from wae_jax.pianoroll.notes import find_notes

if TYPE_CHECKING:
    import mido

# 480 ticks a quarter is what sequencers expect, and a whole number of ticks a step.
TICKS_PER_STEP = 40
TICKS_PER_BEAT = STEPS_PER_BEAT * TICKS_PER_STEP

# A text event of files of several phrases, by which they are found where the first bar of the first one rests.
PHRASES_TEXT = "phrases of four bars from bar 1 on"

VELOCITY = 100
# By pitch class; of two names the one with fewer accidentals.
_MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_DRUM_CHANNEL = 9  # channel 10 as musicians count
_PITCHED_CHANNELS = [channel for channel in range(16) if channel != _DRUM_CHANNEL]
_LARGEST_MICROSECONDS_PER_BEAT = 2**24 - 1

Ticks = Int64[np.ndarray, " notes"]


def microseconds_per_beat(tempo: float) -> int:
    """The tempo as a MIDI file states it: whole microseconds a quarter note.

    Args:
      tempo: quarter notes a minute.

    Raises:
      ValueError: if the tempo is not positive, or too slow or too fast to state in three bytes.
    """
    length = round(60e6 / tempo) if math.isfinite(tempo) and tempo > 0 else 0
    if not 1 <= length <= _LARGEST_MICROSECONDS_PER_BEAT:
        raise ValueError(f"tempo is {tempo}; expected quarter notes a minute, between 3.6 and 60 million")
    return length


def write_midi(
    path: str | os.PathLike[str],
    roll: BinaryPiece | BinaryPieces,
    *,
    tempo: float = DEFAULT_TEMPO,
    programs: Sequence[int] = PROGRAMS,
    name: str | None = None,
    tonics: Sequence[int] | None = None,
) -> None:
    """Writes a phrase, or several in a row, as a MIDI file of type 1.

    The first track holds the name, the tempo and the 4/4 meter, and of several phrases a text that says where they
    begin; five more follow, one an instrument in the order of `pianoroll.TRACKS`, silent ones too, so that all files
    open alike in a sequencer. All tracks end where the roll ends. Consecutive active cells of one pitch are one note.

    Args:
      path: the file; an existing one is replaced only once the new one is complete.
      roll: one piece, or several in a row; a note that lasts to the end of one is struck again if it continues at the
        start of the next.
      tempo: quarter notes a minute.
      programs: General MIDI programs, from 0, one a track; the first is that of the drum kit.
      name: title of the piece, shown by sequencers.
      tonics: for key signatures, one a piece: the pitch class on which the major scale of its notes begins, 0 for C
        major and A minor.

    Raises:
      ValueError: if the roll has another shape or is not binary, or the tempo cannot be stated in a MIDI file.
    """
    import mido

    rolls = roll[None] if roll.ndim == 3 else roll
    found = find_notes(rolls)
    start = (found.phrase * rolls.shape[1] + found.onset) * TICKS_PER_STEP
    stop = start + found.length * TICKS_PER_STEP
    end = rolls.shape[0] * rolls.shape[1] * TICKS_PER_STEP
    is_in_phrases = len(rolls) > 1 and rolls.shape[1] == NUM_STEPS
    head = _head(name, tempo, tonics or (), rolls.shape[1] * TICKS_PER_STEP, end, is_in_phrases=is_in_phrases)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT, charset="utf-8")
    file.tracks.append(head)
    pitched_channels = iter(_PITCHED_CHANNELS)
    for k, track in enumerate(TRACKS):
        channel = _DRUM_CHANNEL if track.is_drum else next(pitched_channels)
        messages = mido.MidiTrack()
        messages.append(mido.MetaMessage("track_name", name=track.name))
        messages.append(mido.Message("program_change", channel=channel, program=programs[k]))
        of_track = found.track == k
        now = _add_notes(messages, channel, start[of_track], stop[of_track], found.pitch[of_track] + LOWEST_PITCH)
        messages.append(mido.MetaMessage("end_of_track", time=end - now))
        file.tracks.append(messages)

    with whole_file(path) as part:
        file.save(part)


def _head(
    name: str | None, tempo: float, tonics: Sequence[int], piece_ticks: int, end: int, *, is_in_phrases: bool
) -> mido.MidiTrack:
    """The first track, as `write_midi` describes it."""
    import mido

    head = mido.MidiTrack()
    if name is not None:
        head.append(mido.MetaMessage("track_name", name=printable(name)))
    head.append(mido.MetaMessage("set_tempo", tempo=microseconds_per_beat(tempo)))
    head.append(mido.MetaMessage("time_signature", numerator=4, denominator=4))
    if is_in_phrases:
        head.append(mido.MetaMessage("text", text=PHRASES_TEXT))
    now = 0
    for i, tonic in enumerate(tonics):
        if i == 0 or tonic != tonics[i - 1]:
            head.append(mido.MetaMessage("key_signature", key=_MAJOR_KEYS[tonic % 12], time=i * piece_ticks - now))
            now = i * piece_ticks
    head.append(mido.MetaMessage("end_of_track", time=end - now))
    return head


def _add_notes(messages: mido.MidiTrack, channel: int, start: Ticks, stop: Ticks, pitch: Ticks) -> int:
    """Appends the note-on and note-off messages of one instrument; returns the tick of the last."""
    import mido

    # At equal ticks False sorts before True: a note ends before its pitch is struck again.
    events = sorted(
        [(tick, True, p) for tick, p in zip(start.tolist(), pitch.tolist(), strict=True)]
        + [(tick, False, p) for tick, p in zip(stop.tolist(), pitch.tolist(), strict=True)]
    )
    now = 0
    for tick, is_start, p in events:
        kind, velocity = ("note_on", VELOCITY) if is_start else ("note_off", 0)
        messages.append(mido.Message(kind, channel=channel, note=p, velocity=velocity, time=tick - now))
        now = tick
    return now
