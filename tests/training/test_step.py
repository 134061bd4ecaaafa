"""What one step promises to compute; that devices agree on it is in `test_devices.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import (
    CONSTANT,
    DENSITIES,
    autoencoder_of,
    load_config,
    make_batch,
    penalty_of,
    random_rolls,
    run_step,
    run_steps,
    shard,
    tiny_config,
    train,
)
from wae_jax import pianoroll
from wae_jax.config import OptimizerSpec, read_config
from wae_jax.data.pipeline import PADDING, Batch
from wae_jax.objective import mmd
from wae_jax.objective.prior import sample_prior
from wae_jax.training.calls import parallel_step
from wae_jax.training.evaluation_step import (
    make_evaluate_step,
    make_latent_metrics,
    moment_metrics,
    reconstruction_metrics,
)
from wae_jax.training.optimizers import make_optimizer, make_schedule
from wae_jax.training.random_keys import example_keys, shared_key
from wae_jax.training.state import create_train_state
from wae_jax.training.step import augment, make_train_step


def test_the_step_is_the_objective_and_one_step_of_adam():
    """The whole of a WAE-GAN step again, without pmap: forward passes, both losses, both gradients, both updates."""
    config = tiny_config("gan", penalty_weight=3.0, reconstruction_weight=0.5, prior_variance=2.0)
    state = create_train_state(config, track_densities=DENSITIES, num_train_steps=10)
    batch = make_batch(config.batch_size)
    after, history = train(config, 1, 1)

    model, penalty = autoencoder_of(config), penalty_of(config)
    keys = example_keys(config.seed, jnp.int32(0), jnp.arange(8))
    z_prior = jnp.sqrt(2.0) * jnp.stack([jax.random.normal(key, (4,)) for key in keys.prior])
    x = jnp.asarray(pianoroll.unpack(batch.packed), jnp.float32)
    unused = jax.random.split(jax.random.key(9), 8)  # without dropout the keys do not matter

    def forward(params, x):
        variables = {"params": params, "batch_stats": state.autoencoder.batch_stats}
        return model.apply(variables, x, encoder_keys=unused, decoder_keys=unused, mutable=["batch_stats"])

    def logits_of(params, z):
        # The discriminator of this configuration by hand: one hidden layer.
        hidden = jnp.maximum(z @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"], 0)
        return (hidden @ params["logit"]["kernel"] + params["logit"]["bias"])[:, 0]

    def loss(params, x):
        (z, logits), _ = forward(params, x)
        x_hat = 1 / (1 + jnp.exp(-logits))
        d = 1 / (1 + jnp.exp(-logits_of(state.discriminator.params, z)))
        return 0.5 * jnp.sum((x - x_hat) ** 2) / 8 - 3.0 * jnp.mean(jnp.log(d)), z

    (value, z), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(state.autoencoder.params, x)
    assert float(history[0]["train/loss"]) == pytest.approx(float(value), rel=1e-5)

    def discriminator_loss(params):
        d, d_prior = (1 / (1 + jnp.exp(-logits_of(params, points))) for points in (z, z_prior))
        return -3.0 * jnp.mean(jnp.log(d_prior) + jnp.log(1 - d))

    discriminator_gradients = jax.jit(jax.grad(discriminator_loss))(state.discriminator.params)
    # After one step Adam's first moment is 1 - b1 times the gradient.
    for model_state, expected, b1 in (
        (after.autoencoder, gradients, 0.9),
        (after.discriminator, discriminator_gradients, 0.5),
    ):
        moments = model_state.opt_state[1][0].mu
        for moment, gradient in zip(jax.tree.leaves(moments), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(moment, (1 - b1) * gradient, rtol=2e-3, atol=1e-5)
    assert int(after.step) == 1
    assert penalty.init(jax.random.key(0)).keys() == {"hidden_0", "logit"}


@pytest.mark.slow  # the step recomputed by hand has both updates
def test_autoencoder_and_discriminator_have_separate_optimizers():
    config = tiny_config("gan", discriminator_optimizer__learning_rate=1e-12, autoencoder_optimizer__warmup_steps=0)
    before = create_train_state(config, track_densities=DENSITIES, num_train_steps=2)
    after, _ = train(config, 1, 2)
    frozen = (before.discriminator.params["logit"]["kernel"], after.discriminator.params["logit"]["kernel"])
    moved = (
        before.autoencoder.params["encoder"]["code"]["kernel"],
        after.autoencoder.params["encoder"]["code"]["kernel"],
    )
    np.testing.assert_allclose(*frozen, atol=1e-9)
    assert np.abs(moved[0] - moved[1]).max() > 1e-4


def test_pretraining_moves_the_encoder_alone_and_down_the_gap_between_the_moments():
    config = tiny_config("mmd", pretrain_steps=40, prior_variance=9.0, autoencoder_optimizer__warmup_steps=0)
    before = create_train_state(config, track_densities=DENSITIES, num_train_steps=2)
    after, history = train(config, 2, 1)
    halves = [state.autoencoder.params["decoder"] for state in (before, after)]
    for a, b in zip(*map(jax.tree.leaves, halves), strict=True):
        np.testing.assert_array_equal(a, b)

    keys = example_keys(config.seed, jnp.int32(0), jnp.arange(8))
    z_prior = 3.0 * jnp.stack([jax.random.normal(key, (4,)) for key in keys.prior])
    unused = jax.random.split(jax.random.key(9), 8)

    @jax.jit
    @jax.value_and_grad
    def gap(params, x):
        variables = {"params": params, "batch_stats": before.autoencoder.batch_stats}
        (z, _), _ = autoencoder_of(config).apply(
            variables, x, encoder_keys=unused, decoder_keys=unused, mutable=["batch_stats"]
        )
        means = jnp.mean((z.mean(0) - z_prior.mean(0)) ** 2)
        return means + jnp.mean((jnp.cov(z.T) - jnp.cov(z_prior.T)) ** 2)

    value, gradients = gap(before.autoencoder.params, pianoroll.unpack(make_batch(8).packed).astype(np.float32))
    assert float(history[0]["train/moment_gap"]) == pytest.approx(float(value), rel=1e-4)
    assert history[0]["train/loss"] == history[0]["train/moment_gap"]
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients["encoder"]):
        moment = after.autoencoder.opt_state[1][0].mu["encoder"]
        for key in path:
            moment = moment[key.key]
        error = np.linalg.norm(moment - 0.1 * gradient) / np.linalg.norm(0.1 * gradient)
        assert error < 1e-3, f"{jax.tree_util.keystr(path)}: relative error {error:.1e}"


@pytest.mark.slow
def test_pretraining_brings_the_codes_near_the_prior():
    config = tiny_config(
        "mmd",
        pretrain_steps=40,
        num_train_steps=40,
        batch_size=32,
        prior_variance=9.0,
        autoencoder_optimizer__learning_rate=5e-2,
        **CONSTANT,
    )
    _, history = train(config, 2, 25)
    gaps = [float(metrics["train/moment_gap"]) for metrics in history]
    assert np.mean(gaps[-5:]) < 0.8 * np.mean(gaps[:5])


def test_example_keys_depend_only_on_the_position_in_the_global_batch():
    whole = example_keys(0, jnp.int32(5), jnp.arange(8))
    part = example_keys(0, jnp.int32(5), jnp.arange(4, 8))
    np.testing.assert_array_equal(jax.random.key_data(whole.decoder)[4:], jax.random.key_data(part.decoder))
    data = np.concatenate([jax.random.key_data(keys) for keys in whole])
    assert len(np.unique(data, axis=0)) == 48
    shared = jax.random.key_data(shared_key(0, jnp.int32(5)))
    assert not (data == np.asarray(shared)).all(axis=1).any()
    later = example_keys(0, jnp.int32(6), jnp.arange(8))
    assert not np.array_equal(jax.random.key_data(whole.prior), jax.random.key_data(later.prior))


def test_augmentation_transposes_within_its_bounds():
    rolls = np.zeros((64, *pianoroll.PHRASE_SHAPE), np.float32)
    rolls[:, 0, 40, :] = 1
    moved = np.asarray(augment(jnp.asarray(rolls), jax.random.split(jax.random.key(0), 64), 2))
    places = moved[:, 0, :, 1].argmax(axis=1)
    assert set(places) == {38, 39, 40, 41, 42}
    np.testing.assert_array_equal(moved[:, 0, :, 4].argmax(axis=1), places)
    np.testing.assert_array_equal(moved[..., 0], rolls[..., 0])


def test_metrics_of_an_evaluation_are_numpys():
    config = tiny_config("mmd", batch_size=8, prior_variance=1.5)
    state = create_train_state(config, track_densities=(0.4, 0.6, 0.4, 0.6, 0.4), num_train_steps=1)
    rolls = random_rolls(8, density=0.3)
    batch = Batch(pianoroll.pack(rolls), np.array([0, 1, 2, 3, 4, *[PADDING] * 3], np.int32))
    evaluated = run_step(make_evaluate_step(config), state, batch, 2)
    metrics = reconstruction_metrics([evaluated], num_phrases=5)
    metrics |= moment_metrics(evaluated.mean[:5], None, prior_variance=1.5)

    z, logits = jax.jit(autoencoder_of(config).apply)(state.evaluation_variables(), rolls.astype(np.float32))
    x_hat = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))[:5]
    x, predicted = rolls[:5], x_hat > 0.5
    precision = (x & predicted).sum() / predicted.sum()
    recall = (x & predicted).sum() / x.sum()
    codes = np.asarray(z)[:5]
    assert metrics["reconstruction"] == pytest.approx(((x - x_hat) ** 2).sum() / 5, rel=1e-4)
    assert metrics["precision"] == pytest.approx(precision, rel=1e-4)
    assert metrics["recall"] == pytest.approx(recall, rel=1e-4)
    assert metrics["f1"] == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-4)
    assert metrics["code_mean_gap"] == pytest.approx(np.sqrt((codes.mean(0) ** 2).mean()), rel=1e-3)
    covariance = np.cov(codes.T, bias=True) / 1.5
    assert metrics["code_covariance_gap"] == pytest.approx(np.sqrt(((covariance - np.eye(4)) ** 2).mean()), rel=1e-3)
    np.testing.assert_allclose(evaluated.mean[:5], codes, rtol=1e-4, atol=1e-5)

    keys = example_keys(config.seed, jnp.int32(-1), jnp.arange(5))
    z_prior = sample_prior(keys.prior, latent_dim=4, prior_variance=1.5)
    expected = {"penalty": float(mmd.mmd_squared(codes, z_prior, prior_variance=1.5))}
    latent = make_latent_metrics(config)({}, codes)
    assert {name: float(value) for name, value in latent.items()} == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("penalty", ["gan", "mmd", "rbf"])
def test_latent_metrics_do_not_depend_on_the_order_of_the_codes(penalty):
    """Phrases of one song stand side by side, and a song's codes are alike."""
    config = tiny_config("gan" if penalty == "gan" else "mmd", mmd_kernel="rbf" if penalty == "rbf" else "imq")
    params = penalty_of(config).init(jax.random.key(1))
    codes = np.repeat(np.random.default_rng(0).normal(size=(16, 4)), 4, axis=0).astype(np.float32)
    shuffled = np.random.default_rng(1).permutation(codes)
    latent_metrics = make_latent_metrics(config)
    one, other = (jax.device_get(latent_metrics(params, z)) for z in (codes, shuffled))
    assert "penalty" in one
    assert {n: float(v) for n, v in one.items()} == pytest.approx({n: float(v) for n, v in other.items()}, abs=2e-4)


@pytest.fixture(scope="module")
def precisions():
    """Two steps in either precision: the states after each and the losses."""
    runs = {dtype: list(run_steps(tiny_config("mmd", dtype=dtype), 2, 2)) for dtype in ("float32", "bfloat16")}
    return {
        dtype: ([state for state, _ in run], [float(metrics["train/loss"]) for _, metrics in run])
        for dtype, run in runs.items()
    }


def test_bfloat16_computes_near_float32_and_keeps_float32_parameters(precisions):
    (_, losses), (states, coarse_losses) = precisions["float32"], precisions["bfloat16"]
    assert {leaf.dtype for leaf in jax.tree.leaves(states[-1].autoencoder.params)} == {np.dtype("float32")}
    np.testing.assert_allclose(coarse_losses, losses, rtol=0.02)
    assert coarse_losses != losses


def test_bfloat16_gradients_are_near_those_of_float32(precisions):
    """Leaf by leaf, by the norm of the difference: sums over many cells must not be in bfloat16."""
    fine, coarse = (
        jax.tree_util.tree_leaves_with_path(precisions[dtype][0][0].autoencoder.opt_state[1][0].mu)
        for dtype in ("float32", "bfloat16")
    )
    for (path, expected), (_, found) in zip(fine, coarse, strict=True):
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < 0.3, f"{jax.tree_util.keystr(path)}: relative error {error:.2f}"


def test_moving_average_lags_behind():
    config = tiny_config("mmd", ema_decay=0.5, autoencoder_optimizer__warmup_steps=0)
    before = create_train_state(config, track_densities=DENSITIES, num_train_steps=2)
    after, _ = train(config, 1, 1)
    start, end, average = (
        np.asarray(tree["encoder"]["code"]["kernel"])
        for tree in (before.autoencoder.params, after.autoencoder.params, after.ema_params)
    )
    # At step 0 the decay is min(.5, 1/10).
    np.testing.assert_allclose(average, 0.1 * start + 0.9 * end, rtol=1e-5, atol=1e-7)


def test_a_fresh_state_is_kerass():
    """TruncatedNormal, which Keras gives a deviation of .05 before it is cut off at two of them; the rest 0 and 1."""
    config = tiny_config(
        "gan", model__output_bias="zero", model__h_dim=8, model__z_dim=16, discriminator__widths=(64, 64)
    )
    state = create_train_state(config, track_densities=DENSITIES, num_train_steps=1)
    leaves = (state.autoencoder.params, state.autoencoder.batch_stats, state.discriminator.params)
    kinds = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(leaves):
        kind = path[-1].key
        kinds.add(kind)
        if kind == "kernel":
            assert np.abs(leaf).max() <= 0.1
            # .05 times .8796, the deviation of a standard normal cut off at 2.
            assert np.std(leaf) == pytest.approx(0.04398, rel=4 / leaf.size**0.5)
            assert abs(np.mean(leaf)) < 4 * 0.04398 / leaf.size**0.5
        else:
            np.testing.assert_array_equal(leaf, {"bias": 0, "mean": 0, "scale": 1, "var": 1}[kind])
    assert kinds == {"kernel", "bias", "scale", "mean", "var"}
    for name in ("blog", "repo", "large"):
        assert load_config("wae_gan", name).model.batch_norm_momentum == 0.99


@pytest.mark.parametrize(
    "dtype", ["bfloat16", *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("float32", "float64"))]
)
def test_a_step_changes_no_type_of_the_state(dtype):
    """Else the step compiled twice, and its state could not be restored into a fresh one."""
    config = tiny_config("gan", dtype=dtype, ema_decay=0.9, pretrain_steps=1, refiner__num_units=1)
    with jax.enable_x64(dtype == "float64"):
        before = create_train_state(config, track_densities=DENSITIES, num_train_steps=2)
        step = parallel_step(make_train_step(config, num_train_steps=2), devices=jax.devices()[:2])
        after, _ = jax.eval_shape(step, before, shard(make_batch(8), jax.devices()[:2]))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), before) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), after
    )
    full = "float64" if dtype == "float64" else "float32"
    assert {leaf.dtype.name for leaf in jax.tree.leaves(before)} == {full, "int32"}


def test_adam_is_that_of_its_paper_with_kerass_constants():
    """Kingma and Ba (arXiv 1412.6980), algorithm 1, for twenty steps, and what the variants after the reference set.

    Keras has the same, with epsilon added before the second moment is corrected for its start. That is an epsilon that
    is 1 / sqrt(1 - b2^t) times larger: 32 times at the first step, 1.3 times at the thousandth.
    """
    for name, variant in (("wae_gan", "blog"), ("wae_gan", "repo"), ("wae_mmd", "blog"), ("wae_mmd", "large")):
        run = read_config(load_config(name, variant))
        for config in (run.autoencoder_optimizer, run.discriminator_optimizer):
            assert (config.b1, config.b2, config.eps, config.clip_norm) == (0.9, 0.999, 1e-7, 0.0)
    rng = np.random.default_rng(0)
    # From gradients that epsilon drowns to such that do not notice it.
    gradients = rng.normal(size=(20, 8)) * 10.0 ** np.arange(-9, -1)
    with jax.enable_x64(True):
        tx = make_optimizer(config, num_train_steps=20)
        state = tx.init(np.zeros(8))
        m = v = np.zeros(8)
        for t, g in enumerate(gradients, start=1):
            update, state = tx.update(g, state)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            rate = config.learning_rate * config.decay_rate ** ((t - 1) / config.decay_steps)
            expected = -rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
            np.testing.assert_allclose(update, expected, rtol=1e-6)
    assert abs(expected[0]) < 0.1 * rate < abs(expected[-1]) * 10


def test_schedules_are_kerass_and_the_usual_ones():
    values = {}
    for schedule in ("constant", "exponential", "cosine"):
        spec = OptimizerSpec(learning_rate=1e-3, schedule=schedule, decay_rate=0.8, decay_steps=9600)
        values[schedule] = float(make_schedule(spec, num_train_steps=10_000)(4800))
    assert values["constant"] == pytest.approx(1e-3)
    assert values["exponential"] == pytest.approx(1e-3 * 0.8**0.5)
    assert values["cosine"] == pytest.approx(1e-3 * (1 + np.cos(np.pi * 0.48)) / 2)
    warm = OptimizerSpec(learning_rate=1e-3, warmup_steps=10)
    assert float(make_schedule(warm, num_train_steps=100)(5)) == pytest.approx(5e-4)
