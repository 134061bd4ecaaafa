import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax.data.build import key_estimation

C_MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
# Temperley's profiles of 1999, typed anew: C major from C, C minor from C.
MAJOR = [5, 2, 3.5, 2, 4.5, 4, 2, 4.5, 2, 3.5, 1.5, 4]
MINOR = [5, 2, 3.5, 4.5, 2, 4, 2, 4.5, 3.5, 2, 1.5, 4]

TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6), "seventh": (0, 4, 7, 10)}
# Chords by semitones above the tonic, of equal length. With the ratings of Krumhansl and Kessler, those marked come out
# a fifth too high.
IN_MAJOR = {
    "I IV V I": [(0, "major"), (5, "major"), (7, "major"), (0, "major")],
    "I V vi IV": [(0, "major"), (7, "major"), (9, "minor"), (5, "major")],
    "I vi ii V": [(0, "major"), (9, "minor"), (2, "minor"), (7, "major")],
    "vi IV I V": [(9, "minor"), (5, "major"), (0, "major"), (7, "major")],
    "ii V I I (marked)": [(2, "minor"), (7, "major"), (0, "major"), (0, "major")],
    "I V7 (marked)": [(0, "major"), (7, "seventh")],
    "I I I V (marked)": [(0, "major"), (0, "major"), (0, "major"), (7, "major")],
}
IN_MINOR = {
    "i iv V i": [(0, "minor"), (5, "minor"), (7, "major"), (0, "minor")],
    "i VI III VII": [(0, "minor"), (8, "major"), (3, "major"), (10, "major")],
    "i VII VI V": [(0, "minor"), (10, "major"), (8, "major"), (7, "major")],
    "i iv v i": [(0, "minor"), (5, "minor"), (7, "minor"), (0, "minor")],
    "iio V i i": [(2, "diminished"), (7, "major"), (0, "minor"), (0, "minor")],
    "i V (a fourth too high)": [(0, "minor"), (7, "major")],
}


def durations_of(pitches):
    counts = np.zeros(12)
    for pitch in pitches:
        counts[pitch % 12] += 1
    return counts


def test_scales():
    assert key_estimation.estimate_key(durations_of((*C_MAJOR_SCALE, 0, 4, 7))) == (0, False)
    # A minor: the harmonic scale from A, and its chord once more.
    assert key_estimation.estimate_key(durations_of((9, 11, 0, 2, 4, 5, 8, 9, 0, 4))) == (9, True)


@pytest.mark.parametrize("up", range(12))
def test_moves_with_the_music(up):
    assert key_estimation.estimate_key(np.roll(durations_of((*C_MAJOR_SCALE, 0, 4, 7)), up)) == (up, False)
    assert key_estimation.estimate_key(np.roll(durations_of((9, 11, 0, 2, 4, 5, 8, 9, 0, 4)), up)) == (
        (9 + up) % 12,
        True,
    )
    times = np.random.default_rng(up).uniform(size=12)
    tonic, is_minor = key_estimation.estimate_key(times)
    assert key_estimation.estimate_key(np.roll(times, up)) == ((tonic + up) % 12, is_minor)


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize(
    ("chords", "is_minor"), [(c, False) for c in IN_MAJOR.values()] + [(c, True) for c in IN_MINOR.values()]
)
@pytest.mark.parametrize("has_bass", [False, True])
def test_progressions_are_moved_to_c(tonic, chords, is_minor, has_bass):
    """The relative key leads to the same place, and counts as right."""
    times = np.zeros(12)
    for root, kind in chords:
        for interval in TRIADS[kind] + (0,) * has_bass:
            times[(tonic + root + interval) % 12] += 1
    # By hand: major keys come to C, minor keys to A.
    aim = 9 if is_minor else 0
    assert (tonic + key_estimation.shift_to_c(*key_estimation.estimate_key(times))) % 12 == aim


def test_is_the_best_correlation():
    generator = np.random.default_rng(0)
    for _ in range(200):
        durations = generator.integers(0, 1000, 12)
        correlations = {
            (tonic, is_minor): np.corrcoef(durations, [profile[(i - tonic) % 12] for i in range(12)])[0, 1]
            for is_minor, profile in ((False, MAJOR), (True, MINOR))
            for tonic in range(12)
        }
        assert key_estimation.estimate_key(durations) == max(correlations, key=correlations.get)


def test_the_unit_of_durations_does_not_matter():
    durations = durations_of((7, 9, 11, 0, 2, 4, 6, 7, 11, 2))
    assert key_estimation.estimate_key(durations) == key_estimation.estimate_key(durations * 1e9) == (7, False)


def test_c_major_where_nothing_stands_out():
    assert key_estimation.estimate_key(np.zeros(12)) == (0, False)
    assert key_estimation.estimate_key(np.full(12, 0.1)) == (0, False)


@unchecked()
def test_wrong_shape():
    for function in (key_estimation.estimate_key, key_estimation.scale_shares):
        with pytest.raises(ValueError, match=r"shape \(128,\); expected \(12,\)"):
            function(np.zeros(128))


def test_sounding_times_tick_by_tick():
    generator = np.random.default_rng(0)
    for num_notes in (0, 1, 5, 200):
        pitch = generator.integers(0, 128, num_notes)
        start = generator.integers(0, 1000, num_notes)
        end = start + generator.integers(0, 100, num_notes)
        ticks = [set() for _ in range(12)]
        for p, first, last in zip(pitch.tolist(), start.tolist(), end.tolist(), strict=True):
            ticks[p % 12].update(range(first, max(last, first + 1)))
        assert key_estimation.sounding_times(pitch, start, end).tolist() == [len(each) for each in ticks]


def test_shares_of_scales():
    # C, E, G and F sharp of one, two, three and four beats.
    times = np.zeros(12)
    times[[0, 4, 7, 6]] = 1, 2, 3, 4
    shares = key_estimation.scale_shares(times)
    assert shares[0] == pytest.approx(0.6)
    assert shares[7] == 1
    # D flat major has C alone, and G flat, which is F sharp.
    assert shares[1] == pytest.approx(0.5)
    np.testing.assert_allclose(key_estimation.scale_shares(np.roll(times, 3)), np.roll(shares, 3))
    assert key_estimation.scale_shares(np.zeros(12)).tolist() == [1] * 12


# Each with the key that a signature without sharps and flats stands for: C major.
FITS = {
    "C major": [0, 2, 4, 5, 7, 9, 11, 0, 4, 7],
    "A minor, harmonic": [9, 11, 0, 2, 4, 5, 8, 9, 0, 4, 9, 2, 5],
    "D dorian": [2, 4, 5, 7, 9, 11, 0, 2, 5, 9, 2, 2],
    "E phrygian": [4, 5, 7, 9, 11, 2, 4, 7, 11, 4],
    "a chord of C": [0, 4, 7],
    "silence": [],
}
DIFFERS = {
    "D flat major": [1, 3, 5, 6, 8, 10, 0, 1, 5, 8],
    "F major": [5, 7, 9, 10, 0, 2, 4, 5, 9, 0],
    "G major": [7, 9, 11, 0, 2, 4, 6, 7, 11, 2],
    "C minor": [0, 2, 3, 5, 7, 8, 11, 0, 3, 7],
}


@pytest.mark.parametrize("up", range(12))
def test_signatures_fit_the_notes(up):
    for names, expected in ((FITS, True), (DIFFERS, False)):
        for name, pitches in names.items():
            times = durations_of([pitch + up for pitch in pitches])
            for key in ((up, False), ((up + 9) % 12, True)):
                assert key_estimation.signature_fits(times, *key, is_default=True) == expected, name


def test_a_signature_that_somebody_chose_may_differ_more():
    # Twelve bars of G blues, in sevenths, with the minor third of the singer.
    roots = (7, 7, 7, 7, 0, 0, 7, 7, 2, 0, 7, 7)
    blues = durations_of([root + i for root in roots for i in (0, 4, 7, 10)] + [10] * 6)
    assert key_estimation.signature_fits(blues, 7, False, is_default=False)
    assert not key_estimation.signature_fits(blues, 7, False, is_default=True)
    # A semitone off, as of a transposing instrument at worst, it is not believed.
    assert not key_estimation.signature_fits(blues, 6, False, is_default=False)


@pytest.mark.parametrize(
    ("sharps", "is_minor", "tonic"),
    [
        (0, False, 0),
        (1, False, 7),
        (-1, False, 5),
        (7, False, 1),
        (-7, False, 11),
        (0, True, 9),
        (1, True, 4),
        (-1, True, 2),
        (-3, True, 0),
        (7, True, 10),
        (-7, True, 8),
    ],
)
def test_signatures(sharps, is_minor, tonic):
    assert key_estimation.key_of_signature(sharps, is_minor) == (tonic, is_minor)
    # The major key of the same signature, on the circle of fifths.
    assert key_estimation.relative_major(tonic, is_minor) == 7 * sharps % 12


def test_shifts_lead_to_c_major_and_a_minor_by_the_short_way():
    for tonic in range(12):
        for is_minor, aim in ((False, 0), (True, 9)):
            shift = key_estimation.shift_to_c(tonic, is_minor)
            assert -6 <= shift <= 5
            assert (tonic + shift) % 12 == aim
    assert key_estimation.shift_to_c(7, False) == 5
    assert key_estimation.shift_to_c(6, False) == -6
    assert key_estimation.shift_to_c(4, True) == 5
    assert key_estimation.shift_to_c(0, True) == -3


def test_names():
    assert key_estimation.key_name(3, False) == "Eb major"
    assert key_estimation.key_name(6, True) == "F# minor"
