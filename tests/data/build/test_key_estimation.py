import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax.data.build import key_estimation

C_MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
# Krumhansl and Kessler's ratings, typed anew: C major from C, C minor from C.
MAJOR = [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88]
MINOR = [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17]


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
    with pytest.raises(ValueError, match=r"shape \(128,\); expected \(12,\)"):
        key_estimation.estimate_key(np.zeros(128))


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
