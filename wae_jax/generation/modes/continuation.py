"""Mode "continue": a longer piece of phrases along a smooth path, without silent bars."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wae_jax.errors import RequestError
from wae_jax.generation.latent_paths import slerp_path
from wae_jax.generation.model import Model
from wae_jax.generation.modes.code_search import find_input_codes
from wae_jax.generation.modes.request import Phrases, Request, measure_smoothness, silent_bars, text_table
from wae_jax.pianoroll import NUM_BARS, Codes, Probabilities, Rolls

# Phrases from one anchor of the path to the next.
_STRIDE = 4
_MAX_NEW_ANCHORS = 16
_CODES_AT_A_TIME = 64


class _Stretch(NamedTuple):
    """Consecutive phrases, the last of which lies at or before an anchor of the path."""

    codes: Codes
    probabilities: Probabilities
    rolls: Rolls


def continue_(model: Model, request: Request) -> Phrases:
    """Phrases along a path from anchor to anchor, four to each; anchors are samples of the prior.

    With a phrase of the user's the piece begins with it, as it is, and the path with its code. Where a bar of a stretch
    would be silent in all tracks, the anchor at its end is sampled again, up to 16 times. If all of these stretches
    have a silent bar, the one with the fewest is used, and the active cells of its silent bars are those with at least
    half of the largest probability of the bar.

    Raises:
      RequestError: if a bar of the user's phrase is silent.
    """
    counts = {"anchors_sampled_again": 0, "bars_with_lower_threshold": 0}
    anchors = _anchors(model, request.seed)
    table, report, first = [], {}, None
    if request.inputs:
        original = request.inputs[0]
        originals = request.input_rolls()
        if len(silent := np.flatnonzero(silent_bars(originals)) + original.start_bar):
            raise RequestError(
                f"{original.path} is silent in bar {', '.join(map(str, silent))}; expected four bars of which none is "
                "silent, see --start-bar"
            )
        codes, report["inputs"] = find_input_codes(model, request)
        first = _Stretch(codes, model.decode(codes), originals)
        table.append(text_table(report["inputs"]))
    stretches = [first or _next_stretch(model, request, anchors, None, 1, counts)]
    while (num := sum(len(each.codes) for each in stretches)) < request.num:
        length = min(_STRIDE, request.num - num)
        stretches.append(_next_stretch(model, request, anchors, stretches[-1].codes[-1], length, counts))

    codes, probabilities, rolls = map(np.concatenate, zip(*stretches, strict=True))
    smooth, smooth_text = measure_smoothness(model, request, rolls)
    num_silent_bars = int(silent_bars(rolls).sum())
    table += [
        f"{NUM_BARS * len(rolls)} bars, {num_silent_bars} of them silent; anchors sampled again: "
        f"{counts['anchors_sampled_again']}; bars with a lower threshold: {counts['bars_with_lower_threshold']}",
        smooth_text,
        "the piece is all_phrases.mid",
    ]
    names = [f"bars {NUM_BARS * i + 1} to {NUM_BARS * (i + 1)}" for i in range(len(rolls))]
    if first is not None:
        names[0] += f": {request.inputs[0].name}"
    return Phrases(
        codes,
        rolls,
        probabilities,
        names,
        report={**report, **counts, "silent_bars": num_silent_bars, **smooth},
        table="\n".join(table),
    )


def _anchors(model: Model, seed: int) -> Iterator[Float[np.ndarray, " Z"]]:
    """Samples of the prior, one after another, the same for every length of a piece."""
    for start in itertools.count(0, _CODES_AT_A_TIME):
        yield from model.sample_codes(seed, start + _CODES_AT_A_TIME)[start:]


def _next_stretch(
    model: Model,
    request: Request,
    anchors: Iterator[Float[np.ndarray, " Z"]],
    start: Float[np.ndarray, " Z"] | None,
    length: int,
    counts: dict[str, int],
) -> _Stretch:
    """The `length` phrases after the code `start`, towards a new anchor; the anchor itself if `start` is None."""
    best, fewest = None, np.inf
    for attempt in range(1 + _MAX_NEW_ANCHORS):
        counts["anchors_sampled_again"] += attempt > 0
        anchor = next(anchors)
        shares = np.arange(1, length + 1) / _STRIDE
        codes = anchor[None] if start is None else slerp_path(start, anchor, shares)
        codes = codes.astype(np.float32)
        probabilities, rolls = request.decode(model, codes)
        num_silent = int(silent_bars(rolls).sum())
        if num_silent < fewest:
            best, fewest = _Stretch(codes, probabilities, rolls), num_silent
        if not num_silent:
            break
    assert best is not None
    counts["bars_with_lower_threshold"] += int(fewest)
    return best._replace(rolls=fill_silent_bars(best.rolls, best.probabilities))


def fill_silent_bars(rolls: Rolls, probabilities: Probabilities) -> Rolls:
    """Phrases without silent bars: in those, cells with at least half of the bar's largest probability are active."""
    bars: Any = probabilities.reshape(len(rolls), NUM_BARS, -1)
    likely = bars >= bars.max(axis=2, keepdims=True) / 2
    filled = np.where(silent_bars(rolls)[..., None], likely, rolls.reshape(bars.shape))
    return filled.reshape(rolls.shape)
