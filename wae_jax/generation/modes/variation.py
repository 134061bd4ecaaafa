"""Mode "vary": variations of a user's phrase at growing distance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from wae_jax.generation.detail import detail_weights
from wae_jax.generation.latent_paths import at_distance
from wae_jax.generation.model import Model
from wae_jax.generation.modes.own_phrase import find_own_phrase, likeness
from wae_jax.generation.modes.request import Phrases, Request, text_table
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_BARS

# Directions that are tried for each variation.
_CANDIDATES = 8
# Distance of the last variation, as a share of that of the nearest of the samples towards which it may lie.
_FARTHEST = 0.8


def vary(model: Model, request: Request) -> Phrases:
    """A user's phrase as it is, then `num` variations.

    The amount of the i-th of n variations is i/n. It lies at the square root of its amount times the largest distance
    from the phrase's code, on the great circle to a sample of the prior: near the code phrases hardly change. It keeps
    the phrase's detail, with a weight that falls along the phrase, from 1 at its start to 1 less the amount at its end;
    drums keep it whole. Eight samples are tried for each variation. Of those whose phrase differs from the user's in
    more cells than the variation before, the one most like it is chosen.
    """
    own = find_own_phrase(model, request)
    ends = model.sample_codes(request.seed, request.num * _CANDIDATES)
    farthest = _FARTHEST * float(np.linalg.norm(ends - own.code[0], axis=1).min())
    amounts = (np.arange(1, request.num + 1) / request.num).repeat(_CANDIDATES)
    candidates = np.stack(
        [
            at_distance(own.code[0], end, farthest * float(amount) ** 0.5)
            for end, amount in zip(ends, amounts, strict=True)
        ]
    ).astype(np.float32)
    weights = detail_weights(1 - np.outer(amounts, np.arange(1, NUM_BARS + 1) / NUM_BARS))
    probabilities, rolls = own.decode(model, request, candidates, weights)
    grid = (request.num, _CANDIDATES)
    differences = 1 - cell_f1(rolls, own.roll)
    chosen = choose_growing(differences.reshape(grid), likeness(own.roll, rolls).reshape(grid))
    chosen += np.arange(request.num) * _CANDIDATES

    codes = np.concatenate([own.code, candidates[chosen]])
    rolls = np.concatenate([own.roll, rolls[chosen]])
    names = ["the phrase", *(f"variation {i + 1}" for i in range(request.num))]
    rows = [
        {"phrase": name, "latent distance": distance, "cells that differ": difference}
        for name, distance, difference in zip(
            names,
            np.linalg.norm(codes - codes[0], axis=1).tolist(),
            [0.0, *differences[chosen].tolist()],
            strict=True,
        )
    ]
    return Phrases(
        codes,
        rolls,
        np.concatenate([own.probabilities, probabilities[chosen]]),
        names,
        own.roll,
        [each.name for each in request.inputs],
        report={"inputs": own.rows, "variations": rows},
        table=f"{text_table(own.rows)}\n{text_table(rows)}",
    )


def choose_growing(
    differences: Float64[np.ndarray, "B candidates"], likenesses: Float64[np.ndarray, "B candidates"]
) -> Int64[np.ndarray, " B"]:
    """Chooses a candidate in each row, so that differences grow from row to row as far as possible.

    In each row the likest of those that differ more than the one chosen in the row before; the one that differs most,
    where none does.
    """
    chosen, last = [], 0.0
    for row, likes in zip(differences, likenesses, strict=True):
        growing = row > last
        best = int(np.where(growing, likes, -1).argmax()) if growing.any() else int(row.argmax())
        chosen.append(best)
        last = float(row[best])
    return np.array(chosen)
