"""Small MIDI files for the page that cuts songs into phrases, by what is special about them."""

import io

import mido
import numpy as np

BEAT = 480
BAR = 4 * BEAT


def song(*tracks, ticks_per_beat=BEAT, midi_format=1):
    """The bytes of a file; a track is a list of (tick, message)."""
    file = mido.MidiFile(type=midi_format, ticks_per_beat=ticks_per_beat, charset="latin1")
    for events in tracks:
        track, now = mido.MidiTrack(), 0
        for tick, message in sorted(events, key=lambda event: event[0]):
            track.append(message.copy(time=tick - now))
            now = tick
        file.tracks.append(track)
    written = io.BytesIO()
    file.save(file=written)
    return written.getvalue()


def note(start, stop, pitch, channel=0):
    return [
        (start, mido.Message("note_on", channel=channel, note=pitch, velocity=90)),
        (stop, mido.Message("note_off", channel=channel, note=pitch)),
    ]


def scale(first=0, bars=4, tonic=60, channel=0, step=BEAT):
    """A major scale up and down from a tick on, for some bars."""
    steps = (0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2)
    ticks = range(first, first + bars * BAR, step)
    return [event for i, tick in enumerate(ticks) for event in note(tick, tick + step, tonic + steps[i % 14], channel)]


def meta(tick, kind, **values):
    return [(tick, mido.MetaMessage(kind, **values))]


def program(tick, number, channel=0):
    return [(tick, mido.Message("program_change", channel=channel, program=number))]


def meter(tick, above, below=4):
    return meta(tick, "time_signature", numerator=above, denominator=below)


# Four bars, whatever notes there are.
REST = meta(4 * BAR, "end_of_track")


def _named(names):
    return [meta(0, "track_name", name=name) + scale(tonic=40 + 5 * k, channel=k) for k, name in enumerate(names)]


FIVE = ("Drums", "Piano", "Guitar", "Bass", "Strings")
RAW_HEADER = b"MThd" + (6).to_bytes(4) + bytes.fromhex("0001 0001 01e0")


def _raw(events):
    content = bytes.fromhex(events)
    return RAW_HEADER + b"MTrk" + len(content).to_bytes(4) + content


SONGS = {
    "plain": song(scale(bars=9)),
    "format 0": song(scale() + scale(channel=9, tonic=36), midi_format=0),
    "pickup bar": song(scale(first=BAR - BEAT, bars=8)),
    "silent bars first": song(scale(first=6 * BAR, bars=5)),
    "last bar in the first windows alone": song(scale(first=BAR, bars=7)),
    "phrases from bar 1 on": song(meta(0, "text", text="phrases of four bars from bar 1 on"), scale(first=BAR, bars=8)),
    "silence until the end of the track": song(scale(bars=2), meta(4 * BAR, "end_of_track")),
    "meters": song(meter(0, 4) + meter(5 * BAR, 3) + meter(5 * BAR + 9 * BEAT, 4), scale(bars=18)),
    "meter inside a bar": song(meter(0, 4) + meter(4 * BAR + BEAT, 4), scale(bars=12)),
    "meter repeated, and after the end": song(meter(0, 4) + meter(BAR, 4) + meter(90 * BAR, 3), scale(bars=6)),
    "a meter in the silence after the last note": song(meter(3 * BAR, 3), scale(bars=3) + REST),
    "meters at one tick": song(meter(0, 3) + meter(0, 4), meter(0, 5) + meter(0, 4), scale(bars=4)),
    "meters whose bars are no whole ticks": song(
        meter(0, 3, 32) + meter(40, 4), scale(bars=4, step=7), ticks_per_beat=5
    ),
    "tempos": song(
        meta(0, "set_tempo", tempo=500_000)
        + meta(BEAT, "set_tempo", tempo=400_000)
        + meta(6 * BAR, "set_tempo", tempo=300_000)
        + meta(6 * BAR, "set_tempo", tempo=250_000),
        scale(bars=12),
    ),
    "key signatures": song(
        meta(0, "key_signature", key="Eb")
        + meta(4 * BAR, "key_signature", key="F#m")
        + meta(8 * BAR, "key_signature", key="C"),
        scale(tonic=63) + scale(tonic=57, first=4 * BAR) + scale(tonic=66, first=8 * BAR),
    ),
    "a default signature that does not fit": song(meta(0, "key_signature", key="C"), scale(tonic=66, bars=8)),
    "a default signature of a note too few": song(meta(0, "key_signature", key="C"), scale(tonic=67, bars=8)),
    "signatures at one tick": song(
        meta(0, "key_signature", key="D") + meta(0, "key_signature", key="C"), scale(tonic=67, bars=8)
    ),
    "a signature of eleven sharps": _raw("00 ff 59 02 0b 00 00 90 3c 40 60 80 3c 00 bc 00 ff 2f 00"),
    "keys of several tracks": song(
        meta(0, "key_signature", key="D") + scale(tonic=62), meta(0, "key_signature", key="G") + scale(tonic=55)
    ),
    "overlapping notes": song(
        REST
        + note(0, 3 * BAR, 60)
        + note(BEAT, 2 * BEAT, 60)
        + note(2 * BEAT, 4 * BEAT, 60)
        + note(0, BEAT, 64)
        + note(BEAT, BEAT, 64)
        + note(4 * BEAT, 4 * BEAT + 39, 64)
        + note(4 * BEAT + 40, 5 * BEAT, 64)
    ),
    "notes across phrases": song(note(3 * BAR, 6 * BAR, 60) + note(4 * BAR, 5 * BAR, 60) + note(8 * BAR, 9 * BAR, 60)),
    "equal pitches of two channels": song(
        REST + program(0, 30, 0) + program(0, 31, 1) + note(0, BAR, 60) + note(BEAT, 2 * BEAT, 60, channel=1)
    ),
    "steps that are halved": song(
        [event for i in range(60) for event in note(i * 77 + 1, i * 77 + 20 + i, 50 + i)], ticks_per_beat=100
    ),
    "drums": song(scale(channel=9, tonic=35) + note(0, BAR, 81, channel=9) + note(0, BAR, 110, channel=9)),
    "programs": song(
        *[program(0, 8 * k, k) + scale(tonic=36 + k, channel=k) for k in range(9)],
        *[program(0, 72 + 8 * k, k) + scale(tonic=36 + k, channel=k) for k in range(7)],
    ),
    "a program in the middle of a note": song(
        REST + note(0, BAR, 60) + program(BEAT, 33) + note(2 * BEAT, 3 * BEAT, 60) + note(2 * BAR, 3 * BAR, 55)
    ),
    "five names": song(*_named(FIVE)),
    "five names among others": song(*_named((*FIVE, "Solo"))),
    "a name twice": song(*_named((*FIVE, "Bass"))),
    "names that change": song(*_named(FIVE[:4]), _named(["Strings"])[0] + meta(BAR, "track_name", name="Pad")),
    "a track of two names": song(
        meta(0, "track_name", name="Drums") + _named(["Piano"])[0], *_named(("Guitar", "Bass", "Strings", "Piano"))
    ),
    "a long name at last": song(
        *_named(("Drums", "Piano", "Bass", "Strings")),
        _named(["Guitar"])[0] + meta(BAR, "track_name", name=200 * "x"),
    ),
    "names of objects": song(*_named(("constructor", "__proto__", "Piano"))),
    "out of range": song(
        meta(0, "key_signature", key="Db"),
        scale(tonic=96, bars=3)
        + note(0, BAR, 24)
        + note(BAR, 2 * BAR, 107)
        + note(2 * BAR, 3 * BAR, 5)
        + note(3 * BAR, 4 * BAR, 127),
    ),
    "running status and odd events": _raw(
        "00 90 3c 40 60 3c 00 00 40 40 83 60 40 00 00 c0 05 10 06 00 f0 03 01 02 f7 00 f7 02 90 ff 00 ff 21 03 01 02 03"
        "00 ff 51 04 06 1a 80 00 00 ff 58 05 04 02 18 08 00 00 ff 59 03 02 00 00 00 ff 54 01 00 00 ff 51 02 01 02"
        "00 ff 00 00 00 ff 20 00 8f 00 90 43 40 83 60 43 00 bc 00 ff 05 01 61"
    ),
    "bytes after the end of a track": _raw("00 90 3c 40 60 80 3c 00 bc 00 ff 2f 00 90 ff ff"),
    "a longer header": song(scale()).replace((6).to_bytes(4), (8).to_bytes(4), 1).replace(b"MTrk", b"??MTrk", 1),
    "another chunk": song(scale()).replace(b"MTrk", b"JUNK" + (3).to_bytes(4) + b"abcMTrk", 1),
}

REFUSED = {
    "nothing": b"",
    "not MIDI": b"RIFF" + bytes(40),
    "only a header": RAW_HEADER,
    "format 2": RAW_HEADER[:9] + b"\2" + RAW_HEADER[10:],
    "SMPTE": RAW_HEADER[:12] + b"\xe7\x28",
    "no ticks": RAW_HEADER[:12] + b"\0\0",
    "cut off": song(scale())[:-7],
    "damaged data": _raw("00 90 3c 40 10 80 bc 00"),
    "damaged status": _raw("00 90 3c 40 10 f4 00"),
    "no status": _raw("00 90 3c 40 00 f0 01 f7 00 3c 00"),
    "a number of five bytes": _raw("80 80 80 80 00 90 3c 40"),
    "an event longer than its track": _raw("00 90 3c 40 00 ff 01 ff ff ff 7f"),
    "waltz": song(meter(0, 3), scale(bars=9)),
    "many meters": song([each for i in range(8) for each in meter(i * 5 * BAR, 5 + i)], scale(bars=45)),
    "short": song(scale(bars=3)),
    "no notes": song(meter(0, 4)),
    "only sound effects": song(program(0, 120) + scale()),
    "notes without an end": song([event for event in scale() if event[1].type == "note_on"]),
    "out of range": song(note(0, 4 * BAR, 12) + note(BAR, 2 * BAR, 120)),
    "hours": _raw("00 90 3c 40 ff ff ff 7f 80 3c 00"),
    "days": _raw("00 90 3c 40" + " ff ff ff 7f b0 07 40" * 9 + " 00 80 3c 00"),
}


def random_song(seed):
    """A file of random notes, programs, names, meters, tempos and keys on a few tracks, at random ticks."""
    rng = np.random.default_rng(seed)
    ticks_per_beat = int(rng.choice([1, 5, 12, 24, 96, 480, 32767]))
    end = 4 * ticks_per_beat * int(rng.integers(4, 20))

    def tick():
        on_grid = rng.random() < 0.5
        return (
            int(rng.integers(0, 4 * end // ticks_per_beat)) * ticks_per_beat // 4 if on_grid else int(rng.integers(end))
        )

    tracks = []
    for _ in range(rng.integers(1, 7)):
        events = []
        for _ in range(rng.integers(0, 40)):
            start, channel = tick(), int(rng.choice([0, 1, 9]))
            length = int(rng.choice([0, 1, ticks_per_beat // 3, ticks_per_beat, 9 * ticks_per_beat]))
            events += note(start, start + length, int(rng.choice([10, 30, 60, 61, 67, 110])), channel)
        for _ in range(rng.integers(0, 4)):
            events += program(tick(), int(rng.integers(128)), int(rng.choice([0, 1, 9])))
        for _ in range(rng.integers(0, 3)):
            events += meter(tick(), int(rng.choice([3, 4, 4, 4])), int(rng.choice([4, 4, 4, 8])))
            events += meta(tick(), "set_tempo", tempo=int(rng.integers(1, 2**24)))
            events += meta(tick(), "key_signature", key=str(rng.choice(["C", "Am", "F#", "Ebm", "Bb"])))
        tracks.append(events)
    content = bytearray(song(*tracks, ticks_per_beat=ticks_per_beat))
    # Some are damaged after their header.
    for _ in range(int(rng.choice([0, 0, 1, 3]))):
        content[rng.integers(14, len(content))] = rng.integers(256)
    return bytes(content)
