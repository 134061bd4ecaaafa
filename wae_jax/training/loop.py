"""The training loop: steps, logs, evaluations, checkpoints; a run resumes from its last checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from clu import parameter_overview
from jaxtyping import Int64

from wae_jax.config import Config, flatten_config, read_config
from wae_jax.data.dataset import Dataset
from wae_jax.data.load import open_data
from wae_jax.data.pipeline import InputPipeline, replicate
from wae_jax.data.statistics import track_densities
from wae_jax.files import printable
from wae_jax.programs import how_to_run
from wae_jax.remote import CHECKPOINTS_FOLDER
from wae_jax.training import checks, processes
from wae_jax.training.background import Background
from wae_jax.training.calls import max_steps_per_call, num_train_steps, parallel_step, steps_of_call
from wae_jax.training.checkpoint import Checkpointer
from wae_jax.training.evaluation_step import make_evaluate
from wae_jax.training.finiteness import check_state
from wae_jax.training.initial_weights import TrainedModel, open_initial, start_from
from wae_jax.training.metric_window import MetricWindow
from wae_jax.training.metric_writer import MetricWriter
from wae_jax.training.prior_fit import make_prior_fit
from wae_jax.training.progress import Progress
from wae_jax.training.run import NO_HOOKS, Hooks, Run
from wae_jax.training.state import TrainState, create_train_state
from wae_jax.training.step import make_train_step
from wae_jax.training.stop import Stop
from wae_jax.training.tracking import open_tracking
from wae_jax.training.workdir import Workdir, claim_config, open_workdir

_LOG = logging.getLogger(__name__)


def train_and_evaluate(
    config: Config | Mapping[str, Any] | ml_collections.ConfigDict,
    workdir: str,
    *,
    hooks: Hooks = NO_HOOKS,
    on_stop: Callable[[str], object] | None = None,
) -> dict[str, float]:
    """Trains one autoencoder, or resumes a run in the same workdir.

    Args:
      config: see `wae_jax.config.Config` for the fields.
      workdir: folder or URL for configuration, metrics, samples and checkpoints, which all processes of the run share.
      hooks: functions that show more than losses, such as samples and curves.
      on_stop: called with the name of the signal that stopped the run before its last step, once the run has saved.

    Returns:
      The metrics of the last evaluation.

    Raises:
      ConfigError: if the configuration cannot be run, or not from the weights that it names.
      DatasetError: if the data cannot be read.
      RemoteError: if a URL cannot be read or written.
      TrackerError: if the tracker of a new run cannot be started.
      WorkdirError: if the workdir belongs to a run with another configuration, or is in use.
      CheckpointError: if there are checkpoints but none can be used, or one cannot be written.
      DeviceError: if the devices do not suit the configuration, or the processes of the run do not agree.
      NonFiniteLossError: if the loss, or the state that a step leaves, is no longer finite.
    """
    checks.check_devices()
    with contextlib.ExitStack() as stack:
        with processes.failing_together():
            config = read_config(config)
            checks.check_config(config)
            work = stack.enter_context(open_workdir(workdir, is_first=jax.process_index() == 0))
            data = open_data(config.data)
            # For whoever opens the run or its model when the dataset is gone.
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, tonality=data.tonality))
            checks.check_splits(data)
            checks.check_best_metric(config, data, hooks)
            initial = open_initial(config, work.folder / CHECKPOINTS_FOLDER, hooks.load_model)
        if jax.process_count() > 1:
            processes.check_agreement(_facts(config, work, data, initial))
        with processes.failing_together():
            if jax.process_index() == 0:
                claim_config(work, config.to_dict(), data_digest=data.digest, data_name=data.name)
                if work.remote:
                    work.remote.upload_run(work.folder)
        return _run(config, data, work, initial, hooks, on_stop, stack)


def _facts(config: Config, work: Workdir, data: Dataset, initial: TrainedModel | None) -> dict[str, Any]:
    """Facts that all processes of a run must share; the checkpointer compares the steps they resume from."""
    facts = flatten_config(config.to_dict())
    for name in ("data.path", "init_from"):  # may differ between hosts
        del facts[name]
    return {
        **facts,
        "code": processes.code_version(),
        "digest of the data": data.digest,
        "digest of the model to start from": initial.digest if initial else None,
        "the workdir is held by": work.holder(),
    }


def _run(
    config: Config,
    data: Dataset,
    work: Workdir,
    initial: TrainedModel | None,
    hooks: Hooks,
    on_stop: Callable[[str], object] | None,
    stack: contextlib.ExitStack,
) -> dict[str, float]:
    """Creates or restores the state, trains it and finishes; what is opened here is closed by `stack`."""
    is_first = jax.process_index() == 0
    train_rows, valid_rows = data.split("train"), data.split("valid")
    total_steps, densities = num_train_steps(config, len(train_rows)), track_densities(train_rows)
    _LOG.info("%s: %d phrases to train on, %d to validate", data.name, len(train_rows), len(valid_rows))

    state = create_train_state(config, track_densities=densities, num_train_steps=total_steps)
    checkpointer = stack.enter_context(
        Checkpointer(work.folder / CHECKPOINTS_FOLDER, best_metric=config.best_metric, best_mode=config.best_mode)
    )
    state, window = _restore(checkpointer, state if initial is None else start_from(state, initial))
    start = int(state.step)

    tracking = stack.enter_context(
        open_tracking(config, work.folder, workdir=work.name, resume_step=start, enabled=is_first)
    )
    writer = stack.enter_context(MetricWriter(work.folder, start, enabled=is_first, tracking=tracking))
    background = stack.enter_context(Background())
    progress = stack.enter_context(Progress(total_steps, config.batch_size, initial_step=start, enabled=is_first))
    stop = stack.enter_context(Stop())
    # Entered last, so that it is left first.
    stack.enter_context(processes.leaving_at_once())
    # An index that cannot be read does not matter to a run that samples from the normal prior.
    songs = data.songs("train") if config.prior == "kernel_density" else None
    following = _following(data) if config.data.shift_bars else None
    rows = (train_rows, songs, following, valid_rows)
    run = Run(config, work, *rows, densities, total_steps, writer, checkpointer, background)
    if start == 0:
        writer.write_text(0, {"config": json.dumps(config.to_dict(), indent=2)})

    state, metrics, stopped_by = _train(run, state, window, hooks, progress, stop)
    checkpointer.wait()  # before anything says that it is saved
    background.wait()
    if stopped_by:
        _LOG.info("%s: saved step %d; the same command resumes from there", stopped_by, int(state.step))
    else:
        if is_first:
            hooks.finish(run, jax.device_get(state))
        _LOG.info("finished at step %d; metrics, samples and checkpoints are in %s", total_steps, printable(work.name))
        command = f"{how_to_run('generate')} --workdir {printable(shlex.quote(work.name))} --output music"
        _LOG.info("more music: %s", command)
    run.upload()
    if stopped_by and int(state.step) < total_steps and on_stop is not None:
        on_stop(stopped_by)
    return metrics


def _restore(checkpointer: Checkpointer, state: TrainState) -> tuple[TrainState, MetricWindow]:
    """The newest good checkpoint, or else `state`, on all devices; with the metrics that are not yet logged."""
    if restored := checkpointer.restore_latest(state):
        state, meta = restored
        _LOG.info("resuming from step %d", int(state.step))
        return replicate(state), MetricWindow(meta["window"])
    params = {"autoencoder": state.autoencoder.params, "discriminator": state.discriminator.params}
    _LOG.info("parameters:\n%s", parameter_overview.get_parameter_overview(params))
    return replicate(state), MetricWindow([])


def _following(data: Dataset) -> Int64[np.ndarray, " train"]:
    """For each training phrase the one that goes on with its music; says how many have one."""
    following = data.following("train")
    _LOG.info("%d phrases of them begin up to three bars later, since others follow them", (following >= 0).sum())
    return following


def _train(
    run: Run, state: TrainState, window: MetricWindow, hooks: Hooks, progress: Progress, stop: Stop
) -> tuple[TrainState, dict[str, float], str | None]:
    """Trains to the last step or a signal; returns state, metrics of the last evaluation, and name of the signal."""
    config = run.config
    pipeline = InputPipeline(
        run.train_rows,
        batch_size=config.batch_size,
        placement=config.data.placement,
        following=run.train_following,
    )
    # Several steps in one call, so that the devices do not wait for the host between them.
    one_step = make_train_step(config, num_train_steps=run.total_steps)
    train_steps = parallel_step(functools.partial(jax.lax.scan, one_step), donate_state=True)
    evaluate_subsets = make_evaluate(config, train_rows=run.train_rows, valid_rows=run.valid_rows)
    fit_prior = make_prior_fit(config, run.train_rows, run.train_songs)
    stops = (config.log_every_steps, config.eval_every_steps, config.checkpoint_every_steps)
    at_most = max_steps_per_call(config.steps_per_call, stops=stops)

    def evaluate(state: TrainState) -> dict[str, float]:
        return {**evaluate_subsets(state), **hooks.evaluate(run, jax.device_get(state))}

    step, metrics, stopped_by = int(state.step), {}, None
    while step < run.total_steps and not stopped_by:
        count = steps_of_call(step, at_most=at_most, total=run.total_steps, stops=stops)
        state, train_metrics = train_steps(state, pipeline.training_batches(config.seed, step, count))
        step += count
        window.add(step, train_metrics)
        stopped_by = stop.requested_by()
        is_saved = stopped_by is not None or run.is_due(step, config.checkpoint_every_steps)

        scalars: dict[str, float] = {}
        evaluated: dict[str, float] | None = None
        if run.is_due(step, config.log_every_steps):
            scalars |= window.average()
        is_evaluated = run.is_due(step, config.eval_every_steps)
        if is_evaluated or is_saved:
            # Both raise rather than evaluate or save what is not finite.
            window.fetch()
            check_state(state)
            state = fit_prior(state)
        if is_evaluated:
            evaluated = metrics = evaluate(state)
            scalars |= evaluated
        if scalars:
            run.writer.write_scalars(step, scalars)
        if evaluated and jax.process_index() == 0:
            hooks.draw_curves(run)
        if is_saved:
            run.checkpointer.save(step, state, evaluated, {"window": window.fetch()})
        if evaluated or is_saved:
            run.upload()
        progress.update(step, scalars)
    if not stopped_by and not metrics:  # resumed after its last step
        metrics = evaluate(state)
    return state, metrics, stopped_by
