"""Each divergence against an independent computation, finite differences, the null, and codes collapsed to 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats

from tests.checking import unchecked
from wae_jax.config import DiscriminatorSpec, ObjectiveSpec
from wae_jax.models.encoder_decoder import Encoded
from wae_jax.objective import divergences, prior
from wae_jax.training import latent_penalties

KEY = jax.random.key(3)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def make_penalty(penalty, discriminator=DiscriminatorSpec(), **options):  # noqa: B008 - frozen
    objective = ObjectiveSpec(penalty=penalty, **options)
    return latent_penalties.make_penalty(objective, discriminator, latent_dim=3, dtype="float64")


def encoded(z, log_variance=None):
    return Encoded(z, z, log_variance)


@pytest.mark.parametrize("prior_variance", [1.0, 2.0])
def test_sliced_wasserstein_is_scipys_in_one_dimension(prior_variance):
    z, z_prior = 1.5 * normal(0, 12, 3) + 0.3, normal(1, 12, 3) * prior_variance**0.5
    directions = divergences.random_directions(KEY, num=5, latent_dim=3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    distances = []
    for direction in np.asarray(directions):
        # The best of all ways to pair twelve points: a linear assignment knows nothing of sorting.
        cost = (z @ direction[:, None] - (z_prior @ direction)[None, :]) ** 2
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        distances.append(cost[rows, columns].mean())
    found = divergences.sliced_wasserstein(z, z_prior, directions)
    assert float(found) == pytest.approx(np.mean(distances), rel=1e-12)
    with unchecked(), pytest.raises(ValueError, match="must have one shape"):
        divergences.sliced_wasserstein(z, z_prior[:5], directions)


def test_directions_are_uniform():
    directions = np.asarray(divergences.random_directions(KEY, num=4000, latent_dim=3))
    np.testing.assert_allclose(directions.T @ directions / 4000, np.eye(3) / 3, atol=0.02)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.05)
    # Archimedes: a coordinate of a point of the sphere is uniform.
    assert scipy.stats.kstest(directions[:, 2], "uniform", args=(-1, 2)).pvalue > 0.001


@pytest.mark.parametrize("a", [0.5, 1.5])
@pytest.mark.parametrize("latent_dim", [1, 2, 3, 4, 8, 15, 19])
def test_confluent_is_scipys(a, latent_dim):
    s = np.concatenate([[0.0], np.logspace(-6, 5, 60), [39.999, 40.0, 40.001]])
    b = latent_dim / 2 + a - 0.5
    expected = scipy.special.hyp1f1(a, b, -s)
    confluent = jax.jit(divergences.kummer, static_argnums=(0, 1))
    np.testing.assert_allclose(confluent(a, b, jnp.asarray(s)), expected, rtol=1e-11, atol=1e-15)
    single = confluent(a, b, jnp.asarray(s, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, rtol=2e-5, atol=1e-12)
    slope = jax.jit(jax.grad(lambda s: divergences.kummer(a, b, s).sum()))(jnp.asarray(s))
    expected_slope = -a / b * scipy.special.hyp1f1(a + 1, b + 1, -s)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-10, atol=1e-15)


def smoothed_distance(z, prior_variance):
    """Theirs from its definition, for Z = 2: densities on a line, smoothed, squared and integrated; then all angles."""
    n, grid = len(z), np.linspace(-14, 14, 1401)
    width = (4 / (3 * n)) ** 0.4
    standard = scipy.stats.norm.pdf(grid, scale=np.sqrt(1 + width))
    distances = []
    for angle in np.arange(200) * np.pi / 200:
        projected = z @ [np.cos(angle), np.sin(angle)] / np.sqrt(prior_variance)
        density = scipy.stats.norm.pdf(grid[:, None], projected, np.sqrt(width)).mean(axis=1)
        distances.append(scipy.integrate.simpson((density - standard) ** 2, x=grid))
    return 2 * np.sqrt(np.pi) * np.mean(distances)


@pytest.mark.parametrize("prior_variance", [1.0, 2.5])
@pytest.mark.parametrize("scale", [0.0, 0.5, 2.5])
def test_cramer_wold_is_its_definition(prior_variance, scale):
    z = scale * normal(2, 10, 2) + 0.4
    expected = smoothed_distance(z, prior_variance)
    assert float(divergences.cramer_wold(z, prior_variance=prior_variance)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("latent_dim", [4, 8, 16, 20, 64])
def test_the_asymptotic_kernel_is_used_where_it_is_near(latent_dim):
    z = 1.3 * normal(4, 16, latent_dim)
    width, squares = (4 / 48) ** 0.4, (z**2).sum(1)
    pairs = ((z[:, None] - z) ** 2).sum(-1)

    def distance(kernel):
        return 1 / np.sqrt(1 + width) + kernel(pairs, width).mean() - 2 * kernel(squares, width + 0.5).mean()

    exact = distance(lambda d2, w: scipy.special.hyp1f1(0.5, latent_dim / 2, -d2 / (4 * w)) / np.sqrt(w))
    near = distance(lambda d2, w: (w + d2 / (2 * latent_dim - 3)) ** -0.5)
    expected = near if latent_dim >= 20 else exact
    assert float(divergences.cramer_wold(z, prior_variance=1.0)) == pytest.approx(expected, rel=1e-10)
    assert near == pytest.approx(exact, abs=0.4 / latent_dim)


def test_kl_is_the_integral_and_0_at_the_prior():
    mean, log_variance, prior_variance = np.array([[0.7, -1.2]]), np.array([[-1.0, 0.6]]), 1.7
    expected = 0.0
    for m, v in zip(mean[0], np.exp(log_variance[0]), strict=True):
        q, p = scipy.stats.norm(m, np.sqrt(v)), scipy.stats.norm(0, np.sqrt(prior_variance))
        x = np.linspace(m - 15, m + 15, 20_001)
        expected += scipy.integrate.simpson(q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), x=x)
    found = divergences.kl_divergence(mean, log_variance, prior_variance=prior_variance)
    np.testing.assert_allclose(found, [expected], rtol=1e-9)
    at_prior = divergences.kl_divergence(np.zeros((3, 4)), np.full((3, 4), np.log(1.7)), prior_variance=1.7)
    np.testing.assert_allclose(at_prior, 0.0, atol=1e-14)


def test_log_variance_penalty_and_prior_density():
    log_variance = np.array([[1.0, -2.0], [0.0, 0.5]])
    np.testing.assert_allclose(divergences.log_variance_penalty(log_variance), [3.0, 0.5])
    z = normal(5, 4, 3)
    expected = scipy.stats.multivariate_normal(np.zeros(3), 1.7).logpdf(z)
    np.testing.assert_allclose(prior.prior_log_density(z, prior_variance=1.7), expected, rtol=1e-12)


def test_the_prior_logit_is_added_to_the_discriminators():
    z, z_prior = normal(6, 5, 3), normal(7, 5, 3)
    penalty = make_penalty("gan", DiscriminatorSpec(widths=(4,), prior_logit=True), prior_variance=2.0)
    params = penalty.init(KEY)

    def logit(z):
        hidden = np.maximum(z @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"], 0)
        density = scipy.stats.multivariate_normal(np.zeros(3), 2.0).logpdf(z)
        return (hidden @ params["logit"]["kernel"] + params["logit"]["bias"])[:, 0] + density

    expected = np.log1p(np.exp(-logit(z))).mean()
    assert float(penalty.evaluate(params, encoded(z), z_prior, KEY)["penalty"]) == pytest.approx(expected, rel=1e-10)
    expected = (np.log1p(np.exp(-logit(z_prior))) + np.log1p(np.exp(logit(z)))).mean()
    loss, metrics = penalty.discriminator_loss(params, z, z_prior)
    assert float(loss) == float(metrics["discriminator_loss"]) == pytest.approx(expected, rel=1e-10)


PENALTIES = {
    "sliced_wasserstein": {},
    "cramer_wold": {},
    "log_cramer_wold": {"penalty": "cramer_wold", "cramer_wold_log": True},
    "kl": {},
    "none": {},
}


@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_are_finite_differences(name):
    penalty, z_prior = make_penalty(**{"penalty": name, **PENALTIES[name]}), normal(11, 8, 3)
    whole = latent_penalties.GlobalBatch(lambda z: z, 0, KEY)
    log_variance, z, step = 0.3 * normal(12, 8, 3), normal(10, 8, 3) + 0.2, 1e-6

    @jax.jit
    def value(z, log_variance):
        return penalty.penalty({}, encoded(z, log_variance), z_prior, whole)

    for i, gradient in enumerate(jax.grad(value, argnums=(0, 1))(z, log_variance)):
        along = normal(13, 8, 3)
        ends = [[z, log_variance] for _ in range(2)]
        for arguments, sign in zip(ends, (1, -1), strict=True):
            arguments[i] = arguments[i] + sign * step * along
        expected = (value(*ends[0]) - value(*ends[1])) / (2 * step)
        assert float(jnp.sum(gradient * along)) == pytest.approx(float(expected), rel=1e-6, abs=1e-9)
    assert (float(value(z, log_variance)) == 0) == (name == "none")


# Mean and deviation under the null lie below the first, codes collapsed to 0 above the second.
@pytest.mark.parametrize(("name", "null", "collapsed"), [("sliced_wasserstein", 0.08, 0.7), ("cramer_wold", 0.02, 0.2)])
def test_the_null_and_a_collapse(name, null, collapsed):
    penalty = make_penalty(name)

    @jax.jit
    def evaluate(z, z_prior):
        return penalty.evaluate({}, encoded(z), z_prior, KEY)["penalty"]

    values = [float(evaluate(normal(2 * i, 256, 3), normal(2 * i + 1, 256, 3))) for i in range(20)]
    assert 0 < np.mean(values) + np.std(values) < null
    assert float(evaluate(np.zeros((256, 3)), normal(0, 256, 3))) > collapsed


def test_kl_needs_variances():
    with pytest.raises(ValueError, match="needs encoder 'gaussian'"):
        make_penalty("kl").evaluate({}, encoded(np.zeros((2, 3))), np.zeros((2, 3)), KEY)
