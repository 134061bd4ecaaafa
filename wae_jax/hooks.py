"""Hooks that `main` adds to a run: at each evaluation sample metrics, music and pictures; then the listening page.

One opens the model whose weights a run starts from.

SciPy, matplotlib and the page take more than a second to import, and the first step need not wait for them: each hook
imports what it uses.
"""

from __future__ import annotations

import functools
import logging
import pathlib
import time
from typing import TYPE_CHECKING

import jax
import numpy as np

from wae_jax.data.dataset import spread
from wae_jax.errors import UserError
from wae_jax.pianoroll import unpack
from wae_jax.training.run import Hooks, Run
from wae_jax.training.state import TrainState

if TYPE_CHECKING:
    from wae_jax.config import Config
    from wae_jax.data.dataset import Dataset
    from wae_jax.evaluation.sample_metrics import Reference
    from wae_jax.generation.model import Model

_LOG = logging.getLogger(__name__)
_CODES_IN_HISTOGRAM = 512
_SECONDS_BETWEEN_CURVES = 60  # drawing takes a second, in which a small network makes twenty steps


def evaluate(run: Run, state: TrainState) -> dict[str, float]:
    """Metrics of samples of the prior; the first process also writes samples, reconstructions and histograms."""
    from wae_jax.evaluation.sample_metrics import measure_samples
    from wae_jax.generation.model import Model

    run.background.wait()
    spec = run.config.eval
    is_fitted = bool(run.config.binarization.fitted_parts)
    model = Model.of_state(run.config, state, run.statistics if is_fitted else None)
    metrics: dict[str, float] = {}
    if spec.num_samples:
        metrics = measure_samples(
            model, model.rule, num=spec.num_samples, seed=run.config.seed, reference=_reference(run)
        )
    if jax.process_index() == 0:
        _write_samples(run, state, model)
    return metrics


@functools.lru_cache(maxsize=1)
def _reference(run: Run) -> Reference:
    from wae_jax.evaluation.sample_metrics import Reference

    return Reference.of(run.valid_rows, run.train_rows, num=run.config.eval.num_samples)


def metric_names(config: Config, data: Dataset) -> list[str]:
    """The names of the metrics of samples."""
    from wae_jax.evaluation import sample_metrics

    sizes = [len(data.split(name)) for name in ("train", "valid")]
    return sample_metrics.metric_names(min(config.eval.num_samples, *sizes))


def _write_samples(run: Run, state: TrainState, model: Model) -> None:
    """Writes samples of fixed codes, reconstructions of fixed phrases, and histograms of codes and parameters."""
    from wae_jax.render.phrase_files import write_phrases
    from wae_jax.render.phrase_plots import phrase_image

    step, seed = int(state.step), run.config.seed
    phrases = unpack(np.asarray(run.valid_rows[spread(len(run.valid_rows), _CODES_IN_HISTOGRAM)]))
    codes = model.encode(phrases)
    leaves = jax.tree_util.tree_leaves_with_path(state.autoencoder.params)
    parameters = {f"params/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf for path, leaf in leaves}
    run.writer.write_histograms(step, {"codes": codes, **parameters})
    if not (num := min(run.config.eval.num_shown, len(phrases))):
        return
    shown = spread(len(phrases), num)
    images = {f"originals/{i}": phrase_image(phrases[index]) for i, index in enumerate(shown)}
    kinds = {"generated": model.sample(num, seed=seed), "reconstructions": model.decode(codes[shown])}
    for kind, probabilities in kinds.items():
        rolls = model.binarize(probabilities, seed=seed)
        folder = run.folder / "samples" / f"step_{step:08d}" / kind
        run.background.add(
            functools.partial(write_phrases, folder, rolls, probabilities=probabilities, each_picture=False)
        )
        run.background.add(functools.partial(_write_sounds, run, step, kind, folder))
        images |= {f"{kind}/{i}": phrase_image(each) for i, each in enumerate(probabilities)}
    run.writer.write_images(step, images)


def _write_sounds(run: Run, step: int, kind: str, folder: pathlib.Path) -> None:
    """Hands the sound files of a folder to the tracker; there are none where sound could not be made."""
    from wae_jax.render.audio import DEFAULT_AUDIO

    files = sorted(folder.glob(f"phrase_*.{DEFAULT_AUDIO.format}"))
    run.writer.write_sounds(step, {f"{kind}_sound/{i}": file for i, file in enumerate(files)})


def draw_curves(run: Run) -> None:
    """Draws the metrics so far as curves.png, unless it is younger than a minute."""
    from wae_jax.render.curves import write_curves

    file = run.folder / "curves.png"
    if not file.exists() or time.time() - file.stat().st_mtime >= _SECONDS_BETWEEN_CURVES:
        run.background.add(functools.partial(write_curves, run.folder))


def finish(run: Run, state: TrainState) -> None:
    """Draws the curves to the last step, unless they have just been drawn, and writes the listening page."""
    from wae_jax.render.curves import write_curves

    file, metrics = run.folder / "curves.png", run.folder / "metrics.jsonl"
    if not file.exists() or file.stat().st_mtime < metrics.stat().st_mtime:
        write_curves(run.folder)
    write_page(run, state)


def write_page(run: Run, state: TrainState) -> None:
    """Writes listen.html; a failure is logged and does not fail the run."""
    from wae_jax.generation.model import Model
    from wae_jax.listening.page import write_run_page

    if not (num := run.config.eval.num_page_samples):
        return
    file = run.folder / "listen.html"
    try:
        model = Model.of_state(run.config, state, run.statistics)
        write_run_page(model, file, source=run.workdir.name, num=num, seed=run.config.seed)
    except (OSError, UserError) as error:
        _LOG.warning("%s has not been written: %s", file, error)


def load_model(source: str) -> Model:
    """The model that a run starts from."""
    from wae_jax.generation.load import load

    return load(source)


HOOKS = Hooks(
    evaluate=evaluate, metric_names=metric_names, draw_curves=draw_curves, finish=finish, load_model=load_model
)
