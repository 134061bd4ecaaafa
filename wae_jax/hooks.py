"""What a run shows at each evaluation: music and pictures of fixed draws and phrases, and histograms."""

from __future__ import annotations

import dataclasses
import pathlib

import jax
import numpy as np
from absl import logging

from wae_jax.config import BinarizationRule, Config
from wae_jax.data.dataset import spread
from wae_jax.data.statistics import TrackStatistics
from wae_jax.errors import RequestError
from wae_jax.generation.binarization import binarize
from wae_jax.generation.model import run_of_state
from wae_jax.generation.sampling import make_sampler
from wae_jax.listening.page import write_run_page
from wae_jax.pianoroll import PackedPhrases, unpack
from wae_jax.render import phrase_plots
from wae_jax.render.phrase_files import write_phrases
from wae_jax.training.metric_writer import MetricWriter
from wae_jax.training.state import TrainState

_CODES_IN_HISTOGRAM = 512


def write_samples(
    config: Config,
    state: TrainState,
    rule: BinarizationRule,
    rows: PackedPhrases,
    folder: pathlib.Path,
    writer: MetricWriter,
    step: int,
) -> None:
    """Fixed prior draws, reconstructions of fixed phrases beside them, and histograms of codes and parameters."""
    sampler = make_sampler(config, jax.device_get(state.evaluation_variables()))
    phrases = unpack(np.asarray(rows[spread(len(rows), _CODES_IN_HISTOGRAM)]))
    codes = sampler.encode(phrases)
    names = [
        "/".join(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(state.autoencoder.params)
    ]
    parameters = dict(zip(names, map(np.asarray, jax.tree.leaves(state.autoencoder.params)), strict=True))
    writer.write_histograms(step, {"codes": codes, **{f"params/{name}": leaf for name, leaf in parameters.items()}})
    if not (num := min(config.eval.num_shown, len(phrases))):
        return
    draws = sampler.decode(sampler.sample_codes(config.seed, num))
    some = spread(len(phrases), num)
    reconstructions = sampler.decode(codes[some])
    for kind, probabilities in (("generated", draws), ("reconstructions", reconstructions)):
        rolls = binarize(probabilities, rule, seed=config.seed)
        write_phrases(folder / kind, rolls, probabilities=probabilities, each_picture=False)
        images = {f"{kind}/{i}": phrase_plots.phrase_image(probabilities[i]) for i in range(num)}
        if kind == "reconstructions":
            images |= {f"originals/{i}": phrase_plots.phrase_image(phrases[place]) for i, place in enumerate(some)}
        writer.write_images(step, images)


def write_page(config: Config, state: TrainState, statistics: TrackStatistics, workdir: pathlib.Path) -> None:
    """The listening page of a finished run; what keeps it from being written is told, and does not spoil the run."""
    file = workdir / "listen.html"
    try:
        run = dataclasses.replace(run_of_state(config, state), track_statistics=statistics)
        write_run_page(
            run,
            file,
            source=str(workdir),
            num=config.eval.num_page_samples,
            seed=config.seed,
        )
    except (OSError, RequestError) as error:
        logging.warning("%s has not been written: %s", file, error)
