"""What a mode of `generate` is asked for and what it gives, and the modes that need no music of the user's.

A mode is a pure function of a trained run and a request.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from wae_jax.config import BinarizationRule
from wae_jax.errors import RequestError
from wae_jax.generation.binarization import binarize
from wae_jax.generation.latent_paths import slerp
from wae_jax.generation.model import Model
from wae_jax.generation.modes.code_search import own_codes
from wae_jax.generation.modes.fidelity import text_table
from wae_jax.generation.modes.own_music import OwnPhrase
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_BARS, Codes, Probabilities, Rolls, unpack

_INTERPOLATION_STEPS = 8


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for; each mode heeds what concerns it.

    Attributes:
      num: phrases.
      seed: of everything random.
      rule: which cells sound.
      own: music of the user's.
      keep: the tracks, by number, that stay as they are.
      attributes: by name, changes asked for in standard deviations.
    """

    num: int
    seed: int = 0
    rule: BinarizationRule = dataclasses.field(default_factory=BinarizationRule)
    own: tuple[OwnPhrase, ...] = ()
    keep: tuple[int, ...] = ()
    attributes: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def binarize(self, probabilities: Probabilities) -> Rolls:
        """Which cells sound."""
        return binarize(probabilities, self.rule, seed=self.seed)

    def own_rolls(self) -> Rolls:
        """The user's phrases."""
        return np.stack([own.roll for own in self.own])


@dataclasses.dataclass(frozen=True)
class Phrases:
    """What a mode makes.

    Attributes:
      codes: one a phrase.
      rolls: the phrases; None where codes alone were asked for.
      probabilities: what they were decided from.
      names: titles, one a phrase.
      originals: what they were made from.
      original_names: titles of these.
      rows: the rows of the validation split that the originals are, where they are of it.
      report: how faithful the phrases are, as JSON can hold it.
      table: the same, to be printed.
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


def sample(run: Model, request: Request) -> Phrases:
    """Decodes draws from the prior, unselected."""
    codes = run.sampler.sample_codes(request.seed, request.num)
    probabilities = run.sampler.decode(codes)
    rolls = request.binarize(probabilities)
    silent = int(silent_bars(rolls).sum())
    return Phrases(
        codes,
        rolls,
        probabilities,
        report={"silent_bars": silent, "bars": NUM_BARS * len(rolls)},
        table=f"{silent} of {NUM_BARS * len(rolls)} bars are silent",
    )


def encode(run: Model, request: Request) -> Phrases:
    """Codes of random phrases of the validation split, and these phrases."""
    rows = run.phrases("valid")
    if request.num > len(rows):
        raise RequestError(f"--num is {request.num}; the run's validation split has {len(rows)} phrases")
    chosen = np.sort(np.random.default_rng(request.seed).permutation(len(rows))[: request.num])
    originals = unpack(np.asarray(rows[chosen]))
    return Phrases(run.sampler.encode(originals), rows=chosen, originals=originals)


def reconstruct(run: Model, request: Request) -> Phrases:
    """Encodes and decodes random phrases of the validation split."""
    encoded = encode(run, request)
    assert encoded.originals is not None
    probabilities = run.sampler.decode(encoded.codes)
    rolls = request.binarize(probabilities)
    found = cell_f1(rolls, encoded.originals)
    low, middle, high = np.quantile(found, (0.25, 0.5, 0.75)).tolist()
    return dataclasses.replace(
        encoded,
        rolls=rolls,
        probabilities=probabilities,
        report={"f1": found.tolist(), "f1_quartiles": [low, middle, high]},
        table=f"F1 with the original, a phrase: median {middle:.3f}, half of them {low:.3f} to {high:.3f}",
    )


def interpolate(run: Model, request: Request) -> Phrases:
    """Walks from one phrase to another along great circles.

    From the user's first phrase to the second; or between random phrases of the validation split, eight steps from one
    to the next.
    """
    if request.own:
        return _interpolate_own(run, request)
    num_ends = -(-request.num // _INTERPOLATION_STEPS) + 1
    ends = encode(run, dataclasses.replace(request, num=num_ends)).codes
    steps = np.arange(request.num) / _INTERPOLATION_STEPS
    codes = np.stack([slerp(ends[int(step)], ends[int(step) + 1], step % 1.0) for step in steps])
    return _walked(run, request, codes, {}, [])


def _interpolate_own(run: Model, request: Request) -> Phrases:
    if request.num < 2:
        raise RequestError(f"--num is {request.num}; a walk from one file to another has at least 2 phrases")
    originals = request.own_rolls()
    ends, encoded, used = own_codes(run, originals, binarize=request.binarize, seed=request.seed)
    shares = np.linspace(0, 1, request.num)
    codes = np.stack([slerp(ends[0], ends[1], float(share)) for share in shares]).astype(np.float32)
    rows = own_report(request.own, encoded, used)
    walked = _walked(run, request, codes, {"own": rows}, [text_table(rows)])
    assert walked.rolls is not None
    names = [f"{share:.0%} of the way" for share in shares]
    of_ends = [
        {"phrase": name, "F1 with the first": float(one), "F1 with the second": float(other)}
        for name, one, other in zip(names, *(cell_f1(walked.rolls, each[None]) for each in originals), strict=True)
    ]
    return dataclasses.replace(
        walked,
        names=names,
        originals=originals,
        original_names=[own.name for own in request.own],
        report={**walked.report, "walk": of_ends},
        table=f"{walked.table}\n{text_table(of_ends)}",
    )


def _walked(run: Model, request: Request, codes: Codes, report: Mapping[str, Any], lines: Sequence[str]) -> Phrases:
    """The phrases of a walk, and how far it is from each to the next."""
    probabilities = run.sampler.decode(codes)
    rolls = request.binarize(probabilities)
    smooth = smoothness(run, request, rolls)
    return Phrases(
        codes, rolls, probabilities, report={**report, **smooth}, table="\n".join([*lines, smoothness_text(smooth)])
    )


def own_report(
    own: Sequence[OwnPhrase], encoded: Float[np.ndarray, " B"], used: Float[np.ndarray, " B"]
) -> list[dict[str, Any]]:
    """How near the decoder comes to the user's phrases: from the encoder's codes, and from those that are used."""
    return [
        {
            "original": each.name,
            "F1 of the encoder's code": float(one),
            "F1 of the code used": float(other),
            "notes left out": each.notes_left_out,
        }
        for each, one, other in zip(own, encoded, used, strict=True)
    ]


def silent_bars(rolls: Rolls) -> Bool[np.ndarray, "B bars"]:
    """Which bars of each phrase have no cell on in any track."""
    return np.logical_not(np.any(rolls.reshape(len(rolls), NUM_BARS, -1), axis=2))


_PAIRS = 32


def smoothness(run: Model, request: Request, rolls: Rolls) -> dict[str, float | None]:
    """The share of cells that differ from one phrase to the next, beside that of pairs of random draws.

    The draws are 64 of the request's seed, in pairs.
    """
    random = request.binarize(run.sampler.decode(run.sampler.sample_codes(request.seed, 2 * _PAIRS)))
    neighbours = 1 - cell_f1(rolls[:-1], rolls[1:])
    return {
        "difference_of_neighbours": float(neighbours.mean()) if len(neighbours) else None,
        "difference_of_random_pairs": float((1 - cell_f1(random[::2], random[1::2])).mean()),
    }


def smoothness_text(found: Mapping[str, float | None]) -> str:
    """What `smoothness` found, in a line."""
    neighbours, random = found["difference_of_neighbours"], found["difference_of_random_pairs"]
    of_neighbours = "-" if neighbours is None else f"{neighbours:.3f}"
    return f"share of cells that differ: neighbours {of_neighbours}, random pairs of draws {random:.3f}"
