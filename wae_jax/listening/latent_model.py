"""What a page needs to let people walk through a run's latent space: its decoder, and directions worth walking in.

The decoder is that of the run's portable file: kernels of 16 bits, vectors of 32, little-endian, in base64. Directions
are the principal components of the codes of training phrases. One is named after the measure of music that it follows
most closely, where Pearson's correlation of the two over these phrases reaches `NAMING_BOUND`: the measure then shares
a sixth or more of its variance with the direction. Others have no name.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Shaped

from wae_jax.config import BinarizationRule
from wae_jax.data.dataset import spread
from wae_jax.generation.export_file import to_storage
from wae_jax.generation.learned_prior import Mixture
from wae_jax.generation.model import Model
from wae_jax.generation.modes.attributes import ATTRIBUTES, PerPhrase
from wae_jax.listening.decoder_layers import Layer, decoder_layers
from wae_jax.pianoroll import LOWEST_PITCH, PHRASE_SHAPE, Codes, unpack

NAMING_BOUND = 0.4
# A direction in which codes differ by less than this, in deviations of the prior, is none.
_LEAST_DEVIATION = 1e-3

_KINDS = {
    "Dense": "dense",
    "ConvTranspose": "conv_transpose",
    "Conv": "conv",
    "Affine": "affine",
    "LayerNorm": "layer_norm",
    "LeakyRelu": "leaky_relu",
    "LogSumExp": "log_sum_exp",
    "Residual": "residual",
}


def latent_model(
    run: Model, *, rule: BinarizationRule, num_directions: int = 8, num_phrases: int = 1024
) -> dict[str, Any]:
    """What the script's `mountLatent` is called with.

    Args:
      run: a trained run.
      rule: which cells sound, to begin with; the page knows no random ones, and takes thresholds of one half then.
      num_directions: at most; those in which codes hardly differ are left out.
      num_phrases: training phrases, at most, spread over the split.

    Returns:
      What JSON can hold: `shape` [T, P, K] and `lowest_pitch` of a phrase, `layers` of the decoder, `prior_deviation`,
      `mixture` where the run draws from one (or None), `rule`, the `mean` of the codes, and `directions`.

    Raises:
      CheckpointError: if the decoder has values that 16 bits cannot hold.
      DatasetError: if the run's data are no longer where they were.
    """
    rows = run.phrases("train")
    rolls = unpack(np.asarray(rows[spread(len(rows), num_phrases)]))
    codes = run.sampler.encode(rolls)
    deviation = float(run.config.objective.prior_variance) ** 0.5
    return {
        "shape": list(PHRASE_SHAPE),
        "lowest_pitch": LOWEST_PITCH,
        "layers": [_describe(layer) for layer in decoder_layers(run.config, to_storage(run.variables))],
        "prior_deviation": deviation,
        "mixture": None if run.mixture is None else _describe_mixture(run.mixture),
        "rule": _page_rule(rule),
        "mean": codes.mean(axis=0, dtype=np.float64).tolist(),
        "directions": directions(
            codes,
            {name: measure(rolls) for name, measure in ATTRIBUTES.items()},
            num=num_directions,
            least_deviation=_LEAST_DEVIATION * deviation,
        ),
    }


def _page_rule(rule: BinarizationRule) -> dict[str, Any]:
    """The rule as the page's JavaScript takes it: hard, with thresholds of one half where it has none."""
    if rule.method == "bernoulli":
        rule = BinarizationRule(min_note_length=rule.min_note_length)
    return dataclasses.asdict(rule)


def directions(
    codes: Codes, attributes: Mapping[str, PerPhrase], *, num: int, least_deviation: float
) -> list[dict[str, Any]]:
    """The leading principal components of codes.

    Args:
      codes: of phrases.
      attributes: by name, one number a phrase; NaN where it is not defined.
      num: components, at most.
      least_deviation: of the codes along a component, for it to be one.

    Returns:
      For each component its unit vector `component`, the `deviation` of the codes along it, the `share` of their
      variance, and `name` and `correlation` of the attribute that it follows most closely and grows with; both are None
      where no correlation reaches `NAMING_BOUND`.
    """
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    _, lengths, components = np.linalg.svd(centred, full_matrices=False)
    deviations = lengths / len(codes) ** 0.5
    return [
        {
            **_name(centred, component, attributes),
            "deviation": float(deviations[i]),
            "share": float(deviations[i] ** 2 / (deviations**2).sum()),
        }
        for i, component in enumerate(components[:num])
        if deviations[i] > least_deviation
    ]


def _name(
    centred: Float[np.ndarray, "B Z"], component: Float64[np.ndarray, " Z"], attributes: Mapping[str, PerPhrase]
) -> dict[str, Any]:
    """A component, which way round it is to be taken, and what it is called."""
    projections = centred @ component
    found = {name: _correlation(projections, values) for name, values in attributes.items()}
    name = max(found, key=lambda name: abs(found[name]))
    if abs(found[name]) < NAMING_BOUND:
        # Either way is as good; always the same one.
        sign = np.sign(component[np.argmax(np.abs(component))])
        return {"component": (sign * component).tolist(), "name": None, "correlation": None}
    return {
        "component": (np.sign(found[name]) * component).tolist(),
        "name": name,
        "correlation": abs(found[name]),
    }


def _correlation(projections: PerPhrase, values: PerPhrase) -> float:
    """Pearson's, over the phrases that have a value; 0 where that does not vary."""
    known = ~np.isnan(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0 or np.ptp(projections[known]) == 0:
        return 0.0
    return float(np.corrcoef(projections[known], values[known])[0, 1])


def _describe_mixture(mixture: Mixture) -> dict[str, Any]:
    """A mixture as JSON."""
    return {
        "weights": mixture.weights.tolist(),
        "means": _base64(mixture.means, "<f4"),
        "factors": _base64(mixture.factors, "<f4"),
    }


def _describe(layer: Layer) -> dict[str, Any]:
    """A layer as JSON: arrays in base64, kernels with their shape."""
    return {"kind": _KINDS[type(layer).__name__], **dict(_fields(layer))}


def _fields(layer: Layer) -> Iterator[tuple[str, Any]]:
    for name, value in layer._asdict().items():
        if name == "layers":
            yield name, [_describe(one) for one in value]
        elif not isinstance(value, np.ndarray):
            yield name, value
        elif name == "kernel":
            yield name, _base64(value, "<f2")
            yield "kernel_shape", list(value.shape)
        else:
            yield name, _base64(value, "<f4")


def _base64(array: Shaped[np.ndarray, "*shape"], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()
