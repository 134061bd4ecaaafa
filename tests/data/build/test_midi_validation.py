import io
import time

import mido
import pytest
import symusic

from wae_jax.data.build import midi_validation
from wae_jax.errors import SourceError

HEADER = b"MThd" + (6).to_bytes(4) + (1).to_bytes(2) + (1).to_bytes(2) + (480).to_bytes(2)
NOTE = bytes.fromhex("00 90 3c 40  60 80 3c 00")
END = bytes.fromhex("00 ff 2f 00")
# The end of a track as `validated` gives it, with a marker "end".
MARKED_END = bytes.fromhex("00 ff 06 03 65 6e 64  00 ff 2f 00")
# What `validated` appends to the last track.
ZEROS = bytes(64)


def track(*events):
    return b"MTrk" + len(b"".join(events)).to_bytes(4) + b"".join(events)


def hexed(text):
    return bytes.fromhex(text)


def test_a_good_file_stays_as_it_is():
    file = mido.MidiFile(type=1)
    file.tracks.append(mido.MidiTrack())
    for kind in ("note_on", "note_off", "polytouch", "control_change", "program_change", "aftertouch", "pitchwheel"):
        for time_since in (0, 127, 128, 16383, 16384, 2**21, 2**28 - 1):
            file.tracks[0].append(mido.Message(kind, channel=15, time=time_since))
    file.tracks[0].append(mido.Message("sysex", data=range(100), time=5))
    file.tracks[0].append(mido.MetaMessage("text", text="x" * 300))
    file.tracks[0].append(mido.MetaMessage("set_tempo", tempo=400_000))
    file.tracks[0].append(mido.MetaMessage("time_signature", numerator=3))
    file.tracks[0].append(mido.MetaMessage("key_signature", key="Eb"))
    file.tracks.append(mido.MidiTrack([mido.Message("note_on", time=3), mido.Message("note_on", velocity=0, time=9)]))
    written = io.BytesIO()
    file.save(file=written)
    first, second = written.getvalue()[14:].split(b"MTrk")[1:]
    tracks = [track(events[4:].removesuffix(END), MARKED_END) for events in (first, second)]
    assert midi_validation.validated(written.getvalue()) == written.getvalue()[:14] + b"".join(tracks) + ZEROS


def test_events_without_a_status():
    events = hexed(
        "00 90 3c 40  60 3c 00  81 00 3e 40  00 c0 05  10 06  00 b0 07 7f  00 08 00  00 f0 01 f7  00 90 3c 40"
    )
    assert midi_validation.validated(HEADER + track(events, END)) == HEADER + track(events, MARKED_END) + ZEROS
    # After any other event the status has to be said again.
    with pytest.raises(SourceError, match=r"its track 1 has no valid event at byte 30, but 00 3c 40$"):
        midi_validation.validated(HEADER + track(hexed("00 90 3c 40  00 f0 01 f7"), hexed("00 3c 40")))


def test_only_tracks_are_left():
    valid = HEADER + track(NOTE, MARKED_END) + ZEROS
    junk = b"JUNK" + (3).to_bytes(4) + b"abc"
    far = b"JUNK" + (1 << 31).to_bytes(4)
    for variant in (
        HEADER + junk + track(NOTE, END) + junk,
        HEADER + track(NOTE, END) + far,
        HEADER + track(NOTE, END) + b"MTr",
        HEADER[:4] + (8).to_bytes(4) + HEADER[8:] + b"??" + track(NOTE, END),
        HEADER[:10] + (40).to_bytes(2) + HEADER[12:] + track(NOTE, END),
        # What follows the end of a track inside of it is no event.
        HEADER + track(NOTE, END, hexed("00 90 ff ff")),
        # A track that nothing ends lasts to its last event.
        HEADER + track(NOTE),
    ):
        assert midi_validation.validated(variant) == valid
    # A chunk that claims to be longer than the file hides what is behind it.
    assert (
        midi_validation.validated(HEADER + far + track(NOTE, END))
        == HEADER[:10] + (0).to_bytes(2) + HEADER[12:] + ZEROS
    )


def test_a_marker_tells_when_each_track_ends():
    # Ticks after the note, which ends at 96; the last event of the third track, a lyric, ends it.
    tracks = track(NOTE, hexed("81 00 ff 2f 00")), track(hexed("87 68 ff 2f 00")), track(NOTE, hexed("05 ff 05 01 61"))
    score = symusic.Score.from_midi(midi_validation.validated(HEADER + b"".join(tracks)))
    assert sorted(marker.time for marker in score.markers) == [96 + 5, 96 + 128, 1000]
    assert [(note.start, note.end) for note in score.tracks[0].notes] == [(0, 96)]


def test_events_that_symusic_would_misread_are_neutralized():
    for before, after in (
        ("00 f7 02 90 ff", "00 f0 02 90 ff"),
        ("81 00 f7 00", "81 00 f0 00"),
        ("00 ff 51 02 07 a1", "00 ff 7f 02 07 a1"),
        ("00 ff 58 01 04", "00 ff 7f 01 04"),
        ("00 ff 59 00", "00 ff 7f 00"),
        ("00 ff 58 02 04 02", "00 ff 58 02 04 02"),
    ):
        valid = HEADER + track(hexed(after), NOTE, MARKED_END) + ZEROS
        assert midi_validation.validated(HEADER + track(hexed(before), NOTE, END)) == valid


@pytest.mark.parametrize(
    "event",
    [
        "00 90 80 40",  # A pitch above 127, with which symusic writes where it should not.
        "00 8f ff 40",
        "00 90 3c 80",
        "00 b0 07 a8",
        "00 c0 e6",
        "00 e0 00 ff",
        "00 f4 00",
        "00 fd 00",
        "80 80 80 80 00 90 3c 40",  # A time of five bytes.
        "00 ff 80 00",
        "00 90 3c",
        "00 90",
        "00",
        "80",
        "00 ff 51",
    ],
)
def test_damaged_events(event):
    with pytest.raises(SourceError, match=rf"^unreadable: its track 2 has no valid event at byte 42, but {event}"[:80]):
        midi_validation.validated(HEADER + track(NOTE, END) + track(hexed(event)))


def test_events_that_end_behind_their_track():
    for event in ("00 ff 51 04 07 a1 20", "00 f0 81 00 00", "00 ff 01 ff ff ff 7f"):
        with pytest.raises(SourceError, match=r"^unreadable: its track 1 ends inside the event at byte 30$"):
            midi_validation.validated(HEADER + track(NOTE, hexed(event)) + track(NOTE))


def test_what_is_no_song():
    for data, reason in (
        (b"", r"is no MIDI file: it is 0 bytes that start with nothing"),
        (b"RIFF" + HEADER, r"is no MIDI file: it is 18 bytes that start with 52 49 46 46 4d 54 68 64"),
        (HEADER[:13], r"is no MIDI file: it is 13 bytes"),
        (HEADER[:7] + b"\5" + HEADER[8:], r"is no MIDI file"),
        (HEADER[:9] + b"\2" + HEADER[10:], r"format 2, which is not one song; expected format 0 or 1"),
        (HEADER[:12] + b"\xe7\x28", r"counts its time in SMPTE frames; expected ticks a quarter note"),
        (HEADER[:12] + b"\0\0", r"has 0 ticks a quarter note; expected at least 1"),
        ((HEADER + track(NOTE, END))[:-1], r"is cut off: its track 1 ends at byte 34, the file at byte 33"),
        (HEADER + track() * 65536, r"has 65536 tracks; expected at most 65535"),
    ):
        with pytest.raises(SourceError, match=reason):
            midi_validation.validated(data)


def test_time_does_not_grow_faster_than_the_file():
    began = time.process_time()
    for unit in (b"\x80", b"\xff", b"\x00", NOTE, hexed("00 3c 40"), hexed("00 c0 01"), hexed("00 f0 00")):
        for first in (b"", NOTE):
            events = first + unit * (2**18 // len(unit)) + b"\xff"
            with pytest.raises(SourceError, match=r"no valid event"):
                midi_validation.validated(HEADER + track(events))
    assert time.process_time() - began < 5
