import fractions
import math
import time
import types

import numpy as np
import pytest

from wae_jax import pianoroll
from wae_jax.data.build import key_estimation, segmentation, songs
from wae_jax.data.build.sources import Options, OutOfRange, Transposition
from wae_jax.errors import SourceError

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)
BAR = 1920


def song(*notes, ticks_per_beat=480, **said):
    """A song of (start, end, pitch, track); `said` are the other fields of a Song, as lists."""
    columns = np.array(notes, np.int64).reshape(-1, 4).T
    said = {name: np.array(value) if isinstance(value, list) else value for name, value in said.items()}
    return songs.Song(ticks_per_beat, *columns, **said)


def cut(piece, **options):
    """The result of `segmentation.cut`, its rolls unpacked: [B, T, P, K] and the rest."""
    chunk, changes = segmentation.cut(piece, Options(**options))
    return pianoroll.unpack(chunk.rows), types.SimpleNamespace(
        **vars(chunk), **vars(changes), notes_out_of_range=changes.num_out_of_range
    )


def steps_of(roll, pitch, track):
    """The steps at which a pitch (a MIDI number) is on."""
    return np.flatnonzero(roll[:, pitch - 24, track]).tolist()


def filler(bars, first=0):
    """A note a bar that keeps bars from being silent and the song as long as it should be."""
    return [(BAR * i, BAR * i + BAR, 30, BASS) for i in range(first, bars)]


def slowly(piece, tick, drum_length="onset", shift=0):
    """The roll of the window that starts at a tick, note by note and step by step."""

    def step(when):
        return math.floor(fractions.Fraction(12 * (when - tick), piece.ticks_per_beat) + fractions.Fraction(1, 2))

    on, struck = set(), set()
    for start, end, pitch, track in np.stack([piece.start, piece.end, piece.pitch, piece.track], axis=1).tolist():
        last = step(start) + 1 if track == DRUMS and drum_length == "onset" else max(step(start) + 1, step(end))
        place = (pitch - 24 + (shift if track != DRUMS else 0), track)
        on |= {(t, *place) for t in range(step(start), last)}
        struck.add((step(start), *place))
    roll = np.zeros(pianoroll.PHRASE_SHAPE, bool)
    for t, p, k in on:
        inside = 0 <= t < 192 and 0 <= p < 84
        pause = t + 1 < 192 and (t + 1, p, k) in struck and (t, p, k) not in struck
        if inside and not pause:
            roll[t, p, k] = True
    return roll


@pytest.mark.parametrize("ticks_per_beat", [1, 10, 12, 96, 100, 480, 1024])
@pytest.mark.parametrize("drum_length", ["onset", "full"])
def test_against_a_slow_way(ticks_per_beat, drum_length):
    generator = np.random.default_rng(ticks_per_beat)
    bar = 4 * ticks_per_beat
    starts = generator.integers(0, 11 * bar, 300)
    # From nothing to two bars; many of one pitch, so that they touch, overlap and lie in each other.
    lengths = generator.integers(0, 1 + 2 * bar // generator.integers(1, 20, 300))
    piece = song(
        (0, 1, 60, PIANO),
        *zip(starts, starts + lengths, generator.integers(20, 32, 300), generator.integers(0, 5, 300), strict=True),
        ticks_per_beat=ticks_per_beat,
    )
    rolls, phrases = cut(piece, hop_bars=1, drum_length=drum_length)
    assert phrases.first_bars == list(range(len(rolls)))
    assert len(rolls) >= 8
    for roll, first_bar in zip(rolls, phrases.first_bars, strict=True):
        np.testing.assert_array_equal(roll, slowly(piece, first_bar * bar, drum_length))


@pytest.mark.parametrize("hop_bars", [1, 3, 4, 6])
@pytest.mark.parametrize("tonality", ["keep", "signature"])
def test_against_a_slow_way_over_meters_and_keys(hop_bars, tonality):
    # Eleven bars of 4/4, a waltz, a bar that is cut off, and 4/4 again; of one pitch, on and off the bar lines.
    generator = np.random.default_rng(hop_bars)
    waltz, cut_off = 11 * BAR, 11 * BAR + 7 * 1440
    again = cut_off + 480
    end = again + 9 * BAR
    starts = np.append(generator.integers(0, end, 150), generator.integers(0, end // 480, 150) * 480)
    ends = np.minimum(starts + generator.integers(0, 12, 300) ** 2 * 100, end)
    piece = song(
        (0, end, 62, BASS),
        # B, D and E belong to both keys.
        *zip(starts, ends, generator.choice([23, 26, 28, 62, 107], 300), generator.integers(0, 3, 300), strict=True),
        meters=[[0, 4, 4], [waltz, 3, 4], [cut_off, 4, 4], [again, 4, 4]],
        keys=[[4 * BAR, 7, 0], [5 * BAR, 2, 0], [again, 7, 0]],
    )
    rolls, phrases = cut(piece, hop_bars=hop_bars, tonality=tonality)
    # The bar that is cut off is the nineteenth.
    first_bars = [*range(0, 8, hop_bars), *range(19, 25, hop_bars)]
    assert phrases.first_bars == first_bars
    ticks = [bar * BAR if bar < 19 else again + (bar - 19) * BAR for bar in first_bars]
    estimated = key_estimation.shift_to_c(*key_estimation.estimate_key(sounding_times(piece)))
    shifts = [estimated if tick < 4 * BAR else 5 if not 5 * BAR <= tick < again else -2 for tick in ticks]
    shifts = [shift * (tonality == "signature") for shift in shifts]
    for roll, tick, shift in zip(rolls, ticks, shifts, strict=True):
        np.testing.assert_array_equal(roll, slowly(piece, tick, shift=shift))
    out_of_range = 0
    for start, pitch, track in zip(piece.start, piece.pitch, piece.track, strict=True):
        # A window begins half a step of twenty ticks early.
        seen = [shift for tick, shift in zip(ticks, shifts, strict=True) if tick - 20 <= start < tick - 20 + 4 * BAR]
        out_of_range += any(not 24 <= pitch + shift * (track != DRUMS) <= 107 for shift in seen)
    assert phrases.notes_out_of_range == out_of_range > 10


def sounding_times(piece):
    """How many ticks each pitch class sounds, but for drums."""
    ticks = [set() for _ in range(12)]
    for start, end, pitch, track in zip(piece.start, piece.end, piece.pitch, piece.track, strict=True):
        if track != DRUMS:
            ticks[pitch % 12].update(range(start, max(end, start + 1)))
    return np.array([len(each) for each in ticks])


def test_triplets():
    rolls, phrases = cut(song((0, 160, 60, PIANO), (160, 320, 62, PIANO), (320, 480, 64, PIANO), *filler(4)))
    assert phrases.first_bars == [0]
    assert [steps_of(rolls[0], pitch, PIANO) for pitch in (60, 62, 64)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]


def test_halves_go_up_and_every_note_lasts_a_step():
    # Of 480 ticks a step is 40: a thirty-second note is one step and a half.
    notes = [(60 * i, 60 * i + 60, 60 + i, PIANO) for i in range(4)]
    rolls, _ = cut(song(*notes, (800, 801, 70, GUITAR), (820, 821, 72, GUITAR), *filler(4)))
    assert [steps_of(rolls[0], 60 + i, PIANO) for i in range(4)] == [[0, 1], [2], [3, 4], [5]]
    assert steps_of(rolls[0], 70, GUITAR) == [20]
    assert steps_of(rolls[0], 72, GUITAR) == [21]


def test_a_note_over_the_edge_of_a_window_is_cut_there():
    rolls, _ = cut(song((3 * BAR + 480, 5 * BAR, 60, STRINGS), *filler(8)))
    assert steps_of(rolls[0], 60, STRINGS) == list(range(156, 192))
    assert steps_of(rolls[1], 60, STRINGS) == list(range(48))


def test_a_pause_stays_between_touching_notes():
    rolls, _ = cut(song((0, 480, 60, PIANO), (480, 960, 60, PIANO), (480, 960, 60, GUITAR), *filler(4)))
    assert steps_of(rolls[0], 60, PIANO) == [*range(11), *range(12, 24)]
    assert steps_of(rolls[0], 60, GUITAR) == list(range(12, 24))


def test_no_pause_takes_a_note_away():
    # Notes of one step in a row; and the last step of the first window, whose next note is in the second.
    hits = [(40 * i, 40 * i + 40, 60, PIANO) for i in range(5)]
    rolls, _ = cut(song(*hits, (4 * BAR - 480, 4 * BAR, 70, PIANO), (4 * BAR, 5 * BAR, 70, PIANO), *filler(8)))
    assert steps_of(rolls[0], 60, PIANO) == [0, 1, 2, 3, 4]
    assert steps_of(rolls[0], 70, PIANO) == list(range(180, 192))
    assert steps_of(rolls[1], 70, PIANO) == list(range(48))


def test_a_note_inside_another_strikes_again():
    rolls, _ = cut(song((0, 960, 60, STRINGS), (480, 600, 60, STRINGS), *filler(4)))
    assert steps_of(rolls[0], 60, STRINGS) == [*range(11), *range(12, 24)]


def test_drums_are_onsets_or_full():
    notes = [(0, 480, 36, DRUMS), (4 * BAR - 10, 4 * BAR + 400, 40, DRUMS), *filler(8)]
    rolls, _ = cut(song(*notes))
    assert steps_of(rolls[0], 36, DRUMS) == [0]
    # Ten ticks early, a quarter of a step: the hit belongs to the bar that follows.
    assert steps_of(rolls[0], 40, DRUMS) == []
    assert steps_of(rolls[1], 40, DRUMS) == [0]
    rolls, _ = cut(song(*notes), drum_length="full")
    assert steps_of(rolls[0], 36, DRUMS) == list(range(12))
    assert steps_of(rolls[1], 40, DRUMS) == list(range(10))


def test_only_bars_of_four_four():
    # Five bars of 3/4, then nine of 4/4, then 2/4.
    waltz = 5 * 1440
    end = waltz + 9 * BAR
    piece = song(
        *[(tick, tick + 480, 60, PIANO) for tick in range(0, end + 4 * BAR, 480)],
        meters=[[0, 3, 4], [waltz, 4, 4], [end, 2, 4]],
    )
    rolls, phrases = cut(piece)
    assert phrases.first_bars == [5, 9]
    np.testing.assert_array_equal(rolls[0], slowly(piece, waltz))
    np.testing.assert_array_equal(rolls[1], slowly(piece, waltz + 4 * BAR))
    assert songs.stretches(piece) == [
        (0, 0, 5, "3/4"),
        (waltz, 5, 9, "4/4"),
        (end, 14, 8, "2/4"),
    ]


def test_a_meter_inside_a_bar_cuts_it():
    # Six bars and a quarter, then 4/4 again: the seventh bar is cut, and no window goes over it.
    again = 6 * BAR + 480
    notes = [(tick, tick + 480, 60, PIANO) for tick in range(0, again + 4 * BAR, 480)]
    piece = song(*notes, meters=[[0, 4, 4], [again, 4, 4]])
    assert songs.stretches(piece) == [(0, 0, 6, "4/4"), (again, 7, 4, "4/4")]
    assert cut(piece)[1].first_bars == [0, 7]
    assert cut(piece, hop_bars=1)[1].first_bars == [0, 1, 2, 7]


def test_a_meter_said_again_at_a_bar_line_changes_nothing():
    piece = song(*filler(12), meters=[[0, 4, 4], [BAR, 4, 4], [7 * BAR, 4, 4], [8 * BAR, 3, 4], [8 * BAR, 4, 4]])
    assert songs.stretches(piece) == [(0, 0, 12, "4/4")]
    assert cut(piece)[1].first_bars == [0, 4, 8]


def test_windows_begin_with_the_bar_of_the_first_note():
    # The first note comes a quarter of a step early, but sounds in bar 2.
    rolls, phrases = cut(song((2 * BAR - 10, 2 * BAR + 480, 60, PIANO), *filler(10, first=3)))
    assert phrases.first_bars == [2, 6]
    assert steps_of(rolls[0], 60, PIANO) == list(range(12))
    # Bars of rest later on are no reason, and the first note need not be in 4/4.
    meters = [[0, 3, 4], [1440, 4, 4]]
    start = 1440 + 7 * BAR
    notes = [(0, 480, 60, PIANO), (start, start + 5 * BAR, 60, PIANO)]
    assert cut(song(*notes, meters=meters))[1].first_bars == [5, 9]
    assert cut(song((start, start + 4 * BAR, 60, PIANO), meters=meters))[1].first_bars == [8]
    # Where windows start at every bar, so does one of which only the last bar is no rest.
    assert cut(song(*filler(9, first=4)), hop_bars=1)[1].first_bars == [1, 2, 3, 4, 5]
    assert cut(song(*filler(9, first=5)), hop_bars=2)[1].first_bars == [3, 5]


@pytest.mark.parametrize("num_bars", [4, 8, 12, 40])
@pytest.mark.parametrize("silent", [1, 2, 3])
def test_rests_at_the_beginning_shift_nothing_where_the_last_notes_would_be_lost(num_bars, silent):
    rolls, phrases = cut(song(*filler(num_bars, first=silent)))
    assert phrases.first_bars == list(range(0, num_bars, 4))
    assert rolls[0].reshape(4, -1).any(axis=1).tolist() == [bar >= silent for bar in range(4)]
    # With as many bars more at the end nothing is lost, and the first window begins with the first note.
    assert cut(song(*filler(num_bars + silent, first=silent)))[1].first_bars == list(range(silent, num_bars, 4))
    # Nor is it where only silence follows.
    piece = song(*filler(num_bars, first=silent), end_tick=(num_bars + 4) * BAR)
    assert cut(piece)[1].first_bars == list(range(silent, num_bars, 4))


def test_what_started_in_another_meter_sounds_on():
    waltz = 5 * 1440
    notes = [(0, waltz + BAR, 60, PIANO), (960, waltz + 2 * BAR, 62, PIANO), (2000, 2010, 62, PIANO)]
    rolls, phrases = cut(song(*notes, (waltz, waltz + 4 * BAR, 61, PIANO), meters=[[0, 3, 4], [waltz, 4, 4]]))
    assert phrases.first_bars == [5]
    assert [len(steps_of(rolls[0], pitch, PIANO)) for pitch in (60, 61, 62)] == [48, 192, 96]
    assert rolls.sum() == 48 + 192 + 96


def test_the_last_bar_is_whole():
    assert cut(song((0, 3 * BAR + 1, 60, PIANO)))[1].first_bars == [0]
    with pytest.raises(SourceError, match=r"^has no four whole bars of 4/4 in a row: its meters are 4/4 \(3 bars\)$"):
        cut(song((0, 3 * BAR, 60, PIANO)))


def test_the_last_bar_may_rest():
    notes = [(0, 3 * BAR, 60, PIANO)]
    rolls, phrases = cut(song(*notes, end_tick=4 * BAR))
    assert phrases.first_bars == [0]
    assert steps_of(rolls[0], 60, PIANO) == list(range(144))
    # The first and the last.
    rolls, phrases = cut(song((BAR, 3 * BAR, 60, PIANO), end_tick=4 * BAR))
    assert phrases.first_bars == [0]
    assert steps_of(rolls[0], 60, PIANO) == list(range(48, 144))
    # Hours of silence give no more phrases than a bar of it, and are not too many bars.
    for end in (4 * BAR, 5 * BAR, 2**31 - 1, 2**40):
        assert cut(song(*notes, end_tick=end))[1].first_bars == [0]
        assert cut(song(*filler(9), end_tick=end))[1].first_bars == ([0, 4] if end <= 9 * BAR else [0, 4, 8])


def test_windows_hop():
    assert cut(song(*filler(10)), hop_bars=3)[1].first_bars == [0, 3, 6]
    assert cut(song(*filler(10)), hop_bars=8)[1].first_bars == [0]


def test_silent_windows_give_no_phrase():
    assert cut(song((0, 100, 60, PIANO), *filler(16, first=12)))[1].first_bars == [0, 12]


def test_notes_out_of_range():
    edges = [(0, 480, pitch, PIANO) for pitch in (23, 24, 107, 108)]
    low = [(BAR, 2 * BAR, 10, DRUMS), (5 * BAR, 6 * BAR, 127, GUITAR)]
    rolls, phrases = cut(song(*edges, *low, *filler(8)))
    assert phrases.notes_out_of_range == 4
    assert phrases.out_of_range == {
        "Drums": OutOfRange(1, 1, 0),
        "Piano": OutOfRange(2, 4, 0),
        "Guitar": OutOfRange(1, 1, 0),
    }
    assert steps_of(rolls[0], 24, PIANO) == steps_of(rolls[0], 107, PIANO) == list(range(12))
    assert rolls[0].any(axis=0)[:, PIANO].sum() == 2
    # A note is counted once, in however many windows it is.
    assert cut(song(*edges, *low, *filler(8)), hop_bars=1)[1].notes_out_of_range == 4
    with pytest.raises(SourceError, match="no note of MIDI numbers 24 to 107"):
        cut(song((0, 4 * BAR, 10, PIANO)))


def test_tempos_are_those_that_last_longest():
    notes = filler(12)
    tempos = [[0, 120.0], [4 * BAR - 1, 90.0], [4 * BAR + 1, 150.0]]
    assert cut(song(*notes, tempos=tempos))[1].tempos == [120.0, 150.0, 150.0]
    assert cut(song(*notes, tempos=[[BAR, 77.0]]))[1].tempos == [77.0, 77.0, 77.0]
    # A file whose first tempo is stated on the second beat; one that comes back; of equally long ones the first.
    tempos = [[0, 120.0], [480, 70.0], [4 * BAR, 80.0], [5 * BAR, 90.0], [6 * BAR + 1, 80.0], [7 * BAR + 1, 60.0]]
    assert cut(song(*notes, tempos=[*tempos, [10 * BAR, 50.0]]))[1].tempos == [70.0, 80.0, 60.0]
    # Of several at one tick the last one holds.
    assert cut(song(*notes, tempos=[[0, 120.0], [0, 100.0], [4 * BAR, 1.0], [4 * BAR, 2.0]]))[1].tempos == [100, 2, 2]
    assert cut(song(*notes))[1].tempos is None


def chord(bar, *pitches):
    return [(bar * BAR, (bar + 1) * BAR, pitch, PIANO) for pitch in pitches]


def test_tonality_by_signature():
    # G major, then E flat minor from the second phrase on; drums stay.
    notes = [(bar * BAR, (bar + 1) * BAR, 60 if bar < 4 else 61, PIANO) for bar in range(8)]
    notes += [(bar * BAR, (bar + 1) * BAR, 36, DRUMS) for bar in range(8)]
    piece = song(*notes, keys=[[0, 7, 0], [4 * BAR, 3, 1]])
    rolls, phrases = cut(piece, tonality="signature")
    assert np.argwhere(rolls.any(axis=1)).tolist() == [
        [0, 36 - 24, DRUMS],
        [0, 60 - 24 + 5, PIANO],
        [1, 36 - 24, DRUMS],
        [1, 61 - 24 + 6 - 12, PIANO],
    ]
    np.testing.assert_array_equal(rolls[1], slowly(piece, 4 * BAR, shift=-6))
    assert phrases.transpositions == [
        Transposition("G major", "signature", 5, None),
        Transposition("Eb minor", "signature", -6, None),
    ]
    assert phrases.semitones == [5, -6]
    rolls, phrases = cut(piece)
    assert phrases.semitones == [0, 0]
    assert rolls.any(axis=1)[0, 60 - 24, PIANO]
    assert phrases.transpositions == []


def test_tonality_by_estimate():
    # D major; the drums would make it something else.
    notes = [(i * BAR // 2, (i + 1) * BAR // 2, 62 + up, PIANO) for i, up in enumerate((0, 2, 4, 5, 7, 9, 11, 12))]
    notes += [*chord(4, 50, 54, 57), *chord(5, 50, 54, 57), *chord(6, 57, 61, 64), *chord(7, 50, 54, 57)]
    notes += [(bar * BAR, (bar + 1) * BAR, 37, DRUMS) for bar in range(8)]
    # G major from the second phrase on, it says, which holds all of its notes but C sharp.
    piece = song(*notes, keys=[[4 * BAR, 7, 0]])
    rolls, phrases = cut(piece, tonality="estimate")
    assert set(np.flatnonzero(rolls[..., PIANO].any(axis=(0, 1))) % 12) == {0, 2, 4, 5, 7, 9, 11}
    assert np.flatnonzero(rolls[..., DRUMS].any(axis=(0, 1))).tolist() == [37 - 24]
    np.testing.assert_array_equal(rolls[0], slowly(piece, 0, shift=-2))
    assert phrases.transpositions == [Transposition("D major", "estimate", -2, None)]
    # No signature holds in the first phrase.
    by_signature, phrases = cut(piece, tonality="signature")
    np.testing.assert_array_equal(by_signature[0], rolls[0])
    np.testing.assert_array_equal(by_signature[1], slowly(piece, 4 * BAR, shift=5))
    assert [each.by for each in phrases.transpositions] == ["estimate", "signature"]
    # One without sharps and flats is believed only if it holds as many notes as any other.
    by_signature, phrases = cut(song(*notes, keys=[[0, 0, 0]]), tonality="signature")
    np.testing.assert_array_equal(by_signature, rolls)
    assert phrases.transpositions == [Transposition("D major", "estimate", -2, "C major")]


def test_notes_out_of_range_are_those_after_transposition():
    notes = [(0, BAR, 24, PIANO), (0, BAR, 107, PIANO), (0, BAR, 24, DRUMS), *filler(4)]
    assert cut(song(*notes, keys=[[0, 2, 0]]), tonality="signature")[1].notes_out_of_range == 1
    rolls, phrases = cut(song((0, 4 * BAR, 22, PIANO), keys=[[0, 10, 0]]), tonality="signature")
    assert phrases.notes_out_of_range == 0
    assert steps_of(rolls[0], 24, PIANO) == list(range(192))


def test_a_song_of_drums_has_no_key():
    piece = song((0, 1, 36, DRUMS), (4 * BAR - 1, 4 * BAR, 36, DRUMS), keys=[[0, 2, 0]])
    for tonality in ("estimate", "signature"):
        rolls, phrases = cut(piece, tonality=tonality)
        assert steps_of(rolls[0], 36, DRUMS) == [0]
        assert phrases.transpositions == []


def test_nothing_to_cut():
    with pytest.raises(SourceError, match=r"^has no notes on the five tracks$"):
        cut(song())
    meters = [[0, 3, 4], [40 * 1440, 4, 4], [40 * 1440 + 2 * BAR, 6, 8]]
    piece = song((0, 40 * 1440 + 2 * BAR + 1440, 60, PIANO), meters=meters)
    with pytest.raises(SourceError, match=r"its meters are 3/4 \(40 bars\), 4/4 \(2 bars\), 6/8 \(1 bar\)$"):
        cut(piece)
    many = [[5040 * i, 1 + i, 8] for i in range(7)]
    with pytest.raises(SourceError, match=r"its meters are 1/8 \(21 bars\), .*, 5/8 \(4 bars\), 2 more$"):
        cut(song((0, 7 * 5040, 60, PIANO), meters=many))


def test_endless_songs_are_refused():
    assert len(cut(song((0, songs.MAX_BARS * BAR, 60, PIANO)), hop_bars=1000)[0]) == 5
    with pytest.raises(SourceError, match=r"^has 5001 bars; expected at most 5000$"):
        cut(song((0, songs.MAX_BARS * BAR + 1, 60, PIANO)))
    with pytest.raises(SourceError, match=r"^has 2147483648 bars; expected at most 5000$"):
        cut(song((0, 2**31 * 4, 60, PIANO), ticks_per_beat=1))


def test_many_notes_that_never_end_take_no_time():
    # 100,000 notes that sound until the end of 1,000 bars: a roll of each window from all of them would take minutes.
    generator = np.random.default_rng(0)
    starts = np.sort(generator.integers(0, 1000 * BAR, 100_000))
    columns = (starts, np.full(100_000, 1000 * BAR), generator.integers(0, 128, 100_000), starts % 5)
    began = time.perf_counter()
    phrases, _ = segmentation.cut(songs.Song(480, *columns), Options())
    assert len(phrases.rows) == 250
    assert time.perf_counter() - began < 5
