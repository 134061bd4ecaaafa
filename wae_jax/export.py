"""Writes a trained model to a file or a folder that opens anywhere, or to the Hugging Face Hub.

An output that ends in .npz is one file; any other is a folder with model.safetensors, config.json
and a model card, README.md, as model hubs have them. All commands read both, and hf://user/name, as
--workdir. Kernels have 16 bits; the table that is printed compares the model with the original, on
reconstructions of validation phrases and on samples.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wae_jax.command_line.command import check_output, make_parser, path, run_command, run_program, whole_number
from wae_jax.command_line.model_flags import add_checkpoint_flag
from wae_jax.errors import CompareError, DatasetError, RequestError
from wae_jax.evaluation.model_card import CARD_FILE, CardFacts, make_model_card
from wae_jax.evaluation.table import read_evaluation
from wae_jax.files import whole_file
from wae_jax.generation.export_file import write_model
from wae_jax.generation.export_folder import is_export_folder, write_model_folder
from wae_jax.generation.load import SHIPPED_NAME, load, load_with_path, training_data_of_shipped
from wae_jax.generation.model import Model
from wae_jax.hub import DESCRIPTION_FILE, WEIGHTS_FILE, check_hub, is_hub_url, parse_hub_url, upload
from wae_jax.metrics.reconstruction import packed_cell_scores
from wae_jax.pianoroll import Codes, PackedPhrases, pack, unpack
from wae_jax.programs import how_to_run
from wae_jax.remote import local_copy

_SEED = 0
_NUM_SAMPLES = 256
_FILE_SUFFIX = ".npz"
# The weights have the license of the package.
_FACTS_OF_SHIPPED = {"license": "apache-2.0", "data_license": "that of each source, as listed"}
# By their names in the parsed arguments.
_CARD_FLAGS = {
    "license": "--license",
    "data_license": "--data-license",
    "data_description": "--data-description",
    "datasets": "--dataset",
    "evaluation": "--evaluation",
}


def compare(original: Model, exported: Model, phrases: PackedPhrases) -> str:
    """A table of the differences between a model and its exported version, both with the rule of the original."""

    def decode(model: Model, codes: Codes) -> PackedPhrases:
        return pack(original.binarize(model.decode(codes), seed=_SEED))

    rolls = unpack(np.asarray(phrases))
    first, second = (packed_cell_scores(phrases, decode(model, model.encode(rolls))) for model in (original, exported))
    codes = original.sample_codes(_SEED, _NUM_SAMPLES)
    f1 = packed_cell_scores(decode(original, codes), decode(exported, codes))["f1"]
    change = float(np.abs(original.decode(codes) - exported.decode(codes)).max())
    return "\n".join(
        [
            f"{'validation phrases':30}{len(rolls):>12,}",
            f"{'':30}{'original':>12}{'exported':>12}",
            *(f"{name:30}{first[name]:12.5f}{second[name]:12.5f}" for name in first),
            f"{f'F1 between {_NUM_SAMPLES} samples of both':30}{f1:24.5f}",
            f"{'largest change of probability':30}{change:24.5f}",
        ]
    )


def export(arguments: argparse.Namespace) -> None:
    """Writes or uploads the model, and prints the table. Raises UserError and OSError."""
    if arguments.push:
        check_hub(arguments.push)
    output = _check_output(arguments) if arguments.output else None
    model, workdir = load_with_path(arguments.workdir, arguments.checkpoint)
    print(f"{arguments.workdir}: step {model.step}, checkpoint {model.digest[:12]}")
    if output is not None and output.suffix == _FILE_SUFFIX:
        output.parent.mkdir(parents=True, exist_ok=True)
        digest = write_model(output, model)
        print(f"wrote {output}, {output.stat().st_size / 1e6:.2f} MB, digest {digest}")
        _print_comparison(model, output, arguments.num)
        return
    with contextlib.nullcontext(output) if output is not None else _temporary_folder() as folder:
        files = _write_folder(folder, model, workdir, arguments)
        _print_comparison(model, folder, arguments.num)
        if arguments.push:
            message = f"Step {model.step}, exported by wae_jax"
            address = upload(arguments.push, files, message=message, is_private=arguments.private)
            print(f"uploaded to {address}: {how_to_run('generate')} --workdir={arguments.push} --output=music")


def _check_output(arguments: argparse.Namespace) -> pathlib.Path:
    """The file or folder to write. Raises RequestError if it cannot be, or would replace something else."""
    name = arguments.output
    if is_hub_url(name):
        raise RequestError(f"--output is {name}; --push={name} uploads a model to the hub")
    is_folder = pathlib.Path(name).suffix != _FILE_SUFFIX
    output = check_output(name, is_folder=is_folder)
    if output.suffix == ".safetensors":
        raise RequestError(f"--output is {name}; expected a folder, in which {WEIGHTS_FILE} is written, or a .npz file")
    if arguments.push and not is_folder:
        raise RequestError(f"--output is {name}, but a model on the hub is a folder; expected a name without .npz")
    if is_folder and output.is_dir() and any(output.iterdir()) and not is_export_folder(output):
        raise RequestError(f"{output} holds other files, which are no exported model; expected a folder of its own")
    if output.exists() and (not is_folder or any(output.iterdir())) and not arguments.overwrite:
        raise RequestError(f"{output} exists; choose another name, or pass --overwrite")
    return output


@contextlib.contextmanager
def _temporary_folder() -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix="wae_jax_") as folder:
        yield pathlib.Path(folder)


def _write_folder(
    folder: pathlib.Path, model: Model, workdir: pathlib.Path, arguments: argparse.Namespace
) -> list[pathlib.Path]:
    """Writes model and card; returns the files."""
    description = write_model_folder(folder, model)
    # Without the folders that it is in, which are nobody's business.
    name = parse_hub_url(arguments.push).repository.rpartition("/")[2] if arguments.push else folder.resolve().name
    named = {field.name: getattr(arguments, field.name, None) for field in dataclasses.fields(CardFacts)}
    given = {key: value for key, value in named.items() if value}
    if arguments.workdir == SHIPPED_NAME:
        given = {**_FACTS_OF_SHIPPED, "data_description": training_data_of_shipped(), **given}
    facts = CardFacts(**{**given, "name": name, "source": arguments.push or name})
    evaluation = _find_evaluation(model, workdir, arguments.evaluation)
    with whole_file(folder / CARD_FILE) as part:
        part.write_text(make_model_card(model, description, evaluation, facts), encoding="utf-8")
    files = [folder / file for file in (WEIGHTS_FILE, DESCRIPTION_FILE, CARD_FILE)]
    if arguments.output:
        size = sum(file.stat().st_size for file in files) / 1e6
        print(f"wrote {folder}, {size:.2f} MB, digest {description['digest']}")
    return files


def _find_evaluation(model: Model, workdir: pathlib.Path, folder: str | None) -> dict[str, Any] | None:
    """The evaluation of the model for its card; None, which is said, if there is none of this checkpoint."""
    if folder is None and not (workdir / "evaluation").is_dir():
        print(f"no metrics on the model card: the model has not been evaluated ({how_to_run('evaluate')})")
        return None
    try:
        evaluation = read_evaluation(workdir if folder is None else local_copy(folder))
        evaluated = evaluation["provenance"].get("checkpoint_digest")
        if evaluated != model.digest:
            raise CompareError(
                f"the evaluation is of checkpoint {str(evaluated)[:12]}, and the model is {model.digest[:12]}; "
                "evaluate it again"
            )
    except CompareError as error:
        if folder is not None:
            raise
        print(f"no metrics on the model card: {error}")
        return None
    return evaluation


def _print_comparison(model: Model, output: pathlib.Path, num: int) -> None:
    try:
        phrases = np.asarray(model.phrases("valid")[:num])
    except DatasetError as error:
        print(f"not compared with the original: {error}")
        return
    print(compare(model, load(output), phrases))


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Returns a reader of text that matches a pattern."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
        return text

    return read


_COMMON = ("--workdir", "--output", "--checkpoint", "--overwrite", "--push", "--private", "--license")
_EXAMPLES = (
    "python -m wae_jax.export --workdir runs/gan --output model.npz",
    "python -m wae_jax.export --workdir runs/gan --output model",
    "python -m wae_jax.export --workdir runs/gan --push hf://user/name --license cc-by-4.0",
)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser("export", __doc__, common=_COMMON, examples=_EXAMPLES)
    parser.add_argument("--workdir", type=path, required=True, help="workdir of a run, or an exported model")
    parser.add_argument("--output", type=path, help="what to write: a file, such as model.npz, or a folder")
    add_checkpoint_flag(parser)
    parser.add_argument("--num", type=whole_number(1), default=512, help="validation phrases (default 512)")
    parser.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    hub = parser.add_argument_group("hub", "the Hugging Face Hub; needs pip install 'wae_jax[hub]' and a token")
    hub.add_argument("--push", metavar="hf://USER/NAME[@BRANCH]", help="upload the folder; a new model is made")
    hub.add_argument("--private", action="store_true", help="a model that is made can be seen by its owner alone")
    card = parser.add_argument_group("model card", "what is not given is said to be unknown")
    card.add_argument(
        "--license",
        type=_matching(r"[a-z0-9.-]+", "an identifier of the hub, such as cc-by-4.0"),
        help="of the model, as the hub abbreviates it, such as cc-by-4.0 or other",
    )
    card.add_argument("--data-license", help="of the training data, in words")
    card.add_argument("--data-description", help="what the training data are, in Markdown")
    card.add_argument(
        "--dataset",
        dest="datasets",
        action="append",
        metavar="USER/NAME",
        type=_matching(r"[\w.-]+/[\w.-]+|[\w.-]+", "the name of a dataset on the hub, such as user/name"),
        help="training data that are on the hub; may be repeated",
    )
    card.add_argument("--evaluation", type=path, help="folder of evaluate for the metrics (default: in the workdir)")
    arguments = parser.parse_args(argv)
    if not (arguments.output or arguments.push):
        parser.error("expected --output, a file or folder to write, or --push, a model on the hub")
    if arguments.private and not arguments.push:
        parser.error("--private applies only to --push")
    given = [flag for name, flag in _CARD_FLAGS.items() if getattr(arguments, name)]
    if given and (arguments.output or "").endswith(_FILE_SUFFIX):
        parser.error(f"{', '.join(given)} applies only to a folder, which has a model card")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(export, parse_arguments(argv))


if __name__ == "__main__":
    run_program(main)
