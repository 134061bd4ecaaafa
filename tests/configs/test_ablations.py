"""The arms of the ablations: each is what its name says, runs that are the same have one name, and all are valid."""

import argparse
import runpy

import pytest

from tests.helpers import ROOT, load_config
from wae_jax.command_line.model_flags import add_prior_flag, add_sampling_flags, requested_rule
from wae_jax.config import flatten_config, read_config
from wae_jax.models.networks import NETWORKS

ABLATIONS = runpy.run_path(str(ROOT / "configs" / "ablations.py"))
TABLES, BASELINE, PROTOCOLS = ABLATIONS["TABLES"], ABLATIONS["BASELINE"], ABLATIONS["PROTOCOLS"]
training_arm, evaluation_flags = ABLATIONS["training_arm"], ABLATIONS["evaluation_flags"]
ARMS = sorted({arm for arms in TABLES.values() for arm in arms})


def flat(arm):
    return flatten_config(ABLATIONS["get_config"](arm).to_dict())


def differences(arm, other=BASELINE):
    """The fields in which two arms differ, with the first one's values."""
    one, two = flat(arm), flat(other)
    return {name: value for name, value in one.items() if name not in two or two[name] != value}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_arm_of_the_tables_is_valid(protocol):
    for arm in ARMS:
        read_config(ABLATIONS["get_config"](f"{arm},protocol={protocol}"))
    assert len(ARMS) >= 40


# The full protocol has settings of the source that are arms of the others.
@pytest.mark.parametrize("protocol", ["cpu", "songs"])
def test_no_two_arms_of_a_table_are_the_same_run(protocol):
    for table, arms in TABLES.items():
        in_protocol = [f"{arm},protocol={protocol}" for arm in arms]
        names = [(training_arm(arm), evaluation_flags(arm)) for arm in in_protocol]
        assert len(set(names)) == len(names) > 1, table


@pytest.mark.parametrize("protocol", ["cpu", "songs"])
def test_every_table_has_the_baseline_to_compare_with(protocol):
    for table, arms in TABLES.items():
        runs = [
            (training_arm(f"{arm},protocol={protocol}"), evaluation_flags(f"{arm},protocol={protocol}")) for arm in arms
        ]
        assert runs.count((BASELINE, ())) == 1, table


def test_a_name_gives_the_table_or_a_setting_that_varies_in_it():
    for table, arms in TABLES.items():
        keys = {setting.partition("=")[0] for arm in arms for setting in arm.split(",")}
        within = {
            "regularizer_of_songs": "regularizer",
            "cost": "positive_weight",
            "binarization": "threshold",
            "training": "pretrain_steps",
            "details": "normalization",
        }
        assert within.get(table, table) in keys, table


def test_each_regularizer_has_three_weights_ten_times_apart_around_its_own():
    weights = ABLATIONS["PENALTY_WEIGHTS"]
    assert set(weights) == set(ABLATIONS["REGULARIZERS"]) - {"none"}
    for name, (low, own, high) in weights.items():
        assert own == ABLATIONS["REGULARIZERS"][name]["objective.penalty_weight"]
        assert (own / low, high / own) == pytest.approx((10, 10))


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        (BASELINE, {}),
        ("", {}),
        ("latent_dim=64", {"model.z_dim": 64}),
        ("filters=4,network=mus", {"model.h_dim": 4, "model.network": "mus"}),
        ("regularizer=gan", {"objective.penalty": "gan", "objective.penalty_weight": 1.0}),
        ("regularizer=kl", {"objective.penalty": "kl", "objective.penalty_weight": 1.0, "model.encoder": "gaussian"}),
        ("regularizer=none", {"objective.penalty": "none", "objective.penalty_weight": 0.0}),
        ("penalty_weight=7,regularizer=gan", {"objective.penalty": "gan", "objective.penalty_weight": 7.0}),
        ("prior_logit=true", {"discriminator.prior_logit": True}),
        (
            "binary_neurons=stochastic,gradient=straight_through,slope_growth=2",
            {
                "objective.binary_neurons.kind": "stochastic",
                "objective.binary_neurons.gradient": "straight_through",
                "objective.binary_neurons.slope_growth": 2.0,
            },
        ),
        ("refiner=2", {"refiner.num_units": 2}),
        ("kernel=rbf,cost_weight=1", {"objective.mmd_kernel": "rbf", "objective.reconstruction_weight": 1.0}),
        ("shift_bars=true", {"data.shift_bars": True}),
        ("scales=0.1", {"objective.mmd_scales": (0.1,)}),
        ("scales=0.1+10", {"objective.mmd_scales": (0.1, 10.0)}),
        ("transpose=2,averaging=0.9", {"data.transpose_semitones": 2, "ema_decay": 0.9}),
        ("pretrain_steps=5", {"objective.pretrain_steps": 5}),
        ("binarization=bernoulli", {}),
    ],
)
def test_an_arm_sets_what_its_name_says_and_nothing_else(arm, expected):
    assert differences(arm) == expected


@pytest.mark.parametrize(("protocol", "variant", "num_epochs"), [("cpu", "", 6), ("songs", "songs", 8)])
def test_the_baseline_is_wae_mmd_with_fewer_epochs(protocol, variant, num_epochs):
    baseline, whole = flat(f"protocol={protocol}"), flatten_config(load_config("wae_mmd", variant).to_dict())
    assert baseline["num_epochs"] == num_epochs < whole["num_epochs"]
    unequal = {name for name in whole if baseline[name] != whole[name]}
    assert unequal == {"num_epochs", "eval_every_steps", "checkpoint_every_steps", "eval.num_page_samples"}


def test_the_full_protocol_is_the_blog_with_cost_and_samples_of_the_others():
    full, blog = flat("protocol=full"), flatten_config(load_config("wae_mmd", "blog").to_dict())
    shared = {name for name in full if name.startswith(("objective.", "binarization.", "prior"))}
    assert {name for name in blog if full[name] != blog[name]} < shared
    of_cost = {"objective.cost.positive_weight", "objective.cost.onset_weight"}
    for name in shared - of_cost:
        assert full[name] == flat(BASELINE)[name], name


def test_all_networks_are_compared():
    named = {arm.partition("network=")[2] for arm in TABLES["network"]}
    assert named == set(NETWORKS) - {"tiny"}


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        ("latent_dim=32", BASELINE),
        ("latent_dim=32,penalty_weight=1e1", "penalty_weight=10"),
        ("latent_dim=64,regularizer=gan", "regularizer=gan,latent_dim=64"),
        ("regularizer=gan,penalty_weight=1.0", "regularizer=gan"),
        ("regularizer=gan,penalty_weight=100", "regularizer=gan,penalty_weight=100"),
        ("filters=16", BASELINE),
        ("filters=16,protocol=full", "filters=16"),
        ("filters=32,protocol=full", BASELINE),
        ("latent_dim=128,dropout=0.2,averaging=0.998,protocol=songs", BASELINE),
        ("latent_dim=32,protocol=songs", "latent_dim=32"),
        ("scales=0.1+0.2+0.5+1+2+5+10", BASELINE),
        ("prior_variance=0.123456789", "prior_variance=0.123456789"),
        ("dropout=0", BASELINE),
        ("prior_logit=true,binarization=bernoulli", "prior_logit=true"),
    ],
)
def test_runs_that_are_the_same_have_one_name(arm, name):
    assert training_arm(arm) == name
    protocol = arm.partition("protocol=")[2] or "cpu"
    assert flat(f"{name},protocol={protocol}") == flat(arm)


def test_what_changes_the_evaluation_is_given_to_it_as_flags():
    assert evaluation_flags("latent_dim=8,binarization=bernoulli") == ("--binarization=bernoulli",)
    asked = "min_note_length=1,threshold=0.20"
    assert evaluation_flags(asked) == ("--threshold=0.2", "--min-note-length=1")
    assert training_arm(asked) == BASELINE
    assert evaluation_flags("threshold=fit,min_note_length=3,prior=kernel_density") == ()
    assert evaluation_flags("track_gate=0,short_note_threshold=1.5") == ("--short-note-threshold=1.5", "--track-gate=0")
    assert evaluation_flags("prior=normal") == ("--prior=normal",)
    assert evaluation_flags("binarization=hard") == evaluation_flags(BASELINE) == ()
    assert evaluation_flags("threshold=0.5,prior=kernel_density,protocol=full") == ("--threshold=0.5",)


def test_the_flags_are_those_of_evaluate():
    parser = argparse.ArgumentParser()
    add_sampling_flags(parser, num=1)
    add_prior_flag(parser)
    for protocol in PROTOCOLS:
        for arm in ARMS:
            arm = f"{arm},protocol={protocol}"
            arguments = parser.parse_args(evaluation_flags(arm))
            requested_rule(arguments, read_config(ABLATIONS["get_config"](arm)).binarization)
    fields = flat(BASELINE)
    assert all(field in fields for field in ABLATIONS["EVALUATION_FIELDS"].values())


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (
            "latent_dims=3",
            "'latent_dims=3' .* is not a setting; expected name=value with a name of .*latent_dim,",
        ),
        ("latent_dim", "'latent_dim' .* is not a setting"),
        ("latent_dim=2,", "'' in the arm .* is not a setting"),
        ("latent_dim=2.5", "sets latent_dim to '2.5'"),
        ("latent_dim=2,latent_dim=2", "sets latent_dim twice"),
        ("regularizer=wgan", "sets regularizer to 'wgan': expected one of mmd, gan"),
        ("prior_logit=yes", "expected one of false, true"),
        ("protocol=tpu", "expected one of cpu, songs, full"),
        ("scales=a", "sets scales to 'a'"),
    ],
)
def test_a_name_that_means_nothing_is_refused(arm, message):
    with pytest.raises(ValueError, match=message):
        load_config("ablations", arm)
