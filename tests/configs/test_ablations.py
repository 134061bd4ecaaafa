"""The arms of the ablations: each is what its name says, runs that are the same have one name, and all are valid."""

import argparse
import runpy

import pytest

from tests.helpers import ROOT, load_config
from wae_jax.command_line.model_flags import add_prior_flag, add_sampling_flags, requested_rule
from wae_jax.config import BinarizationRule, Config, flatten_config, read_config
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_two_arms_of_a_table_are_the_same_run(protocol):
    for table, arms in TABLES.items():
        names = [(training_arm(f"{arm},protocol={protocol}"), evaluation_flags(arm)) for arm in arms]
        assert len(set(names)) == len(names) > 1, table


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tables_that_vary_one_thing_contain_the_baseline(protocol):
    for table in ("regulariser", "kernel", "penalty_weight", "cost_weight", "prior_variance", "latent_dim", "dropout"):
        arms = [training_arm(f"{arm},protocol={protocol}") for arm in TABLES[table]]
        assert arms.count(BASELINE) == 1, table
    for table in ("filters", "network"):
        arms = [training_arm(f"{arm},protocol={protocol}") for arm in TABLES[table]]
        assert arms.count(BASELINE if protocol == "full" else "cpu_steps=300") == 1, table
    arms = [training_arm(f"{arm},protocol={protocol}") for arm in TABLES["binarization"]]
    assert arms == [BASELINE, BASELINE]


def test_a_name_gives_the_table_or_an_arm_within_which_it_varies():
    for table, arms in TABLES.items():
        keys = [[setting.partition("=")[0] for setting in arm.split(",")] for arm in arms]
        within = {
            "gan_penalty_weight": "penalty_weight",
            "kl_penalty_weight": "penalty_weight",
            "binarization_rule": "threshold",
            "fragmentation": "latent_dim",
            "fragmentation_fitted": "latent_dim",
        }
        assert all(within.get(table, table) in each for each in keys), table


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        (BASELINE, {}),
        ("", {}),
        ("latent_dim=64", {"model.z_dim": 64}),
        ("filters=4,network=mus", {"model.h_dim": 4, "model.network": "mus"}),
        ("regulariser=gan", {"objective.penalty": "gan", "objective.penalty_weight": 5.0}),
        ("regulariser=kl", {"objective.penalty": "kl", "objective.penalty_weight": 1.0, "model.encoder": "gaussian"}),
        ("regulariser=none", {"objective.penalty": "none", "objective.penalty_weight": 0.0}),
        ("penalty_weight=1,regulariser=gan", {"objective.penalty": "gan", "objective.penalty_weight": 1.0}),
        ("prior_logit=true", {"discriminator.prior_logit": True}),
        ("adaptive_weight=true", {"objective.adaptive_penalty_weight": True}),
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
        ("cpu_steps=300", {"num_train_steps": 300}),
        ("binarization=bernoulli", {}),
    ],
)
def test_an_arm_sets_what_its_name_says_and_nothing_else(arm, expected):
    assert differences(arm) == expected


def test_the_protocols_have_the_sizes_they_promise():
    cpu, full, blog = (
        flat("protocol=cpu"),
        flat("protocol=full"),
        flatten_config(load_config("wae_gan", "blog").to_dict()),
    )
    assert (cpu["model.network"], cpu["model.h_dim"], cpu["num_train_steps"], cpu["batch_size"]) == (
        "meter",
        8,
        1000,
        32,
    )
    unequal = {name for name in blog if full[name] != blog[name]}
    assert unequal == {"objective.penalty", "objective.reconstruction_weight"}
    of_objective = (
        f"objective.{name}" for name in ("penalty", "penalty_weight", "reconstruction_weight", "prior_variance")
    )
    for name in (*of_objective, "model.z_dim", "seed"):
        assert cpu[name] == full[name], name


def test_all_networks_are_compared():
    named = {arm.partition("network=")[2] for arm in TABLES["network"]}
    assert named == set(NETWORKS) - {"tiny"}


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        ("latent_dim=16", BASELINE),
        ("latent_dim=16,penalty_weight=1e1", "penalty_weight=10"),
        ("latent_dim=64,regulariser=gan", "regulariser=gan,latent_dim=64"),
        ("regulariser=gan,penalty_weight=5.0", "regulariser=gan"),
        ("regulariser=gan,penalty_weight=100", "regulariser=gan,penalty_weight=100"),
        ("filters=8", BASELINE),
        ("filters=8,protocol=full", "filters=8"),
        ("filters=16,protocol=full", BASELINE),
        ("cpu_steps=300,protocol=full", BASELINE),
        ("prior_variance=0.123456789", "prior_variance=0.123456789"),
        ("dropout=0", BASELINE),
        ("prior_logit=true,binarization=bernoulli", "prior_logit=true"),
    ],
)
def test_runs_that_are_the_same_have_one_name(arm, name):
    assert training_arm(arm) == name
    protocol = "full" if "full" in arm else "cpu"
    assert flat(f"{name},protocol={protocol}") == flat(arm)


def test_the_binarization_rule_is_given_to_the_evaluation_as_flags():
    assert evaluation_flags("latent_dim=8,binarization=bernoulli") == ("--binarization=bernoulli",)
    asked = "min_note_length=3,threshold=0.20"
    assert evaluation_flags(asked) == ("--threshold=0.2", "--min-note-length=3")
    assert training_arm(asked) == BASELINE
    assert evaluation_flags("threshold=.5,min_note_length=1,prior=normal") == ()
    assert evaluation_flags("track_gate=fit,short_note_threshold=1.5") == (
        "--short-note-threshold=1.5",
        "--track-gate=fit",
    )
    assert evaluation_flags("prior=kernel_density") == ("--prior=kernel_density",)
    assert evaluation_flags("binarization=hard") == evaluation_flags(BASELINE) == ()


def test_the_flags_are_those_of_evaluate_and_the_defaults_those_of_the_baseline():
    parser = argparse.ArgumentParser()
    add_sampling_flags(parser, num=1)
    add_prior_flag(parser)
    for arm in ARMS:
        parser.parse_args(evaluation_flags(arm))
    assert read_config(ABLATIONS["get_config"]()).binarization == BinarizationRule()
    defaults = {f"--{name.replace('_', '-')}": value for name, value in ABLATIONS["EVALUATION_DEFAULTS"].items()}
    rule = requested_rule(
        parser.parse_args([f"{flag}={value}" for flag, value in defaults.items()]), Config().binarization
    )
    assert rule == BinarizationRule()


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
        ("regulariser=wgan", "sets regulariser to 'wgan': expected one of mmd, gan"),
        ("prior_logit=yes", "expected one of false, true"),
        ("protocol=tpu", "expected one of cpu, full"),
    ],
)
def test_a_name_that_means_nothing_is_refused(arm, message):
    with pytest.raises(ValueError, match=message):
        load_config("ablations", arm)
