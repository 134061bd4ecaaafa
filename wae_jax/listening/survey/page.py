"""A blind survey: one HTML file on which listeners compare a run's music with another's and with real music.

    python -m wae_jax.listen survey --runs runs/gan runs/mmd --real data/lpd5 --num 40 --output survey.html

Hand the file to listeners, by mail or from any web server. They hear pairs of clips without knowing where these come
from, after one pair for practice; now and then music is paired with noise, to find those who do not listen. At the end
they save a results file and hand it back; `python -m wae_jax.listen score results/*.json` says what they preferred.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

import wae_jax
from wae_jax.command_line.model_flags import add_checkpoint_flag, add_sampling_flags, requested_rule
from wae_jax.config import BinarizationRule
from wae_jax.data.dataset import Dataset, load_dataset
from wae_jax.errors import RequestError
from wae_jax.generation.binarization import binarize
from wae_jax.generation.model import Model, open_run
from wae_jax.listening.document import PLAYER_SCRIPTS, assemble, check_output, note_lists, save_page
from wae_jax.listening.parts import embed
from wae_jax.listening.survey.design import NOISE, Pair, is_check, order_pairs, place_checks
from wae_jax.listening.survey.results import FORMAT_VERSION, QUESTIONS, RESULTS_FORMAT, Key, seal
from wae_jax.pianoroll import DEFAULT_TEMPO, NUM_TRACKS, PHRASE_SHAPE, Rolls, unpack

REAL_NAME = "real music"
# Notes of a clip, as pages take them.
Clip = list[list[int]]


@dataclasses.dataclass(frozen=True)
class Survey:
    """What listeners are to hear.

    Attributes:
      key: which source each clip is of.
      pairs: the clips on side A and on side B: first the pair for practice, then those of the key.
      repeated: how many clips of real music are heard more than once, for want of others.
    """

    key: Key
    pairs: Sequence[tuple[Clip, Clip]]
    repeated: int


def make_survey(
    runs: Mapping[str, Model],
    real: Dataset,
    *,
    split: str = "valid",
    num: int = 40,
    num_checks: int | None = None,
    max_failed_checks: int | None = None,
    seed: int = 0,
    rules: Mapping[str, BinarizationRule] | None = None,
) -> Survey:
    """Chooses and pairs the clips of a survey; the draws of runs are the first ones, unselected.

    Args:
      runs: trained runs by name.
      real: real music.
      split: which of its phrases.
      num: pairs that count.
      num_checks: pairs of music and noise among them; None means one to ten pairs, at least 2.
      max_failed_checks: who fails more is not counted; None means one of four checks.
      seed: of the clips, their order and their sides.
      rules: by the runs' names, which cells sound; None means as their configurations have it.

    Raises:
      RequestError: if there are too few pairs for all to meet, the checks do not fit, or there is no real music.
    """
    sources = [*runs, REAL_NAME]
    music = len(sources) - 1
    num_checks = max(2, num // 10) if num_checks is None else num_checks
    max_failed_checks = num_checks // 4 if max_failed_checks is None else max_failed_checks
    if num < (meetings := len(sources) * music // 2):
        raise RequestError(f"{num} pairs; expected at least {meetings}, or some of {len(sources)} sources never meet")
    if not 0 <= max_failed_checks < num_checks <= num:
        raise RequestError(
            f"{num_checks} checks of which {max_failed_checks} may be failed; expected 1 to {num} checks, no more than "
            "pairs that count, and fewer failures than checks"
        )
    rules = rules or {name: run.own_rule() for name, run in runs.items()}
    generator = np.random.default_rng(seed)
    pairs = place_checks(order_pairs(len(sources), num, generator), num_checks, music=music, generator=generator)
    practice: Pair = (0, music) if generator.random() < 0.5 else (music, 0)
    needed = collections.Counter(source for pair in (practice, *pairs) for source in pair)
    phrases = _choose(real, split, needed[music], generator)
    supplies = {music: itertools.cycle(phrases)}
    for source, (name, run) in enumerate(runs.items()):
        probabilities = run.sampler.decode(run.sampler.sample_codes(seed, needed[source]))
        supplies[source] = itertools.cycle(binarize(probabilities, rules[name], seed=seed))
    rolls = []
    for pair in (practice, *pairs):
        heard = {source: next(supplies[source]) for source in pair if source != NOISE}
        if is_check(pair):
            heard[NOISE] = scatter(heard[music], generator)
        rolls += [heard[side] for side in pair]
    clips = note_lists(np.stack(rolls))
    provenance = {
        "wae_jax": wae_jax.__version__,
        "runs": {
            name: {"step": run.step, "digest": run.digest, **dataclasses.asdict(rules[name])}
            for name, run in runs.items()
        },
        "real": {"data": real.name, "digest": real.digest, "split": split},
        "seed": seed,
        "clips_sha256": hashlib.sha256(embed(clips).encode()).hexdigest(),
    }
    key = Key(sources, pairs, max_failed_checks, provenance)
    return Survey(key, list(zip(clips[::2], clips[1::2], strict=True)), max(0, needed[music] - len(phrases)))


def _choose(real: Dataset, split: str, num: int, generator: np.random.Generator) -> Rolls:
    """Up to so many random phrases of a split that have a note."""
    if split not in real.splits:
        raise RequestError(f"{real.name} has no {split} split; it has {', '.join(real.splits)}")
    rows = real.split(split)
    chosen = itertools.islice((row for row in generator.permutation(len(rows)) if rows[row].any()), num)
    places = list(chosen)
    if not places:
        raise RequestError(f"{real.name} has no phrase with a note in its {split} split; expected real music")
    return unpack(np.asarray(rows[places]))


def scatter(
    roll: Bool[np.ndarray, "T=192 P=84 K=5"], generator: np.random.Generator
) -> Bool[np.ndarray, "T=192 P=84 K=5"]:
    """Noise as dense as a phrase: each track's cells, anywhere in time and pitch."""
    return generator.permuted(roll.reshape(-1, NUM_TRACKS), axis=0).reshape(PHRASE_SHAPE)


def make_survey_page(survey: Survey, *, tempo: float = DEFAULT_TEMPO) -> str:
    """The page on which listeners answer; nothing in it that can be read says what a clip is of.

    Args:
      survey: what they hear.
      tempo: quarter notes a minute.
    """
    data = {
        "survey": survey.key.survey(),
        "key": seal(survey.key.content()),
        "format": RESULTS_FORMAT,
        "format_version": FORMAT_VERSION,
        "rule": survey.key.rule,
        "questions": [{"name": name, "asks": asks} for name, asks in QUESTIONS.items()],
        "tempo": tempo,
        "pairs": survey.pairs,
    }
    return assemble(
        "survey.html",
        title="A listening survey",
        data=data,
        styles=("page.css", "survey.css"),
        scripts=(*PLAYER_SCRIPTS, "downloads.js", "survey_answers.js", "survey.js"),
    )


def open_runs(paths: Sequence[str], checkpoint: str) -> dict[str, Model]:
    """Trained runs by name: that of the folder or file, or all of the path where two are called alike.

    Args:
      paths: work folders, or files made by `wae_jax.export`.
      checkpoint: "best", "latest" or the number of a step.

    Raises:
      RequestError: if a run is named twice.
      WorkdirError, CheckpointError, ConfigError: if one cannot be opened.
    """
    names = [pathlib.Path(path).resolve().name for path in paths]
    if len({*names, REAL_NAME}) <= len(names):
        names = [str(path) for path in paths]
    if twice := [path for path, times in collections.Counter(names).items() if times > 1]:
        raise RequestError(f"--runs has {twice[0]} twice; expected each run once")
    return {name: open_run(path, checkpoint) for name, path in zip(names, paths, strict=True)}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `python -m wae_jax.listen survey`."""
    parser.add_argument("--runs", nargs="+", required=True, help="folders of trained runs, or files of exported ones")
    parser.add_argument(
        "--real", help="folder made by build_dataset to take real music from (default: the first run's)"
    )
    parser.add_argument("--split", default="valid", help="its split (default valid)")
    parser.add_argument("--output", required=True, help="the HTML file to write")
    add_checkpoint_flag(parser)
    add_sampling_flags(parser, num=40)
    parser.add_argument("--checks", type=int, help="pairs of music and noise (default: one to ten pairs, at least 2)")
    parser.add_argument("--max-failed-checks", type=int, help="who fails more is not counted (default: one in four)")


def run(arguments: argparse.Namespace) -> None:
    """Writes the survey that the command line asks for.

    Raises:
      RequestError, WorkdirError, CheckpointError, DatasetError, ConfigError, OSError: with what is wrong.
    """
    output = check_output(arguments.output)
    runs = open_runs(arguments.runs, arguments.checkpoint)
    real = load_dataset(arguments.real) if arguments.real else next(iter(runs.values())).data()
    survey = make_survey(
        runs,
        real,
        split=arguments.split,
        num=arguments.num,
        num_checks=arguments.checks,
        max_failed_checks=arguments.max_failed_checks,
        seed=arguments.seed,
        rules={
            name: each.calibrated(requested_rule(arguments, each.config.binarization)) for name, each in runs.items()
        },
    )
    size = save_page(make_survey_page(survey), output)
    key = survey.key
    print(f"survey {key.survey()} of {', '.join(key.sources)}: {arguments.num} pairs, {len(key.check_places)} checks")
    print(f"rule: {key.rule}")
    if survey.repeated:
        print(
            f"{real.name} has too little music: {survey.repeated} clips of its {arguments.split} split are heard again"
        )
    print(f"wrote {output}, {size / 1e6:.1f} MB: have listeners open it, and score what they save")
