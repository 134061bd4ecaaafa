"""The feature space on music that is damaged more and more; clouds against double loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from tests.checking import unchecked
from tests.metrics.test_music import random_rolls, silence
from wae_jax.metrics import distribution


def slow_manifold(real, fake, neighbors):
    def squared(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    def reach(points):
        others = ([squared(a, b) for j, b in enumerate(points) if j != i] for i, a in enumerate(points))
        return [sorted(distances)[neighbors - 1] for distances in others]

    around_real, around_fake = reach(real), reach(fake)
    inside = [[squared(r, f) <= size for r, size in zip(real, around_real, strict=True)] for f in fake]
    recalled = [any(squared(r, f) <= size for f, size in zip(fake, around_fake, strict=True)) for r in real]
    return (
        sum(any(row) for row in inside) / len(fake),
        sum(recalled) / len(real),
        sum(sum(row) for row in inside) / (neighbors * len(fake)),
        sum(any(row[i] for row in inside) for i in range(len(real))) / len(real),
    )


@pytest.mark.parametrize("neighbors", [1, 3, 5])
def test_manifold_is_that_of_the_double_loop(neighbors, monkeypatch):
    monkeypatch.setattr(distribution, "_CHUNK", 7)
    rng = np.random.default_rng(neighbors)
    real, fake = rng.normal(size=(40, 2)), rng.normal(0.7, 0.6, size=(25, 2))
    found = distribution.precision_recall_density_coverage(real, fake, neighbors=neighbors)
    assert tuple(found) == pytest.approx(slow_manifold(real.tolist(), fake.tolist(), neighbors), abs=1e-12)
    assert len({round(figure, 6) for figure in found}) >= 3


def test_the_balls_of_single_points_are_counted_by_hand():
    real, fake = np.array([[0.0], [1.0], [10.0]]), np.array([[0.5], [2.0], [4.0]])
    # Nearest neighbors of real points are 1, 1 and 9 away; of the others 1.5, 1.5 and 2.
    found = distribution.compare_balls(real, fake, neighbors=1)
    assert found.covered.tolist() == [True, True, True]
    assert found.recalled.tolist() == [True, True, False]
    assert found.real_balls.tolist() == [2, 2, 1]


def test_a_set_covers_itself_even_with_equal_points():
    points = np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 8, axis=0)
    found = distribution.precision_recall_density_coverage(points, points)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


def test_clouds_far_apart_share_nothing_and_a_collapsed_one_covers_little():
    rng = np.random.default_rng(1)
    real = rng.normal(size=(200, 4))
    assert distribution.precision_recall_density_coverage(real, real + 100) == (0, 0, 0, 0)
    collapsed = real[0] + 1e-3 * rng.normal(size=(200, 4))
    found = distribution.precision_recall_density_coverage(real, collapsed)
    assert found.precision == 1
    assert found.coverage < 0.2
    assert found.recall < 0.05


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="fake has 5 points"):
        distribution.precision_recall_density_coverage(np.zeros((9, 2)), np.zeros((5, 2)))
    with pytest.raises(ValueError, match="fake 1; expected at least 2"):
        distribution.frechet_distance(np.zeros((9, 2)), np.zeros((1, 2)))


def with_moments(mean, spread, number, seed):
    """A cloud whose sample mean is exactly `mean` and whose sample covariance is exactly diagonal."""
    points = np.random.default_rng(seed).normal(size=(number, len(mean)))
    orthogonal, _ = np.linalg.qr(points - points.mean(axis=0))
    return orthogonal * np.sqrt(number - 1) * spread + mean


def test_frechet_distance_of_diagonal_gaussians():
    mean, spread = np.array([[0, 1, 2.0], [1, 1, -1]]), np.array([[1, 2, 0.5], [3, 2, 1]])
    a, b = with_moments(mean[0], spread[0], 50, 0), with_moments(mean[1], spread[1], 80, 1)
    expected = ((mean[0] - mean[1]) ** 2).sum() + ((spread[0] - spread[1]) ** 2).sum()
    assert distribution.frechet_distance(a, b) == pytest.approx(expected)
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    assert distribution.frechet_distance(a @ turn, b @ turn) == pytest.approx(expected)
    # A covariance that is turned against the other's: the trace of the root, by eigenvalues.
    root = np.sqrt(np.linalg.eigvals(np.cov(a.T) @ np.cov((b @ turn).T)).real).sum()
    apart = ((a.mean(axis=0) - (b @ turn).mean(axis=0)) ** 2).sum()
    expected = apart + (spread**2).sum() - 2 * root
    assert distribution.frechet_distance(a, b @ turn) == pytest.approx(expected)


def test_frechet_distance_of_singular_clouds():
    rng = np.random.default_rng(3)
    flat = np.concatenate([rng.normal(size=(10, 4)), np.zeros((10, 60))], axis=1)
    assert distribution.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-12)
    assert distribution.frechet_distance(flat, flat + 1 / 8) == pytest.approx(1)
    assert distribution.frechet_distance(flat, np.zeros((3, 64))) == pytest.approx(
        (flat.mean(axis=0) ** 2).sum() + flat.var(axis=0, ddof=1).sum()
    )


def test_features_by_hand():
    rolls = silence(2)
    # MIDI 36, a bass drum, and 49, a cymbal, on the third 16th; a C of two octaves for half a beat on the bass.
    rolls[1, 6, [12, 25], 0] = True
    rolls[1, 12:18, [0, 24], 3] = True
    features = distribution.phrase_features(rolls)
    assert features.shape == (2, distribution.NUM_FEATURES)
    assert not features[0].any()
    harmony, rhythm, bars, lengths = np.split(features[1], np.cumsum([16 * 12 * 4, 64 * 8, 3 * 4 * 5]))
    assert np.argwhere(harmony.reshape(16, 12, 4)).tolist() == [[1, 0, 2]]
    assert harmony.max() == 0.5
    assert np.argwhere(rhythm.reshape(64, 8)).tolist() == [[2, 0], [2, 3], [4, 6]]
    bars = bars.reshape(3, 4, 5)
    assert not bars[:, 1:].any()
    np.testing.assert_allclose(bars[:, 0, 0], [np.log(3), 1 / 48, (12 + 25) / 2 / 12])
    np.testing.assert_allclose(bars[:, 0, 3], [np.log(3), 6 / 48, 1])
    lengths = lengths.reshape(7, 5)
    assert np.argwhere(lengths).tolist() == [[0, 0], [3, 3]]
    np.testing.assert_allclose(lengths[[0, 3], [0, 3]], np.log(3))


def test_chunks_of_phrases_do_not_show(monkeypatch):
    rolls = random_rolls(5)
    whole = distribution.phrase_features(rolls)
    monkeypatch.setattr(distribution, "_CHUNK", 2)
    np.testing.assert_array_equal(distribution.phrase_features(rolls), whole)
    assert distribution.phrase_features(silence(0)).shape == (0, distribution.NUM_FEATURES)


def test_all_components_keep_the_distances_of_weighted_features():
    features = distribution.phrase_features(random_rolls(12))
    space = distribution.fit_feature_space(features)
    points = space.transform(features)
    assert points.shape == (12, 12)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    scaled = (features - space.mean) / space.scale
    expected = np.linalg.norm(scaled[3] - scaled[8])
    assert np.linalg.norm(points[3] - points[8]) == pytest.approx(expected)
    assert distribution.fit_feature_space(features, num_dims=3).transform(features).shape == (12, 3)


@unchecked()
def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="expected \\[B, 192, 84, 5\\]"):
        distribution.phrase_features(np.zeros((1, 4, 48, 84, 5), bool))
    with pytest.raises(ValueError, match="at least 2 phrases"):
        distribution.fit_feature_space(np.zeros((1, distribution.NUM_FEATURES)))


def test_real_music_ranks_as_the_ear_does(shared_data):
    sparse = np.load(shared_data / "lpd5" / "free_train.npz")
    phrase, bar, step, pitch, track = sparse["nonzero"]
    kept = phrase % 24 < 2
    phrase = phrase[kept] // 24 * 2 + phrase[kept] % 24
    rolls = np.zeros((phrase.max() + 1, 192, 84, 5), bool)
    rolls[phrase, (48 * bar + step)[kept], pitch[kept], track[kept]] = True
    lines = (shared_data / "lpd5" / "free_train.tsv").read_text().splitlines()[1:]
    songs = np.array([line.split("\t")[1] for i, line in enumerate(lines) if i % 24 < 2])[: len(rolls)]
    features = distribution.phrase_features(rolls)
    space = distribution.fit_feature_space(features)
    points = space.transform(features)

    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.flatnonzero(songs[:-1:2] == songs[1::2]) * 2)[:40]
    other = rng.permutation(chosen)
    noise = rng.random((40, *rolls.shape[1:])) < 0.013
    splinters = rolls[chosen].copy()
    splinters[:, 2::3] = False
    slightly = rolls[chosen] & (rng.random((40, 1, *rolls.shape[2:])) < 0.95)

    def distance(these):
        return np.linalg.norm(these - points[chosen], axis=1)

    def of_rolls(these):
        return distance(space.transform(distribution.phrase_features(these)))

    same_song, other_song = distance(points[chosen + 1]), distance(points[other])
    medians = [np.median(d) for d in (of_rolls(slightly), same_song, other_song, of_rolls(noise))]
    assert medians == sorted(medians)
    assert np.median(of_rolls(silence(40))) > np.median(same_song)
    assert np.median(of_rolls(splinters)) > np.median(same_song)
