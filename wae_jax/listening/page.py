"""The listening page: one HTML file, needing nothing else, that plays and shows what a run makes.

    python -m wae_jax.listen page --workdir runs/gan --num 64 --output page.html

Phrases travel as lists of notes; sound is made in the browser, from oscillators and noise. The page has random draws,
the decoder to make more of them, music of the training data, reconstructions beside originals, walks through latent
space, favourites to mark and export, the run's metrics, and where all this comes from.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

import wae_jax
from wae_jax import evaluation_table
from wae_jax.command_line import add_sampling_flags, check_sampling_flags
from wae_jax.latent_paths import slerp
from wae_jax.listening.document import Group, Phrase, Section, Table, check_output, make_page, note_lists, save_page
from wae_jax.listening.latent_model import latent_model
from wae_jax.listening.parts import embed
from wae_jax.pianoroll import DEFAULT_TEMPO, BinaryPiece, BinaryRolls, Codes, PackedPhrases, Rolls, unpack
from wae_jax.sampling import binarize as decide
from wae_jax.trained_run import Run, load_run
from wae_jax.workdir import flatten_config

LARGEST_PAGE = 25_000_000  # bytes
LARGEST_MODEL = 16_000_000  # bytes
_REAL_PHRASES = 8
_PAIRS = 8
_WALKS = 3
_PHRASES_A_WALK = 8
_DATA_NAMES = {"eval": "validation data", "eval_train": "training data", "draws": "draws", "held_out": "held-out"}


def write_page(
    run: Run,
    output: str | os.PathLike[str],
    *,
    workdir: str | os.PathLike[str] | None = None,
    num: int = 64,
    seed: int = 0,
    threshold: float = 0.5,
    binarize: str = "hard",
    tempo: float = DEFAULT_TEMPO,
) -> int:
    """Writes the listening page of a run.

    Args:
      run: a trained run.
      output: the file; one that is there is replaced, once the new one is complete.
      workdir: of the run, for its metrics and its evaluation; None leaves them out.
      num: random draws.
      seed: of the draws, and of the choice of all other phrases.
      threshold: for `binarize="hard"`.
      binarize: "hard" or "bernoulli".
      tempo: quarter notes a minute, to begin with.

    Returns:
      Bytes written.

    Raises:
      RequestError: if the output is a folder, or the page would be larger than 25 MB.
      DatasetError: if the run's data are no longer there.
    """
    output = check_output(output)
    name = "" if workdir is None else pathlib.Path(workdir).resolve().name
    decision = f"above {threshold:g}" if binarize == "hard" else f"at random with their probability, seed {seed}"
    model = latent_model(run, threshold=threshold)
    fits = (size := len(embed(model))) <= LARGEST_MODEL
    left_out = "" if fits else f" The model is left out: it would take {size / 1e6:.0f} MB."
    page = make_page(
        title=f"Listening to {name or 'a run'}",
        summary=f"Step {run.step}, checkpoint {run.digest[:12]}. Cells sound {decision}. "
        f"The sound is made by this page; it loads nothing.{left_out}",
        sections=list(_sections(run, num=num, seed=seed, threshold=threshold, binarize=binarize)),
        tables=[] if workdir is None else [*_metrics(pathlib.Path(workdir)), *_evaluation(pathlib.Path(workdir))],
        provenance=_provenance(run, name, num=num, seed=seed, threshold=threshold, binarize=binarize),
        tempo=tempo,
        latent=model if fits else None,
    )
    return save_page(page, output, limit=LARGEST_PAGE)


def _sections(run: Run, *, num: int, seed: int, threshold: float, binarize: str) -> Iterator[Section]:
    """The phrases of the page, section by section."""

    def decode(codes: Codes) -> Rolls:
        return decide(run.sampler.decode(codes), method=binarize, threshold=threshold, seed=seed)

    draws = decode(run.sampler.draw(seed, num))
    yield Section(
        "draws",
        "Random draws",
        f"Unselected: seed {seed}, the first {num} drawn.",
        [Group(_named(draws, [f"Draw {i + 1}" for i in range(num)]))],
    )
    data = run.data()
    real, places = _choose(data.split("train"), _REAL_PHRASES, seed)
    yield Section(
        "real",
        "Music of the training data",
        f"{len(real)} phrases chosen at random, seed {seed}. Real, for comparison.",
        [Group(_named(real, [f"Training phrase {place}" for place in places]))],
    )
    originals, places = _choose(data.split("valid"), max(_PAIRS, _WALKS + 1), seed)
    if not len(originals):
        return
    codes = run.sampler.encode(originals)
    copies = decode(codes)
    pairs = [
        Group(
            _named(np.stack([original, copy]), [f"Original {place}", f"Reconstruction {place}"]),
            title=f"Validation phrase {place}: F1 {_f1(original, copy):.2f}",
        )
        for original, copy, place in zip(originals[:_PAIRS], copies, places, strict=False)
    ]
    yield Section(
        "reconstructions",
        "Reconstructions beside originals",
        f"Phrases that no training saw, chosen at random, seed {seed}. F1 is over cells: 1 is a perfect copy.",
        pairs,
    )
    walks = []
    for i in range(min(_WALKS, len(codes) - 1)):
        shares = np.linspace(0, 1, _PHRASES_A_WALK)
        rolls = decode(np.stack([slerp(codes[i], codes[i + 1], float(share)) for share in shares]).astype(codes.dtype))
        names = [f"Walk {i + 1}, {share:.0%} of the way" for share in shares]
        walks.append(Group(_named(rolls, names), title=f"From phrase {places[i]} to phrase {places[i + 1]}"))
    if walks:
        yield Section(
            "interpolations",
            "Walks through latent space",
            "From the reconstruction of one validation phrase to that of the next, in even turns.",
            walks,
        )


def _choose(rows: PackedPhrases, num: int, seed: int) -> tuple[Bool[np.ndarray, "chosen T=192 P=84 K=5"], list[int]]:
    """Up to so many random phrases of a split, and their places in it."""
    places = np.sort(np.random.default_rng(seed).permutation(len(rows))[:num])
    return unpack(np.asarray(rows[places])), places.tolist()


def _named(rolls: BinaryRolls, names: Sequence[str]) -> list[Phrase]:
    return [{"name": name, "notes": each} for name, each in zip(names, note_lists(rolls), strict=True)]


def _f1(one: BinaryPiece, other: BinaryPiece) -> float:
    """The share of cells that two phrases have in common; 1 where both are silent."""
    cells = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / cells if cells else 1.0


def _metrics(workdir: pathlib.Path) -> Iterator[Table]:
    """The figures of the run's last evaluation, one column a set of phrases; nothing where there has been none."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for line in reversed(lines):
        row = json.loads(line)
        found = [name.split("/", 1) for name in row if name.split("/", 1)[0] in _DATA_NAMES]
        if not found:
            continue
        sets = [name for name in _DATA_NAMES if any(of == name for of, _ in found)]
        metrics = dict.fromkeys(metric for _, metric in found)
        rows = [[metric, *(_short(row.get(f"{of}/{metric}")) for of in sets)] for metric in metrics]
        yield Table(f"Last evaluation in training, step {row['step']}", ["", *(_DATA_NAMES[of] for of in sets)], rows)
        return


def _evaluation(workdir: pathlib.Path) -> Iterator[Table]:
    """The headline of `python -m wae_jax.evaluate`, if it has been run."""
    file = workdir / "evaluation" / "evaluation.json"
    if not file.is_file():
        return
    content = json.loads(file.read_text(encoding="utf-8"))
    names = list(content["sets"])
    rows = [
        [label, *(_short(of_sets[name].value) if name in of_sets else "" for name in names)]
        for label, of_sets in evaluation_table.figures(content).items()
    ]
    step = content["provenance"].get("checkpoint_step", "unknown")
    yield Table(f"Evaluation of step {step}", ["", *(name.replace("_", "-") for name in names)], rows)


def _short(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else evaluation_table.short(value)


def _provenance(run: Run, name: str, **choice: Any) -> list[tuple[str, str]]:
    """What it takes to make the phrases again."""
    versions = {"wae_jax": wae_jax.__version__, "jax": jax.__version__, "numpy": np.__version__}
    fields = flatten_config(run.config.to_dict())
    return [
        *([("run", name)] if name else []),
        ("checkpoint step", str(run.step)),
        ("checkpoint digest", run.digest),
        *((key, str(value)) for key, value in choice.items()),
        *((f"version of {package}", version) for package, version in versions.items()),
        ("version of python", platform.python_version()),
        *((f"config.{field}", json.dumps(value, ensure_ascii=False)) for field, value in fields.items()),
    ]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `python -m wae_jax.listen page`."""
    parser.add_argument("--workdir", required=True, help="folder of a trained run")
    parser.add_argument("--output", required=True, help="the HTML file to write")
    add_sampling_flags(parser, num=64)
    parser.add_argument("--tempo", type=float, default=DEFAULT_TEMPO, help="bpm to begin with, 40 to 240 (default 100)")


def check_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Leaves with a usage error where a flag is out of range."""
    check_sampling_flags(parser, arguments)
    if not 40 <= arguments.tempo <= 240:
        parser.error(f"--tempo is {arguments.tempo}; expected 40 to 240 bpm")


def run(arguments: argparse.Namespace) -> None:
    """Writes the page that the command line asks for.

    Raises:
      RequestError, WorkdirError, CheckpointError, DatasetError, ConfigError, OSError: with what is wrong.
    """
    size = write_page(
        load_run(arguments.workdir, arguments.checkpoint),
        arguments.output,
        workdir=arguments.workdir,
        num=arguments.num,
        seed=arguments.seed,
        threshold=arguments.threshold,
        binarize=arguments.binarize,
        tempo=arguments.tempo,
    )
    print(f"wrote {arguments.output}, {size / 1e6:.1f} MB: open it in a browser")
