"""Held-out songs beside what a model makes of them, to look at and to hear: pictures, numbers and a page.

    python -m tests.bench.heard --model shipped --data data/free --split test --songs 12 --output heard

Songs and their phrases are chosen by the seed as in `tests.bench.modes`, whatever comes of them, and the modes take
turns:

- `vary`: the variation at half of the largest amount;
- `continue`: the ninth phrase of a piece, 32 bars on, where nothing but the drums is left of the phrase's own detail;
- `accompany`: the first accompaniment of drums and bass;
- `edit`: density up by one standard deviation.

OUTPUT/01.png and so on have the song's four bars on the left and what was made of them on the right, OUTPUT/pairs.jsonl
a line each with the agreement of both, OUTPUT/listen.html both to hear.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Mapping

import numpy as np

from tests.bench import modes, report
from tests.bench.mode_measures import Song, Trial
from wae_jax.command_line.generate_flags import parse_tracks
from wae_jax.generation.load import load
from wae_jax.generation.model import Model
from wae_jax.generation.modes.table import MODES
from wae_jax.listening.document import save_page
from wae_jax.listening.page import make_page
from wae_jax.listening.sections import Group, Section, name_phrases
from wae_jax.metrics.agreement import AGREEMENTS
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import Rolls
from wae_jax.render.phrase_plots import plot_grid
from wae_jax.render.style import save_figure

_LONGEST_TITLE = 40
KEEP = parse_tracks("drums,bass")
# By mode, what it is called, the number of phrases, and which of them is shown.
SHOWN: Mapping[str, tuple[str, int, int]] = {
    "vary": ("varied by half", 8, 4),
    "continue": ("32 bars later", 9, 8),
    "accompany": ("new tracks to drums and bass", 4, 0),
    "edit": ("denser", 1, 1),
}
_EDIT = {"density": 1.0}


def make(model: Model, song: Song, mode: str, *, seed: int) -> Rolls:
    """The phrase of a mode that is shown, `[1, T, P, K]`."""
    _, num, index = SHOWN[mode]
    request = dataclasses.replace(Trial(model, song, KEEP, seed).request(num), attributes=_EDIT)
    rolls = MODES[mode].make(model, request).rolls
    assert rolls is not None
    return rolls[index : index + 1]


def agreements(song: Song, made: Rolls) -> dict[str, float]:
    """F1, and agreement in key, groove and density, of a phrase with what was made of it."""
    found = {name: agreement(song.phrase, made) for name, agreement in AGREEMENTS.items()}
    return {name: report.rounded(float(of[0])) for name, of in {"f1": cell_f1(made, song.phrase), **found}.items()}


def main() -> None:
    """Makes a phrase of each song, and writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a workdir or an exported model, or shipped")
    parser.add_argument("--checkpoint", default="best", help="best (default), latest, or the number of a step")
    parser.add_argument("--data", required=True, help="folder made by build_dataset")
    parser.add_argument("--split", default="test", help="songs that the model has not seen (default: test)")
    parser.add_argument("--songs", type=int, default=12, help="at most so many (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of phrases and of the modes (default: 0)")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    model = load(arguments.model, arguments.checkpoint)
    songs = modes.choose_songs(arguments.data, arguments.split, num=arguments.songs, seed=arguments.seed, keep=KEEP)
    arguments.output.mkdir(parents=True, exist_ok=True)
    groups = []
    for i, song in enumerate(songs):
        mode = list(SHOWN)[i % len(SHOWN)]
        label = f"{mode}: {SHOWN[mode][0]}"
        made = make(model, song, mode, seed=arguments.seed + i)
        both = np.concatenate([song.phrase, made])
        titles = [f"{i + 1} · {pathlib.PurePath(song.name).stem[:_LONGEST_TITLE]}", label]
        save_figure(plot_grid(both, titles=titles, columns=2), arguments.output / f"{i + 1:02}.png")
        phrases = name_phrases(both, [song.name, label])
        groups.append(Group(phrases, title=f"{i + 1}. {song.name}"))
        with (arguments.output / "pairs.jsonl").open("a" if i else "w", encoding="utf-8") as file:
            file.write(json.dumps({"song": song.name, "mode": mode, **agreements(song, made)}) + "\n")
    section = Section("pairs", "Songs and what became of them", f"Unselected: seed {arguments.seed}.", groups)
    save_page(
        make_page(title="Songs and what became of them", summary=f"Model {model.digest[:12]}.", sections=[section]),
        arguments.output / "listen.html",
    )


if __name__ == "__main__":
    main()
