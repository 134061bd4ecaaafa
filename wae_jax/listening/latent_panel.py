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
from typing import Any

import numpy as np
from jaxtyping import Shaped

from wae_jax.config import BinarizationRule
from wae_jax.generation.attributes import ATTRIBUTES, Directions
from wae_jax.generation.code_statistics import MIN_CORRELATION, Components
from wae_jax.generation.exported import density_to_storage, to_storage
from wae_jax.generation.model import Model
from wae_jax.listening.network_layers import Layer, decoder_layers, encoder_layers
from wae_jax.pianoroll import LOWEST_PITCH, PHRASE_SHAPE
from wae_jax.training.learned_prior import KernelDensity

# Components along which codes vary less than this, in standard deviations of the prior, are left out.
_MIN_DEVIATION = 1e-3


def latent_panel(model: Model, *, rule: BinarizationRule) -> dict[str, Any]:
    """The data that latent_panel.js reads.

    Args:
      model: a trained model.
      rule: the initial binarization rule, calibrated. The page does not sample cells: for "bernoulli" it takes
        thresholds of one half.

    Returns:
      JSON: the `digest` of the model, the `shape` [T, P, K] and the `lowest_pitch` of a phrase, the layers of the
      `decoder` and the `encoder`, `is_in_one_tonality`, whether it knows C major and A minor alone, `prior_deviation`,
      the learned prior `kernel_density` or None, the `rule`, the `mean` of the codes, `attributes` and `directions`.

    Raises:
      CheckpointError: if the autoencoder or the learned prior has values that 16 bits cannot hold.
      DatasetError: if the statistics of codes take training data that can no longer be found.
    """
    if rule.method == "bernoulli":
        rule = BinarizationRule(min_note_length=rule.min_note_length)
    statistics = model.statistics_of_codes()
    config, stored = model.config, to_storage(model.variables)
    prior_deviation = float(config.objective.prior_variance) ** 0.5
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
        "mean": statistics.mean.tolist(),
        "attributes": _attributes_to_json(statistics.directions),
        "directions": components_to_json(statistics.components, min_deviation=_MIN_DEVIATION * prior_deviation),
    }


def _attributes_to_json(directions: Directions) -> list[dict[str, Any]]:
    """The attributes that differ between phrases: `name`, `slope` and `explained` as in `attributes.Directions`."""
    return [
        {"name": name, "slope": slope.tolist(), "explained": float(explained)}
        for name, slope, explained in zip(ATTRIBUTES, directions.slope, directions.explained, strict=True)
        if slope.any()
    ]


def components_to_json(components: Components, *, min_deviation: float) -> list[dict[str, Any]]:
    """Principal components as JSON, named after the attributes that follow them.

    Args:
      components: of the codes.
      min_deviation: components along which the codes have a smaller standard deviation are left out.

    Returns:
      For each component its unit vector `component`, the `deviation` of the codes along it, its `share` of their
      variance, and the `name` and the `correlation` of the attribute that correlates most, which grows along it; both
      None if no correlation reaches `MIN_CORRELATION`.
    """
    found = []
    for direction, deviation, share, correlations in zip(*components, strict=True):
        if deviation > min_deviation:
            largest = int(np.abs(correlations).argmax())
            is_named = correlations[largest] >= MIN_CORRELATION
            found.append(
                {
                    "component": direction.tolist(),
                    "name": list(ATTRIBUTES)[largest] if is_named else None,
                    "correlation": float(correlations[largest]) if is_named else None,
                    "deviation": float(deviation),
                    "share": float(share),
                }
            )
    return found


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
