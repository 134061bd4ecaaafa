"""Other tracks for those that are there: `--mode=accompany`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

from wae_jax.errors import RequestError
from wae_jax.generation.model import Model
from wae_jax.generation.modes.basic import Phrases, Request
from wae_jax.generation.modes.code_search import search_codes
from wae_jax.generation.modes.fidelity import text_table
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_TRACKS, TRACK_NAMES

_STARTS_FOR_EACH = 4
_LEAST_STARTS = 16


def accompany(run: Model, request: Request) -> Phrases:
    """The kept tracks of the user's phrase, exactly as they are, and other tracks to them.

    Codes are searched whose phrase has these tracks, from four starts an accompaniment. Of the half of the codes that
    cost least the cheapest is taken first, and then each time the one whose other tracks differ most from all taken so
    far. Accompaniments in which nothing sounds are left for last.

    Args:
      run: a trained run.
      request: with one phrase of the user's, the tracks to keep, and `num` accompaniments.

    Raises:
      RequestError: if none of the kept tracks sounds.
    """
    own = request.own[0]
    kept = np.isin(np.arange(NUM_TRACKS), request.keep)
    originals = request.own_rolls()
    names = ", ".join(TRACK_NAMES[k] for k in request.keep)
    if not originals[..., kept].any():
        raise RequestError(
            f"{own.name}: {names} {'is' if len(request.keep) == 1 else 'are'} silent there, so that nothing is kept; "
            f"what sounds is {', '.join(own.sounding())}"
        )
    num_starts = max(_LEAST_STARTS, _STARTS_FOR_EACH * request.num)
    codes, costs = search_codes(run, originals, kept, num_starts=num_starts, seed=request.seed)
    cheapest = codes[0, np.argsort(costs[0], kind="stable")[: max(request.num, num_starts // 2)]]
    candidates = request.binarize(run.sampler.decode(cheapest)) & ~kept
    chosen = choose_different(candidates, request.num)

    probabilities = run.sampler.decode(cheapest[chosen])
    decoded = request.binarize(probabilities)
    rolls = np.where(kept, originals, decoded)
    others = rolls & ~kept
    rows = [
        {
            "phrase": f"accompaniment {i + 1}",
            "F1 of the kept tracks": float(cell_f1(decoded[i : i + 1] & kept, originals & kept)[0]),
            **{
                f"F1 of {TRACK_NAMES[k]}": float(cell_f1(decoded[i : i + 1, ..., [k]], originals[..., [k]])[0])
                for k in request.keep
            },
            "new cells": int(others[i].sum()),
            "new tracks": " ".join(TRACK_NAMES[k] for k in np.flatnonzero(others[i].any(axis=(0, 1)))) or "none",
        }
        for i in range(request.num)
    ]
    apart = [1 - cell_f1(others[i + 1 :], others[i : i + 1]) for i in range(request.num - 1)]
    different = float(np.concatenate(apart).mean()) if apart else None
    table = [
        f"{own.name}: {names} kept as they are; what the decoder itself makes of them is in the table",
        text_table(rows),
    ]
    if different is not None:
        table.append(f"share of new cells that differ between accompaniments: {different:.3f}")
    return Phrases(
        cheapest[chosen],
        rolls,
        np.where(kept, originals, probabilities).astype(np.float32),
        [f"accompaniment {i + 1}" for i in range(request.num)],
        originals,
        [own.name],
        report={
            "original": own.name,
            "kept": [TRACK_NAMES[k] for k in request.keep],
            "notes_left_out": own.notes_left_out,
            "accompaniments": rows,
            "difference_between_accompaniments": different,
        },
        table="\n".join(table),
    )


def choose_different(rolls: Bool[np.ndarray, "B T P K"], num: int) -> Int64[np.ndarray, " {num}"]:
    """Chooses phrases that differ: the first, then each time the one that is farthest from all chosen before.

    Args:
      rolls: phrases, the best first; silent ones are chosen only when no others are left.
      num: how many, at most as many as there are.
    """
    sounds = rolls.any(axis=(1, 2, 3))
    first = int(sounds.argmax())
    chosen = [first]
    nearest: Float[np.ndarray, " B"] = 1 - cell_f1(rolls, rolls[first : first + 1])
    while len(chosen) < num:
        distance = np.where(sounds, nearest, -0.5)
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
        nearest = np.minimum(nearest, 1 - cell_f1(rolls, rolls[chosen[-1] : chosen[-1] + 1]))
    return np.array(chosen)
