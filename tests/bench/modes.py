"""The modes of `generate` on songs that models have not seen, beside simple baselines.

    python -m tests.bench.modes --model shipped runs/songs --data data/free data/others --split test --songs 30

Of each song of a split of the dataset `--data`, made by `build_dataset`, one phrase is chosen by the seed that is
followed by another one and has a third one apart from both: "the phrase", "the next phrase" and "another phrase of the
song"; "a phrase of another song" is that of the song before it in the random order. Songs of a further dataset are
taken where those before it have too few. The phrase has no silent bar, and
notes of a pitched track among those that `accompany` keeps and among the others; songs without such phrases are left
out. Modes get it as it is, so that the dataset has to be in the keys of the models. They make their default numbers of
phrases with the model's binarization rule. A model that was trained on one of the chosen phrases is refused.

- `reconstruct`: F1 of the cells of the phrase and its decoded code, by the rule and at a probability of one half. The
  code is the encoder's, or, where it is nearer, that of the search that other modes begin with.
- `vary`: share of cells that differ from the phrase, by share of the largest amount; "steps that differ more" is the
  share of the eight steps from one amount to the next at which it grows; agreements as below; "short notes", share of
  notes of pitched tracks shorter than 3 steps.
- `accompany`: tonal distance, as MuseGAN's, of the kept tracks to the others, and share of the others that are silent.
- `continue`: overlap, from 0 to 1, of pitch classes ("key") and of onsets in the bar ("groove") of the phrase and what
  follows it, the smaller number of cells as a share of the larger ("density"), F1 of that with the next phrase, and
  share of cells that differ from the phrase ("difference"), also along a piece of sixteen. "Distance of tracks" is
  that of the pitched tracks of a phrase to each other in tonal space.
- `edit`, each attribute by one standard deviation over the model's training phrases, up and down: "reached", change in
  the direction that was asked for; "missed", absolute difference of change and request, 1 for a phrase that is not
  edited; "others", mean absolute change of the other attributes; "difference", share of cells that differ from the
  phrase. "a random direction" is in place of the linear model's, with the best of as many phrases.

A line of JSON follows each model and song, so that a bench that is stopped has lost nothing. Then there are, for each
mode, a table of means over songs with bootstrap intervals, one of differences from baselines with paired intervals, and
the verdicts in words. Better is more F1 and agreement; a variation that differs less than another phrase does, but more
at the largest amount than at one quarter; a piece that goes farther from its first phrase; nearer tracks in tonal
space; fewer short notes; and less that is missed or changed beside what an edit asked for.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.bench import mode_metrics, report
from tests.bench.mode_measures import COMPARISONS, MEASURES, Comparison, Measures, Song, Trial
from wae_jax.command_line.generate_flags import parse_tracks
from wae_jax.data.dataset import load_dataset, read_index
from wae_jax.errors import DatasetError
from wae_jax.generation.load import load
from wae_jax.generation.model import Model
from wae_jax.metrics.intervals import Interval, bootstrap_interval
from wae_jax.pianoroll import NUM_TRACKS, PHRASE_SHAPE, active_track_bars, pack, unpack

# By measure, a value for each song.
Values = Mapping[str, np.ndarray]


def choose_songs(folder: str, split: str, *, num: int, seed: int, keep: tuple[int, ...]) -> list[Song]:
    """Up to `num` songs of a split, in random order, with the phrases that modes are measured on."""
    data = load_dataset(folder)
    packed, songs = data.split(split), data.songs(split)
    index = read_index(pathlib.Path(folder), len(data.phrases))[slice(*data.splits[split])]
    if songs is None:
        raise SystemExit(f"error: the dataset {data.name} has no index of songs; expected one made by build_dataset")
    usable = mode_metrics.is_usable(active_track_bars(np.asarray(packed)), np.isin(np.arange(NUM_TRACKS), keep))
    rows = mode_metrics.choose_rows(songs, [line.first_bar for line in index], usable, num=num, seed=seed)
    if len(rows) < 2:
        raise SystemExit(
            f"error: {len(rows)} songs of the {split} split of {data.name} have a phrase, the next one and a third one "
            "with the tracks of --keep and others; expected at least two"
        )
    names = [str(index[row].song) for row in rows[:, 0]]
    phrases = unpack(np.asarray(packed[rows.reshape(-1)])).reshape(*rows.shape, 1, *PHRASE_SHAPE)
    return [
        Song(name, own[0], own[1], own[2], phrases[i - 1, 0])
        for i, (name, own) in enumerate(zip(names, phrases, strict=True))
    ]


def songs_of_several(folders: Sequence[str], split: str, *, num: int, seed: int, keep: tuple[int, ...]) -> list[Song]:
    """Up to `num` songs, those of a folder only where the folders before it have too few."""
    songs: list[Song] = []
    for folder in folders:
        if (missing := num - len(songs)) > 0:
            songs += choose_songs(folder, split, num=max(missing, 2), seed=seed, keep=keep)[:missing]
    return songs


def songs_seen(model: Model, songs: Sequence[Song]) -> list[str]:
    """Names of the songs whose phrase is among the training phrases of the model; none is known without its data."""
    try:
        rows = model.phrases("train")
    except DatasetError as error:
        print(f"whether the model has seen these songs is not known: {error}", file=sys.stderr)
        return []
    names = {pack(song.phrase).tobytes(): song.name for song in songs}
    return sorted({names[key] for row in rows if (key := row.tobytes()) in names})


def measure_models(
    models: Mapping[str, Model], songs: Sequence[Song], *, modes: Sequence[str], keep: tuple[int, ...], seed: int
) -> dict[str, dict[str, Values]]:
    """The measures of every song, by mode and model."""
    found: dict[str, dict[str, list[Measures]]] = {mode: {name: [] for name in models} for mode in modes}
    for number, song in enumerate(songs):
        for name, model in models.items():
            started = time.perf_counter()
            # A seed for each song: one for all would give them all the same samples of the prior.
            trial = Trial(model, song, keep, seed + number)
            measured = {mode: MEASURES[mode](trial) for mode in modes}
            for mode, values in measured.items():
                found[mode][name].append(values)
            seconds = round(time.perf_counter() - started, 1)
            numbers = {
                mode: {name: _finite(value) for name, value in values.items()} for mode, values in measured.items()
            }
            report.emit("modes", model=name, song=song.name, seconds=seconds, **numbers)
    return {
        mode: {
            name: {measure: np.array([of_song[measure] for of_song in every]) for measure in every[0]}
            for name, every in by_model.items()
        }
        for mode, by_model in found.items()
    }


def for_json(found: Mapping[str, Mapping[str, Values]]) -> dict[str, Any]:
    """By mode, model and measure: the mean, its interval, and the value of every song; None for NaN."""

    def summary(values: np.ndarray) -> dict[str, Any]:
        ends = (float(part[0]) for part in bootstrap_interval(values[:, None]))
        numbers = dict(zip(Interval._fields, ends, strict=True))
        return {name: _finite(value) for name, value in numbers.items()} | {"values": list(map(_finite, values))}

    return {
        mode: {name: {measure: summary(of) for measure, of in values.items()} for name, values in by_model.items()}
        for mode, by_model in found.items()
    }


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else report.rounded(value)


def measure_table(mode: str, by_model: Mapping[str, Values]) -> str:
    """A Markdown table of means over songs with bootstrap intervals; rows are measures, columns models."""
    lines = _head(mode, by_model)
    for measure in dict.fromkeys(measure for values in by_model.values() for measure in values):
        cells = [
            _text(bootstrap_interval(values[measure][:, None])) if measure in values else "-"
            for values in by_model.values()
        ]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def comparison_table(mode: str, by_model: Mapping[str, Values]) -> str:
    """A Markdown table of differences from baselines, paired by song, and a verdict in words for each model."""
    lines = _head(f"{mode}: difference from", by_model)
    words: dict[str, dict[str, list[str]]] = {name: {word: [] for word in mode_metrics.VERDICTS} for name in by_model}
    for comparison in COMPARISONS[mode]:
        cells = []
        for name, values in by_model.items():
            word, text = compare(values, comparison)
            cells.append(f"{word}: {text}")
            words[name][word].append(str(comparison))
        lines.append(f"| {comparison} | {' | '.join(cells)} |")
    for name, by_word in words.items():
        verdicts = [f"{word}: {'; '.join(found)}." for word, found in by_word.items() if found]
        lines += ["", f"`{mode}`, {name}: {' '.join(verdicts)}"]
    return "\n".join(lines)


def compare(values: Values, comparison: Comparison) -> tuple[str, str]:
    """Whether a measure is better than its baseline, and the mean difference with its interval."""
    if comparison.of not in values or comparison.baseline not in values:
        return "undefined", "-"
    differences = values[comparison.of] - values[comparison.baseline]
    word, found = mode_metrics.verdict(differences, higher_is_better=comparison.higher_is_better)
    return word, _text(found)


def _head(first: str, columns: Mapping[str, Values]) -> list[str]:
    return [f"| {first} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]


def _text(interval: Interval) -> str:
    mean, low, high = (float(part[0]) for part in interval)
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Measures the modes of every model, and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", required=True, help="workdirs and exported models, or shipped")
    parser.add_argument("--checkpoint", default="best", help="best (default), latest, or the number of a step")
    parser.add_argument("--data", nargs="+", required=True, help="folders made by build_dataset")
    parser.add_argument("--split", default="test", help="songs that no model has seen (default: test)")
    parser.add_argument("--songs", type=int, default=30, help="at most so many (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of phrases and of the modes (default: 0)")
    parser.add_argument("--modes", nargs="+", choices=list(MEASURES), default=list(MEASURES), help="(default: all)")
    parser.add_argument(
        "--keep", type=parse_tracks, default=parse_tracks("drums,bass"), help="of accompany (default: drums,bass)"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for the values of every song")
    arguments = parser.parse_args()
    songs = songs_of_several(
        arguments.data, arguments.split, num=arguments.songs, seed=arguments.seed, keep=arguments.keep
    )
    models = {name: load(name, arguments.checkpoint) for name in arguments.model}
    for name, model in models.items():
        if seen := songs_seen(model, songs):
            raise SystemExit(f"error: {name} was trained on phrases of {', '.join(seen)}; expected others")
    found = measure_models(models, songs, modes=arguments.modes, keep=arguments.keep, seed=arguments.seed)
    if arguments.json:
        content = {"songs": [song.name for song in songs], "seed": arguments.seed, "modes": for_json(found)}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    for mode, by_model in found.items():
        print(f"\n{measure_table(mode, by_model)}\n\n{comparison_table(mode, by_model)}")


if __name__ == "__main__":
    main()
