"""One, two and four devices, and two processes, compute what one device computes on the whole batch."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.helpers import ROOT, finish, last_state, read_metrics, run_steps, start_run, tiny_config
from wae_jax.errors import DeviceError
from wae_jax.models.networks import NETWORKS
from wae_jax.training import processes
from wae_jax.training.loop import train_and_evaluate

EVERYTHING = {"model__dropout_rate": 0.3, "data__transpose_semitones": 3, "ema_decay": 0.9}


def named(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def parameters(state):
    return named(
        (state.autoencoder.params, state.discriminator.params, state.ema_params, state.autoencoder.batch_stats)
    )


def gradients(state, config):
    """Those of the step just done, if it was the first: Adam's first moment is then 1 - b1 times the gradient."""
    pairs = (state.autoencoder, config.autoencoder_optimizer), (state.discriminator, config.discriminator_optimizer)
    return named([jax.tree.map(lambda mu, b1=tx.b1: mu / (1 - b1), each.opt_state[1][0].mu) for each, tx in pairs])


def assert_float64_runs_agree(config, counts, num_steps):
    with jax.enable_x64(True):
        runs = [list(run_steps(config, count, num_steps)) for count in counts]
    reference = runs[0]
    assert {leaf.dtype for leaf in parameters(reference[-1][0]).values()} == {np.dtype(np.float64)}
    for run in runs[1:]:
        for name, leaf in parameters(run[-1][0]).items():
            np.testing.assert_allclose(leaf, parameters(reference[-1][0])[name], rtol=0, atol=1e-10, err_msg=name)
        for name, gradient in gradients(run[0][0], config).items():
            assert_near(name, gradient, gradients(reference[0][0], config)[name], 1e-10, config)
        for (_, metrics), (_, expected) in zip(run, reference, strict=True):
            for name, value in metrics.items():
                assert float(value) == pytest.approx(float(expected[name]), rel=1e-10, abs=1e-10), name


def assert_near(name, gradient, expected, tolerance, config):
    """The norm of the difference is within `tolerance` of the norm of the leaf's gradient.

    The discriminator's last bias has a gradient that is the small difference of two large terms, of penalty_weight / 2
    each as long as it cannot tell codes from draws, so that there the terms' size takes the place of the norm. Biases
    that a batch normalisation takes away again have the gradient 0, and what is found is its rounding.
    """
    scale = np.linalg.norm(expected)
    if name.endswith("['logit']['bias']"):
        scale = max(scale, config.objective.penalty_weight)
    if NETWORKS[config.model.network].normalize_start and name.endswith("['start']['bias']"):
        scale = max(scale, 1.0)
    error = np.linalg.norm(gradient.astype(np.float64) - expected)
    assert error <= tolerance * scale, f"{name}: relative error {error / scale:.1e}"


def assert_float32_runs_agree(config, counts):
    """One step's gradients, and the losses over twenty steps.

    Not the parameters: Adam divides a gradient by its size, so that where it is near 0 rounding decides the direction.
    """
    runs = [list(run_steps(config, count, 20)) for count in counts]
    expected_gradients, expected = gradients(runs[0][0][0], config), [metrics for _, metrics in runs[0]]
    for run in runs[1:]:
        for name, gradient in gradients(run[0][0], config).items():
            assert_near(name, gradient, expected_gradients[name], 1e-5, config)
        for (_, metrics), wanted in zip(run, expected, strict=True):
            for name in ("train/loss", "train/reconstruction"):
                assert float(metrics[name]) == pytest.approx(float(wanted[name]), rel=1e-4), name


@pytest.mark.parametrize(("penalty", "counts"), [("gan", (1, 4)), ("mmd", (1, 2))])
def test_float64_parameters_agree(penalty, counts):
    """Two steps of pretraining, then others: with dropout, transposition, averages of the parameters."""
    config = tiny_config(penalty, dtype="float64", pretrain_steps=2, **EVERYTHING)
    assert_float64_runs_agree(config, counts, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("penalty", "encoder", "others"),
    [
        ("sliced_wasserstein", "gaussian", {"log_variance_penalty_weight": 0.1}),
        ("cramer_wold", "additive_noise", {"cramer_wold_log": True}),
        ("kl", "gaussian", {}),
        ("gan", "gaussian", {"discriminator__prior_logit": True}),
    ],
)
def test_float64_parameters_agree_for_other_penalties_and_encoders(penalty, encoder, others):
    """What all phrases share is drawn alike on all devices, and what each draws is its own."""
    config = tiny_config(penalty, dtype="float64", encoder=encoder, **others)
    assert_float64_runs_agree(config, (1, 2, 4), 2)


@pytest.mark.slow
def test_float64_parameters_agree_for_binary_neurons():
    """Each phrase's neurons draw on a key of its own, wherever it is."""
    config = tiny_config(
        "mmd",
        dtype="float64",
        objective__binary_neurons__kind="stochastic",
        objective__binary_neurons__slope_growth=9.0,
    )
    assert_float64_runs_agree(config, (1, 4), 2)


@pytest.mark.slow
def test_float64_parameters_agree_for_a_refiner():
    """The statistics are those of all tracks' units."""
    refiner = {"refiner__num_units": 1, "refiner__kernel_size": (9, 16), "refiner__strides": (8, 14)}
    assert_float64_runs_agree(tiny_config("mmd", dtype="float64", model__dropout_rate=0.3, **refiner), (1, 2), 2)


@pytest.mark.slow
def test_float32_gradients_and_losses_agree():
    assert_float32_runs_agree(tiny_config("mmd"), (1, 4))


# Real networks, as small as they get: without optimisation, a convolution in float64 is slow. In float32 with more than
# one channel: the factor of a single one has no influence before the next normalisation, and its gradient is rounding.
# And with a seed that leaves no unit within rounding of 0, where the derivative of a ReLU jumps: seed 0 does not.
SMALL = {"batch_size": 4, "model__h_dim": 1, "model__kernel_size": (6, 6)}
SEVERAL_CHANNELS = {"model__h_dim": 4, "model__kernel_size": (6, 6), "seed": 1}
GRID = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("penalty", ["gan", "mmd"]),
    pytest.mark.parametrize("dropout_rate", [0.0, 0.3]),
    pytest.mark.parametrize("network", ["alt", "meter"]),
]


def on_grid(test):
    for mark in GRID:
        test = mark(test)
    return test


@on_grid
def test_float64_parameters_agree_after_twenty_steps(penalty, dropout_rate, network):
    options = {**SMALL, **EVERYTHING, "model__dropout_rate": dropout_rate, "model__network": network}
    assert_float64_runs_agree(tiny_config(penalty, dtype="float64", **options), (1, 2, 4), 20)


@on_grid
def test_float32_gradients_and_losses_agree_on_the_grid(penalty, dropout_rate, network):
    options = {**SEVERAL_CHANNELS, **EVERYTHING, "model__dropout_rate": dropout_rate, "model__network": network}
    assert_float32_runs_agree(tiny_config(penalty, **options), (1, 2, 4))


@pytest.mark.slow
@pytest.mark.parametrize("penalty", ["gan", "mmd"])
def test_bfloat16_losses_agree_to_its_precision(penalty):
    """No more than that: eight bits of a product leave two or three digits, and devices group products differently."""
    runs = [list(run_steps(tiny_config(penalty, dtype="bfloat16"), count, 20)) for count in (1, 2, 4)]
    for run in runs[1:]:
        for (_, metrics), (_, expected) in zip(run, runs[0], strict=True):
            assert float(metrics["train/loss"]) == pytest.approx(float(expected["train/loss"]), rel=1e-3)


@pytest.mark.launch
def test_two_processes_train_what_one_process_trains(tmp_path):
    """Real processes with one device each, joined by jax.distributed, against one process with two devices."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    options = {"config": "wae_gan", "num_steps": 5, "JAX_ENABLE_X64": "1"}
    flags = ("--config.dtype=float64", "--config.model.dropout_rate=0.2", "--config.ema_decay=0.9")
    together = (f"--coordinator=localhost:{port}", "--num_processes=2")
    pair = [
        start_run(tmp_path / "two", *flags, *together, f"--process_id={i}", num_devices=1, **options) for i in (0, 1)
    ]
    alone = start_run(tmp_path / "one", *flags, **options)
    for process, said in (
        (pair[0], "processes 2, devices 1 local / 2 global"),
        (pair[1], ""),
        (alone, "2 local / 2 global"),
    ):
        status, output = finish(process)
        assert status == 0, output
        assert said in output
    for two, one in zip(read_metrics(tmp_path / "two"), read_metrics(tmp_path / "one"), strict=True):
        assert two == pytest.approx(one, rel=1e-10, abs=1e-10)
    with jax.enable_x64(True):
        two, one = (parameters(last_state(tmp_path / name)[0]) for name in ("two", "one"))
    assert {leaf.dtype for leaf in one.values()} == {np.dtype(np.float64)}
    for name, leaf in one.items():
        np.testing.assert_allclose(two[name], leaf, rtol=0, atol=1e-10, err_msg=name)


def test_a_batch_that_does_not_divide_is_refused_with_its_numbers(tmp_path):
    with pytest.raises(DeviceError, match=r"batch_size 6 does not divide over 4 devices \(1 processes x 4\); expected"):
        train_and_evaluate(tiny_config(batch_size=6), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("", 2, 0), "process 0 of 2 processes needs the coordinator"),
        (("none", 1, 1), "process 1 of 1 processes needs the coordinator"),
        (("host:1", 2, 2), r"process_id 2 of 2 processes; expected 0 to 1"),
        (("host", 2, 1), "the coordinator is 'host'; expected host:port"),
    ],
)
def test_processes_that_make_no_sense_are_refused(given, message):
    with pytest.raises(DeviceError, match=message):
        processes.start(*given)


def test_what_a_scheduler_leaves_out_is_said():
    program = "from wae_jax.training import processes; processes.start()"
    environment = {**os.environ, "JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "DeviceError: the processes of the run cannot be joined: Number of processes must be defined" in done.stderr


def test_the_line_at_the_start():
    assert (
        processes.describe(6)
        == f"processes 1, devices 4 local / 4 global, cpu, batch per device 1.5, jax {jax.__version__}"
    )


def test_the_code_is_told_by_its_content(monkeypatch):
    before = processes.code_version()
    assert before == processes.code_version()
    assert f"jax {jax.__version__}" in before
    read = pathlib.Path.read_bytes
    monkeypatch.setattr(
        pathlib.Path, "read_bytes", lambda path: read(path) + (b"#" if path.name == "harmony.py" else b"")
    )
    assert processes.code_version() != before
