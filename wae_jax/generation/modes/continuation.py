"""Mode "continue": a longer piece of phrases along a smooth path, without silent bars."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wae_jax.errors import RequestError
from wae_jax.generation.detail import detail_weights
from wae_jax.generation.latent_paths import slerp, slerp_path
from wae_jax.generation.model import Model
from wae_jax.generation.modes.own_phrase import OwnPhrase, find_own_phrase, likeness
from wae_jax.generation.modes.request import Phrases, Request, measure_smoothness, silent_bars, text_table
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_BARS, Codes, Probabilities, Rolls

# Phrases from one anchor of the path to the next.
_STRIDE = 4
_MAX_NEW_ANCHORS = 16
_CODES_AT_A_TIME = 64
# With a phrase of the user's: samples of which one becomes an anchor; how far anchors lie on the way from the phrase's
# code to a sample; phrases over which the weight of its detail falls to 0; and the exponent of the shares of the first
# stretch, along which phrases hardly change at first.
_ANCHOR_CANDIDATES = 32
_ANCHOR_SHARE = 0.75
_DETAIL_PHRASES = 8
_FIRST_EXPONENT = 0.7

Code = Float[np.ndarray, " Z"]


class _Stretch(NamedTuple):
    """Consecutive phrases, the last of which lies at or before an anchor of the path."""

    codes: Codes
    probabilities: Probabilities
    rolls: Rolls


# Stretches to choose from, best first: from a code, or from none at the start; after so many phrases; of so many.
NextStretches = Callable[[Code | None, int, int], Iterator[_Stretch]]


def continue_(model: Model, request: Request) -> Phrases:
    """Phrases along a path from anchor to anchor, four to each; anchors are samples of the prior.

    With a phrase of the user's the piece begins with it, as it is, and the path with its code. The phrases after it
    keep its detail, with a weight that falls from bar to bar, from 1 to 0 over eight phrases; drums keep it whole. An
    anchor then lies at three quarters of the way from the phrase's code to a sample, the one of 32 whose phrase is most
    like the user's. The phrases before the first anchor lie at the shares (i/4)^0.7 of the way.

    Where a bar of a stretch would be silent in all tracks, another anchor is taken, the next sample or the next best,
    up to 16 times. If all of these stretches have a silent bar, the one with the fewest is used, and the active cells
    of its silent bars are those with at least half of the largest probability of the bar.

    Raises:
      RequestError: if a bar of the user's phrase is silent.
    """
    counts = {"anchors_sampled_again": 0, "bars_with_lower_threshold": 0}
    report: dict[str, Any] = {}
    if request.inputs:
        own = _find_sounding_phrase(model, request)
        report["inputs"] = own.rows
        stretches = [_Stretch(own.code, own.probabilities, own.roll)]
        next_stretches = _after_own_phrase(model, request, own)
    else:
        next_stretches = _along_samples(model, request)
        stretches = [_without_silence(next_stretches(None, 0, 1), counts)]
    while (num := sum(len(each.codes) for each in stretches)) < request.num:
        length = min(_STRIDE, request.num - num)
        stretches.append(_without_silence(next_stretches(stretches[-1].codes[-1], num, length), counts))

    codes, probabilities, rolls = map(np.concatenate, zip(*stretches, strict=True))
    smooth, smooth_text = measure_smoothness(model, request, rolls)
    num_silent_bars = int(silent_bars(rolls).sum())
    lines = [
        f"{NUM_BARS * len(rolls)} bars, {num_silent_bars} of them silent; anchors sampled again: "
        f"{counts['anchors_sampled_again']}; bars with a lower threshold: {counts['bars_with_lower_threshold']}",
        smooth_text,
        "the piece is all_phrases.mid",
    ]
    names = [f"bars {NUM_BARS * i + 1} to {NUM_BARS * (i + 1)}" for i in range(len(rolls))]
    if request.inputs:
        names[0] += f": {request.inputs[0].name}"
        report["difference_from_first"] = apart = (1 - cell_f1(rolls, rolls[:1])).tolist()
        lines[:0] = [text_table(report["inputs"])]
        lines.insert(3, "share of cells that differ from the first phrase: " + " ".join(f"{x:.2f}" for x in apart[1:]))
    return Phrases(
        codes,
        rolls,
        probabilities,
        names,
        report={**report, **counts, "silent_bars": num_silent_bars, **smooth},
        table="\n".join(lines),
    )


def _find_sounding_phrase(model: Model, request: Request) -> OwnPhrase:
    original = request.inputs[0]
    if len(silent := np.flatnonzero(silent_bars(request.input_rolls())) + original.start_bar):
        raise RequestError(
            f"{original.path} is silent in bar {', '.join(map(str, silent))}; expected four bars of which none is "
            "silent, see --start-bar"
        )
    return find_own_phrase(model, request)


def _along_samples(model: Model, request: Request) -> NextStretches:
    """Stretches towards samples of the prior, or the first sample itself."""
    anchors = _anchors(model, request.seed)

    def next_stretches(start: Code | None, num: int, length: int) -> Iterator[_Stretch]:
        for anchor in anchors:
            shares = np.arange(1, length + 1) / _STRIDE
            codes = anchor[None] if start is None else slerp_path(start, anchor, shares)
            codes = codes.astype(np.float32)
            yield _Stretch(codes, *request.decode(model, codes))

    return next_stretches


def _anchors(model: Model, seed: int) -> Iterator[Code]:
    """Samples of the prior, one after another, the same for every length of a piece."""
    for start in itertools.count(0, _CODES_AT_A_TIME):
        yield from model.sample_codes(seed, start + _CODES_AT_A_TIME)[start:]


def _after_own_phrase(model: Model, request: Request, own: OwnPhrase) -> NextStretches:
    """Stretches with the detail of the user's phrase, first those towards anchors whose phrases are most like it."""

    def next_stretches(start: Code | None, num: int, length: int) -> Iterator[_Stretch]:
        assert start is not None
        index = (num - 1) // _STRIDE
        bars = NUM_BARS * (num - 1) + np.arange(1, NUM_BARS * _STRIDE + 1)
        weights = detail_weights(1 - bars.reshape(_STRIDE, NUM_BARS) / (NUM_BARS * _DETAIL_PHRASES))
        samples = model.sample_codes(request.seed, _ANCHOR_CANDIDATES * (index + 1))[_ANCHOR_CANDIDATES * index :]
        anchors = np.stack([slerp(own.code[0], sample, _ANCHOR_SHARE) for sample in samples]).astype(np.float32)
        _, rolls = own.decode(model, request, anchors, weights[-1:].repeat(len(anchors), axis=0))
        shares = (np.arange(1, length + 1) / _STRIDE) ** (1 if index else _FIRST_EXPONENT)
        for best in np.argsort(-likeness(own.roll, rolls), kind="stable"):
            codes = slerp_path(start, anchors[best], shares).astype(np.float32)
            yield _Stretch(codes, *own.decode(model, request, codes, weights[:length]))

    return next_stretches


def _without_silence(candidates: Iterator[_Stretch], counts: dict[str, int]) -> _Stretch:
    """The first stretch without silent bars, or the one with the fewest, its silent bars filled."""
    best, fewest = None, np.inf
    for attempt, stretch in enumerate(itertools.islice(candidates, 1 + _MAX_NEW_ANCHORS)):
        counts["anchors_sampled_again"] += attempt > 0
        num_silent = int(silent_bars(stretch.rolls).sum())
        if num_silent < fewest:
            best, fewest = stretch, num_silent
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
