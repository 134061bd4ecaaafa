"""Measures a trained run, or any phrases, against held-out music.

    python -m wae_jax.evaluate --workdir runs/gan
    python -m wae_jax.evaluate --phrases mine.npz --data data/lpd5 --output mine_evaluated
    python -m wae_jax.evaluate --compare runs/gan runs/mmd

Prints the figures that say most, and writes evaluation.json, with every number and its interval, and report.html to
`evaluation` in the work folder, or where --output says. --compare puts runs side by side that have been evaluated;
runs that differ in nothing but the seed are one arm, and arms are compared seed by seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import pathlib
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import wae_jax
from wae_jax.command_line.exit_status import run_command
from wae_jax.command_line.model_flags import (
    add_checkpoint_flag,
    add_latent_flags,
    add_sampling_flags,
    check_latent_flags,
    requested_latent,
    requested_rule,
)
from wae_jax.config import BinarizationRule
from wae_jax.data.build.formats import open_source
from wae_jax.data.build.sources import Options
from wae_jax.data.build.workers import default_workers
from wae_jax.data.dataset import Dataset, load_dataset
from wae_jax.errors import RequestError, SourceError
from wae_jax.evaluation import comparison, measure
from wae_jax.evaluation.measure import PhraseSet
from wae_jax.evaluation.table import format_table
from wae_jax.files import whole_file
from wae_jax.generation.binarization import binarize
from wae_jax.generation.load import load
from wae_jax.generation.model import Model
from wae_jax.metrics.reconstruction import packed_cell_scores
from wae_jax.pianoroll import PackedPhrases, pack, unpack

RESULT_FILE = "evaluation.json"
REPORT_FILE = "report.html"
# What becomes of some hundred phrases at once is decoded to 32 bits a cell: 40 MB.
_PHRASES_AT_A_TIME = 128


@dataclasses.dataclass(frozen=True)
class Choice:
    """How phrases are chosen and measured; the fields are the flags of these names."""

    num: int
    seed: int
    split: str
    compat: str
    latent: str = "prior"
    components: int | None = None


def evaluate_run(run: Model, data: Dataset, choice: Choice, asked: BinarizationRule) -> dict[str, Any]:
    """Draws from a run and measures what it draws and what it reconstructs, cells decided as asked for."""
    drawn = requested_latent(run, choice.latent, choice.components)
    rule = drawn.calibrated(asked)
    training = run.data()
    held_out = _choose(data, choice.split, choice)
    codes = run.sampler.encode(unpack(held_out.packed))
    sets = {
        "generated": PhraseSet(_decode(run, drawn.sampler.sample_codes(choice.seed, choice.num), rule, choice.seed)),
        "reconstructed": PhraseSet(_decode(run, codes, rule, choice.seed), held_out.songs),
        "held_out": held_out,
        "training": _choose(training, "train", choice),
    }
    result = _measure(sets, training.split("train"), choice)
    result["reconstruction"] = packed_cell_scores(held_out.packed, sets["reconstructed"].packed)
    result["blame"] = measure.share_blame(result["music"])
    result["codes"] = measure.examine_codes(
        codes,
        run.sampler.sample_codes(choice.seed, choice.num),
        songs=held_out.songs,
        prior_variance=float(run.config.objective.prior_variance),
        seed=choice.seed,
        mixture=drawn.mixture,
    )
    # What was asked for makes the arm; what was found of it differs from seed to seed.
    result["provenance"] |= {
        "binarization": dataclasses.asdict(asked),
        "calibrated_binarization": dataclasses.asdict(rule),
        "checkpoint_step": run.step,
        "checkpoint_digest": run.digest,
        "training_data_digest": training.digest,
        "config": run.config.to_dict(),
        "data": data.name,
        "data_digest": data.digest,
    }
    return result | {"phrases": sets}


def evaluate_phrases(path: pathlib.Path, data: Dataset, choice: Choice) -> dict[str, Any]:
    """Measures phrases that somebody has made; the first `choice.num` of them."""
    try:
        source = open_source(path, rows=None, options=Options())
        packed = np.concatenate([chunk.rows for chunk in source.chunks])[: choice.num]
    except (SourceError, OSError) as error:
        raise RequestError(f"{path} {error}") from error
    sets = {
        "generated": PhraseSet(packed),
        "held_out": _choose(data, choice.split, choice),
        "training": _choose(data, "train", choice),
    }
    result = _measure(sets, data.split("train"), choice)
    result["provenance"] |= {
        "phrases": str(path),
        "phrases_sha256": source.sha256,
        "data": data.name,
        "data_digest": data.digest,
    }
    return result | {"phrases": sets}


def _measure(sets: Mapping[str, PhraseSet], all_training: PackedPhrases, choice: Choice) -> dict[str, Any]:
    """What runs and loose phrases have in common."""
    songs = sets["held_out"].songs
    if songs is not None and len(np.unique(songs)) < 2:
        raise RequestError(
            f"the {choice.split} split has {len(songs)} phrases of one song; expected at least two songs, since how "
            "far music differs from music is measured between them"
        )
    compat = measure.measure_music(sets, seed=choice.seed, compat=choice.compat) if choice.compat else {}
    return {
        "all_training": all_training,
        "format": "wae_jax evaluation",
        "format_version": 1,
        "provenance": {
            **dataclasses.asdict(choice),
            "versions": {
                "wae_jax": wae_jax.__version__,
                "jax": jax.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        "sets": {
            name: {
                "phrases": len(each.packed),
                "songs": None if each.songs is None else len(np.unique(each.songs)),
            }
            for name, each in sets.items()
        },
        "music": measure.measure_music(sets, seed=choice.seed),
        "music_compat": compat,
        "note_lengths": measure.count_note_lengths(sets),
        "distribution": measure.compare_distributions(sets, seed=choice.seed),
        # Not only those of the training phrases that were measured: a copy may be of any.
        "copies": measure.find_copies({**sets, "training": PhraseSet(all_training)}, num_threads=default_workers()),
    }


def _choose(data: Dataset, split: str, choice: Choice) -> PhraseSet:
    """Up to so many random phrases of a split, in their order there."""
    if split not in data.splits:
        raise RequestError(f"{data.name} has no {split} split; it has {', '.join(data.splits)}")
    rows, songs = data.split(split), data.songs(split)
    chosen = np.sort(np.random.default_rng(choice.seed).permutation(len(rows))[: choice.num])
    return PhraseSet(np.asarray(rows[chosen]), None if songs is None else songs[chosen])


def _decode(run: Model, codes: np.ndarray, rule: BinarizationRule, seed: int) -> PackedPhrases:
    """Codes to phrases, a part at a time."""
    parts = []
    for start in range(0, len(codes), _PHRASES_AT_A_TIME):
        probabilities = run.sampler.decode(codes[start : start + _PHRASES_AT_A_TIME])
        parts.append(pack(binarize(probabilities, rule, seed=seed + start)))
    return np.concatenate(parts)


def to_json(value: Any) -> Any:
    """The value as JSON knows it: lists for arrays, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(name): to_json(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(result: dict[str, Any], output: pathlib.Path, workdir: str | None) -> dict[str, Any]:
    """Writes evaluation.json and report.html; returns the former's content."""
    # Here, since matplotlib takes a second to import.
    from wae_jax.evaluation import report

    sets = result.pop("phrases")
    # Rows of copies count in the whole split.
    sets["training"] = PhraseSet(result.pop("all_training"))
    content = to_json(result)
    output.mkdir(parents=True, exist_ok=True)
    with whole_file(output / RESULT_FILE) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    page = report.make_report(content, sets, workdir=None if workdir is None else pathlib.Path(workdir))
    with whole_file(output / REPORT_FILE) as part:
        part.write_text(page, encoding="utf-8")
    return content


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.compare:
        print(comparison.compare([pathlib.Path(each) for each in arguments.compare], RESULT_FILE))
        return
    choice = Choice(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Choice)})
    data = load_dataset(arguments.data) if arguments.data else None
    if arguments.phrases:
        if data is None:
            raise RequestError("--phrases needs --data, a folder made by build_dataset, to compare with")
        output = pathlib.Path(arguments.output)
        result = evaluate_phrases(pathlib.Path(arguments.phrases), data, choice)
    else:
        output = pathlib.Path(arguments.output)
        run = load(arguments.workdir, arguments.checkpoint)
        result = evaluate_run(run, data or run.data(), choice, requested_rule(arguments, run.config.binarization))
    content = _write(result, output, arguments.workdir)
    print(format_table(content))
    print(f"wrote {output / RESULT_FILE} and {output / REPORT_FILE}")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wae_jax.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", help="folder of a trained run")
    what.add_argument("--phrases", metavar="FILE", help="phrases to judge: what build_dataset reads")
    what.add_argument("--compare", nargs="+", metavar="WORKDIR", help="runs that have been evaluated")
    parser.add_argument("--data", help="folder made by build_dataset to compare with (default: the run's own)")
    parser.add_argument("--split", default="valid", help="its split that holds the held-out phrases (default valid)")
    add_checkpoint_flag(parser)
    # Statistics of fewer than eight phrases say nothing.
    add_sampling_flags(parser, num=2048, min_num=8)
    add_latent_flags(parser)
    parser.add_argument("--compat", choices=("musegan",), default="", help="read metrics as published code does")
    parser.add_argument("--output", help="folder to write to (default: evaluation in the work folder)")
    arguments = parser.parse_args(argv)
    check_latent_flags(parser, arguments)
    if arguments.latent != "prior" and not arguments.workdir:
        parser.error("--latent says what a run draws from; expected --workdir with it")
    if arguments.output is None and not arguments.compare:
        # As text, which may be an address.
        of_run = arguments.workdir and f"{arguments.workdir.rstrip('/')}/evaluation"
        arguments.output = of_run or f"{os.path.splitext(arguments.phrases)[0]}.evaluation"
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command(_evaluate, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
