"""Validates the bytes of MIDI files ("Standard MIDI Files 1.0", RP-001, 1996) before symusic reads them.

symusic 0.5.8 trusts them: it writes outside its memory if a note has a pitch above 127, and reads past the end of a
file whose chunks claim to be longer than they are; the process crashes, or the music is wrong. So regular expressions
check every event first, in a fraction of a millisecond a file.
"""

from __future__ import annotations

import re

from wae_jax.errors import SourceError

# The class of every byte: d for data, or the last byte of a number; 2 and 1 for a status with two or one bytes of data;
# x for any other status. Bytes above 127 may also belong to a number, before its last byte.
_BYTE_CLASSES = bytes(
    b"d"[0] if i < 0x80 else b"1"[0] if 0xC0 <= i < 0xE0 else b"2"[0] if i < 0xF0 else b"x"[0] for i in range(256)
)
# A number has one to four bytes; all but the last have the top bit set.
_NUMBER = rb"[^d]{0,3}+d"

# Possessive repetitions never try a match another way (except for the events of a `_SEVERAL` that breaks off), so the
# time is that of one pass. An event of two bytes may omit its status if it is that of the event before; if that one has
# a single byte, its possessive repetition has matched all events without a status.
_TWO_BYTES = _NUMBER + rb"2?+dd"
_ONE_BYTE = _NUMBER + rb"1d(?:" + _NUMBER + rb"d)*+"
# An iteration of a repetition costs as much as an event, so an iteration matches several events if it can.
_SEVERAL = _TWO_BYTES * 8
# Consecutive channel events, each after its delta time; the first has a status. Comparing with letters takes half the
# time of ranges of bytes.
_CHANNEL_EVENTS = re.compile(rb"(?=%b[12])(?:%b)++" % (_NUMBER, b"|".join([_SEVERAL, _TWO_BYTES, _ONE_BYTE])))
# The beginning of any other event: delta time, status, the type of a meta event, and the number of bytes that follow.
_OTHER_EVENT = re.compile(
    rb"[\x80-\xff]{0,3}+[\x00-\x7f](?P<type>\xff[\x00-\x7f]|[\xf0\xf7])(?P<length>[\x80-\xff]{0,3}+[\x00-\x7f])"
)

_END_OF_TRACK = b"\xff\x2f"
# A marker, of some text because symusic leaves out empty ones; then the end of the track at the same tick.
_MARKED_END = b"\xff\x06\x03end" + b"\0" + _END_OF_TRACK + b"\0"
# Events whose bytes symusic reads without counting them: tempo, time signature, key signature.
_MIN_BYTES = {b"\xff\x51": 3, b"\xff\x58": 2, b"\xff\x59": 2}
# Events that symusic skips: a sequencer-specific meta event, and a system exclusive event.
_IGNORED_META = b"\xff\x7f"
_ESCAPE, _SYSTEM_EXCLUSIVE = b"\xf7", b"\xf0"


def validated(data: bytes) -> bytes:
    """A valid MIDI file of the same music, of format 0 or 1, safe for any reader.

    Bytes between and after the tracks are left out, as is everything after the end of a track inside of it, and the
    header has the actual number of tracks. Tempos and signatures that are too short lose their meaning. Each track has
    a marker at its end, so that the last of all markers is where the song ends: symusic does not tell where tracks end
    (its issue 56).

    Raises:
      SourceError: if this is not a MIDI file, or not one song in ticks a quarter note, or an event is damaged.
    """
    if data[:4] != b"MThd" or len(data) < 14 or (header := int.from_bytes(data[4:8])) < 6:
        raise SourceError(f"is no MIDI file: it is {len(data)} bytes that start with {data[:8].hex(' ') or 'nothing'}")
    midi_format, division = int.from_bytes(data[8:10]), int.from_bytes(data[12:14])
    if midi_format > 1:
        raise SourceError(f"is a MIDI file of format {midi_format}, which is not one song; expected format 0 or 1")
    if division & 0x8000:
        raise SourceError("counts its time in SMPTE frames; expected ticks a quarter note")
    if not division:
        raise SourceError("has 0 ticks a quarter note; expected at least 1")
    classes = data.translate(_BYTE_CLASSES)
    tracks: list[bytes] = []
    start = 8 + header
    while start + 8 <= len(data):
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8])
        if data[start : start + 4] == b"MTrk":
            name = f"track {len(tracks) + 1}"
            if end > len(data):
                raise SourceError(f"is cut off: its {name} ends at byte {end}, the file at byte {len(data)}")
            events = _validated_events(data, classes, start + 8, end, name)
            tracks.append(b"MTrk" + len(events).to_bytes(4) + events)
        start = end
    if len(tracks) > 0xFFFF:
        raise SourceError(f"has {len(tracks)} tracks; expected at most {0xFFFF}")
    # Zeros, because symusic looks a few bytes beyond the last event.
    return b"MThd" + (6).to_bytes(4) + data[8:10] + len(tracks).to_bytes(2) + data[12:14] + b"".join(tracks) + bytes(64)


def _validated_events(data: bytes, classes: bytes, start: int, end: int, name: str) -> bytes:
    """The events of a track, from offset `start` to before `end`, up to its end event; `classes` as in `_BYTE_CLASSES`.

    Raises:
      SourceError: if an event is damaged.
    """
    events = bytearray(data[start:end])
    offset = start
    while offset < end:
        if channel := _CHANNEL_EVENTS.match(classes, offset, end):
            offset = channel.end()
            continue
        other = _OTHER_EVENT.match(data, offset, end)
        if other is None:
            shown = data[offset : min(offset + 8, end)].hex(" ")
            raise SourceError(f"unreadable: its {name} has no valid event at byte {offset}, but {shown}")
        event_type, length, at = other["type"], _number(other["length"]), other.start("type") - start
        after = other.end() + length
        if after > end:
            raise SourceError(f"unreadable: its {name} ends inside the event at byte {offset}")
        if event_type == _END_OF_TRACK:
            return bytes(events[:at]) + _MARKED_END
        if event_type == _ESCAPE:
            events[at : at + 1] = _SYSTEM_EXCLUSIVE
        elif length < _MIN_BYTES.get(event_type, 0):
            events[at : at + 2] = _IGNORED_META
        offset = after
    return bytes(events) + b"\0" + _MARKED_END


def _number(digits: bytes) -> int:
    """A number written in groups of seven bits."""
    value = 0
    for digit in digits:
        value = value << 7 | digit & 0x7F
    return value
