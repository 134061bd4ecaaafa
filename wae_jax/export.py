"""A trained run in one small file: `python -m wae_jax.export --workdir runs/gan --output model.npz`.

Whatever takes the folder of a trained run takes such a file too. Its kernels have 16 bits; the table that is printed
shows what that changes: reconstructions of validation phrases and draws of the prior by the run and by the file.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from wae_jax.command_line.run_flags import add_checkpoint_flag, exit_status
from wae_jax.config import BinarizationRule
from wae_jax.errors import RequestError
from wae_jax.generation.binarization import binarize
from wae_jax.generation.export_file import save_portable
from wae_jax.generation.model import load_run, open_run
from wae_jax.generation.sampling import Sampler
from wae_jax.metrics.reconstruction import packed_cell_scores
from wae_jax.pianoroll import Codes, PackedPhrases, Probabilities, pack, unpack

_DRAWS = 256


def compare(original: Sampler, small: Sampler, phrases: PackedPhrases, *, rule: BinarizationRule, seed: int) -> str:
    """What a model's 16 bits change, as a table.

    Args:
      original: the run.
      small: the run from its file.
      phrases: packed validation phrases, [B, 10080].
      rule: which cells sound.
      seed: of the draws.
    """

    def decoded(sampler: Sampler, codes: Codes) -> tuple[Probabilities, PackedPhrases]:
        probabilities = sampler.decode(codes)
        return probabilities, pack(binarize(probabilities, rule, seed=seed))

    rolls = unpack(np.asarray(phrases))
    lines = [f"{'validation phrases':30}{len(rolls):>12,}", f"{'':30}{'run':>12}{'file':>12}"]
    scores = []
    for sampler in (original, small):
        scores.append(packed_cell_scores(phrases, decoded(sampler, sampler.encode(rolls))[1]))
    lines += [f"{name:30}" + "".join(f"{score[name]:12.5f}" for score in scores) for name in scores[0]]
    codes = original.sample_codes(seed, _DRAWS)
    (exact, run_cells), (rounded, file_cells) = decoded(original, codes), decoded(small, codes)
    same = packed_cell_scores(run_cells, file_cells)["f1"]
    lines.append(f"{f'F1 between {_DRAWS} draws of both':30}{same:24.5f}")
    lines.append(f"{'largest change of probability':30}{float(np.abs(exact - rounded).max()):24.5f}")
    return "\n".join(lines)


def export(arguments: argparse.Namespace) -> None:
    """Does what the command line asks for.

    Raises:
      RequestError, WorkdirError, CheckpointError, DatasetError, ConfigError, OSError: with what is wrong.
    """
    output = pathlib.Path(arguments.output)
    if output.is_dir():
        raise RequestError(f"{output} is a folder; expected the name of a file, such as {output / 'model.npz'}")
    if output.exists() and not arguments.overwrite:
        raise RequestError(f"{output} exists; choose another name, or pass --overwrite")
    run = load_run(arguments.workdir, arguments.checkpoint)
    rule = run.own_rule()
    output.parent.mkdir(parents=True, exist_ok=True)
    digest = save_portable(
        output,
        run.config,
        run.variables,
        step=run.step,
        source_digest=run.digest,
        track_statistics=run.statistics(),
    )
    print(f"{arguments.workdir}: step {run.step}, checkpoint {run.digest[:12]}")
    print(f"wrote {output}, {output.stat().st_size / 1e6:.2f} MB, digest {digest}")
    phrases = np.asarray(run.phrases("valid")[: arguments.num])
    print(compare(run.sampler, open_run(str(output)).sampler, phrases, rule=rule, seed=0))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wae_jax.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True, help="folder of a trained run")
    parser.add_argument("--output", required=True, help="the file to write, such as model.npz")
    add_checkpoint_flag(parser)
    parser.add_argument("--num", type=int, default=512, help="validation phrases to compare with (default 512)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")
    arguments = parser.parse_args(argv)
    if arguments.num < 1:
        parser.error(f"--num is {arguments.num}; expected at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return exit_status(export, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
