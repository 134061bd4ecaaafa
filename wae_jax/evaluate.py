"""Measures a trained model, or any phrases, against held-out music.

Prints the most telling metrics, and writes evaluation.json, with all metrics and their
intervals, and report.html to `evaluation` in the workdir, or to --output. --compare prints a table
of evaluated runs: runs that differ only in the seed are one arm; arms are compared seed by seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
from collections.abc import Sequence

from wae_jax.command_line.command import check_output, local_path, make_parser, path, run_command, run_program
from wae_jax.command_line.model_flags import (
    ONLY_WITH_MODEL,
    add_checkpoint_flag,
    add_prior_flag,
    add_sampling_flags,
    requested_rule,
)
from wae_jax.data.dataset import load_dataset
from wae_jax.data.load import local_dataset
from wae_jax.errors import RequestError, naming_alternative
from wae_jax.evaluation.comparison import compare
from wae_jax.evaluation.evaluate_model import EvaluationSpec, evaluate_model, evaluate_phrases
from wae_jax.evaluation.table import RESULT_FILE, format_table, write_evaluation
from wae_jax.files import whole_file
from wae_jax.generation.load import SHIPPED_NAME, load_with_path
from wae_jax.remote import is_url, local_copy

REPORT_FILE = "report.html"
_COMMON = ("--workdir", "--phrases", "--compare", "--data", "--split", "--num", "--seed", "--prior", "--output")
_EXAMPLES = (
    "python -m wae_jax.evaluate --workdir runs/gan",
    "python -m wae_jax.evaluate --phrases mine.npz --data data/lpd5 --output mine_evaluated",
    "python -m wae_jax.evaluate --compare runs/gan runs/mmd",
)
_MIN_NUM = 8  # statistics of fewer phrases say nothing


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.compare:
        print(compare([local_copy(each) for each in arguments.compare]))
        return
    output = check_output(arguments.output, is_folder=True)
    spec = EvaluationSpec(
        **{field.name: getattr(arguments, field.name) for field in dataclasses.fields(EvaluationSpec)}
    )
    data = load_dataset(local_dataset(arguments.data)) if arguments.data else None
    workdir = None
    if arguments.workdir:
        model, workdir = load_with_path(arguments.workdir, arguments.checkpoint)
        rule = requested_rule(arguments, model.config.binarization)
        with naming_alternative("--data with other music"):
            data = data or model.data()
        evaluation = evaluate_model(model, data, spec, rule)
    elif data is None:
        raise RequestError("--phrases needs --data, a folder made by build_dataset, to compare with")
    else:
        evaluation = evaluate_phrases(pathlib.Path(arguments.phrases), data, spec)
    content = write_evaluation(output, evaluation.content)
    written = [output / RESULT_FILE]
    if arguments.report == "html":
        # Here, since matplotlib takes a second to import.
        from wae_jax.evaluation.report import make_report

        written.append(output / REPORT_FILE)
        with whole_file(written[-1]) as part:
            name = arguments.workdir or arguments.phrases
            part.write_text(make_report(content, evaluation.sets, name=name, workdir=workdir), encoding="utf-8")
    print(format_table(content))
    if "copies" not in content:
        print("without training music and near copies, since the training data of the model are missing")
    print(f"wrote {' and '.join(map(str, written))}")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser("evaluate", __doc__, common=_COMMON, examples=_EXAMPLES)
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument(
        "--workdir",
        type=path,
        help="a run, what `export` wrote, or hf://user/name",
    )
    subject.add_argument(
        "--phrases", type=local_path, metavar="FILE", help="phrases to measure, in any format that build_dataset reads"
    )
    subject.add_argument("--compare", type=path, nargs="+", metavar="WORKDIR", help="evaluated runs")
    parser.add_argument(
        "--data", type=path, help="folder made by build_dataset to compare with (default: the model's own data)"
    )
    parser.add_argument("--split", default="valid", help="its split that holds the held-out phrases (default valid)")
    add_checkpoint_flag(parser)
    add_sampling_flags(parser, num=2048, min_num=_MIN_NUM)
    add_prior_flag(parser)
    parser.add_argument(
        "--compat",
        choices=("musegan",),
        default="",
        help="also compute metrics as published code does, errors included",
    )
    parser.add_argument(
        "--output", type=path, help="folder to write to (default: evaluation in the workdir, or NAME.evaluation)"
    )
    parser.add_argument(
        "--report", choices=("html", "none"), default="html", help="report.html with pictures, or none (8 s less)"
    )
    arguments = parser.parse_args(argv)
    given = [name for name, value in vars(arguments).items() if value != parser.get_default(name)]
    if arguments.compare and (
        others := [ONLY_WITH_MODEL.get(name, f"--{name}") for name in given if name != "compare"]
    ):
        parser.error(f"{', '.join(others)} does not apply to --compare, which compares what evaluations have written")
    if arguments.phrases and (others := [flag for name, flag in ONLY_WITH_MODEL.items() if name in given]):
        parser.error(f"{', '.join(others)} applies only to a model; expected --workdir with it")
    if arguments.output is None and not arguments.compare:
        arguments.output = _default_output(arguments)
    return arguments


def _default_output(arguments: argparse.Namespace) -> str:
    is_run = arguments.workdir and arguments.workdir != SHIPPED_NAME and not is_url(arguments.workdir)
    if is_run and not os.path.isfile(arguments.workdir):
        return os.path.join(arguments.workdir, "evaluation")
    path = (arguments.workdir or arguments.phrases).rstrip("/")
    # Nothing is written at a URL.
    return f"{os.path.splitext(os.path.basename(path) if is_url(path) else path)[0]}.evaluation"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(_evaluate, parse_arguments(argv))


if __name__ == "__main__":
    run_program(main)
