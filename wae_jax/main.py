"""Trains a Wasserstein autoencoder, or resumes its training.

--config=NAME[:VARIANT]   wae_gan, wae_mmd or vae; variants are songs, blog, repo, large; or a file
--workdir=FOLDER          folder or URL of the run; the same command resumes it (runs/latest)
--config.FIELD=VALUE      another value of a field of the configuration, such as
    data.path                 a dataset made by build_dataset (default: the built-in corpus)
    init_from                 a model to start from: a workdir, what `export` wrote, or shipped
    num_epochs, num_train_steps, batch_size, seed
    model.h_dim, model.z_dim, objective.penalty_weight
    autoencoder_optimizer.learning_rate, discriminator_optimizer.learning_rate
    log_every_steps, eval_every_steps, checkpoint_every_steps
--coordinator=HOST:PORT   of process 0 of several, with --num_processes and --process_id
--helpfull                all flags

Three runs:
  python -m wae_jax.main --config=wae_gan --workdir=runs/gan
  python -m wae_jax.main --config=wae_mmd --config.num_epochs=20 --config.seed=1 --workdir=runs/mmd
  python -m wae_jax.main --config=wae_gan:songs --config.data.path=data/mine --workdir=runs/mine
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Sequence

import jax
from absl import app, flags
from absl import logging as absl_logging

from wae_jax.command_line.background import quiet_checkpoint_errors
from wae_jax.command_line.command import describe_failure, in_this_program, is_out_of_memory
from wae_jax.command_line.compiled_programs import keep_compiled_programs
from wae_jax.command_line.config_flag import define_config, parse_flags
from wae_jax.command_line.host_memory import keep_freed_memory
from wae_jax.command_line.signals import INTERRUPTED, leave, take_interrupts
from wae_jax.config import read_config
from wae_jax.errors import UserError
from wae_jax.hooks import HOOKS
from wae_jax.training import processes
from wae_jax.training.host_devices import use_all_cores
from wae_jax.training.loop import train_and_evaluate

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", "runs/latest", "Folder or URL of the run; an interrupted run in it resumes.")
flags.register_validator("workdir", bool, "the path is empty; expected a folder or a URL")
flags.DEFINE_string(
    "coordinator",
    "",
    "host:port of process 0 of a run with several processes. Empty: ask the scheduler. none: one process.",
)
flags.DEFINE_integer("num_processes", 1, "Number of processes, with --coordinator.", lower_bound=1)
flags.DEFINE_integer("process_id", 0, "Index of this process, with --coordinator.", lower_bound=0)
flags.DEFINE_float("join_seconds", 50.0, "How long to wait for the other processes at the start.", lower_bound=1.0)
flags.DEFINE_integer(
    "status_when_stopped",
    0,
    "Exit status of a run that a signal stopped and that has saved; a scheduler restarts a run whose status is not 0.",
    lower_bound=0,
    upper_bound=255,
)


def main(argv: Sequence[str]) -> None:
    """Joins the processes of the run and trains."""
    stopped_by: list[str] = []
    try:
        # jax and orbax log every attempt to find a device, and every file of a checkpoint.
        absl_logging.set_verbosity(absl_logging.WARNING)
        config = read_config(FLAGS.config)
        processes.start(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id, join_seconds=FLAGS.join_seconds)
        use_all_cores(config.batch_size)
        with processes.leaving_at_once(), quiet_checkpoint_errors():
            if jax.process_index() == 0:
                print(processes.describe(config.batch_size), flush=True)
                logging.getLogger("wae_jax").setLevel(logging.INFO)
            train_and_evaluate(config, FLAGS.workdir, hooks=HOOKS, on_stop=stopped_by.append)
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last checkpoint, if there is one", file=sys.stderr)
        leave(INTERRUPTED)
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {describe_failure(error, FLAGS.workdir)}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sys.exit("error: there is not enough memory; expected a smaller batch_size or model.h_dim, or more devices")
    if stopped_by:
        sys.exit(FLAGS.status_when_stopped)


def run() -> None:
    """Starts the program."""
    take_interrupts()
    keep_freed_memory()
    keep_compiled_programs()
    define_config()
    (text,) = in_this_program("main", [__doc__])
    app.run(main, flags_parser=functools.partial(parse_flags, help_text=text))


if __name__ == "__main__":
    run()
