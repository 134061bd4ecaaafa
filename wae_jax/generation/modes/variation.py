"""Mode "vary": variations of a user's phrase at growing distance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from wae_jax.generation.latent_paths import at_distance
from wae_jax.generation.model import Model
from wae_jax.generation.modes.code_search import find_input_codes
from wae_jax.generation.modes.request import Phrases, Request, text_table
from wae_jax.metrics.reconstruction import cell_f1

# Directions that are tried for each variation.
_CANDIDATES = 8
# Distance of the last variation, as a share of that of the nearest of the samples towards which it may lie.
_FARTHEST = 0.8


def vary(model: Model, request: Request) -> Phrases:
    """The reconstruction of a phrase, then `num` variations.

    The i-th of n variations lies i/n of the largest distance from the phrase's code, on the great circle to a sample
    of the prior. Eight samples are tried for each. Of those whose phrase differs in more cells than the variation
    before, the one is chosen whose difference is nearest to the median of all eight.
    """
    originals = request.input_rolls()
    codes, inputs = find_input_codes(model, request)
    ends = model.sample_codes(request.seed, request.num * _CANDIDATES)
    farthest = _FARTHEST * float(np.linalg.norm(ends - codes[0], axis=1).min())
    distances = farthest * np.arange(1, request.num + 1) / request.num
    candidates = np.stack(
        [
            at_distance(codes[0], end, distance)
            for end, distance in zip(ends, distances.repeat(_CANDIDATES), strict=True)
        ]
    ).astype(np.float32)
    reconstruction = request.binarize(model.decode(codes))
    differences = 1 - cell_f1(request.binarize(model.decode(candidates)), reconstruction)
    chosen = choose_growing(differences.reshape(request.num, _CANDIDATES))
    codes = np.concatenate([codes, candidates[np.arange(request.num) * _CANDIDATES + chosen]])

    probabilities, rolls = request.decode(model, codes)
    names = ["reconstruction", *(f"variation {i + 1}" for i in range(request.num))]
    rows = [
        {"phrase": name, "latent distance": distance, "cells that differ": 1 - copy, "F1 with the original": original}
        for name, distance, copy, original in zip(
            names,
            np.linalg.norm(codes - codes[0], axis=1).tolist(),
            cell_f1(rolls, rolls[:1]).tolist(),
            cell_f1(rolls, originals).tolist(),
            strict=True,
        )
    ]
    return Phrases(
        codes,
        rolls,
        probabilities,
        names,
        originals,
        [each.name for each in request.inputs],
        report={"inputs": inputs, "variations": rows},
        table=f"{text_table(inputs)}\n{text_table(rows)}",
    )


def choose_growing(differences: Float64[np.ndarray, "B candidates"]) -> Int64[np.ndarray, " B"]:
    """Chooses a candidate in each row, so that differences grow from row to row as far as possible.

    In each row the candidate nearest to the row's median, of those that differ more than the one chosen in the row
    before; the one that differs most, where none does.
    """
    chosen, last = [], 0.0
    for row in differences:
        growing = np.flatnonzero(row > last)
        nearest = growing[np.abs(row[growing] - np.median(row)).argmin()] if len(growing) else row.argmax()
        chosen.append(int(nearest))
        last = float(row[nearest])
    return np.array(chosen)
