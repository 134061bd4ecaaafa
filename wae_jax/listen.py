"""Listen to a model, and have others listen.

page     one HTML file with samples, reconstructions and more to hear, see and save
survey   one HTML file on which listeners compare models and real music, blindly
score    what they preferred, from the results files that they handed in
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from wae_jax.command_line.command import (
    LARGEST_SEED,
    check_output,
    in_this_program,
    local_path,
    make_parser,
    number,
    path,
    run_command,
    run_program,
    whole_number,
)
from wae_jax.command_line.model_flags import (
    add_checkpoint_flag,
    add_model_flags,
    add_prior_flag,
    add_sampling_flags,
    open_model,
    requested_rule,
)
from wae_jax.data.dataset import load_dataset
from wae_jax.data.load import local_dataset
from wae_jax.errors import naming_alternative
from wae_jax.files import whole_file
from wae_jax.listening.document import save_page
from wae_jax.listening.page import write_run_page
from wae_jax.listening.survey.page import load_models, make_survey, make_survey_page
from wae_jax.listening.survey.results import collect
from wae_jax.listening.survey.score import format_scores, score, to_json
from wae_jax.pianoroll import DEFAULT_TEMPO

_PAGE = "The listening page: one HTML file that plays and shows what a model makes."
_SURVEY = """A blind survey: one HTML file on which listeners compare models and real music.

Give the file to listeners, by mail or from any web server. They hear pairs of clips without knowing
their sources, after one pair for practice; some pairs are of music and noise, to find those who do
not listen. At the end they save a results file and hand it in; `listen score` reports what they
preferred.
"""
_SCORE = """The scores of a survey: preferences, strengths and ratings, with intervals.

The files are those saved by the survey's page; they contain the answer key. Files that are
damaged, incomplete, of another survey or superseded by a later one of the same listener are
skipped, with the reason. Listeners who fail the attention checks are dropped, by the rule that the
page's first screen states.
"""
_EXAMPLES = {
    "page": (
        "python -m wae_jax.listen page --output page.html",
        "python -m wae_jax.listen page --workdir runs/gan --num 64 --output page.html",
        "python -m wae_jax.listen page --workdir runs/gan --seed 7 --prior normal --output page.html",
    ),
    "survey": (
        "python -m wae_jax.listen survey --runs runs/gan runs/mmd --output survey.html",
        "python -m wae_jax.listen survey --runs runs/gan runs/mmd --real data/lpd5 --output survey.html",
        "python -m wae_jax.listen survey --runs runs/gan runs/mmd --num 20 --output survey.html",
    ),
    "score": (
        "python -m wae_jax.listen score results/*.json",
        "python -m wae_jax.listen score results/*.json --output scores.json",
        "python -m wae_jax.listen score anna.json ben.json --seed 1",
    ),
}
# Options of each subcommand that its --help shows; of "score" all.
_COMMON = {
    "page": ("--workdir", "--output", "--num", "--seed", "--prior", "--tempo"),
    "survey": ("--runs", "--real", "--split", "--output", "--num", "--seed", "--checks", "--max-failed-checks"),
}


def _add_page_flags(parser: argparse.ArgumentParser) -> None:
    add_model_flags(parser)
    parser.add_argument("--output", type=path, required=True, help="the HTML file to write")
    add_sampling_flags(parser, num=64)
    add_prior_flag(parser)
    parser.add_argument(
        "--tempo", type=number(40, 240, "bpm"), default=DEFAULT_TEMPO, help="initial tempo in bpm (default 100)"
    )


def _write_page(arguments: argparse.Namespace) -> None:
    output = check_output(arguments.output, is_folder=False)
    model = open_model(arguments)
    size = write_run_page(
        model,
        output,
        source=arguments.workdir,
        num=arguments.num,
        seed=arguments.seed,
        rule=model.calibrated(requested_rule(arguments, model.config.binarization)),
        tempo=arguments.tempo,
    )
    print(f"wrote {output}, {size / 1e6:.1f} MB: open it in a browser")


def _add_survey_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=path, nargs="+", required=True, help="workdirs, or exported models")
    parser.add_argument(
        "--real", type=path, help="dataset made by build_dataset with real music (default: the first run's)"
    )
    parser.add_argument("--split", default="valid", help="its split (default valid)")
    parser.add_argument("--output", type=path, required=True, help="the HTML file to write")
    add_checkpoint_flag(parser)
    add_sampling_flags(parser, num=40)
    parser.add_argument(
        "--checks", type=int, help="pairs of music and noise (default: one for every ten pairs, at least 2)"
    )
    parser.add_argument(
        "--max-failed-checks", type=int, help="listeners who fail more are not counted (default: a quarter)"
    )


def _write_survey(arguments: argparse.Namespace) -> None:
    output = check_output(arguments.output, is_folder=False)
    models = load_models(arguments.runs, arguments.checkpoint)
    real = load_dataset(local_dataset(arguments.real)) if arguments.real else None
    with naming_alternative("--real with other music"):
        real = real or next(iter(models.values())).data()
    survey = make_survey(
        models,
        real,
        split=arguments.split,
        num=arguments.num,
        num_checks=arguments.checks,
        max_failed_checks=arguments.max_failed_checks,
        seed=arguments.seed,
        rules={name: requested_rule(arguments, model.config.binarization) for name, model in models.items()},
    )
    size = save_page(make_survey_page(survey), output)
    key = survey.key
    print(f"survey {key.survey_id} of {', '.join(key.sources)}: {arguments.num} pairs, {len(key.check_numbers)} checks")
    print(f"rule: {key.rule}")
    if survey.num_repeated:
        print(f"{survey.num_repeated} clips of real music are repeated, since {real.name} has too few")
    print(f"wrote {output}, {size / 1e6:.1f} MB: give it to listeners, and score the files that they save")


def _add_score_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", type=local_path, nargs="+", metavar="FILE", help="results files saved by the survey's page"
    )
    parser.add_argument("--output", type=path, help="a JSON file to write, with all numbers")
    parser.add_argument(
        "--seed", type=whole_number(0, LARGEST_SEED), default=0, help="seed of the bootstrap over listeners"
    )


def _score(arguments: argparse.Namespace) -> None:
    output = check_output(arguments.output, is_folder=False) if arguments.output else None
    scores = score(collect(arguments.results), seed=arguments.seed)
    print(format_scores(scores))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(output) as part:
            part.write_text(json.dumps(to_json(scores), indent=1) + "\n", encoding="utf-8")
        print(f"\nwrote {output}")


# By name: the description for --help, the function that adds flags to a parser, and the one that runs the subcommand.
COMMANDS = {
    "page": (_PAGE, _add_page_flags, _write_page),
    "survey": (_SURVEY, _add_survey_flags, _write_survey),
    "score": (_SCORE, _add_score_flags, _score),
}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser("listen", __doc__, examples=[lines[0] for lines in _EXAMPLES.values()])
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, (description, add_flags, run) in COMMANDS.items():
        text, *examples = in_this_program("listen", [description, *_EXAMPLES[name]])
        subparser = subparsers.add_parser(name, description=text, examples=examples, common=_COMMON.get(name, ()))
        add_flags(subparser)
        subparser.set_defaults(run=run)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = parse_arguments(argv)
    return run_command(arguments.run, arguments)


if __name__ == "__main__":
    run_program(main)
