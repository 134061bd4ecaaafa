"""Mode "accompany": new tracks for those that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from wae_jax.errors import RequestError
from wae_jax.generation.model import Model
from wae_jax.generation.modes.code_search import search_codes
from wae_jax.generation.modes.request import Phrases, Request, text_table
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_TRACKS, TRACK_NAMES, Rolls

_STARTS_FOR_EACH = 4
_MIN_STARTS = 16
# Samples of the prior that tell how many tracks music has.
_NUM_SAMPLES = 64


def accompany(model: Model, request: Request) -> Phrases:
    """The kept tracks of the user's phrase, exactly as they are, with other tracks.

    Codes are searched whose phrase has the kept tracks, from four starts an accompaniment. They are ordered by the
    number of their other active tracks, up to that of samples of the prior on average, and then by their costs. Of the
    first half the first is chosen, then repeatedly the one whose other tracks differ most from all chosen so far, those
    with the most tracks before others. The request has one phrase of the user's, the tracks to keep, and `num`
    accompaniments.

    Raises:
      RequestError: if the kept tracks are silent.
    """
    original = request.inputs[0]
    kept = np.isin(np.arange(NUM_TRACKS), request.keep)
    originals = request.input_rolls()
    num_starts = max(_MIN_STARTS, _STARTS_FOR_EACH * request.num)
    names = ", ".join(TRACK_NAMES[k] for k in request.keep)
    if not originals[..., kept].any():
        raise RequestError(
            f"{original.name}: {names} {'is' if len(request.keep) == 1 else 'are'} silent; expected --keep with "
            f"some of {_names(originals)}"
        )
    codes, costs = search_codes(model, originals, kept, num_starts=num_starts, seed=request.seed)
    samples = request.binarize(model.decode(model.sample_codes(request.seed, _NUM_SAMPLES)))
    enough = max(round(float(_active_tracks(samples[..., ~kept]).mean())), 1)
    candidates = request.binarize(model.decode(codes[0])) & ~kept
    # Those with enough tracks first, and in order of their costs.
    order = np.lexsort((costs[0], -np.minimum(_active_tracks(candidates), enough)))
    best = order[: max(request.num, num_starts // 2)]
    best = best[choose_different(candidates[best], request.num, num_tracks=enough)]

    probabilities, decoded = request.decode(model, codes[0, best])
    rolls = np.where(kept, originals, decoded)
    others = rolls & ~kept
    rows = [_describe(i, decoded[i : i + 1], others[i : i + 1], originals, request.keep) for i in range(request.num)]
    distances = [1 - cell_f1(others[i + 1 :], others[i : i + 1]) for i in range(request.num - 1)]
    difference = float(np.concatenate(distances).mean()) if distances else None
    lines = [f"{original.name}: {names} kept as they are; F1 is that of the decoder's own version", text_table(rows)]
    if difference is not None:
        lines.append(f"share of new cells that differ between accompaniments: {difference:.3f}")
    return Phrases(
        codes[0, best],
        rolls,
        np.where(kept, originals, probabilities).astype(np.float32),
        [f"accompaniment {i + 1}" for i in range(request.num)],
        originals,
        [original.name],
        report={
            "original": original.name,
            "kept": [TRACK_NAMES[k] for k in request.keep],
            "notes_left_out": original.notes_left_out,
            "accompaniments": rows,
            "difference_between_accompaniments": difference,
        },
        table="\n".join(lines),
    )


def _describe(index: int, decoded: Rolls, others: Rolls, originals: Rolls, keep: tuple[int, ...]) -> dict[str, Any]:
    """A row of the report on one accompaniment: F1 of the decoder's own version of the kept tracks, and what is new."""
    tracks = list(keep)
    return {
        "phrase": f"accompaniment {index + 1}",
        "F1 of the kept tracks": float(cell_f1(decoded[..., tracks], originals[..., tracks])[0]),
        **{f"F1 of {TRACK_NAMES[k]}": float(cell_f1(decoded[..., [k]], originals[..., [k]])[0]) for k in keep},
        "new cells": int(others.sum()),
        "new tracks": _names(others).replace(",", "") or "none",
    }


def _names(rolls: Rolls) -> str:
    return ", ".join(TRACK_NAMES[k] for k in np.flatnonzero(rolls.any(axis=(0, 1, 2))))


def choose_different(rolls: Bool[np.ndarray, "B T P K"], num: int, *, num_tracks: int) -> Int64[np.ndarray, " {num}"]:
    """Indices of `num` phrases that differ: the first, then repeatedly the one farthest from all chosen before.

    The best phrases come first. Phrases with fewer than `num_tracks` active tracks are chosen only when no others are
    left, those with the most first.
    """
    active = np.minimum(_active_tracks(rolls), num_tracks)
    first = int(active.argmax())
    chosen = [first]
    nearest: Float[np.ndarray, " B"] = 1 - cell_f1(rolls, rolls[first : first + 1])
    while len(chosen) < num:
        # Distances are at most 1.
        rank = 2 * active + nearest
        rank[chosen] = -1
        chosen.append(int(rank.argmax()))
        nearest = np.minimum(nearest, 1 - cell_f1(rolls, rolls[chosen[-1] : chosen[-1] + 1]))
    return np.array(chosen)


def _active_tracks(rolls: Bool[np.ndarray, "B T P tracks"]) -> Int64[np.ndarray, " B"]:
    """The number of tracks of each phrase that have an active cell."""
    return np.count_nonzero(rolls.any(axis=(1, 2)), axis=1)
