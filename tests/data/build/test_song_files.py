import hashlib
import json
import tracemalloc
import zipfile

import mido
import numpy as np
import pypianoroll
import pytest

from wae_jax import pianoroll
from wae_jax.data.build import key_estimation, song_files, songs
from wae_jax.data.build.sources import Options, reasons
from wae_jax.errors import SourceError

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)
BAR = 1920


def opened(opener, path, *, rows=None, **options):
    """The source that an opener gives, and its only chunk; a SourceError is all that may be raised."""
    with reasons():
        source = opener(path, rows, Options(**options))
        (chunk,) = source.chunks
    return source, chunk


def midi_bytes(path, *tracks, kind=1, ticks_per_beat=480):
    """Writes a MIDI file with mido. A track is a list of (tick, message)."""
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks_per_beat)
    for track in tracks:
        file.tracks.append(mido.MidiTrack())
        before = 0
        for tick, message in sorted(track, key=lambda event: event[0]):
            file.tracks[-1].append(message.copy(time=tick - before))
            before = tick
    file.save(path)
    return path.read_bytes()


def note(start, end, pitch, channel=0):
    return [
        (start, mido.Message("note_on", note=pitch, velocity=64, channel=channel)),
        (end, mido.Message("note_off", note=pitch, channel=channel)),
    ]


def program(tick, number, channel=0):
    return [(tick, mido.Message("program_change", program=number, channel=channel))]


def meta(tick, kind, **values):
    return [(tick, mido.MetaMessage(kind, **values))]


def notes_of(song):
    columns = (song.start, song.end, song.pitch, song.track)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_a_midi_file(tmp_path):
    path = tmp_path / "A Song.KAR"
    data = midi_bytes(
        path,
        meta(0, "time_signature", numerator=4, denominator=4)
        + meta(0, "set_tempo", tempo=mido.bpm2tempo(90))
        + meta(4 * BAR, "set_tempo", tempo=mido.bpm2tempo(150)),
        note(0, 480, 60) + note(4 * BAR, 5 * BAR, 20),
        program(0, 33, 3) + note(0, 8 * BAR, 40, 3),
        note(0, 480, 36, 9),
    )
    source, chunk = opened(song_files.open_midi, path)
    assert source.sha256 == hashlib.sha256(data).hexdigest()
    assert source.is_song
    assert source.num_phrases == 2
    assert source.rows is None
    assert source.changes.num_out_of_range == 1
    assert chunk.songs is None
    assert chunk.first_bars == [0, 4]
    assert chunk.tempos == pytest.approx([90, 150], abs=1e-3)
    rolls = pianoroll.unpack(chunk.rows)
    expected = np.zeros_like(rolls)
    expected[0, :12, 60 - 24, PIANO] = True
    expected[:, :, 40 - 24, BASS] = True
    expected[0, 0, 36 - 24, DRUMS] = True
    np.testing.assert_array_equal(rolls, expected)


def test_rows_select_phrases(tmp_path):
    midi_bytes(tmp_path / "a.mid", note(0, 20 * BAR, 60))
    source, chunk = opened(song_files.open_midi, tmp_path / "a.mid", rows=slice(1, 3))
    assert (source.num_phrases, source.rows) == (2, (1, 3))
    assert chunk.first_bars == [4, 8]
    assert len(chunk.rows) == len(chunk.tempos) == 2
    source, chunk = opened(song_files.open_midi, tmp_path / "a.mid", rows=slice(-1, None))
    assert (source.rows, chunk.first_bars) == ((4, 5), [16])
    with pytest.raises(SourceError, match="gives 5 phrases, of which the requested rows select none"):
        opened(song_files.open_midi, tmp_path / "a.mid", rows=slice(5, None))


def test_programs_and_channels(tmp_path):
    data = midi_bytes(
        tmp_path / "a.mid",
        # Two channels in one track; a program that changes between notes, and one that changes in a note.
        program(0, 25) + note(0, 10, 60) + program(20, 0) + note(20, 30, 60) + note(0, 10, 40, 1),
        program(0, 25) + note(0, 10, 62) + program(5, 40),
        # Every drum is a drum, whatever its program. Programs 96 and 112 are dropped.
        program(0, 100, 9) + note(0, 10, 36, 9),
        program(0, 96) + note(0, 10, 60) + program(20, 112) + note(20, 30, 60),
    )
    assert notes_of(song_files.read_midi(data)) == [
        (0, 10, 36, DRUMS),
        (0, 10, 40, PIANO),
        (0, 10, 60, GUITAR),
        (0, 10, 62, GUITAR),
        (20, 30, 60, PIANO),
    ]


def named(text):
    return meta(0, "track_name", name=text)


def test_tracks_go_by_the_names_of_the_five(tmp_path):
    # All on one channel without a program, as some programs save them; the drums are silent, the guitar changes.
    tracks = [named("Lead") + program(0, 33) + note(0, 10, 50)]
    tracks += [named(name) + (note(0, 10, 60 + k) if k else []) for k, name in enumerate(pianoroll.TRACK_NAMES)]
    tracks[1 + GUITAR] += program(20, 120) + note(20, 30, 70)
    expected = [(0, 10, 50, BASS), *((0, 10, 60 + k, k) for k in (PIANO, GUITAR, BASS, STRINGS)), (20, 30, 70, GUITAR)]
    assert notes_of(song_files.read_midi(midi_bytes(tmp_path / "a.mid", *tracks))) == expected
    # Where a name is missing, there twice, or in a track with others, all go by their programs.
    by_programs = [(0, 10, 50, BASS), *((0, 10, 60 + k, PIANO) for k in (PIANO, GUITAR, BASS, STRINGS))]
    merged = [named("Drums") + tracks[2], *tracks[3:]]
    for others in (tracks[2:], [*tracks[1:], named("Bass")], merged):
        song = song_files.read_midi(midi_bytes(tmp_path / "a.mid", tracks[0], *others))
        assert notes_of(song) == by_programs


def test_the_end_of_the_last_track_is_the_end_of_the_song(tmp_path):
    # Of the first track, which has no note.
    ends = [meta(4 * BAR, "end_of_track"), note(0, 3 * BAR, 60) + meta(3 * BAR, "end_of_track")]
    data = midi_bytes(tmp_path / "a.mid", *ends)
    assert song_files.read_midi(data).end_tick == 4 * BAR
    assert opened(song_files.open_midi, tmp_path / "a.mid")[1].first_bars == [0]


def test_one_track_for_all_channels(tmp_path):
    data = midi_bytes(tmp_path / "a.mid", program(0, 33, 1) + note(0, 10, 40, 1) + note(0, 10, 36, 9), kind=0)
    assert notes_of(song_files.read_midi(data)) == [(0, 10, 36, DRUMS), (0, 10, 40, BASS)]


def test_notes_end_as_they_began(tmp_path):
    silent = (50, mido.Message("note_on", note=60, velocity=0))
    events = [(0, mido.Message("note_on", note=60, velocity=1)), silent]
    # The oldest note is the one that ends; the last note never does.
    events += [(100, mido.Message("note_on", note=70)), (110, mido.Message("note_on", note=70))]
    events += [(120, mido.Message("note_off", note=70)), (140, mido.Message("note_off", note=70))]
    events += [(150, mido.Message("note_on", note=80))]
    data = midi_bytes(tmp_path / "a.mid", events)
    assert notes_of(song_files.read_midi(data)) == [(0, 50, 60, PIANO), (100, 120, 70, PIANO), (110, 140, 70, PIANO)]


def test_signatures_and_tempos(tmp_path):
    data = midi_bytes(
        tmp_path / "a.mid",
        meta(0, "time_signature", numerator=3, denominator=8)
        + meta(0, "key_signature", key="Ebm")
        + meta(480, "key_signature", key="D")
        + meta(480, "set_tempo", tempo=400_000),
        meta(960, "time_signature", numerator=4, denominator=4) + note(0, 10, 60),
    )
    song = song_files.read_midi(data)
    assert song.meters.tolist() == [[0, 3, 8], [960, 4, 4]]
    assert song.keys.tolist() == [[0, 3, 1], [480, 2, 0]]
    assert song.tempos.tolist() == [[0, 120], [480, 150]]

    # What makes no sense counts as not said: mode 255, nine sharps, a tempo of no time, bars of nothing.
    events = meta(0, "key_signature", key="C") + meta(0, "set_tempo", tempo=500_000)
    events += meta(0, "time_signature", numerator=4, denominator=4)
    good = midi_bytes(tmp_path / "b.mid", events + note(0, 10, 60))
    for right, wrong in (
        (b"\x59\x02\x00\x00", b"\x59\x02\x00\xff"),
        (b"\x59\x02\x00\x00", b"\x59\x02\x09\x00"),
        (b"\x51\x03\x07\xa1\x20", b"\x51\x03\x00\x00\x00"),
        (b"\x58\x04\x04\x02", b"\x58\x04\x00\x02"),
        (b"\x58\x04\x04\x02", b"\x58\x04\x04\xff"),
    ):
        assert good.count(right) == 1
        song, sound = song_files.read_midi(good.replace(right, wrong)), song_files.read_midi(good)
        assert len(song.keys) + len(song.tempos) + len(song.meters) == 3
        assert len(sound.keys) + len(sound.tempos) + len(sound.meters) == 4


def test_tonality_of_a_midi_file(tmp_path):
    midi_bytes(tmp_path / "a.mid", meta(0, "key_signature", key="G"), note(0, 4 * BAR, 62))
    _, chunk = opened(song_files.open_midi, tmp_path / "a.mid", tonality="signature")
    assert np.flatnonzero(pianoroll.unpack(chunk.rows)[0, 0, :, PIANO]).tolist() == [67 - 24]
    assert chunk.semitones == [5]


def test_shifts_of_selected_phrases(tmp_path):
    keys = meta(0, "key_signature", key="G") + meta(4 * BAR, "key_signature", key="Eb")
    midi_bytes(tmp_path / "a.mid", keys, note(0, 4 * BAR, 62) + note(4 * BAR, 8 * BAR, 63))
    for rows, expected in ((None, [5, -3]), (slice(1, 2), [-3])):
        _, chunk = opened(song_files.open_midi, tmp_path / "a.mid", rows=rows, tonality="signature")
        assert chunk.semitones == expected


def test_midi_that_cannot_be_read(tmp_path):
    data = midi_bytes(tmp_path / "a.mid", note(0, 4 * BAR, 60, 15))
    pitch = data.index(b"\x9f\x3c") + 1
    for damaged, reason in (
        (b"", r"is no MIDI file: it is 0 bytes"),
        (data[:-1], r"is cut off: its track 1 ends at byte"),
        # Files of these kinds end the process when symusic reads them as they are.
        (
            data[:pitch] + b"\xff" + data[pitch + 1 :],
            r"^unreadable: its track 1 has no valid event at byte 22, but 00 9f ff",
        ),
        (data[:14] + b"JUNK" + (1 << 31).to_bytes(4) + data[14:], r"has no notes on the five tracks"),
        (data[:10] + b"\xff\xff" + data[12:14], r"has no notes on the five tracks"),
    ):
        (tmp_path / "b.mid").write_bytes(damaged)
        with pytest.raises(SourceError, match=reason):
            opened(song_files.open_midi, tmp_path / "b.mid")


def test_ticks_beyond_what_symusic_counts(tmp_path):
    # The longest time between two events is 2^28 - 1 ticks.
    data = midi_bytes(
        tmp_path / "a.mid", [event for i in range(9) for event in note(i * 2**28, (i + 1) * 2**28 - 1, 60)]
    )
    with pytest.raises(SourceError, match="beyond tick 2147483647"):
        song_files.read_midi(data)


def test_files_that_are_too_large(tmp_path, monkeypatch):
    data = midi_bytes(tmp_path / "a.mid", note(0, 4 * BAR, 60))
    monkeypatch.setattr(song_files, "MAX_MIDI_BYTES", len(data) - 1)
    with pytest.raises(SourceError, match=f"is a MIDI file of {len(data)} bytes; expected at most {len(data) - 1}"):
        opened(song_files.open_midi, tmp_path / "a.mid")
    save(tmp_path / "a.npz", [("Piano", 0, False, binary_roll(48, (0, 48, 60)))], resolution=3)
    monkeypatch.setattr(song_files, "MAX_NPZ_BYTES", 1000)
    with pytest.raises(SourceError, match=r"unpacks to .* bytes; expected at most 1000"):
        opened(song_files.open_multitrack_npz, tmp_path / "a.npz")


def standard_roll(steps, *notes):
    roll = np.zeros((steps, 128), np.uint8)
    for start, end, pitch in notes:
        roll[start:end, pitch] = 64 + start % 60
    return roll


def binary_roll(steps, *notes):
    return standard_roll(steps, *notes) > 0


def save(path, tracks, *, resolution, steps=None, downbeat=None, tempo=None):
    """Saves a Multitrack of (name, program, is_drum, roll) with pypianoroll."""
    pypianoroll.Multitrack(
        name="song",
        resolution=resolution,
        tempo=None if tempo is None else np.asarray(tempo, float),
        downbeat=downbeat,
        tracks=[
            (pypianoroll.BinaryTrack if roll.dtype == bool else pypianoroll.StandardTrack)(
                name=name, program=number, is_drum=is_drum, pianoroll=roll
            )
            for name, number, is_drum, roll in tracks
        ],
    ).save(path)


FIVE = list(zip(pianoroll.TRACK_NAMES, (0, 0, 24, 32, 48), (True, False, False, False, False), strict=True))


@pytest.mark.parametrize("kind", [standard_roll, binary_roll])
@pytest.mark.parametrize("resolution", [1, 4, 12, 24, 480])
def test_five_tracks_of_any_resolution(tmp_path, kind, resolution):
    # Quarter notes on beat k of track k; the piano twice in a row, with a step between; no guitar at all.
    steps, beat = 16 * resolution, resolution
    rolls = [kind(steps, (k * beat, (k + 1) * beat, 60 + k)) for k in range(5)]
    if resolution > 1:
        rolls[PIANO] = kind(steps, (0, beat - 1, 61), (beat, 2 * beat, 61))
    rolls[GUITAR] = binary_roll(0)
    save(tmp_path / "a.npz", [(*of, roll) for of, roll in zip(FIVE, rolls, strict=True)], resolution=resolution)
    source, chunk = opened(song_files.open_multitrack_npz, tmp_path / "a.npz")
    assert source.sha256 == hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    assert (source.num_phrases, source.is_song, source.changes.num_out_of_range) == (1, True, 0)
    assert chunk.tempos is None
    expected = np.zeros((1, *pianoroll.PHRASE_SHAPE), bool)
    expected[0, 0, 60 - 24, DRUMS] = True
    for k in (PIANO, BASS, STRINGS):
        expected[0, 12 * k : 12 * k + 12, 60 + k - 24, k] = True
    if resolution > 1:
        # A step of a quarter is three steps of twelve; finer ones are one.
        expected[0, : 9 if resolution == 4 else 11, 61 - 24, PIANO] = True
    np.testing.assert_array_equal(pianoroll.unpack(chunk.rows), expected)
    _, chunk = opened(song_files.open_multitrack_npz, tmp_path / "a.npz", drum_length="full")
    assert pianoroll.unpack(chunk.rows)[0, :, 60 - 24, DRUMS].sum() == 12


def test_seventeen_tracks_are_merged(tmp_path):
    # As in the Lakh Pianoroll Dataset: the drums, then the first program of each family of eight.
    tracks = [("Drums", 0, True, binary_roll(48, (0, 48, 30)))]
    tracks += [(f"family {i}", 8 * i, False, standard_roll(48, (0, 48, 40 + i))) for i in range(16)]
    save(tmp_path / "a.npz", tracks, resolution=3)
    _, chunk = opened(song_files.open_multitrack_npz, tmp_path / "a.npz")
    sounding = np.argwhere(pianoroll.unpack(chunk.rows)[0, 0])
    expected = {30: DRUMS, 40: PIANO, 43: GUITAR, 44: BASS}
    expected |= dict.fromkeys([41, 42, *range(45, 52), 53], STRINGS)
    assert {pitch + 24: track for pitch, track in sounding.tolist()} == expected


def test_tracks_of_a_multitrack_go_by_the_names_of_the_five(tmp_path):
    rolls = [binary_roll(48, (0, 48, 60 + k)) for k in range(5)]
    tracks = [(name, 0, False, roll) for (name, *_), roll in zip(FIVE, rolls, strict=True)]
    save(tmp_path / "a.npz", [*tracks[::-1], ("Lead", 26, False, binary_roll(48, (0, 48, 70)))], resolution=3)
    _, chunk = opened(song_files.open_multitrack_npz, tmp_path / "a.npz")
    sounding = np.argwhere(pianoroll.unpack(chunk.rows)[0, 0])
    assert {pitch + 24: track for pitch, track in sounding.tolist()} == {60 + k: k for k in range(5)} | {70: GUITAR}
    # Where one is missing, all go by their programs.
    save(tmp_path / "b.npz", tracks[:4], resolution=3)
    _, chunk = opened(song_files.open_multitrack_npz, tmp_path / "b.npz")
    assert pianoroll.unpack(chunk.rows)[0].any(axis=(0, 1)).tolist() == [False, True, False, False, False]


def marks(steps, *where):
    downbeat = np.zeros(steps, bool)
    downbeat[list(where)] = True
    return downbeat


def multitrack_song(path, downbeat, steps=48 * 12, tempo=None):
    roll = binary_roll(steps, (0, steps, 60))
    save(path, [("", 0, False, roll)], resolution=12, downbeat=downbeat, tempo=tempo)
    return song_files.read_multitrack_npz(path)


def test_downbeats(tmp_path):
    bars = songs.stretches
    path = tmp_path / "a.npz"
    # None and one: 4/4 from there to the end.
    assert bars(multitrack_song(path, None)) == [(0, 0, 12, "4/4")]
    assert bars(multitrack_song(path, marks(576, 0))) == [(0, 0, 12, "4/4")]
    assert bars(multitrack_song(path, marks(576, 12))) == [(0, 0, 1, "1/4"), (12, 1, 12, "4/4")]
    # pypianoroll.read gives a column.
    assert bars(multitrack_song(path, marks(576, 12)[:, None])) == [(0, 0, 1, "1/4"), (12, 1, 12, "4/4")]
    # All: two bars of 3/4, five of 4/4; one of 7/8, and from the last on more of these.
    where = [0, 36, *range(72, 72 + 5 * 48, 48), 312, 354]
    assert bars(multitrack_song(path, marks(576, *where))) == [
        (0, 0, 2, "3/4"),
        (72, 2, 5, "4/4"),
        (312, 7, 7, "7/8"),
    ]
    assert opened(song_files.open_multitrack_npz, path)[1].first_bars == [2]
    # A pickup.
    assert bars(multitrack_song(path, marks(576, *range(12, 576, 48)))) == [(0, 0, 1, "1/4"), (12, 1, 12, "4/4")]
    # Numbers in place of bools; and an array that is shorter than the rolls.
    assert bars(multitrack_song(path, marks(576, 0, 48, 96).astype(float))) == [(0, 0, 12, "4/4")]
    assert bars(multitrack_song(path, marks(97, 0, 48, 96))) == [(0, 0, 12, "4/4")]


def test_tempos_of_a_multitrack(tmp_path):
    tempo = np.repeat([100.0, 120.0], [192, 384])
    path = tmp_path / "a.npz"
    multitrack_song(path, None, tempo=tempo)
    assert opened(song_files.open_multitrack_npz, path)[1].tempos == [100, 120, 120]
    # What is no tempo does not count; an array of another length tells nothing.
    tempo[:100] = np.nan
    tempo[300:] = 0
    assert multitrack_song(path, None, tempo=tempo).tempos.tolist() == [[100, 100], [192, 120]]
    assert opened(song_files.open_multitrack_npz, path)[1].tempos == [100, 120, 120]
    multitrack_song(path, None, tempo=np.full(1000, 100.0))
    assert opened(song_files.open_multitrack_npz, path)[1].tempos is None


@pytest.mark.parametrize("resolution", [6, 12, 24, 48])
def test_what_pypianoroll_read_from_midi(tmp_path, resolution):
    # Twelve bars, in some of which 4/4 is stated again, and faster from the sixth on; a held note in each, two in one.
    notes = [event for bar in range(12) for event in note(bar * BAR, (bar + 1) * BAR - 480, 60 + bar)]
    midi_bytes(
        tmp_path / "a.mid",
        [event for bar in (0, 4, 8) for event in meta(bar * BAR, "time_signature", numerator=4, denominator=4)]
        + meta(0, "set_tempo", tempo=600_000)
        + meta(5 * BAR, "set_tempo", tempo=400_000),
        notes + note(3 * BAR, 5 * BAR, 40),
    )
    pypianoroll.read(tmp_path / "a.mid", resolution=resolution).save(tmp_path / "a.npz")
    _, midi = opened(song_files.open_midi, tmp_path / "a.mid")
    _, multitrack = opened(song_files.open_multitrack_npz, tmp_path / "a.npz")
    assert multitrack.first_bars == midi.first_bars == [0, 4, 8]
    assert midi.tempos == [100, 150, 150]
    assert multitrack.tempos == pytest.approx(midi.tempos)
    np.testing.assert_array_equal(multitrack.rows, midi.rows)


def arrays_of(roll):
    """The four arrays in which a roll is stored, made cell by cell."""
    cells = [(pitch, step) for pitch in range(128) for step in range(len(roll)) if roll[step, pitch]]
    return {
        "pianoroll_0_csc_data": np.ones(len(cells), bool),
        "pianoroll_0_csc_indices": np.array([step for _, step in cells], np.int32),
        "pianoroll_0_csc_indptr": np.array([sum(p < i for p, _ in cells) for i in range(129)], np.int32),
        "pianoroll_0_csc_shape": np.array(roll.shape),
    }


def write_npz(path, arrays, info):
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("info.json", json.dumps(info))
    return path


GOOD_INFO = {"beat_resolution": 4, "0": {"program": 0, "is_drum": False, "name": "x"}, "name": "song"}


def test_files_of_old_versions(tmp_path):
    roll = binary_roll(64, (0, 4, 60), (8, 16, 60), (0, 64, 61))
    path = write_npz(tmp_path / "a.npz", arrays_of(roll), GOOD_INFO)
    song = song_files.read_multitrack_npz(path)
    assert song.ticks_per_beat == 4
    assert notes_of(song) == [(0, 4, 60, PIANO), (0, 64, 61, PIANO), (8, 16, 60, PIANO)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"indices": np.array([0, 1, 2, 64])}, "pianoroll_0_csc_. is not a sparse array of shape"),
        ({"indices": np.array([0, 1, 2, -1])}, "is not a sparse array"),
        ({"indices": np.array([0, 1, 2])}, "is not a sparse array"),
        ({"indices": np.array([0.0, 1, 2, 3])}, "cannot be read"),
        ({"indptr": np.zeros(129, int)}, "is not a sparse array"),
        ({"indptr": np.array([0] * 60 + [4] * 34 + [0] * 34 + [4])}, "is not a sparse array"),
        ({"shape": np.array([64, 84])}, "is not a sparse array"),
        ({"shape": np.array([64])}, "is not a sparse array"),
        ({"shape": np.array([1 << 40, 128])}, "is not a sparse array"),
        ({"data": np.array([None] * 4)}, "Object arrays cannot be loaded when allow_pickle=False"),
    ],
)
def test_arrays_that_are_wrong(tmp_path, changes, reason):
    arrays = arrays_of(binary_roll(64, (0, 4, 60))) | {
        f"pianoroll_0_csc_{name}": array for name, array in changes.items()
    }
    with pytest.raises(SourceError, match=reason):
        opened(song_files.open_multitrack_npz, write_npz(tmp_path / "a.npz", arrays, GOOD_INFO))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"beat_resolution": 10},
            "has a resolution of 10 steps a quarter note; expected a multiple or a divisor of 12",
        ),
        ({"beat_resolution": 0}, "resolution of 0"),
        ({"beat_resolution": "12"}, "resolution of '12'"),
        ({"beat_resolution": None}, "resolution of None"),
        ({"0": None}, "has no notes on the five tracks"),
        ({"0": {"program": 0}}, "cannot be read"),
    ],
)
def test_info_that_is_wrong(tmp_path, changes, reason):
    arrays = arrays_of(binary_roll(64, (0, 4, 60)))
    with pytest.raises(SourceError, match=reason):
        opened(song_files.open_multitrack_npz, write_npz(tmp_path / "a.npz", arrays, GOOD_INFO | changes))


def test_npz_without_info(tmp_path):
    np.savez(tmp_path / "a.npz", nothing=np.zeros(1))
    with pytest.raises(SourceError, match=r"has the keys nothing; expected info.json"):
        opened(song_files.open_multitrack_npz, tmp_path / "a.npz")


def test_a_long_roll_of_few_cells_is_never_made_dense(tmp_path):
    # As a dense array 550 GB, which pypianoroll.load would ask for.
    arrays = arrays_of(binary_roll(64, (0, 64, 60))) | {"pianoroll_0_csc_shape": np.array([(1 << 32) - 1, 128])}
    path = write_npz(tmp_path / "a.npz", arrays, GOOD_INFO)
    tracemalloc.start()
    _, chunk = opened(song_files.open_multitrack_npz, path)
    assert chunk.first_bars == [0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_bad_midi(shared_data):
    files = sorted((shared_data / "bad_midi").glob("*.[mk]*"))
    assert len(files) == 25
    phrases, said = {}, []
    for path in files:
        try:
            phrases[path.name] = len(opened(song_files.open_midi, path)[1].rows)
        except SourceError as error:
            said.append(str(error))
    # None of them was a surprise to the reader.
    assert not [reason for reason in said if "cannot be read" in reason or "\n" in reason]
    assert phrases.pop("jazzsoft_tests__midi_test-all-gs-sounds.mid") > 300
    # 18 bars of silence and music, say: what its list of expected counts tells, give or take silent bars.
    assert set(phrases) == {
        "freedoom__musics_d_map16.mid",
        "mma_examples__egs_lyrics_twinkle-kar.kar",
        "mma_generated__mma_021_bwmarch.mid",
        "simutrans__simutrans_music_05-Boring-afternoon.mid",
        "simutrans__simutrans_music_11-Stucked-Convoi.mid",
        "simutrans__simutrans_music_30-On-the-waterfront.mid",
    }


def test_the_notes_are_those_that_mido_reads(shared_data):
    for path in sorted((shared_data / "midi").glob("*/*.mid"))[::80]:
        expected = []
        for track in mido.MidiFile(path).tracks:
            tick, programs, held = 0, dict.fromkeys(range(16), 0), {}
            for message in track:
                tick += message.time
                if message.type == "program_change":
                    programs[message.channel] = message.program
                elif message.type == "note_on" and message.velocity:
                    k = songs.family(programs[message.channel], message.channel == 9)
                    held.setdefault((message.channel, message.note), []).append((tick, k))
                elif message.type in ("note_on", "note_off") and held.get((message.channel, message.note)):
                    start, k = held[message.channel, message.note].pop(0)
                    expected += [] if k is None else [(start, tick, message.note, k)]
        song = song_files.read_midi(path.read_bytes())
        assert notes_of(song) == sorted(expected)
        assert expected
        assert song.end_tick == max(sum(message.time for message in track) for track in mido.MidiFile(path).tracks)


def test_mode_255_is_no_key(shared_data):
    path = shared_data / "midi/simutrans/simutrans_music_30-On-the-waterfront.mid"
    song = song_files.read_midi(path.read_bytes())
    assert set(map(tuple, song.keys[:, 1:].tolist())) == {(*key_estimation.key_of_signature(0, False),)}


def test_agreement_with_phrases_cut_elsewhere(shared_data):
    with np.load(shared_data / "lpd5" / "free_valid.npz") as file:
        theirs = np.zeros(file["shape"], bool)
        theirs[tuple(file["nonzero"])] = True
    theirs = theirs.reshape(-1, *pianoroll.PHRASE_SHAPE)
    lines = (shared_data / "lpd5" / "free_valid.tsv").read_text().splitlines()[1:]
    places = [line.split("\t")[1:] for line in lines]
    ours = {}
    for name in {name for name, _ in places}:
        _, chunk = opened(song_files.open_midi, shared_data / "midi" / name)
        ours |= {(name, str(bar)): row for bar, row in zip(chunk.first_bars, chunk.rows, strict=True)}
    both = [i for i, place in enumerate(places) if tuple(place) in ours]
    assert len(both) > 0.9 * len(places)
    rolls = pianoroll.unpack(np.stack([ours[tuple(places[i])] for i in both]))
    theirs = theirs[both]
    assert 2 * (rolls & theirs).sum() / (rolls.sum() + theirs.sum()) > 0.97
    # They leave no pause between notes that touch and round halves to even numbers; there is no other reason for a
    # cell to differ by more than a step of time.
    wider = theirs.copy()
    wider[:, 1:] |= theirs[:, :-1]
    wider[:, :-1] |= theirs[:, 1:]
    assert (rolls & ~wider).sum() < 1e-4 * rolls.sum()


def test_lakh_pianoroll_dataset(shared_data):
    five, seventeen = sorted((shared_data / "lpd_npz").glob("*.npz"), key=lambda path: "lpd17" in path.name)
    source, chunk = opened(song_files.open_multitrack_npz, five)
    # Bar 0 is silent; windows from bar 1 on would lose the last three of its 116 bars.
    assert chunk.first_bars == list(range(0, 4 * source.num_phrases, 4))
    assert set(np.round(chunk.tempos, 3)) == {122.002}
    # The first cells of the notes, told by pypianoroll's own reading.
    bass = pypianoroll.load(five).tracks[3].pianoroll > 0
    first = 4 * 24 * chunk.first_bars[0]
    starts = np.argwhere(np.diff(bass.astype(int), axis=0, prepend=0) == 1)
    rolls = pianoroll.unpack(chunk.rows)
    ours = np.concatenate(rolls)[..., BASS]
    inside = [((step - first + 1) // 2, pitch - 24) for step, pitch in starts.tolist() if step >= first]
    inside = [(step, pitch) for step, pitch in inside if step < len(ours) and 0 <= pitch < 84]
    assert len(inside) > 500
    assert all(ours[step, pitch] for step, pitch in inside)
    # Merged from seventeen tracks, the same; only where two tracks of the strings overlap do notes strike again.
    _, merged = opened(song_files.open_multitrack_npz, seventeen)
    merged = pianoroll.unpack(merged.rows)
    np.testing.assert_array_equal(rolls[..., :STRINGS], merged[..., :STRINGS])
    assert not (merged & ~rolls).any()
    assert merged[..., STRINGS].sum() > 0.95 * rolls[..., STRINGS].sum()


def test_a_file_may_say_that_it_begins_with_a_phrase(tmp_path):
    # The first bar rests and the sixth is the last with a note: without the text, windows begin with the second.
    notes = note(BAR, 2 * BAR, 60) + note(4 * BAR, 5 * BAR, 62) + meta(8 * BAR, "end_of_track")
    midi_bytes(tmp_path / "a.mid", notes)
    assert opened(song_files.open_midi, tmp_path / "a.mid")[1].first_bars == [1]
    midi_bytes(tmp_path / "b.mid", meta(0, "text", text="phrases of four bars from bar 1 on"), notes)
    assert opened(song_files.open_midi, tmp_path / "b.mid")[1].first_bars == [0, 4]
