"""What each mode of `generate` makes of a held-out phrase, measured beside its baselines.

Each function of `MEASURES` takes a model with a song, and returns its measures by name. Names are those of the rows of
the tables, and `COMPARISONS` says which of them are compared.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from tests.bench import mode_metrics as metrics
from wae_jax.generation.attributes import ATTRIBUTES, Directions, measure
from wae_jax.generation.model import Model
from wae_jax.generation.modes.accompaniment import accompany
from wae_jax.generation.modes.continuation import continue_
from wae_jax.generation.modes.editing import edit_own_phrase
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.generation.modes.own_phrase import OwnPhrase
from wae_jax.generation.modes.request import Phrases, Request
from wae_jax.generation.modes.table import MODES
from wae_jax.generation.modes.variation import vary
from wae_jax.metrics.agreement import AGREEMENTS
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.metrics.suite import defined_mean
from wae_jax.pianoroll import NUM_TRACKS, Rolls
from wae_jax.pianoroll.notes import ratio

Measures = dict[str, float]
OTHER, STRANGER, NEXT, COPY = (
    "another phrase of the song",
    "a phrase of another song",
    "the next phrase",
    "the phrase copied",
)
# Of the linear model of the attributes, whose edit is chosen from as many phrases.
RANDOM = "a random direction"
# Shares of the largest amount of `vary` that are shown.
AMOUNTS = (0.25, 0.5, 0.75, 1.0)
F1, DIFFERENCE = "F1 with the next", "difference"
# Phrases of a piece of the default length, from 1, whose difference from the first is shown, and those of its end.
_OF_PIECE = (2, 5, 9, 13, 16)
LATE = "phrases 9 to 16"


class Song(NamedTuple):
    """Phrases `[1, T, P, K]` of a song, and one of another song."""

    name: str
    phrase: Rolls
    following: Rolls
    other: Rolls
    stranger: Rolls


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """A model and a song to measure its modes on.

    Attributes:
      model: an opened model.
      song: phrases that the model has not seen.
      keep: indices of the tracks that `accompany` keeps.
      seed: of everything random.
    """

    model: Model
    song: Song
    keep: tuple[int, ...]
    seed: int

    def request(self, num: int) -> Request:
        """A request with the song's phrase, as `generate` makes it."""
        own = InputPhrase(self.song.phrase[0], self.song.name, 1)
        return Request(num, seed=self.seed, rule=self.model.rule, inputs=(own,), keep=self.keep)

    @functools.cached_property
    def varied(self) -> Phrases:
        """The outcome of `vary`, whose first phrase has the code that all modes use: the search is long."""
        return vary(self.model, self.request(_number("vary")))


def _number(mode: str) -> int:
    """The default number of phrases of a mode."""
    number = MODES[mode].num_with_input
    assert number is not None
    return number


class Comparison(NamedTuple):
    """Two rows of a table, of which the first is a mode and the second its baseline."""

    of: str
    baseline: str
    higher_is_better: bool = True

    def __str__(self) -> str:
        (what, *of), (of_what, *baseline) = self.of.split(", "), self.baseline.split(", ")
        if what == of_what:
            return f"{what}: {', '.join(of)} against {', '.join(baseline)}"
        return f"{self.of} against {self.baseline}"


def measure_reconstruct(trial: Trial) -> Measures:
    """F1 of the encoder's code and of the code that the modes use, decoded, beside other phrases."""
    model, song, found = trial.model, trial.song, {}
    codes = {"encoder's code": model.encode(song.phrase), "code after the search": trial.varied.codes[:1]}
    for name, of in codes.items():
        probabilities = model.decode(of)
        binarized = trial.request(1).binarize(probabilities)
        for rule, rolls in (("the rule", binarized), ("one half", probabilities > 0.5)):
            found[f"{name}, {rule}"] = float(cell_f1(rolls, song.phrase)[0])
    others = {OTHER: song.other, STRANGER: song.stranger}
    return found | {name: float(cell_f1(rolls, song.phrase)[0]) for name, rolls in others.items()}


def measure_vary(trial: Trial) -> Measures:
    """Shares of cells in which variations differ from the phrase, and what they have of it, beside other phrases."""
    song, rolls = trial.song, trial.varied.rolls
    assert rolls is not None
    differences = 1 - cell_f1(rolls, song.phrase)  # the phrase first, then by ascending amount
    beside = {"amount 1": rolls[-1:], OTHER: song.other, STRANGER: song.stranger}
    return {
        "amount 0": float(differences[0]),
        **{f"amount {amount:g}": float(differences[round(amount * (len(rolls) - 1))]) for amount in AMOUNTS},
        "steps that differ more": metrics.growing_share(differences),
        OTHER: float(1 - cell_f1(song.other, song.phrase)[0]),
        STRANGER: float(1 - cell_f1(song.stranger, song.phrase)[0]),
        **_agreements(song.phrase, beside),
        "short notes, the phrase": metrics.short_share(song.phrase),
        "short notes, amounts up to 1": metrics.short_share(rolls[1:]),
    }


def _agreements(phrase: Rolls, beside: Mapping[str, Rolls]) -> Measures:
    """Agreements of other phrases with a phrase, each a mean if it is several."""
    return {
        f"{of}, {name}": defined_mean(agreement(phrase, rolls))
        for of, agreement in AGREEMENTS.items()
        for name, rolls in beside.items()
    }


def measure_accompany(trial: Trial) -> Measures:
    """Tonal distance of new tracks to the kept ones, beside the song's own tracks and those of other phrases."""
    song, kept = trial.song, np.isin(np.arange(NUM_TRACKS), trial.keep)
    rolls = accompany(trial.model, trial.request(_number("accompany"))).rolls
    assert rolls is not None
    tracks = {"made": rolls, "own": song.phrase, OTHER: song.other, STRANGER: song.stranger}
    together = {name: np.where(kept, song.phrase, others) for name, others in tracks.items()}
    distances = {name: metrics.tonal_distance_between(each, kept) for name, each in together.items()}
    return {
        "kept tracks exact": float((rolls[..., kept] == song.phrase[..., kept]).all()),
        **{f"distance, {name}": defined_mean(each) for name, each in distances.items()},
        **{f"silent tracks, {name}": float(metrics.silent_share(each, kept).mean()) for name, each in together.items()},
    }


def measure_continue(trial: Trial) -> Measures:
    """Agreement of a phrase with what follows it, and of that with the song's own next phrase, beside others.

    Of a whole piece, how far it goes from the phrase, and how much its second half still has of it.
    """
    song, rolls = trial.song, continue_(trial.model, trial.request(_number("continue"))).rolls
    assert rolls is not None
    follow = {"made": rolls[1:2], NEXT: song.following, COPY: song.phrase, OTHER: song.other, STRANGER: song.stranger}
    differences = 1 - cell_f1(rolls, song.phrase)
    late = rolls[8:]
    return {
        **_agreements(song.phrase, {**follow, LATE: late}),
        **{f"{F1}, {name}": float(cell_f1(song.following, of)[0]) for name, of in follow.items() if name != NEXT},
        **{f"{DIFFERENCE}, {name}": float(1 - cell_f1(song.phrase, of)[0]) for name, of in follow.items()},
        **{f"{DIFFERENCE}, phrase {number}": float(differences[number - 1]) for number in _OF_PIECE},
        f"{DIFFERENCE}, neighbors": float((1 - cell_f1(rolls[1:], rolls[:-1])).mean()),
        f"{DIFFERENCE}, phrases 9 and 16": float(1 - cell_f1(late[:1], late[-1:])[0]),
        "distance of tracks, the phrase": metrics.tonal_distance_of(song.phrase),
        f"distance of tracks, {LATE}": metrics.tonal_distance_of(late),
    }


def measure_edit(trial: Trial) -> Measures:
    """What edits of each attribute by one standard deviation, up and down, reach, and what else they change."""
    model, request, varied = trial.model, trial.request(1), trial.varied
    directions = model.statistics_of_codes().directions
    assert varied.probabilities is not None
    own = OwnPhrase(trial.song.phrase, varied.codes[:1], varied.probabilities[:1], [])
    before = measure(own.roll)
    between = _change(before, measure(trial.song.other), directions)
    slope = np.random.default_rng(trial.seed).standard_normal(directions.slope.shape)
    # As long as the attributes' own.
    slope *= np.linalg.norm(directions.slope, axis=1, keepdims=True) / np.linalg.norm(slope, axis=1, keepdims=True)
    found: dict[str, list[float]] = {}
    for index, name in enumerate(ATTRIBUTES):
        if not directions.deviation[index]:
            continue  # constant in the training data: the mode refuses it
        others = metrics.edit_effect(between, index, 1.0)["others"]
        found.setdefault(f"others, {OTHER}", []).append(others)
        for asked in (1.0, -1.0):
            requested = asked * (np.arange(len(ATTRIBUTES)) == index)
            for of, along in (("made", directions), (RANDOM, directions._replace(slope=slope))):
                _, _, edited = edit_own_phrase(model, request, own, along, requested)
                change = _change(before, measure(edited), directions)
                found.setdefault(f"{DIFFERENCE}, {of}", []).append(float(1 - cell_f1(edited, own.roll)[0]))
                for what, value in metrics.edit_effect(change, index, asked).items():
                    found.setdefault(f"{what}, {of}", []).append(value)
                    if of == "made":
                        found.setdefault(f"{what}, {name}", []).append(value)
    means = {name: defined_mean(np.array(values)) for name, values in found.items()}
    # All attributes together and their baselines first.
    return {name: means[name] for name in sorted(means, key=lambda name: (name.split(", ")[1] in ATTRIBUTES, name))}


def _change(before: np.ndarray, after: np.ndarray, directions: Directions) -> np.ndarray:
    """The change of each attribute of one phrase, in standard deviations over the training phrases."""
    return ratio(after[0] - before[0], directions.deviation)


MEASURES: dict[str, Callable[[Trial], Measures]] = {
    "reconstruct": measure_reconstruct,
    "vary": measure_vary,
    "accompany": measure_accompany,
    "continue": measure_continue,
    "edit": measure_edit,
}

COMPARISONS: Mapping[str, tuple[Comparison, ...]] = {
    "reconstruct": (
        Comparison("encoder's code, the rule", OTHER),
        Comparison("code after the search, the rule", OTHER),
        Comparison("code after the search, the rule", "encoder's code, the rule"),
    ),
    "vary": (
        Comparison("amount 0.25", OTHER, higher_is_better=False),
        Comparison("amount 1", OTHER, higher_is_better=False),
        Comparison("amount 1", STRANGER, higher_is_better=False),
        Comparison("amount 1", "amount 0.25"),
        *(Comparison(f"{of}, amount 1", f"{of}, {OTHER}") for of in AGREEMENTS),
        Comparison("short notes, amounts up to 1", "short notes, the phrase", higher_is_better=False),
    ),
    "accompany": tuple(
        Comparison("distance, made", f"distance, {name}", higher_is_better=False) for name in ("own", OTHER, STRANGER)
    ),
    "continue": (
        *(Comparison(f"{of}, made", f"{of}, {name}") for of in (*AGREEMENTS, F1) for name in (OTHER, STRANGER)),
        *(Comparison(f"{of}, made", f"{of}, {NEXT}") for of in AGREEMENTS),
        *(Comparison(f"{of}, made", f"{of}, {COPY}") for of in (*AGREEMENTS, F1)),
        *(Comparison(f"{of}, {LATE}", f"{of}, {OTHER}") for of in AGREEMENTS),
        Comparison(f"{DIFFERENCE}, phrase 16", f"{DIFFERENCE}, phrase 2"),
        Comparison(f"distance of tracks, {LATE}", "distance of tracks, the phrase", higher_is_better=False),
    ),
    "edit": (
        Comparison("missed, made", f"missed, {RANDOM}", higher_is_better=False),
        Comparison("others, made", f"others, {RANDOM}", higher_is_better=False),
        Comparison("others, made", f"others, {OTHER}", higher_is_better=False),
    ),
}
