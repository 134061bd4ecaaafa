"""The survey's clips and its page: one HTML file on which listeners compare models with each other and real music.

Listeners hear pairs of clips without knowing their sources, after a pair for practice. Some pairs are attention checks
of real music and noise. At the end they save a results file, which `score` reads.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool

import wae_jax
from wae_jax.config import BinarizationRule
from wae_jax.data.dataset import Dataset
from wae_jax.errors import RequestError
from wae_jax.generation.load import load
from wae_jax.generation.model import Model
from wae_jax.listening.document import PLAYER_SCRIPTS, assemble, embed
from wae_jax.listening.sections import Note, note_lists
from wae_jax.listening.survey.design import NOISE, Pair, insert_checks, is_check, order_pairs
from wae_jax.listening.survey.results import FORMAT_VERSION, MAX_SOURCES, QUESTIONS, RESULTS_FORMAT, Key, seal
from wae_jax.pianoroll import DEFAULT_TEMPO, NUM_TRACKS, PHRASE_SHAPE, Rolls, unpack

REAL_NAME = "real music"

Clip = list[Note]
_Roll = Bool[np.ndarray, "T=192 P=84 K=5"]


@dataclasses.dataclass(frozen=True)
class Survey:
    """The content of a survey."""

    key: Key  # the source of each clip
    pairs: Sequence[tuple[Clip, Clip]]  # the clips on sides A and B: first the pair for practice, then those of the key
    num_repeated: int  # number of clips of real music that occur more than once because there are too few


def make_survey(
    models: Mapping[str, Model],
    real: Dataset,
    *,
    rules: Mapping[str, BinarizationRule],
    split: str = "valid",
    num: int = 40,
    num_checks: int | None = None,
    max_failed_checks: int | None = None,
    seed: int = 0,
) -> Survey:
    """Chooses and pairs the clips of a survey; those of the models are their first samples, unselected.

    Args:
      models: trained models by name.
      real: real music.
      rules: binarization rules by the models' names; their open parts are fitted.
      split: the split of it to take clips from.
      num: number of pairs, without checks.
      num_checks: number of attention checks; None means one for every ten pairs, at least 2.
      max_failed_checks: listeners who fail more are left out; None means a quarter of the checks.
      seed: seed of the clips, their order and their sides.

    Raises:
      RequestError: if there are too few pairs for every combination, the checks do not fit, or there is no real music.
    """
    sources = [*models, REAL_NAME]
    music = len(sources) - 1
    num_checks = max(2, num // 10) if num_checks is None else num_checks
    max_failed_checks = num_checks // 4 if max_failed_checks is None else max_failed_checks
    _check_sizes(len(sources), num, num_checks, max_failed_checks)
    rules = {name: model.calibrated(rules[name]) for name, model in models.items()}
    generator = np.random.default_rng(seed)
    pairs = insert_checks(order_pairs(len(sources), num, generator), num_checks, music=music, generator=generator)
    practice: Pair = (0, music) if generator.random() < 0.5 else (music, 0)
    needed = collections.Counter(source for pair in (practice, *pairs) for source in pair)
    phrases = _choose(real, split, needed[music], generator)
    samples = [
        model.binarize(model.sample(needed[source], seed=seed), rules[name], seed=seed)
        for source, (name, model) in enumerate(models.items())
    ]
    clips = note_lists(np.stack(list(_rolls_of_pairs((practice, *pairs), [*samples, phrases], generator))))
    provenance = {
        "wae_jax": wae_jax.__version__,
        "models": {
            name: {"step": model.step, "digest": model.digest, **dataclasses.asdict(rules[name])}
            for name, model in models.items()
        },
        "real": {"data": real.name, "digest": real.digest, "split": split},
        "seed": seed,
        "clips_sha256": hashlib.sha256(embed(clips).encode()).hexdigest(),
    }
    key = Key(sources, pairs, max_failed_checks, provenance)
    return Survey(key, list(zip(clips[::2], clips[1::2], strict=True)), max(0, needed[music] - len(phrases)))


def _check_sizes(num_sources: int, num: int, num_checks: int, max_failed_checks: int) -> None:
    """Raises RequestError unless a survey can have so many sources, pairs, checks and failures."""
    if num_sources > MAX_SOURCES:
        raise RequestError(f"{num_sources - 1} runs; expected at most {MAX_SOURCES - 1}, to compare with each other")
    if num < (num_combinations := num_sources * (num_sources - 1) // 2):
        raise RequestError(f"{num} pairs; expected at least {num_combinations}, so that all sources are compared")
    if not 0 <= max_failed_checks < num_checks <= num:
        raise RequestError(
            f"{num_checks} checks, {max_failed_checks} failures; expected 1 to {num} checks, fewer failures than checks"
        )


def _choose(real: Dataset, split: str, num: int, generator: np.random.Generator) -> Rolls:
    """Up to `num` random phrases of a split that have a note."""
    rows = real.split(split)
    indices = list(itertools.islice((i for i in generator.permutation(len(rows)) if rows[i].any()), num))
    if not indices:
        raise RequestError(f"{real.name} has no phrase with a note in its {split} split; expected real music")
    return unpack(np.asarray(rows[indices]))


def _rolls_of_pairs(
    pairs: Sequence[Pair], rolls: Sequence[Iterable[_Roll]], generator: np.random.Generator
) -> Iterator[_Roll]:
    """The rolls of side A and side B of each pair, given those of each source, which are repeated if there are few."""
    supplies = [itertools.cycle(of_source) for of_source in rolls]
    for pair in pairs:
        heard = {source: next(supplies[source]) for source in pair if source != NOISE}
        if is_check(pair):
            (music,) = heard.values()
            heard[NOISE] = scatter(music, generator)
        yield from (heard[source] for source in pair)


def scatter(roll: _Roll, generator: np.random.Generator) -> _Roll:
    """Noise as dense as a phrase: the cells of each track, permuted."""
    return generator.permuted(roll.reshape(-1, NUM_TRACKS), axis=0).reshape(PHRASE_SHAPE)


def make_survey_page(survey: Survey, *, tempo: float = DEFAULT_TEMPO) -> str:
    """The HTML of the survey; no text in it names the source of a clip.

    Args:
      survey: its content.
      tempo: in bpm.
    """
    data = {
        "survey": survey.key.survey_id,
        "key": seal(survey.key.content()),
        "format": RESULTS_FORMAT,
        "format_version": FORMAT_VERSION,
        "rule": survey.key.rule,
        "questions": [{"name": name, "text": text} for name, text in QUESTIONS.items()],
        "tempo": tempo,
        "pairs": survey.pairs,
    }
    return assemble(
        "survey.html",
        title="A listening survey",
        data=data,
        styles=("page.css", "survey.css"),
        scripts=(*PLAYER_SCRIPTS, "survey_answers.js", "survey.js"),
    )


def load_models(paths: Sequence[str], checkpoint: str) -> dict[str, Model]:
    """Trained models by the name of their folder or file, or by their paths if two names are the same.

    Args:
      paths: workdirs, or files made by `wae_jax.export`.
      checkpoint: "best", "latest" or the number of a step.

    Raises:
      RequestError: if a path is given twice.
      WorkdirError, CheckpointError, ConfigError: if a model cannot be opened.
    """
    names = [pathlib.Path(path).resolve().name for path in paths]
    if len({*names, REAL_NAME}) <= len(names):
        names = [str(path) for path in paths]
    if repeated := [path for path, count in collections.Counter(names).items() if count > 1]:
        raise RequestError(f"--runs has {repeated[0]} twice; expected each run once")
    return {name: load(path, checkpoint) for name, path in zip(names, paths, strict=True)}
