"""MIDI files as bytes: what may be handed to symusic, which trusts them.

symusic 0.5.8 writes outside its memory where a note has a pitch above 127, and reads on past the end of a file whose
chunks claim to be longer than they are: the process ends, or the music is wrong. So every event is looked at first,
by regular expressions, which takes a fraction of a millisecond a file.

The format is that of the MIDI Manufacturers Association, "Standard MIDI Files 1.0" (RP-001, 1996).
"""

from __future__ import annotations

import re

from wae_jax.errors import SourceError

# Every byte by what it may be: data, or the last of a number; a status that two or one bytes of data follow; any other
# status. What is not the first may also be one of the bytes of a number before its last.
_KINDS = bytes(
    b"d"[0] if i < 0x80 else b"1"[0] if 0xC0 <= i < 0xE0 else b"2"[0] if i < 0xF0 else b"x"[0] for i in range(256)
)
# A number has one to four bytes: all but the last have the top bit set.
_NUMBER = rb"[^d]{0,3}+d"

# Nothing that has matched is tried another way, but for the events of a `_SEVERAL` that breaks off: the time is that of
# one pass. Events of two bytes may leave out a status that is that of the event before; where that one had a single
# byte, the possessive repetition has taken all that do.
_TWO_BYTES = _NUMBER + rb"2?+dd"
_ONE_BYTE = _NUMBER + rb"1d(?:" + _NUMBER + rb"d)*+"
# A turn of a repetition costs as much as an event; so a turn takes several of them where it can.
_SEVERAL = _TWO_BYTES * 8
# The channel events from a place on, each after the time since the one before it; the first has a status. Letters are
# compared in half the time that ranges of bytes take.
_CHANNEL_EVENTS = re.compile(rb"(?=%b[12])(?:%b)++" % (_NUMBER, b"|".join([_SEVERAL, _TWO_BYTES, _ONE_BYTE])))
# What any other event begins with: its time, its status, for a meta event its kind, and how many bytes follow.
_OTHER_EVENT = re.compile(
    rb"[\x80-\xff]{0,3}+[\x00-\x7f](?P<kind>\xff[\x00-\x7f]|[\xf0\xf7])(?P<length>[\x80-\xff]{0,3}+[\x00-\x7f])"
)

_END_OF_TRACK = b"\xff\x2f"
# Kinds whose bytes symusic takes without counting them: tempo, time signature, key signature.
_FEWEST_BYTES = {b"\xff\x51": 3, b"\xff\x58": 2, b"\xff\x59": 2}
# What symusic does read over: a meta event for the maker of a sequencer, and a system exclusive event.
_IDLE_META = b"\xff\x7f"
_ESCAPE, _SYSTEM_EXCLUSIVE = b"\xf7", b"\xf0"


def sound(data: bytes) -> bytes:
    """A MIDI file of format 0 or 1 that says the same as another, and of which a reader may believe everything.

    What is between and behind the tracks is left out, as is what follows the end of a track inside of it, and the
    header has the number of tracks that there are. Tempos and signatures that are too short lose their meaning.

    Raises:
      SourceError: if this is no MIDI file, or not one song in ticks a quarter note, or an event is damaged.
    """
    if data[:4] != b"MThd" or len(data) < 14 or (header := int.from_bytes(data[4:8])) < 6:
        raise SourceError(f"is no MIDI file: it is {len(data)} bytes that start with {data[:8].hex(' ') or 'nothing'}")
    kind, division = int.from_bytes(data[8:10]), int.from_bytes(data[12:14])
    if kind > 1:
        raise SourceError(f"is a MIDI file of format {kind}, which is not one song; expected format 0 or 1")
    if division & 0x8000:
        raise SourceError("counts its time in SMPTE frames; expected ticks a quarter note")
    if not division:
        raise SourceError("has 0 ticks a quarter note; expected at least 1")
    kinds = data.translate(_KINDS)
    tracks: list[bytes] = []
    start = 8 + header
    while start + 8 <= len(data):
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8])
        if data[start : start + 4] == b"MTrk":
            name = f"track {len(tracks) + 1}"
            if end > len(data):
                raise SourceError(f"is cut off: its {name} ends at byte {end}, the file at byte {len(data)}")
            events = _sound_events(data, kinds, start + 8, end, name)
            tracks.append(b"MTrk" + len(events).to_bytes(4) + events)
        start = end
    if len(tracks) > 0xFFFF:
        raise SourceError(f"has {len(tracks)} tracks; expected at most {0xFFFF}")
    # Zeros, because symusic looks a few bytes beyond the last event.
    return b"MThd" + (6).to_bytes(4) + data[8:10] + len(tracks).to_bytes(2) + data[12:14] + b"".join(tracks) + bytes(64)


def _sound_events(data: bytes, kinds: bytes, start: int, end: int, name: str) -> bytes:
    """The events of a track, between two places of a file, up to the end of the track.

    Args:
      data: the file.
      kinds: its bytes by what they may be, as `_KINDS` has them.
      start: where the events start.
      end: where they end.
      name: what to call the track.

    Raises:
      SourceError: if one of them is damaged.
    """
    events = bytearray(data[start:end])
    place = start
    while place < end:
        if channel := _CHANNEL_EVENTS.match(kinds, place, end):
            place = channel.end()
            continue
        other = _OTHER_EVENT.match(data, place, end)
        if other is None:
            shown = data[place : min(place + 8, end)].hex(" ")
            raise SourceError(f"unreadable: its {name} has no sound event at byte {place}, but {shown}")
        kind, length, at = other["kind"], _number(other["length"]), other.start("kind") - start
        after = other.end() + length
        if after > end:
            raise SourceError(f"unreadable: its {name} ends inside the event at byte {place}")
        if kind == _END_OF_TRACK:
            return bytes(events[: after - start])
        if kind == _ESCAPE:
            events[at : at + 1] = _SYSTEM_EXCLUSIVE
        elif length < _FEWEST_BYTES.get(kind, 0):
            events[at : at + 2] = _IDLE_META
        place = after
    return bytes(events)


def _number(digits: bytes) -> int:
    """The number that is written in groups of seven bits."""
    value = 0
    for digit in digits:
        value = value << 7 | digit & 0x7F
    return value
