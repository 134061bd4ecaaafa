"""Trains a Wasserstein autoencoder: `python -m wae_jax.main --config=configs/wae_gan.py --workdir=runs/gan`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from wae_jax import devices
from wae_jax.checkpoint import CheckpointError
from wae_jax.dataset import DatasetError
from wae_jax.schema import ConfigError
from wae_jax.train import NonFiniteLossError, train_and_evaluate
from wae_jax.workdir import WorkdirError

FLAGS = flags.FLAGS

config_flags.DEFINE_config_file("config", None, "A configuration file, with :variant if wanted.", lock_config=True)
flags.DEFINE_string("workdir", "runs/latest", "Folder of the run; an interrupted run in it goes on.")
flags.DEFINE_string("coordinator", "", "host:port of process 0, for a run of several processes.")
flags.DEFINE_integer("num_processes", 1, "How many processes the run has.", lower_bound=1)
flags.DEFINE_integer("process_id", 0, "Which of them this is.", lower_bound=0)

_SAID_IN_A_SENTENCE = (
    CheckpointError,
    ConfigError,
    DatasetError,
    devices.DeviceError,
    NonFiniteLossError,
    OSError,
    WorkdirError,
)


def main(argv: Sequence[str]) -> None:
    """Parses nothing and decides nothing: everything is in `train_and_evaluate`."""
    if len(argv) > 1:
        raise app.UsageError(f"arguments without a flag: {' '.join(argv[1:])}")
    try:
        devices.start(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
        print(devices.describe(), flush=True)
        # Only now: looking for devices, jax logs every platform that it does not find.
        logging.set_verbosity(logging.INFO)
        train_and_evaluate(FLAGS.config, FLAGS.workdir)
    except _SAID_IN_A_SENTENCE as error:
        sys.exit(f"error: {error}")


def run() -> None:
    """Starts the program."""
    flags.mark_flags_as_required(["config"])
    app.run(main)


if __name__ == "__main__":
    run()
