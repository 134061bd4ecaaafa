"""Mode "edit": phrases with attributes changed by given numbers of standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64

from wae_jax.errors import RequestError
from wae_jax.generation.attributes import ATTRIBUTES, Directions, Measured, measure, shortest_step
from wae_jax.generation.model import Model
from wae_jax.generation.modes.code_search import find_input_codes
from wae_jax.generation.modes.request import Phrases, Request, text_table
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import Codes

# Lengths of a step that are tried, in deviations of the prior.
_LENGTHS = np.array([0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6])


def edit(model: Model, request: Request) -> Phrases:
    """Changes attributes of the user's phrase, or of samples of the prior.

    The direction of the change comes from a regression on the codes of up to 2,048 training phrases. Its length is, of
    twelve from a quarter to six deviations of the prior, the one at which the attributes of the decoded phrase are
    nearest to the requested ones.

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
    report: dict[str, Any] = {}
    lines = []
    if request.inputs:
        starts, report["inputs"] = find_input_codes(model, request)
        lines.append(text_table(report["inputs"]))
    else:
        starts = model.sample_codes(request.seed, request.num)
    unedited, before = request.decode(model, starts)
    attributes = measure(before)
    codes = edit_codes(model, request, starts, attributes, directions, requested)
    probabilities, rolls = request.decode(model, codes)
    table = effect(attributes, measure(rolls), directions, requested)
    kept = float(np.median(cell_f1(rolls, before)))
    report |= {
        "training_phrases": statistics.num_phrases,
        "attributes": table,
        "f1_with_unedited": kept,
        "latent_distances": np.linalg.norm(codes - starts, axis=1).tolist(),
    }
    lines += [
        f"medians over {len(rolls)} phrase{'s' * (len(rolls) > 1)}; changes in standard deviations of the training "
        "data; fit is the share of variance that the direction explains",
        text_table(table),
        f"F1 with the phrase before: {kept:.3f}",
    ]
    if request.inputs:
        # The unedited reconstruction, for comparison, and the edited phrase.
        pairs = (starts, codes), (unedited, probabilities), (before, rolls)
        codes, probabilities, rolls = (np.concatenate(pair) for pair in pairs)
        return Phrases(
            codes,
            rolls,
            probabilities,
            ["reconstruction", "edited"],
            request.input_rolls(),
            [each.name for each in request.inputs],
            report=report,
            table="\n".join(lines),
        )
    return Phrases(codes, rolls, probabilities, originals=before, report=report, table="\n".join(lines))


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
