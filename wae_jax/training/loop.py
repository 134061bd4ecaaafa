"""The training loop: data, steps, logs, evaluation, samples, checkpoints, and going on where a run stopped."""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from clu import parameter_overview
from jax.experimental import multihost_utils
from jaxtyping import Array, Float

from wae_jax.config import BinarizationRule, Config, flatten_config, read_config
from wae_jax.data.dataset import Dataset
from wae_jax.data.load import open_data
from wae_jax.data.pipeline import Feeder, make_several_steps, steps_of_call, steps_per_call
from wae_jax.data.statistics import track_densities, track_statistics
from wae_jax.errors import ConfigError, NonFiniteLossError
from wae_jax.files import Closing
from wae_jax.generation.calibration import calibrate
from wae_jax.generation.sampling import make_sampler
from wae_jax.pianoroll import PackedPhrases
from wae_jax.training import devices, processes
from wae_jax.training.checkpoint import Checkpointer
from wae_jax.training.metric_writer import MetricWriter
from wae_jax.training.progress import Progress
from wae_jax.training.state import TrainState, create_train_state
from wae_jax.training.step import (
    BATCH_AXIS,
    Batch,
    codes_of,
    log_variances_of,
    make_evaluate_step,
    make_latent_figures,
    make_train_step,
    summarize,
)
from wae_jax.training.workdir import Workdir, claim_config

# What the host may queue on the devices ahead of them: enough to keep them busy.
_CALLS_IN_FLIGHT = 2


class Stop(Closing):
    """Turns SIGTERM and Ctrl-C into a flag, so that the loop can save and leave; a second Ctrl-C leaves at once.

    In a run of several processes SIGTERM to one of them stops all, and Ctrl-C is no signal to save.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._previous: dict[int, Any] = {}
        self._asked = 0

    def __enter__(self) -> Stop:
        # Of several processes, jax itself catches SIGTERM and tells the others; a handler here would keep it from that.
        if threading.current_thread() is threading.main_thread() and jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def close(self) -> None:
        """Gives the signals back to whom they were of."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        if self._signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def name(self) -> str | None:
        """The signal that asks to stop, or None; called after every call of the steps, by all processes alike.

        All processes of a run get the same answer.
        """
        self._asked += 1
        if jax.process_count() > 1:
            # All processes agree on one of these calls.
            return "SIGTERM" if multihost_utils.reached_preemption_sync_point(self._asked) else None
        return None if self._signal is None else signal.Signals(self._signal).name


class MetricWindow:
    """Metrics of the steps since the last log line.

    They are fetched from the devices when asked for. A checkpoint carries what is pending, so that the lines of a
    resumed run are those of an uninterrupted one.
    """

    def __init__(self, pending: list[dict[str, float]]) -> None:
        self._fetched = pending
        self._waiting: list[tuple[int, Mapping[str, Float[Array, " S"]]]] = []

    def add(self, step: int, metrics: Mapping[str, Float[Array, " S"]]) -> None:
        """Adds the metrics of the S steps up to `step`, and waits for steps so long ago that no device runs dry."""
        self._waiting.append((step, metrics))
        if len(self._waiting) > _CALLS_IN_FLIGHT:
            jax.block_until_ready(self._waiting[-1 - _CALLS_IN_FLIGHT][1])

    def fetch(self) -> list[dict[str, float]]:
        """The metrics of each step of the window.

        Raises:
          NonFiniteLossError: if a loss or gradient is not finite; the message names the first such step.
        """
        for last, stacked in self._waiting:
            metrics = jax.device_get(stacked)
            count = len(next(iter(metrics.values())))
            for i, step in enumerate(range(last - count + 1, last + 1)):
                values = {name: float(each[i]) for name, each in metrics.items()}
                wrong = [name for name, value in values.items() if not np.isfinite(value)]
                if wrong:
                    raise NonFiniteLossError(
                        f"{', '.join(wrong)} not finite at step {step}; checkpoints from before it are untouched. "
                        "A lower learning rate or clip_norm, or float32 in place of bfloat16, may help"
                    )
                self._fetched.append(values)
        self._waiting = []
        return self._fetched

    def average(self) -> dict[str, float]:
        """The mean of each metric over the window, which is then empty."""
        steps = self.fetch()
        self._fetched = []
        return {name: float(np.mean([values[name] for values in steps])) for name in steps[0]}


def num_train_steps(config: Config, num_phrases: int) -> int:
    """How many steps a run takes: as configured, or those of so many epochs and the pretraining before them."""
    if config.num_train_steps:
        return config.num_train_steps
    return config.objective.pretrain_steps + max(1, round(config.num_epochs * num_phrases / config.batch_size))


def make_evaluate(config: Config, subsets: Mapping[str, PackedPhrases]) -> Callable[[TrainState], dict[str, float]]:
    """A function that evaluates a state on subsets of the data.

    The last batch of a subset is filled up with phrases from its start, which do not count.

    Args:
      config: the run's configuration.
      subsets: of phrases, by the prefix of their figures' names.
    """
    step = devices.parallel_step(make_evaluate_step(config), BATCH_AXIS)
    latent_figures = make_latent_figures(config)
    share = config.batch_size // jax.process_count()
    position = np.arange(share, dtype=np.int32) + share * jax.process_index()

    def batches(rows: np.ndarray) -> Iterator[Batch]:
        for start in range(0, len(rows), config.batch_size):
            place = start + position
            yield _device_batch(rows[place % len(rows)], position, place < len(rows))

    def evaluate(state: TrainState) -> dict[str, float]:
        figures: dict[str, float] = {}
        for prefix, rows in subsets.items():
            evaluated = jax.device_get([step(state, batch) for batch in batches(rows)])
            summary = summarize(evaluated, num_phrases=len(rows), prior_variance=config.objective.prior_variance)
            if len(rows) > 1:  # of one code alone there is no distance to a distribution
                latent = latent_figures(
                    state.discriminator.params, codes_of(evaluated, len(rows)), log_variances_of(evaluated, len(rows))
                )
                summary |= {name: float(value) for name, value in latent.items()}
            figures |= {f"{prefix}/{name}": value for name, value in summary.items()}
        return figures

    return evaluate


def _device_batch(packed: np.ndarray, position: np.ndarray, weight: np.ndarray) -> Batch:
    """This process's share of a batch, divided among its devices."""
    return Batch(*devices.shard((np.asarray(packed), position, weight.astype(np.float32))))


def _check_precision(dtype: str) -> None:
    if dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise ConfigError(
            "dtype is 'float64', which JAX computes in float32 unless told otherwise; "
            "set the environment variable JAX_ENABLE_X64=1, or dtype to 'float32'"
        )


def _check_data(data: Dataset) -> None:
    for name in ("train", "valid"):
        if name not in data.splits:
            raise ConfigError(f"{data.name} has no {name} split; build the data set with one")


def train_and_evaluate(
    config: Config, workdir: str, *, on_stop: Callable[[str], object] | None = None
) -> dict[str, float]:
    """Trains one autoencoder, or goes on where an earlier call on the same folder stopped.

    Args:
      config: see `configs/wae_gan.py` for the fields.
      workdir: a folder for configuration, metrics, samples and checkpoints, one that all processes of the run
        share.
      on_stop: called with the name of the signal that has stopped the run before its last step, once it has saved.

    Returns:
      The figures of the last evaluation.

    Raises:
      ConfigError: if the configuration cannot be run.
      WorkdirError: if the folder belongs to a run with another configuration, or is in use.
      CheckpointError: if there are checkpoints but none can be used, or one cannot be written.
      DeviceError: if the devices do not suit the configuration, or the processes of the run do not agree.
      NonFiniteLossError: if the loss is no longer a number.
    """
    devices.check_devices()
    with contextlib.ExitStack() as stack:
        with processes.failing_together():
            config = read_config(config)
            _check_precision(config.dtype)
            devices.check_batch_size(config.batch_size)
            work = stack.enter_context(Workdir(workdir, is_first=jax.process_index() == 0))
            data = open_data(
                config.data.path, num_songs=config.data.num_songs, phrases_per_song=config.data.phrases_per_song
            )
            _check_data(data)
        if jax.process_count() > 1:
            processes.check_agreement(_facts(config, work, data))
        with processes.failing_together():
            if jax.process_index() == 0:
                claim_config(
                    work.folder,
                    config.to_dict(),
                    data_digest=data.digest,
                    data_name=data.name,
                )
        return _run(config, work, data, stack, on_stop)


def _facts(config: Config, work: Workdir, data: Dataset) -> dict[str, Any]:
    """What all processes of a run must have alike; that they find the same step, the checkpointer sees to."""
    facts = flatten_config(config.to_dict())
    # Each host may have the data in another place.
    del facts["data.path"]
    held_by = "the work folder is held by"
    return facts | {"code": processes.code_version(), "digest of the data": data.digest, held_by: work.holder()}


def _run(
    config: Config,
    work: Workdir,
    data: Dataset,
    stack: contextlib.ExitStack,
    on_stop: Callable[[str], object] | None,
) -> dict[str, float]:
    is_first, folder = jax.process_index() == 0, work.folder
    train_rows, valid_rows = data.split("train"), data.split("valid")
    total = num_train_steps(config, len(train_rows))
    densities = track_densities(train_rows)
    # Not at once: it takes half a second, and the first step need not wait for that.
    statistics = functools.cache(functools.partial(track_statistics, train_rows, densities))
    logging.info("%s: %d phrases to train on, %d to validate", data.name, len(train_rows), len(valid_rows))

    state = create_train_state(config, track_densities=densities, num_train_steps=total)
    checkpointer = stack.enter_context(
        Checkpointer(folder / "checkpoints", best_metric=config.best_metric, best_mode=config.best_mode)
    )
    window = MetricWindow([])
    if restored := checkpointer.restore_latest(state):
        state, meta = restored
        window = MetricWindow(meta["window"])
        logging.info("going on from step %d", int(state.step))
    else:
        logging.info("parameters:\n%s", parameter_overview.get_parameter_overview(_all_params(state)))
    start = int(state.step)
    state = devices.replicate(state, BATCH_AXIS)

    feeder = Feeder(train_rows, seed=config.seed, batch_size=config.batch_size, placement=config.data.placement)
    train_steps = devices.parallel_step(
        make_several_steps(make_train_step(config, num_train_steps=total)),
        BATCH_AXIS,
        in_axes=feeder.in_axes,
        returns_state=True,
    )
    at_most = steps_per_call(config.steps_per_call)
    stops = (config.log_every_steps, config.eval_every_steps, config.checkpoint_every_steps)
    subsets = {
        "eval": valid_rows[: config.eval.num_phrases],
        "eval_train": train_rows[: config.eval.num_train_phrases],
    }
    evaluate_subsets = make_evaluate(config, {prefix: rows for prefix, rows in subsets.items() if len(rows)})

    def binarize(state: TrainState) -> BinarizationRule:
        sampler = make_sampler(config, jax.device_get(state.evaluation_variables()))
        return calibrate(config.binarization, sampler, statistics)

    def evaluate(state: TrainState, rule: BinarizationRule) -> dict[str, float]:
        figures = evaluate_subsets(state)
        if config.eval.num_samples:
            # Not above: it takes a second to import, and the first step need not wait for that.
            from wae_jax.evaluation import sample_metrics
            from wae_jax.generation.model import run_of_state

            figures |= sample_metrics.measure_samples(
                run_of_state(config, state),
                rule,
                num=config.eval.num_samples,
                seed=config.seed,
                held_out=valid_rows,
                training=train_rows,
            )
        return figures

    writer = stack.enter_context(MetricWriter(folder, start, enabled=is_first))
    progress = stack.enter_context(Progress(total, config.batch_size, initial_step=start, enabled=is_first))
    stop = stack.enter_context(Stop())
    # Last, since it comes first on the way out.
    stack.enter_context(processes.leaving_at_once())

    if not start:
        writer.write_text(0, {"config": json.dumps(config.to_dict(), indent=2)})

    figures: dict[str, float] = {}
    step = start
    stopped_by: str | None = None
    while step < total and not stopped_by:
        count = steps_of_call(step, at_most=at_most, total=total, stops=stops)
        state, metrics = train_steps(state, *feeder.feed(step, count))
        step += count
        window.add(step, metrics)
        is_last = step == total
        stopped_by = stop.name()
        scalars: dict[str, float] = {}
        evaluated: dict[str, float] | None = None
        if step % config.log_every_steps == 0 or is_last:
            scalars |= window.average()
        if step % config.eval_every_steps == 0 or is_last:
            window.fetch()
            rule = binarize(state)
            evaluated = figures = evaluate(state, rule)
            scalars |= figures
        if scalars:
            writer.write_scalars(step, scalars)
        if evaluated and is_first:
            # Not above: pictures and sound take a second to import, and the first step need not wait for them.
            from wae_jax import hooks
            from wae_jax.render import curves

            hooks.write_samples(config, state, rule, valid_rows, folder / "samples" / f"step_{step:08d}", writer, step)
            curves.write_curves(folder)
        is_saved = step % config.checkpoint_every_steps == 0 or is_last or stopped_by is not None
        if is_saved:
            checkpointer.save(step, state, evaluated, {"window": window.fetch()})
        progress.update(step, scalars)
    if stopped_by:
        logging.info("%s: saved step %d; the same command goes on from there", stopped_by, step)
    else:
        figures = figures or evaluate(state, binarize(state))
        if is_first and config.eval.num_page_samples:
            from wae_jax import hooks

            hooks.write_page(config, state, statistics(), folder)
        logging.info(
            "finished at step %d; samples, curves and listen.html, to hear it, are in %s; more music comes from\n"
            "  python -m wae_jax.generate --workdir %s --output %s",
            total,
            folder,
            folder,
            f"{folder}/music",
        )
    checkpointer.wait()
    if stopped_by and step < total and on_stop is not None:
        on_stop(stopped_by)
    return figures


def _all_params(state: TrainState) -> dict[str, Any]:
    return {"autoencoder": state.autoencoder.params, "discriminator": state.discriminator.params}
