import dataclasses

import jax
import numpy as np
import pytest
import scipy.stats

from wae_jax.training.learned_prior import MAX_COMPONENTS, fit_mixture, log_density, normal, sample_mixture

CENTRES = np.array([[-6.0, 0.0, 1.0], [5.0, 4.0, 0.0], [0.0, -7.0, 3.0]])
SHARES = np.array([0.5, 0.3, 0.2])


def clusters(num=1500, seed=0):
    """Codes around `CENTRES`, in random order, and the number of the centre of each."""
    rng = np.random.default_rng(seed)
    which = rng.choice(3, num, p=SHARES)
    shapes = np.array([np.diag([1.0, 0.5, 0.2]), np.diag([0.3, 1.0, 1.0]), np.eye(3) * 0.5])
    shapes[1][2, 0] = 0.6
    noise = np.einsum("nij,nj->ni", shapes[which], rng.standard_normal((num, 3)))
    return (CENTRES[which] + noise).astype(np.float32), which


def keys(num, seed=0):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(np.arange(num))


def by_hand(mixture, codes):
    """The log-density by SciPy."""
    parts = [
        weight * scipy.stats.multivariate_normal(mean, factor @ factor.T).pdf(codes)
        for weight, mean, factor in zip(mixture.weights, mixture.means, mixture.factors, strict=True)
    ]
    return np.log(np.sum(parts, axis=0))


def test_one_component_is_the_mean_and_the_covariance():
    codes, _ = clusters()
    found = fit_mixture(codes, components=1)
    np.testing.assert_allclose(found.means[0], codes.mean(axis=0), atol=1e-4)
    covariance = np.cov(codes.astype(np.float64).T, ddof=0)
    # Three hundredths of each dimension's variance are added.
    expected = covariance + 0.03 * np.diag(np.diag(covariance))
    np.testing.assert_allclose(found.factors[0] @ found.factors[0].T, expected, rtol=1e-5)


def test_separated_clusters_are_found():
    codes, which = clusters()
    found = fit_mixture(codes, components=3)
    order = [int(np.argmin(np.linalg.norm(found.means - centre, axis=1))) for centre in CENTRES]
    assert sorted(order) == [0, 1, 2]
    raised = 0.03 * np.diag(codes.astype(np.float64).var(axis=0))
    for centre, component in enumerate(order):
        own = codes[which == centre].astype(np.float64)
        np.testing.assert_allclose(found.weights[component], len(own) / len(codes), atol=1e-3)
        np.testing.assert_allclose(found.means[component], own.mean(axis=0), atol=0.01)
        covariance = found.factors[component] @ found.factors[component].T
        np.testing.assert_allclose(covariance, np.cov(own.T, ddof=0) + raised, rtol=0.02, atol=0.01)


def test_a_seed_makes_one_mixture():
    codes, _ = clusters(200)
    one, same = (fit_mixture(codes, components=4, seed=3) for _ in range(2))
    for first, second in zip(dataclasses.astuple(one), dataclasses.astuple(same), strict=True):
        np.testing.assert_array_equal(first, second)


def test_density_is_scipys():
    codes, _ = clusters(50)
    found = fit_mixture(codes, components=2)
    np.testing.assert_allclose(log_density(found, codes), by_hand(found, codes.astype(np.float64)))
    expected = scipy.stats.norm(scale=1.5).logpdf(codes.astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(log_density(normal(3, 2.25), codes), expected)


@pytest.mark.parametrize(("num", "components"), [(2, 1), (199, 1), (200, 2), (1500, 15), (3368, 32), (9000, 32)])
def test_the_number_of_components_follows_from_that_of_codes(num, components):
    assert len(fit_mixture(clusters(num)[0]).weights) == components


def test_samples_have_the_moments_of_the_mixture():
    mixture = fit_mixture(clusters()[0], components=3)
    samples = sample_mixture(mixture, keys(6000)).astype(np.float64)
    covariances = mixture.factors @ mixture.factors.transpose(0, 2, 1)
    mean = mixture.weights @ mixture.means
    covariance = np.einsum("c,cij->ij", mixture.weights, covariances)
    covariance += (mixture.means - mean).T @ np.diag(mixture.weights) @ (mixture.means - mean)
    np.testing.assert_allclose(samples.mean(axis=0), mean, atol=0.25)
    np.testing.assert_allclose(np.cov(samples.T), covariance, rtol=0.05, atol=0.6)
    nearest = np.argmin(np.linalg.norm(samples[:, None] - mixture.means, axis=2), axis=1)
    np.testing.assert_allclose(np.bincount(nearest) / 6000, mixture.weights, atol=0.02)
    for component in range(3):
        own = samples[nearest == component]
        np.testing.assert_allclose(np.cov(own.T), covariances[component], rtol=0.15, atol=0.05)


def test_first_samples_do_not_depend_on_how_many_there_are():
    mixture = fit_mixture(clusters()[0], components=3)
    many = sample_mixture(mixture, keys(40))
    assert many.dtype == np.float32
    np.testing.assert_allclose(sample_mixture(mixture, keys(7)), many[:7], rtol=1e-6)
    assert not np.allclose(many[:7], sample_mixture(mixture, keys(7, seed=1)))


def test_shift_and_scale_of_a_dimension_carry_over():
    codes, _ = clusters(500)
    shift, scale = np.array([3.0, -1.0, 0.5]), np.array([4.0, 0.25, 2.0])
    one = fit_mixture(codes.astype(np.float64), components=2)
    other = fit_mixture(codes.astype(np.float64) * scale + shift, components=2)
    np.testing.assert_allclose(other.means, one.means * scale + shift)
    np.testing.assert_allclose(other.factors, one.factors * scale[:, None], atol=1e-9)


@pytest.mark.parametrize(
    "codes",
    [
        np.ones((5, 4)),
        np.zeros((3, 2)),
        np.array([[0.0, 1.0], [1.0, 1.0]]),
        np.random.default_rng(0).standard_normal((12, 64)),
        np.random.default_rng(0).standard_normal((30, 1)),
        np.random.default_rng(0).standard_normal((100, 6)) * [1, 1, 1, 1, 0, 0],
        np.repeat(np.random.default_rng(0).standard_normal((3, 4)), 10, axis=0),
    ],
    ids=["alike", "zeros", "two", "fewer than dimensions", "one dimension", "constant dimensions", "duplicates"],
)
@pytest.mark.parametrize("components", [0, 2])
def test_degenerate_codes_have_a_mixture_near_them(codes, components):
    found = fit_mixture(codes.astype(np.float32), components=components)
    np.testing.assert_allclose(found.weights.sum(), 1)
    samples = sample_mixture(found, keys(50))
    assert np.isfinite(samples).all()
    assert np.isfinite(log_density(found, codes)).all()
    constant = np.ptp(codes, axis=0) == 0
    allowed = 0.05 * max(1.0, np.abs(codes).max())
    np.testing.assert_allclose(
        samples[:, constant], np.broadcast_to(codes[0, constant], samples[:, constant].shape), atol=allowed
    )


def test_what_cannot_be_fitted_is_refused():
    codes, _ = clusters(20)
    for wrong in (codes[:1], codes[:, :0]):
        with pytest.raises(ValueError, match="expected"):
            fit_mixture(wrong)
    broken = codes.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 20 codes are not finite"):
        fit_mixture(broken)
    with pytest.raises(ValueError, match="components is 21; expected 1 to 20"):
        fit_mixture(codes, components=21)


@pytest.mark.parametrize(
    ("mixture", "text"),
    [
        (fit_mixture(np.eye(5), components=3), "a mixture of 3 Gaussians fitted to the codes of training phrases"),
        (fit_mixture(np.eye(5), components=1), "a Gaussian fitted to the codes of training phrases"),
        (fit_mixture(np.ones((2, 3))), "a Gaussian fitted to the codes of training phrases"),
        (normal(3, 0.25), "N(0, 0.25 I), since fitting a mixture takes at least two training phrases"),
    ],
)
def test_a_mixture_says_what_it_is(mixture, text):
    assert str(mixture) == text
    assert str(mixture.padded().unpadded()) == text


def test_padding_changes_no_sample():
    mixture = fit_mixture(clusters()[0], components=3)
    padded = mixture.padded()
    assert padded.weights.shape == (MAX_COMPONENTS,)
    np.testing.assert_array_equal(sample_mixture(padded, keys(50)), sample_mixture(mixture, keys(50)))
    back = jax.tree.map(lambda leaf: leaf.astype(np.float32), padded).unpadded()
    assert len(back.weights) == 3
    np.testing.assert_allclose(back.weights.sum(), 1, rtol=1e-15)
    np.testing.assert_allclose(back.factors, mixture.factors, rtol=1e-6)
