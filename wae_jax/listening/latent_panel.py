"""The data of the page's latent panel: decoder and encoder, and directions to move along in latent space.

Networks and learned prior are stored as in an exported file: kernels and codes of 16 bits, the rest of 32,
little-endian, in base64. There are two kinds of directions: those in which an attribute of the music changes, as in
`generate --mode=edit`, and the principal components of the codes of training phrases. A component is named after the
attribute that follows it most closely, if their correlation over these phrases reaches `MIN_CORRELATION`, that is, if
they share at least a sixth of their variance.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from wae_jax.config import BinarizationRule
from wae_jax.data.dataset import spread
from wae_jax.generation.exported import density_to_storage, to_storage
from wae_jax.generation.model import Model
from wae_jax.generation.modes.attributes import ATTRIBUTES, Measured, PerPhrase, fit_directions, measure
from wae_jax.listening.network_layers import Layer, decoder_layers, encoder_layers
from wae_jax.pianoroll import LOWEST_PITCH, PHRASE_SHAPE, Codes, unpack
from wae_jax.training.learned_prior import KernelDensity

MIN_CORRELATION = 0.4
# Components along which codes vary less than this, in standard deviations of the prior, are left out.
_MIN_DEVIATION = 1e-3


def latent_panel(
    model: Model, *, rule: BinarizationRule, num_directions: int = 8, num_phrases: int = 1024
) -> dict[str, Any]:
    """The data that latent_panel.js reads.

    Args:
      model: a trained model.
      rule: the initial binarization rule, calibrated. The page does not sample cells: for "bernoulli" it takes
        thresholds of one half.
      num_directions: at most this many directions.
      num_phrases: at most this many training phrases, spread over the split.

    Returns:
      JSON: the `digest` of the model, the `shape` [T, P, K] and the `lowest_pitch` of a phrase, the layers of the
      `decoder` and the `encoder`, `is_in_one_tonality`, whether it knows C major and A minor alone, `prior_deviation`,
      the learned prior `kernel_density` or None, the `rule`, the `mean` of the codes, `attributes` and `directions`.

    Raises:
      CheckpointError: if the autoencoder or the learned prior has values that 16 bits cannot hold.
      DatasetError: if the training data can no longer be found.
    """
    if rule.method == "bernoulli":
        rule = BinarizationRule(min_note_length=rule.min_note_length)
    rows = model.phrases("train")
    rolls = unpack(np.asarray(rows[spread(len(rows), num_phrases)]))
    codes = model.encode(rolls)
    config, stored = model.config, to_storage(model.variables)
    prior_deviation = float(config.objective.prior_variance) ** 0.5
    measured = measure(rolls)
    return {
        "digest": model.digest,
        "shape": list(PHRASE_SHAPE),
        "lowest_pitch": LOWEST_PITCH,
        "decoder": [layer_to_json(layer) for layer in decoder_layers(config.model, config.refiner, stored)],
        "encoder": [layer_to_json(layer) for layer in encoder_layers(config.model, stored)],
        "is_in_one_tonality": config.data.is_in_one_tonality,
        "prior_deviation": prior_deviation,
        "kernel_density": None if model.kernel_density is None else _density_to_json(model.kernel_density),
        "rule": dataclasses.asdict(rule),
        "mean": codes.mean(axis=0, dtype=np.float64).tolist(),
        "attributes": find_attributes(codes, measured),
        "directions": find_directions(
            codes,
            dict(zip(ATTRIBUTES, measured.T, strict=True)),
            num=num_directions,
            min_deviation=_MIN_DEVIATION * prior_deviation,
        ),
    }


def find_attributes(codes: Codes, measured: Measured) -> list[dict[str, Any]]:
    """The attributes that differ between phrases: `name`, `slope` and `explained` as in `attributes.Directions`."""
    found = fit_directions(codes, measured)
    return [
        {"name": name, "slope": slope.tolist(), "explained": float(explained)}
        for name, slope, explained in zip(ATTRIBUTES, found.slope, found.explained, strict=True)
        if slope.any()
    ]


def find_directions(
    codes: Codes, attributes: Mapping[str, PerPhrase], *, num: int, min_deviation: float
) -> list[dict[str, Any]]:
    """The leading principal components of codes.

    Args:
      codes: codes of phrases, `[B, Z]`.
      attributes: values `[B]` by name; NaN where undefined.
      num: at most this many components.
      min_deviation: components along which the codes have a smaller standard deviation are left out.

    Returns:
      For each component its unit vector `component`, the `deviation` of the codes along it, its `share` of their
      variance, and the `name` and the `correlation` of the attribute that correlates most, which grows along it; both
      None if no correlation reaches `MIN_CORRELATION`.
    """
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    _, lengths, components = np.linalg.svd(centred, full_matrices=False)
    deviations = lengths / len(codes) ** 0.5
    found = []
    for component, deviation in list(zip(components, deviations, strict=True))[:num]:
        if deviation > min_deviation:
            share = float(deviation**2 / (deviations**2).sum())
            described = _describe(component, centred @ component, attributes)
            found.append({**described, "deviation": float(deviation), "share": share})
    return found


def _describe(
    component: Float64[np.ndarray, " Z"], projections: PerPhrase, attributes: Mapping[str, PerPhrase]
) -> dict[str, Any]:
    """A component with its sign, name and correlation, given the projections of the codes on it."""
    correlations = {name: _correlation(projections, values) for name, values in attributes.items()}
    name = max(correlations, key=lambda name: abs(correlations[name]))
    correlation = correlations[name]
    if abs(correlation) < MIN_CORRELATION:
        # The sign of a singular vector is arbitrary; this fixes it.
        sign = np.sign(component[np.argmax(np.abs(component))])
        return {"component": (sign * component).tolist(), "name": None, "correlation": None}
    return {"component": (np.sign(correlation) * component).tolist(), "name": name, "correlation": abs(correlation)}


def _correlation(projections: PerPhrase, values: PerPhrase) -> float:
    """Pearson's correlation over the phrases with a value; 0 where either side is constant."""
    known = ~np.isnan(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0 or np.ptp(projections[known]) == 0:
        return 0.0
    return float(np.corrcoef(projections[known], values[known])[0, 1])


def _density_to_json(density: KernelDensity) -> dict[str, Any]:
    stored = density_to_storage(density)
    return {"centers": _base64(stored["centers"], "<f2"), "factor": _base64(stored["factor"], "<f4")}


def layer_to_json(layer: Layer) -> dict[str, Any]:
    """A layer as JSON: arrays in base64, the kernel with its shape."""
    content: dict[str, Any] = {}
    for name, value in layer.items():
        if name == "layers":
            content[name] = [layer_to_json(each) for each in value]
        elif name == "kernel":
            content |= {"kernel": _base64(value, "<f2"), "kernel_shape": list(value.shape)}
        else:
            content[name] = _base64(value, "<f4") if isinstance(value, np.ndarray) else value
    return content


def _base64(array: Shaped[np.ndarray, "*shape"], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()
