"""What a run shows at each evaluation: music and pictures of fixed draws and phrases, and histograms."""

from __future__ import annotations

import pathlib

import jax
import ml_collections
import numpy as np
from jaxtyping import Int64

from wae_jax import plots
from wae_jax.phrase_files import write_phrases
from wae_jax.pianoroll import PackedPhrases, unpack
from wae_jax.sampling import binarize, make_sampler
from wae_jax.train_state import TrainState
from wae_jax.writers import MetricWriter

_CODES_IN_HISTOGRAM = 512


def spread(num_rows: int, num: int) -> Int64[np.ndarray, " at_most_num"]:
    """The places of up to `num` rows, from the first to the last at equal distances.

    Neighbours are often of one song, and look alike.
    """
    return np.linspace(0, num_rows - 1, min(num, num_rows)).astype(np.int64)


def write_samples(
    config: ml_collections.ConfigDict,
    state: TrainState,
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
    if not (num := min(config.eval.num_samples, len(phrases))):
        return
    draws = sampler.decode(sampler.draw(config.seed, num))
    some = spread(len(phrases), num)
    reconstructions = sampler.decode(codes[some])
    for kind, probabilities in (("draws", draws), ("reconstructions", reconstructions)):
        rolls = binarize(probabilities, method="hard", threshold=config.eval.threshold, seed=config.seed)
        write_phrases(folder / kind, rolls, probabilities=probabilities, each_picture=False)
        images = {f"{kind}/{i}": plots.phrase_image(probabilities[i]) for i in range(num)}
        if kind == "reconstructions":
            images |= {f"originals/{i}": plots.phrase_image(phrases[place]) for i, place in enumerate(some)}
        writer.write_images(step, images)
