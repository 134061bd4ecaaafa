"""Mode "edit": phrases with attributes changed by given numbers of standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64

from wae_jax.errors import RequestError
from wae_jax.generation.attributes import ATTRIBUTES, Directions, Measured, measure, shortest_step
from wae_jax.generation.latent_paths import slerp_path
from wae_jax.generation.model import Model
from wae_jax.generation.modes.own_phrase import OwnPhrase, find_own_phrase
from wae_jax.generation.modes.request import Phrases, Request, text_table
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_BARS, NUM_TRACKS, Codes, Probabilities, Rolls
from wae_jax.pianoroll.notes import ratio

# Lengths of a step that are tried, in deviations of the prior.
_LENGTHS = np.array([0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6])
# Of a phrase of the user's: samples of the prior, those of which towards which it is moved, and the shares of the way.
_NUM_SAMPLES = 1024
_NUM_ENDS = 16
_SHARES = np.array([0.25, 0.4, 0.55, 0.7])


def edit(model: Model, request: Request) -> Phrases:
    """Changes attributes of the user's phrase, or of samples of the prior.

    The direction of the change comes from a regression on the codes of up to 2,048 training phrases. The length of the
    change of a sample is, of twelve from a quarter to six deviations of the prior, the one at which the attributes of
    the decoded phrase are nearest to the requested ones. A phrase of the user's, see `edit_own_phrase`, keeps its
    detail.

    Raises:
      DatasetError: if the statistics of codes take training data that can no longer be found.
      RequestError: if an attribute is constant in them.
    """
    statistics = model.statistics_of_codes()
    directions = statistics.directions
    requested = np.array([request.attributes.get(name, 0.0) for name in ATTRIBUTES])
    for name, change, deviation in zip(ATTRIBUTES, requested, directions.deviation, strict=True):
        if change and not deviation:
            raise RequestError(f"{name} is the same in all training phrases, so that no direction is known for it")
    own = find_own_phrase(model, request) if request.inputs else None
    if own:
        starts, before = own.code, own.roll
        codes, probabilities, rolls = edit_own_phrase(model, request, own, directions, requested)
    else:
        starts = model.sample_codes(request.seed, request.num)
        before = request.decode(model, starts)[1]
        codes = edit_codes(model, request, starts, measure(before), directions, requested)
        probabilities, rolls = request.decode(model, codes)
    table = effect(measure(before), measure(rolls), directions, requested)
    kept = float(np.median(cell_f1(rolls, before)))
    report: dict[str, Any] = {
        "training_phrases": statistics.num_phrases,
        "attributes": table,
        "f1_with_unedited": kept,
        "latent_distances": np.linalg.norm(codes - starts, axis=1).tolist(),
    }
    lines = [
        f"medians over {len(rolls)} phrase{'s' * (len(rolls) > 1)}; changes in standard deviations of the training "
        "data; fit is the share of variance that the direction explains",
        text_table(table),
        f"F1 with the phrase before: {kept:.3f}",
    ]
    if not own:
        return Phrases(codes, rolls, probabilities, originals=before, report=report, table="\n".join(lines))
    return Phrases(
        np.concatenate([own.code, codes]),
        np.concatenate([own.roll, rolls]),
        np.concatenate([own.probabilities, probabilities]),
        ["the phrase", "edited"],
        own.roll,
        [each.name for each in request.inputs],
        report={"inputs": own.rows, **report},
        table="\n".join([text_table(own.rows), *lines]),
    )


def edit_codes(
    model: Model,
    request: Request,
    starts: Codes,
    before: Measured,
    directions: Directions,
    requested: Float64[np.ndarray, " A"],
) -> Codes:
    """The codes of edited phrases, for codes `starts` whose phrases have the attributes `before`; see `edit`."""
    edited = np.flatnonzero(requested)
    step = shortest_step(directions.slope[edited], requested[edited])
    step *= float(model.config.objective.prior_variance) ** 0.5 / np.linalg.norm(step)
    candidates = (starts[:, None] + _LENGTHS[:, None] * step).astype(np.float32)
    decoded = request.binarize(model.decode(candidates.reshape(-1, candidates.shape[-1])))
    reached = measure(decoded).reshape(*candidates.shape[:2], -1)
    changes = (reached - before[:, None])[..., edited] / directions.deviation[edited]
    missed = np.abs(changes - requested[edited]).sum(axis=-1)
    # A candidate with an undefined attribute is never the nearest.
    nearest = np.where(np.isnan(missed), np.inf, missed).argmin(axis=1)
    return candidates[np.arange(len(candidates)), nearest]


def edit_own_phrase(
    model: Model, request: Request, own: OwnPhrase, directions: Directions, requested: Float64[np.ndarray, " A"]
) -> tuple[Codes, Probabilities, Rolls]:
    """The code, the decoded probabilities and the cells of the user's phrase with attributes changed, each `[1, ...]`.

    A step along a direction in which codes of music hardly vary changes nothing that is heard. So the phrase's code is
    moved towards samples of the prior: the 16 of 1,024 to which, in the linear model of the attributes, it changes as
    requested, each at four shares of the way. The phrases keep the user's detail. The one whose `miss` is least is
    returned.
    """
    samples = model.sample_codes(request.seed, _NUM_SAMPLES)
    predicted = _SHARES[:, None, None] * ((samples - own.code) @ directions.slope.T)
    ends = samples[np.argsort(miss(predicted, requested).min(axis=0), kind="stable")[:_NUM_ENDS]]
    codes = np.concatenate([slerp_path(own.code[0], end, _SHARES) for end in ends]).astype(np.float32)
    weights = np.ones((len(codes), NUM_BARS, NUM_TRACKS))
    probabilities, rolls = own.decode(model, request, codes, weights)
    changes = ratio(measure(rolls) - measure(own.roll), directions.deviation)
    best = [int(miss(changes, requested).argmin())]
    return codes[best], probabilities[best], rolls[best]


def miss(
    changes: Float64[np.ndarray, "*shape A"], requested: Float64[np.ndarray, " A"]
) -> Float64[np.ndarray, "*shape"]:
    """How far changes of attributes are from the requested ones: what is missed of these, and what else changes.

    The sum of absolute differences over the attributes that should change, plus the mean absolute change of the others.
    Both are in standard deviations. Infinite where an attribute that should change is undefined; others that are
    undefined do not count.
    """
    is_requested = requested != 0
    missed = np.abs(changes - requested)[..., is_requested].sum(axis=-1)
    others = np.abs(changes[..., ~is_requested])
    number = np.maximum(np.count_nonzero(~np.isnan(others), axis=-1), 1)
    return np.where(np.isnan(missed), np.inf, missed) + np.nansum(others, axis=-1) / number


def effect(
    before: Measured, after: Measured, directions: Directions, requested: Float64[np.ndarray, " A"]
) -> list[dict[str, Any]]:
    """The effect of an edit on each attribute, as rows of a table of medians over phrases.

    The requested change, 0 for none, and the reached one are in standard deviations; fit is the share of variance that
    the direction explains. None where a number is undefined in all phrases, or constant.
    """
    rows = []
    for i, name in enumerate(ATTRIBUTES):
        deviation = directions.deviation[i]
        change = (after[:, i] - before[:, i]) / deviation if deviation else np.full(len(before), np.nan)
        rows.append(
            {
                "attribute": name,
                "before": _median(before[:, i]),
                "after": _median(after[:, i]),
                "requested": float(requested[i]) if requested[i] else None,
                "reached": _median(change),
                "fit": float(directions.explained[i]),
            }
        )
    return rows


def _median(values: Float64[np.ndarray, " B"]) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None
