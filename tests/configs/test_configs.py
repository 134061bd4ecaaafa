"""Every configuration that is shipped can be run, and says what its sources say."""

import dataclasses
import itertools
import typing

import pytest

from tests.helpers import changed, load_config, tiny_config
from wae_jax import config as config_package
from wae_jax import pianoroll
from wae_jax.config import (
    BinarizationRule,
    Config,
    allowed_values,
    comparable_fields,
    default_config,
    kinds,
    read_config,
)
from wae_jax.data import pipeline
from wae_jax.errors import ConfigError
from wae_jax.models import modules
from wae_jax.training import latent_penalties, optimizers
from wae_jax.training.checks import check_config


@pytest.mark.parametrize(
    ("name", "variant"), list(itertools.product(["wae_gan", "wae_mmd", "vae"], ["", "songs", "blog", "repo", "large"]))
)
def test_every_variant_is_complete_and_valid(name, variant):
    config = read_config(load_config(name, variant))
    check_config(config)
    assert read_config(config) == read_config(config.to_dict()) == config


def test_the_default_configuration_is_the_defaults():
    assert read_config(default_config()) == Config()


def options(field):
    """The values of a field that is one of several words."""
    spec, *names = Config, *field.split(".")
    for name in names[:-1]:
        spec = typing.get_type_hints(spec)[name]
    return set(typing.get_args(typing.get_type_hints(spec)[names[-1]]))


@pytest.mark.parametrize(
    ("field", "table"),
    [
        ("objective.penalty", {"gan", *latent_penalties.PENALTIES}),
        ("autoencoder_optimizer.schedule", optimizers.SCHEDULES),
        ("data.placement", pipeline.PLACEMENTS),
        ("model.activation", modules.ACTIVATIONS),
    ],
)
def test_words_are_the_keys_of_the_table_that_they_select_from(field, table):
    assert options(field) == set(table)


def test_every_word_selects_something():
    """Where there is no table: each makes a model, or a rule."""
    from wae_jax.models.autoencoder import make_autoencoder
    from wae_jax.objective.reconstruction import make_cost

    for field in ("model.encoder", "model.normalization", "model.output_bias"):
        for word in options(field):
            config = changed(tiny_config(), **{field: word})
            make_autoencoder(config.model, config.refiner, dtype=config.dtype)
    for kind in options("objective.cost.kind"):
        make_cost(dataclasses.replace(Config().objective.cost, kind=kind))
    for method in options("binarization.method"):
        BinarizationRule(method=method)


def test_tracks_are_those_of_the_representation():
    sizes = kinds.NUM_STEPS, kinds.NUM_PITCHES, config_package.NUM_TRACKS
    assert sizes == (pianoroll.NUM_STEPS, pianoroll.NUM_PITCHES, pianoroll.NUM_TRACKS)


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
    assert (mmd.objective.penalty, mmd.model.h_dim, mmd.model.z_dim, mmd.batch_size) == ("mmd", 32, 8, 32)


def test_repo_and_large_are_the_references_settings():
    repo, large = load_config("wae_gan", "repo"), load_config("wae_gan", "large")
    assert (repo.model.network, repo.model.h_dim, repo.model.z_dim, repo.model.dropout_rate) == ("alt", 8, 128, 0.2)
    assert (repo.batch_size, repo.num_epochs, repo.objective.penalty_weight, repo.objective.reconstruction_weight) == (
        32,
        500,
        100,
        0.5,
    )
    assert (repo.autoencoder_optimizer.learning_rate, repo.autoencoder_optimizer.decay_steps) == (1e-4, 9600)
    assert (repo.discriminator_optimizer.decay_rate, repo.discriminator_optimizer.decay_steps) == (0.8, 12800)
    assert (large.model.h_dim, large.model.z_dim, large.num_epochs) == (16, 128, 500)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="no variant 'bolg'"):
        load_config("wae_gan", "bolg")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("objective.penalty", "wasserstein", r"objective.penalty is 'wasserstein'; expected one of 'gan', 'mmd'"),
        ("batch_size", 1, "batch_size is 1; expected a whole number, at least 2"),
        ("batch_size", 2.5, "batch_size is 2.5"),
        ("seed", True, "seed is True; expected a whole number"),
        ("model.dropout_rate", 1.0, "model.dropout_rate is 1.0; expected a number, at least 0 and below 1"),
        ("objective.penalty_weight", float("nan"), "objective.penalty_weight is nan"),
        (
            "autoencoder_optimizer.learning_rate",
            0.0,
            "autoencoder_optimizer.learning_rate is 0.0; expected a number, above 0",
        ),
        ("model.kernel_size", [6], "model.kernel_size is .*sequence of 2 values"),
        ("model.kernel_size", [6, 85], "model.kernel_size is .*at least 1 and at most 192; then .* at most 84"),
        ("data.transpose_semitones", 13, "semitones is 13; expected a whole number, at least 0 and at most 12"),
        ("data.num_songs", 1, "num_songs is 1; expected a whole number, at least 2"),
        ("binarization.min_note_length", 193, "min_note_length is 193; .*at most 192"),
        ("binarization.track_gates", "16129", "track_gates is .*16128 cells of a track"),
        ("model.h_dim", 10**6, "h_dim is 1000000; expected a whole number, at least 1 and at most 65536"),
        ("refiner.num_units", 101, "num_units is 101; .*at most 100"),
        ("objective.binary_neurons.slope_growth", 2e6, "slope_growth is 2000000.0; .*at least 1 and at most 1000000"),
        ("objective.binary_neurons.max_slope", 2e6, "max_slope is 2000000.0; .*at least 1 and at most 1000000"),
        ("log_every_steps", 2**31, "log_every_steps is 2147483648; .*at most 2147483647"),
        ("objective.penalty_weight", 10**400, "penalty_weight is 1000.*; expected a number, at least 0"),
        ("binarization.thresholds", 10**400, "binarization.thresholds is 1000"),
        ("eval.num_samples", 10**9, "num_samples is 1000000000; .*at most 100000"),
        ("seed", 2**32, "seed is 4294967296; expected a whole number, at least 0 and below 4294967296"),
        ("discriminator.widths", [512, -1], "discriminator.widths"),
        ("objective.mmd_scales", [], "objective.mmd_scales is empty; expected one positive number or more"),
        ("objective.mmd_scales", [0.5, 0], "objective.mmd_scales"),
        ("objective.cramer_wold_log", 1, "cramer_wold_log is 1; expected True or False"),
        ("data.path", 3, "data.path is 3; expected text"),
        ("model.network", 3, "model.network is 3; expected text"),
        ("binarization.thresholds", "0.5,0.5", "binarization.thresholds is '0.5,0.5'"),
        ("binarization.track_gates", -1, "binarization.track_gates is"),
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
        read_config(config)


def test_misspelt_and_missing_fields_are_named_together():
    config = load_config("wae_gan").to_dict()
    config["objective"]["penalty_wieght"] = config["objective"].pop("penalty_weight")
    del config["model"]["z_dim"]
    config["refiner"] = 3
    with pytest.raises(ConfigError) as raised:
        read_config(config)
    message = str(raised.value)
    assert "there is no field objective.penalty_wieght; did you mean objective.penalty_weight?" in message
    assert "the field objective.penalty_weight is missing" in message
    assert "the field model.z_dim is missing" in message
    assert "refiner is 3; expected a group of fields" in message


def test_the_values_that_a_field_allows_are_said_by_its_name():
    assert allowed_values("batch_size") == "a whole number, at least 2 and at most 1048576"
    assert allowed_values("objective.cost") == "a group of fields"
    assert allowed_values("data.path") == "text"
    assert allowed_values("binarization.thresholds") == "'fit', a number, or 5 of them"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("modle.z_dim", "did you mean model.z_dim?"),
        ("batchsize", "did you mean batch_size?"),
        ("penalty_weight", "did you mean objective.penalty_weight?"),  # as it was called in 0.1.0
        ("learning_rate", "did you mean autoencoder_optimizer.learning_rate or discriminator_optimizer.learning_rate?"),
        ("data.path.x", "did you mean data.path?"),
        ("xyzzy", "there is no field xyzzy"),
    ],
)
def test_a_field_that_there_is_not_is_named_with_the_nearest(name, hint):
    with pytest.raises(ConfigError) as raised:
        allowed_values(name)
    assert str(raised.value).startswith(f"there is no field {name}")
    assert str(raised.value).endswith(hint)


def test_a_run_of_no_steps_is_refused():
    with pytest.raises(ConfigError, match="nothing would be trained"):
        read_config(changed(Config(), num_epochs=0, num_train_steps=0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective.penalty": "kl"}, "penalty 'kl' needs the variances of model.encoder 'gaussian'; it is 'determ"),
        ({"log_variance_penalty_weight": 0.1, "model.encoder": "additive_noise"}, "weight above 0 needs the variances"),
        ({"objective.penalty": "mmd", "discriminator.prior_logit": True}, "prior_logit needs .* is 'mmd'"),
        (
            {"objective.cost.kind": "cross_entropy", "objective.binary_neurons.kind": "stochastic"},
            "objective.binary_neurons.kind is 'stochastic' and objective.cost.kind 'cross_entropy'",
        ),
        ({"model.normalization": "layer", "model.h_dim": 1}, "expected a model.h_dim of at least 2"),
        ({"num_train_steps": 5, "pretrain_steps": 5}, "pretrain_steps is 5 and num_train_steps 5"),
        ({"reconstruction_weight": 0.0, "objective.penalty": "none"}, "weight is 0, .* nothing would be trained"),
        ({"num_songs": 100_000, "phrases_per_song": 11}, "1100000 phrases in memory; expected at most 1000000"),
        ({"best_metric": "eval/f1"}, "best_mode is 'min', which keeps the worst .*'eval/f1' is better; expected 'max'"),
        ({"best_metric": "samples/frechet_distance", "best_mode": "max"}, "since less of .* expected 'min'"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        read_config(changed(Config(), **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model.network": "alte"}, "model.network is 'alte'; expected one of fir"),
        ({"model.network": "fir", "model.dropout_rate": 0.1}, "model.dropout_rate is 0.1, but .* 'fir' has no dropout"),
        ({"refiner.strides": (5, 1)}, r"refiner.strides is \(5, 1\); expected divisors of 192 steps and of 84 pitches"),
        ({"dtype": "float64"}, r"dtype is 'float64'.*JAX_ENABLE_X64=1"),
    ],
)
def test_what_the_model_cannot_be_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        check_config(read_config(changed(Config(), **fields)))


def test_vae_minimises_the_evidence_lower_bound():
    for variant in ("", "songs", "blog", "repo", "large"):
        config = load_config("vae", variant)
        assert (config.objective.penalty, config.model.encoder) == ("kl", "gaussian")
        assert config.objective.penalty_weight == 2 * config.objective.reconstruction_weight
        config.model.encoder = "deterministic"
        assert config.model == load_config("wae_gan", variant).model


def test_a_removed_field_is_read_where_it_had_no_effect():
    config = load_config("wae_mmd").to_dict()
    config["objective"] |= {"sinkhorn_epsilon": 0.05, "adaptive_penalty_weight": False, "penalty_warmup_steps": 0}
    assert read_config(config) == read_config(load_config("wae_mmd"))
    assert comparable_fields(config) == comparable_fields(load_config("wae_mmd").to_dict())
    config["objective"]["adaptive_penalty_weight"] = True
    with pytest.raises(ConfigError, match=r"there is no field objective.adaptive_penalty_weight"):
        read_config(config)


def test_scales_are_numbers_with_a_point_and_may_be_missing_as_in_earlier_runs():
    config = load_config("wae_mmd").to_dict()
    config["objective"]["mmd_scales"] = [1, 2]
    scales = read_config(config).objective.mmd_scales
    assert (scales, {type(each) for each in scales}) == ((1.0, 2.0), {float})
    del config["objective"]["mmd_scales"]
    assert read_config(config).objective.mmd_scales == (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
