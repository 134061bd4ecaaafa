"""Every configuration that is shipped can be run, and says what its sources say."""

import itertools

import pytest

from tests.helpers import load_config
from wae_jax.config import FIELDS, check_config, complete_config, flatten_config
from wae_jax.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "variant"), list(itertools.product(["wae_gan", "wae_mmd", "vae"], ["", "blog", "repo", "large"]))
)
def test_every_variant_is_complete_and_valid(name, variant):
    config = load_config(name, variant).to_dict()
    check_config(config)
    assert set(flatten_config(config)) == set(FIELDS)


def test_blog_is_the_references_commit():
    config = load_config("wae_gan", "blog")
    assert (config.model.network, config.model.h_dim, config.model.z_dim) == ("new_alt", 16, 16)
    assert (
        config.batch_size,
        config.num_epochs,
        config.objective.penalty_weight,
        config.objective.reconstruction_weight,
    ) == (
        64,
        300,
        100,
        1,
    )
    assert config.model.dropout_rate == 0
    autoencoder, discriminator = config.autoencoder_optimizer, config.discriminator_optimizer
    assert (autoencoder.learning_rate, autoencoder.decay_rate, autoencoder.decay_steps) == (1e-3, 0.8, 9600)
    assert (discriminator.learning_rate, discriminator.decay_rate, discriminator.decay_steps) == (1e-4, 0.9, 12800)
    assert config.discriminator.widths == (512,) * 5
    mmd = load_config("wae_mmd", "blog")
    assert (mmd.penalty, mmd.model.h_dim, mmd.model.z_dim, mmd.batch_size) == ("mmd", 32, 8, 32)


def test_repo_and_large_are_the_references_settings():
    repo, large = load_config("wae_gan", "repo"), load_config("wae_gan", "large")
    assert (repo.model.network, repo.model.h_dim, repo.model.z_dim, repo.model.dropout_rate) == ("alt", 8, 128, 0.2)
    assert (repo.batch_size, repo.num_epochs, repo.penalty_weight, repo.reconstruction_weight) == (32, 500, 100, 0.5)
    assert (repo.autoencoder_optimizer.learning_rate, repo.autoencoder_optimizer.decay_steps) == (1e-4, 9600)
    assert (repo.discriminator_optimizer.decay_rate, repo.discriminator_optimizer.decay_steps) == (0.8, 12800)
    assert (large.model.h_dim, large.model.z_dim, large.num_epochs) == (16, 128, 500)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="no variant 'bolg'"):
        load_config("wae_gan", "bolg")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("penalty", "wasserstein", r"penalty is 'wasserstein'; expected one of 'gan', 'mmd'"),
        ("batch_size", 1, "batch_size is 1; expected a whole number of at least 2"),
        ("batch_size", 2.5, "batch_size is 2.5"),
        ("seed", True, "seed is True; expected a whole number"),
        ("model.dropout_rate", 1.0, "model.dropout_rate is 1.0; expected a number at least 0 and below 1"),
        ("penalty_weight", float("nan"), "penalty_weight is nan"),
        (
            "autoencoder_optimizer.learning_rate",
            0.0,
            "autoencoder_optimizer.learning_rate is 0.0; expected a number above 0",
        ),
        ("model.kernel_size", [6], "model.kernel_size is .*sequence of 2 values"),
        ("discriminator.widths", [512, -1], "discriminator.widths"),
        ("data.path", 3, "data.path is 3; expected text"),
        ("model.network", "alte", "model.network is 'alte'"),
        ("model.output_planes", "onsets", "model.output_planes is 'onsets'; expected one of 'cells', 'onsets_and_sus"),
    ],
)
def test_a_wrong_value_is_refused_by_its_fields_name(field, value, message):
    config = load_config("wae_gan").to_dict()
    *groups, name = field.split(".")
    inner = config
    for group in groups:
        inner = inner[group]
    inner[name] = value
    with pytest.raises(ConfigError, match=message):
        check_config(config)


def test_misspelt_and_missing_fields_are_named_together():
    config = load_config("wae_gan").to_dict()
    config["penalty_wieght"] = config.pop("penalty_weight")
    del config["model"]["z_dim"]
    with pytest.raises(ConfigError) as raised:
        check_config(config)
    message = str(raised.value)
    assert "there is no field penalty_wieght; did you mean penalty_weight?" in message
    assert "the field penalty_weight is missing" in message
    assert "the field model.z_dim is missing" in message


def test_a_run_of_no_steps_is_refused():
    config = load_config("wae_gan").to_dict()
    config["num_epochs"] = config["num_train_steps"] = 0
    with pytest.raises(ConfigError, match="nothing would be trained"):
        check_config(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"penalty": "kl"}, "penalty 'kl' needs the variances of encoder 'gaussian'; encoder is 'deterministic'"),
        ({"log_variance_penalty_weight": 0.1, "encoder": "additive_noise"}, "weight above 0 needs the variances"),
        ({"penalty": "mmd", "discriminator": {"widths": (8,), "prior_logit": True}}, "prior_logit needs .* is 'mmd'"),
        ({"penalty": "none", "adaptive_penalty_weight": True}, "adaptive_penalty_weight needs a penalty other than"),
        (
            {
                "cost": {**load_config("wae_gan").cost, "kind": "focal"},
                "binary_neurons": {**load_config("wae_gan").binary_neurons, "kind": "stochastic"},
            },
            "objective.binary_neurons.kind is 'stochastic' and cost.kind 'focal'",
        ),
        (
            {
                "model": {**load_config("wae_gan").model, "output_planes": "onsets_and_sustains"},
                "binary_neurons": {**load_config("wae_gan").binary_neurons, "kind": "deterministic"},
            },
            "objective.binary_neurons.kind is 'deterministic' and model.output_planes 'onsets_and_sustains'",
        ),
        (
            {"refiner": {**load_config("wae_gan").refiner, "first_step": 9}},
            "refiner.first_step is 9 and refiner.num_units 0",
        ),
        (
            {"refiner": {**load_config("wae_gan").refiner, "strides": (5, 1)}},
            r"refiner.strides is \(5, 1\); expected divisors of 192 steps and of 84 pitches",
        ),
        ({"adaptive_penalty_weight": 1}, "adaptive_penalty_weight is 1; expected True or False"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        check_config({**load_config("wae_gan").to_dict(), **fields})


def test_vae_minimises_the_evidence_lower_bound():
    for variant in ("", "blog", "repo", "large"):
        config = load_config("vae", variant)
        assert (config.objective.penalty, config.model.encoder) == ("kl", "gaussian")
        assert config.objective.penalty_weight == 2 * config.objective.reconstruction_weight
        assert config.model == load_config("wae_gan", variant).model


def test_a_configuration_of_before_the_newest_fields_means_what_it_meant():
    """The base config says what was computed then, so that completing it must give the base config back."""
    config = load_config("wae_gan").to_dict()
    old = {name: dict(value) if isinstance(value, dict) else value for name, value in config.items()}
    for name in ("encoder", "encoder_noise", "log_variance_penalty_weight", "adaptive_penalty_weight"):
        del old[name]
    for name in ("sliced_num_projections", "cramer_wold_log", "sinkhorn_epsilon", "steps_per_call"):
        del old[name]
    del old["discriminator"]["prior_logit"], old["data"]["placement"], old["binary_neurons"]
    del old["model"]["output_planes"], old["refiner"]
    assert complete_config(old) == config
