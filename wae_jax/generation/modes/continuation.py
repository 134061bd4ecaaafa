"""A longer piece out of phrases along a smooth path, without silent bars: `--mode=continue`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from wae_jax.errors import RequestError
from wae_jax.generation.latent_paths import slerp
from wae_jax.generation.model import Model
from wae_jax.generation.modes.basic import Phrases, Request, own_report, silent_bars, smoothness, smoothness_text
from wae_jax.generation.modes.code_search import own_codes
from wae_jax.generation.modes.fidelity import text_table
from wae_jax.pianoroll import NUM_BARS, Codes, Probabilities, Rolls

# Phrases from one anchor of the path to the next.
_STRIDE = 4
_REDRAWS = 16
_DRAWS_AT_A_TIME = 64


@dataclasses.dataclass(frozen=True)
class _Stretch:
    """Some phrases in a row, the last of which lies at an anchor."""

    codes: Codes
    probabilities: Probabilities
    rolls: Rolls


def continue_(run: Model, request: Request) -> Phrases:
    """Phrases along a path from anchor to anchor, four to each; anchors are draws of the prior.

    With a phrase of the user's the piece begins with it, as it is, and the path with its code. Where a bar of a stretch
    would be silent in all tracks, the anchor at its end is drawn anew, up to 16 times. If every one of these stretches
    has a silent bar, the one that has fewest is taken, and in its silent bars the cells sound whose probability is at
    least half of the bar's largest.

    Args:
      run: a trained run.
      request: with one phrase of the user's, or none, and `num` phrases in all.

    Raises:
      RequestError: if a bar of the user's phrase is silent.
    """
    counts = {"anchors_drawn_anew": 0, "bars_with_lower_threshold": 0}
    draws = _Draws(run, request.seed)
    table, report, first = [], {}, None
    if request.own:
        own = request.own[0]
        if silent := own.silent_bars():
            raise RequestError(
                f"{own.path} is silent in bar {', '.join(map(str, silent))}, and a piece without silent bars cannot "
                "start so; expected four bars that sound, see --start-bar"
            )
        originals = request.own_rolls()
        codes, encoded, used = own_codes(run, originals, binarize=request.binarize, seed=request.seed)
        first = _Stretch(codes, run.sampler.decode(codes), originals)
        report["own"] = own_report(request.own, encoded, used)
        table.append(text_table(report["own"]))
    stretches = [first or _next_stretch(run, request, draws, None, 1, counts)]
    while (num := sum(len(each.codes) for each in stretches)) < request.num:
        length = min(_STRIDE, request.num - num)
        stretches.append(_next_stretch(run, request, draws, stretches[-1].codes[-1], length, counts))

    codes, probabilities, rolls = (
        np.concatenate([getattr(each, field.name) for each in stretches]) for field in dataclasses.fields(_Stretch)
    )
    smooth = smoothness(run, request, rolls)
    silent_now = int(silent_bars(rolls).sum())
    table += [
        f"{NUM_BARS * len(rolls)} bars, {silent_now} of them silent; anchors drawn anew: "
        f"{counts['anchors_drawn_anew']}; bars with a lower threshold: {counts['bars_with_lower_threshold']}",
        smoothness_text(smooth),
        "the piece is all_phrases.mid",
    ]
    names = [f"bars {NUM_BARS * i + 1} to {NUM_BARS * (i + 1)}" for i in range(len(rolls))]
    if first is not None:
        names[0] += f": {request.own[0].name}"
    return Phrases(
        codes,
        rolls,
        probabilities,
        names,
        report={**report, **counts, "silent_bars": silent_now, **smooth},
        table="\n".join(table),
    )


class _Draws:
    """Draws of the prior, one after another, the same for every length of a piece."""

    def __init__(self, run: Model, seed: int) -> None:
        self._run, self._seed, self._num = run, seed, 0
        self._drawn = run.sampler.sample_codes(seed, _DRAWS_AT_A_TIME)

    def next(self) -> Float[np.ndarray, " Z"]:
        """The next draw."""
        if self._num == len(self._drawn):
            self._drawn = self._run.sampler.sample_codes(self._seed, self._num + _DRAWS_AT_A_TIME)
        self._num += 1
        return self._drawn[self._num - 1]


def _next_stretch(
    run: Model,
    request: Request,
    draws: _Draws,
    start: Float[np.ndarray, " Z"] | None,
    length: int,
    counts: dict[str, int],
) -> _Stretch:
    """A stretch from a code, which is not in it, towards a new anchor; the anchor alone, where there is no code."""
    best, fewest = None, np.inf
    for attempt in range(1 + _REDRAWS):
        counts["anchors_drawn_anew"] += attempt > 0
        anchor = draws.next()
        shares = np.arange(1, length + 1) / _STRIDE
        codes = anchor[None] if start is None else np.stack([slerp(start, anchor, float(share)) for share in shares])
        codes = codes.astype(np.float32)
        probabilities = run.sampler.decode(codes)
        rolls = request.binarize(probabilities)
        num_silent = int(silent_bars(rolls).sum())
        if num_silent < fewest:
            best, fewest = _Stretch(codes, probabilities, rolls), num_silent
        if not num_silent:
            break
    assert best is not None
    counts["bars_with_lower_threshold"] += int(fewest)
    return dataclasses.replace(best, rolls=fill_silent_bars(best.rolls, best.probabilities))


def fill_silent_bars(rolls: Rolls, probabilities: Probabilities) -> Rolls:
    """Phrases in which no bar is silent: in bars that are, cells sound of at least half the bar's largest probability.

    Args:
      rolls: the phrases.
      probabilities: of their cells.
    """
    bars: Any = probabilities.reshape(len(rolls), NUM_BARS, -1)
    likely = bars >= bars.max(axis=2, keepdims=True) / 2
    filled = np.where(silent_bars(rolls)[..., None], likely, rolls.reshape(bars.shape))
    return filled.reshape(rolls.shape)
