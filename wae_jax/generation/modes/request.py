"""The request of a mode of `generate`, with the user's music in it, and its outcome, with measures that modes share.

A mode is a function of a trained model and a `Request` that returns `Phrases`, without side effects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from wae_jax.config import BinarizationRule
from wae_jax.generation.binarization import binarize
from wae_jax.generation.model import Model
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_BARS, Codes, Probabilities, Rolls

_RANDOM_PAIRS = 32


@dataclasses.dataclass(frozen=True)
class Request:
    """Arguments of a mode; each mode reads those that concern it."""

    num: int
    seed: int = 0  # of everything random; below 2**32
    rule: BinarizationRule = dataclasses.field(default_factory=BinarizationRule)  # with all its parts fitted
    inputs: tuple[InputPhrase, ...] = ()  # phrases of the user's
    codes: Codes | None = None  # of the user's
    keep: tuple[int, ...] = ()  # indices of the tracks that stay as they are
    attributes: Mapping[str, float] = dataclasses.field(default_factory=dict)  # changes by name, in standard deviations
    key: str | None = None  # of what is written, such as "D", or "random"; None for the user's, or C major and A minor
    may_be_fewer: bool = False  # whether a dataset with fewer phrases is no error, since `num` is a default

    def decode(self, model: Model, codes: Codes) -> tuple[Probabilities, Rolls]:
        """Probabilities of the phrases with these codes, and the phrases."""
        probabilities = model.decode(codes)
        return probabilities, self.binarize(probabilities)

    def binarize(self, probabilities: Probabilities) -> Rolls:
        """Phrases from the probabilities of their cells, by the request's rule and seed."""
        return binarize(probabilities, self.rule, seed=self.seed)

    def input_rolls(self) -> Rolls:
        """The user's phrases."""
        return np.stack([each.roll for each in self.inputs])


@dataclasses.dataclass(frozen=True)
class Phrases:
    """The outcome of a mode."""

    codes: Codes
    rolls: Rolls | None = None  # None where only codes were requested
    # Of the decoder at the codes; what the phrases keep of the user's music is not in them, but for tracks kept whole.
    probabilities: Probabilities | None = None
    names: Sequence[str] | None = None  # titles, one a phrase
    originals: Bool[np.ndarray, "originals T=192 P=84 K=5"] | None = None  # phrases that they were made from
    original_names: Sequence[str] | None = None
    rows: Int64[np.ndarray, " rows"] | None = None  # of the originals in the validation split
    # Pitch classes on which the major scales of the phrases and the originals begin; None where they are unknown.
    tonics: Sequence[int] | None = None
    original_tonics: Sequence[int] | None = None
    report: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # how near the request; for JSON
    table: str = ""  # the same as text


def silent_bars(rolls: Rolls) -> Bool[np.ndarray, "B bars"]:
    """The bars of each phrase in which no track has an active cell."""
    return np.logical_not(np.any(rolls.reshape(len(rolls), NUM_BARS, -1), axis=2))


def measure_smoothness(model: Model, request: Request, rolls: Rolls) -> tuple[dict[str, float | None], str]:
    """Mean shares of cells that differ, between neighboring phrases and in 32 pairs of samples: JSON, and text."""
    samples = request.binarize(model.decode(model.sample_codes(request.seed, 2 * _RANDOM_PAIRS)))
    of_neighbours = 1 - cell_f1(rolls[:-1], rolls[1:])
    neighbours = float(of_neighbours.mean()) if len(of_neighbours) else None
    pairs = float((1 - cell_f1(samples[::2], samples[1::2])).mean())
    text = f"share of cells that differ: neighbours {_text(neighbours)}, random pairs of samples {_text(pairs)}"
    return {"difference_of_neighbours": neighbours, "difference_of_random_pairs": pairs}, text


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as text under them: words to the left, numbers to the right with three decimals."""
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
