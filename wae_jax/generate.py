"""Music from a trained run: `python -m wae_jax.generate --workdir runs/gan --output music --num 64`.

--mode=draw          decodes draws from the prior
--mode=reconstruct   encodes and decodes phrases of the run's validation data, originals beside them
--mode=interpolate   walks from one of these phrases to the next through latent space
--mode=encode        writes the codes of these phrases, and which rows of the validation split they are
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from wae_jax.command_line import RequestError, add_sampling_flags, check_sampling_flags, exit_status
from wae_jax.latent_paths import slerp
from wae_jax.metrics.table import music_table
from wae_jax.phrase_files import write_phrases
from wae_jax.pianoroll import Codes, Rolls, unpack
from wae_jax.sampling import binarize
from wae_jax.trained_run import Run, load_run

_INTERPOLATION_STEPS = 8


@dataclasses.dataclass(frozen=True)
class Phrases:
    """What a mode makes.

    Attributes:
      codes: one a phrase.
      rows: the rows of the validation split that the codes are of, where they are of any.
      originals: the phrases in these rows.
    """

    codes: Codes
    rows: Int64[np.ndarray, " B"] | None = None
    originals: Rolls | None = None


def draw(run: Run, num: int, seed: int) -> Phrases:
    """Draws from the prior, unselected."""
    return Phrases(run.sampler.draw(seed, num))


def reconstruct(run: Run, num: int, seed: int) -> Phrases:
    """Codes of random phrases of the validation split, and these phrases."""
    rows = run.phrases("valid")
    if num > len(rows):
        raise RequestError(f"--num is {num}; the run's validation split has {len(rows)} phrases")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:num])
    originals = unpack(np.asarray(rows[chosen]))
    return Phrases(run.sampler.encode(originals), chosen, originals)


def interpolate(run: Run, num: int, seed: int) -> Phrases:
    """Codes along great circles between random phrases of the validation split, eight steps from one to the next."""
    num_ends = -(-num // _INTERPOLATION_STEPS) + 1
    ends = reconstruct(run, num_ends, seed).codes
    steps = np.arange(num) / _INTERPOLATION_STEPS
    return Phrases(np.stack([slerp(ends[int(step)], ends[int(step) + 1], step % 1.0) for step in steps]))


MODES: dict[str, Callable[[Run, int, int], Phrases]] = {
    "draw": draw,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
    "encode": reconstruct,
}


def generate(arguments: argparse.Namespace) -> None:
    """Does what the command line asks for.

    Raises:
      RequestError, WorkdirError, CheckpointError, DatasetError, ConfigError, OSError: with what is wrong.
    """
    output = pathlib.Path(arguments.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())) and not arguments.overwrite:
        raise RequestError(f"{output} exists and is not an empty folder; choose another, or pass --overwrite")
    run = load_run(arguments.workdir, arguments.checkpoint)
    phrases = MODES[arguments.mode](run, arguments.num, arguments.seed)
    print(f"{arguments.workdir}: step {run.step}, checkpoint {run.digest[:12]}")
    output.mkdir(parents=True, exist_ok=True)
    np.save(output / "codes.npy", phrases.codes)
    if phrases.rows is not None:
        np.save(output / "rows.npy", phrases.rows)
    if arguments.mode == "encode":
        print(f"wrote the codes of {len(phrases.codes)} phrases to {output / 'codes.npy'}")
        return
    probabilities = run.sampler.decode(phrases.codes)
    rolls = binarize(probabilities, method=arguments.binarize, threshold=arguments.threshold, seed=arguments.seed)
    options: dict[str, Any] = {
        "tempo": arguments.tempo,
        "audio": arguments.audio,
        "pictures": arguments.pictures,
    }
    write_phrases(output, rolls, probabilities=probabilities if arguments.probabilities else None, **options)
    sets = {arguments.mode: rolls}
    if phrases.originals is not None:
        write_phrases(output / "originals", phrases.originals, **options)
        sets["originals"] = phrases.originals
    sets["training data"] = unpack(np.asarray(run.phrases("train")[:2048]))
    print(music_table(sets))
    print(f"wrote {len(rolls)} phrases to {output}")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wae_jax.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", required=True, help="folder of a trained run")
    parser.add_argument("--output", required=True, help="folder to write to")
    parser.add_argument("--mode", choices=MODES, default="draw")
    add_sampling_flags(parser, num=64)
    parser.add_argument("--probabilities", action="store_true", help="write the probabilities too")
    parser.add_argument("--tempo", type=float, default=100.0, help="bpm (default 100)")
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="no sound files")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="no pictures")
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty, over files of the same names"
    )
    arguments = parser.parse_args(argv)
    check_sampling_flags(parser, arguments)
    if not 10 <= arguments.tempo <= 1000:
        parser.error(f"--tempo is {arguments.tempo}; expected 10 to 1000 bpm")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return exit_status(generate, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
