"""Phrases with an attribute changed by so many standard deviations: `--mode=edit`."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64

from wae_jax.data.dataset import spread
from wae_jax.errors import RequestError
from wae_jax.generation.model import Model
from wae_jax.generation.modes.attributes import ATTRIBUTES, Directions, Measured, fit_directions, measure, shortest_step
from wae_jax.generation.modes.basic import Phrases, Request, own_report
from wae_jax.generation.modes.code_search import own_codes
from wae_jax.generation.modes.fidelity import text_table
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import Codes, unpack

_NUM_PHRASES = 2048
# Lengths of the walk that are tried, in deviations of the prior.
_LENGTHS = np.array([0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6])


def edit(run: Model, request: Request) -> Phrases:
    """Changes attributes of the user's phrase, or of draws of the prior.

    Directions are regressed on the codes of up to 2,048 training phrases. How far a phrase has to go along them is
    found out from the decoder: of twelve lengths, a quarter to six deviations of the prior, it is the one at which its
    attributes come nearest to what was asked for.

    Args:
      run: a trained run.
      request: with `attributes`; and with one phrase of the user's, or none and `num` draws.

    Raises:
      DatasetError: if the run's data are no longer where they were.
      RequestError: if an attribute does not vary in them.
    """
    rows = run.phrases("train")
    training = unpack(np.asarray(rows[spread(len(rows), _NUM_PHRASES)]))
    directions = fit_directions(run.sampler.encode(training), measure(training))
    asked = np.array([request.attributes.get(name, 0.0) for name in ATTRIBUTES])
    for name, change, deviation in zip(ATTRIBUTES, asked, directions.deviation, strict=True):
        if change and not deviation:
            raise RequestError(f"{name} is the same in all phrases that the run was trained on; nothing shows its way")
    report: dict[str, Any] = {}
    lines = []
    if request.own:
        originals = request.own_rolls()
        starts, encoded, used = own_codes(run, originals, binarize=request.binarize, seed=request.seed)
        report["own"] = own_report(request.own, encoded, used)
        lines.append(text_table(report["own"]))
    else:
        starts = run.sampler.sample_codes(request.seed, request.num)
    unedited = run.sampler.decode(starts)
    before = request.binarize(unedited)
    attributes = measure(before)
    codes = _edited(run, request, starts, attributes, directions, asked)
    probabilities = run.sampler.decode(codes)
    rolls = request.binarize(probabilities)
    table = effect(attributes, measure(rolls), directions, asked)
    kept = float(np.median(cell_f1(rolls, before)))
    report |= {
        "training_phrases": len(training),
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
    if request.own:
        # The decoder's own version lies beside what was edited of it.
        pairs = (starts, codes), (unedited, probabilities), (before, rolls)
        codes, probabilities, rolls = (np.concatenate(pair) for pair in pairs)
        return Phrases(
            codes,
            rolls,
            probabilities,
            ["reconstruction", "edited"],
            originals,
            [own.name for own in request.own],
            report=report,
            table="\n".join(lines),
        )
    return Phrases(codes, rolls, probabilities, originals=before, report=report, table="\n".join(lines))


def _edited(
    run: Model,
    request: Request,
    starts: Codes,
    before: Measured,
    directions: Directions,
    asked: Float64[np.ndarray, " A"],
) -> Codes:
    """The codes along the direction at which the attributes come nearest to what was asked for."""
    wanted = np.flatnonzero(asked)
    step = shortest_step(directions.slope[wanted], asked[wanted])
    step *= float(run.config.objective.prior_variance) ** 0.5 / np.linalg.norm(step)
    walks = (starts[:, None] + _LENGTHS[:, None] * step).astype(np.float32)
    decoded = request.binarize(run.sampler.decode(walks.reshape(-1, walks.shape[-1])))
    reached = measure(decoded).reshape(*walks.shape[:2], -1)
    changes = (reached - before[:, None])[..., wanted] / directions.deviation[wanted]
    missed = np.abs(changes - asked[wanted]).sum(axis=-1)
    # Where an attribute is not defined, nothing was reached.
    nearest = np.where(np.isnan(missed), np.inf, missed).argmin(axis=1)
    return walks[np.arange(len(walks)), nearest]


def effect(
    before: Measured, after: Measured, directions: Directions, asked: Float64[np.ndarray, " A"]
) -> list[dict[str, Any]]:
    """What an edit did to each attribute, as rows of a table: medians over phrases.

    Args:
      before: attributes before it.
      after: and after.
      directions: that it went.
      asked: changes that were asked for, in standard deviations.

    Returns:
      By attribute: before, after, the change asked for and the one reached in standard deviations, and the share of
      variance that its direction explains. None where no phrase has the attribute, or it does not vary.
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
                "asked": float(asked[i]) if asked[i] else None,
                "reached": _median(change),
                "fit": float(directions.explained[i]),
            }
        )
    return rows


def _median(values: Float64[np.ndarray, " B"]) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None
