"""Writes a trained model to one small file: `python -m wae_jax.export --workdir runs/gan --output model.npz`.

Every command that reads a workdir reads such a file too. Its kernels have 16 bits; the table that is printed compares
it with the original, on reconstructions of validation phrases and on samples of the prior.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from wae_jax.command_line.command import check_output, make_parser, path, run_command, run_program, whole_number
from wae_jax.command_line.model_flags import add_checkpoint_flag
from wae_jax.errors import RequestError
from wae_jax.generation.export_file import write_model
from wae_jax.generation.load import load
from wae_jax.generation.model import Model
from wae_jax.metrics.reconstruction import packed_cell_scores
from wae_jax.pianoroll import Codes, PackedPhrases, pack, unpack

_SEED = 0
_NUM_SAMPLES = 256


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
    """Writes the file, and prints the table. Raises UserError and OSError."""
    output = check_output(arguments.output, is_folder=False)
    if output.exists() and not arguments.overwrite:
        raise RequestError(f"{output} exists; choose another name, or pass --overwrite")
    model = load(arguments.workdir, arguments.checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    digest = write_model(output, model)
    print(f"{arguments.workdir}: step {model.step}, checkpoint {model.digest[:12]}")
    print(f"wrote {output}, {output.stat().st_size / 1e6:.2f} MB, digest {digest}")
    print(compare(model, load(output), np.asarray(model.phrases("valid")[: arguments.num])))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser("export", __doc__)
    parser.add_argument("--workdir", type=path, required=True, help="workdir of a run, or an exported file")
    parser.add_argument("--output", type=path, required=True, help="the file to write, such as model.npz")
    add_checkpoint_flag(parser)
    parser.add_argument("--num", type=whole_number(1), default=512, help="validation phrases (default 512)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(export, parse_arguments(argv))


if __name__ == "__main__":
    run_program(main)
