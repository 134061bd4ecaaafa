"""The request and the outcome of a mode of `generate`, and measures that several modes report.

A mode is a function of a trained model and a `Request` that returns `Phrases`, without side effects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from wae_jax.config import BinarizationRule
from wae_jax.generation.binarization import binarize
from wae_jax.generation.model import Model
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_BARS, Codes, Probabilities, Rolls

_RANDOM_PAIRS = 32


@dataclasses.dataclass(frozen=True)
class Request:
    """Arguments of a mode; each mode reads those that concern it.

    Attributes:
      num: phrases.
      seed: of everything random; below 2**32.
      rule: binarization rule, with all its parts fitted.
      inputs: phrases of the user's.
      keep: indices of the tracks that stay as they are.
      attributes: changes by name, in standard deviations.
      may_be_fewer: whether a data set with fewer phrases than `num` is no error, since `num` is a default.
    """

    num: int
    seed: int = 0
    rule: BinarizationRule = dataclasses.field(default_factory=BinarizationRule)
    inputs: tuple[InputPhrase, ...] = ()
    keep: tuple[int, ...] = ()
    attributes: Mapping[str, float] = dataclasses.field(default_factory=dict)
    may_be_fewer: bool = False

    def binarize(self, probabilities: Probabilities) -> Rolls:
        """Phrases from the probabilities of their cells, by the request's rule and seed."""
        return binarize(probabilities, self.rule, seed=self.seed)

    def input_rolls(self) -> Rolls:
        """The user's phrases."""
        return np.stack([each.roll for each in self.inputs])


@dataclasses.dataclass(frozen=True)
class Phrases:
    """The outcome of a mode.

    Attributes:
      codes: one a phrase.
      rolls: the phrases; None where only codes were requested.
      probabilities: from which the phrases were binarized.
      names: titles, one a phrase.
      originals: phrases that they were made from.
      original_names: titles of these.
      rows: indices of the originals in the validation split, where they are of it.
      report: how near the phrases are to what was requested; JSON can hold it.
      table: the same as text.
    """

    codes: Codes
    rolls: Rolls | None = None
    probabilities: Probabilities | None = None
    names: Sequence[str] | None = None
    originals: Bool[np.ndarray, "originals T=192 P=84 K=5"] | None = None
    original_names: Sequence[str] | None = None
    rows: Int64[np.ndarray, " rows"] | None = None
    report: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    table: str = ""


def input_report(
    inputs: Sequence[InputPhrase], encoded: Float[np.ndarray, " B"], used: Float[np.ndarray, " B"]
) -> list[dict[str, Any]]:
    """Rows of a table: how near decoded phrases are to the user's.

    Args:
      inputs: the user's phrases.
      encoded: F1 of the phrases decoded from the encoder's codes.
      used: F1 of those decoded from the codes that are used.
    """
    return [
        {
            "original": each.name,
            "F1 of the encoder's code": float(one),
            "F1 of the code used": float(other),
            "notes left out": each.notes_left_out,
        }
        for each, one, other in zip(inputs, encoded, used, strict=True)
    ]


def silent_bars(rolls: Rolls) -> Bool[np.ndarray, "B bars"]:
    """The bars of each phrase in which no track has an active cell."""
    return np.logical_not(np.any(rolls.reshape(len(rolls), NUM_BARS, -1), axis=2))


def smoothness(model: Model, request: Request, rolls: Rolls) -> dict[str, float | None]:
    """The mean share of cells that differ between neighbours, and between the two of 32 pairs of random samples."""
    random = request.binarize(model.decode(model.sample_codes(request.seed, 2 * _RANDOM_PAIRS)))
    neighbours = 1 - cell_f1(rolls[:-1], rolls[1:])
    return {
        "difference_of_neighbours": float(neighbours.mean()) if len(neighbours) else None,
        "difference_of_random_pairs": float((1 - cell_f1(random[::2], random[1::2])).mean()),
    }


def smoothness_text(found: Mapping[str, float | None]) -> str:
    """The result of `smoothness` in a line."""
    neighbours, random = found["difference_of_neighbours"], found["difference_of_random_pairs"]
    first = "-" if neighbours is None else f"{neighbours:.3f}"
    return f"share of cells that differ: neighbours {first}, random pairs of samples {random:.3f}"


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text under their keys: words to the left, numbers to the right with three digits after the point.

    Args:
      rows: at least one, with the keys of the first.
    """
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_word = [isinstance(value, str) for value in rows[0].values()]
    return "\n".join(
        "  ".join(
            text.ljust(width) if word else text.rjust(width)
            for text, width, word in zip(line, widths, is_word, strict=True)
        ).rstrip()
        for line in cells
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
