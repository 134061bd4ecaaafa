"""Music from a trained run: `python -m wae_jax.generate --output music` for the run that ships with the package.

--mode=sample          decodes draws from the prior, or from what --latent says
--mode=reconstruct   encodes and decodes phrases of the run's validation data, originals beside them
--mode=interpolate   walks from one of these phrases to the next through latent space; or from --from to --to
--mode=encode        writes the codes of validation phrases, and which rows of the validation split they are
--mode=vary          four bars of --input, and variations at growing distance
--mode=continue      a longer piece without silent bars, from --input on where it is given
--mode=accompany     the tracks --keep of --input as they are, with other tracks found for them
--mode=edit          draws, or four bars of --input, with each --attribute changed

Music of one's own is a MIDI file, a Multitrack of pypianoroll, or phrases as npz or npy, as `build_dataset` reads them.
How faithful the music is stands in a table that is printed, and in report.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wae_jax.command_line.mode_flags import MODES, add_mode_flags, asked_for, check_mode_flags, make_request
from wae_jax.command_line.run_flags import (
    add_latent_flags,
    add_run_flags,
    add_sampling_flags,
    asked_run,
    check_latent_flags,
    check_sampling_flags,
    exit_status,
    requested_rule,
)
from wae_jax.command_line.sound_flags import add_sound_flags, check_sound_flags, requested_audio
from wae_jax.errors import DatasetError, RequestError
from wae_jax.files import whole_file
from wae_jax.generation.binarization import describe as describe_rule
from wae_jax.generation.model import Model, open_run
from wae_jax.generation.modes.basic import Phrases, Request
from wae_jax.listening.page import write_page
from wae_jax.listening.sections import sections_of_phrases
from wae_jax.metrics.table import music_table
from wae_jax.pianoroll import unpack
from wae_jax.render.audio import describe, missing_parts
from wae_jax.render.phrase_files import write_phrases

PAGE = "listen.html"


def generate(arguments: argparse.Namespace) -> None:
    """Does what the command line asks for; writes nothing before all is made.

    Raises:
      RequestError, WorkdirError, CheckpointError, DatasetError, ConfigError, OSError: with what is wrong.
    """
    output = pathlib.Path(arguments.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())) and not arguments.overwrite:
        raise RequestError(f"{output} exists and is not an empty folder; choose another, or pass --overwrite")
    audio = requested_audio(arguments)
    request = make_request(arguments)
    run = asked_run(open_run(arguments.workdir, arguments.checkpoint), arguments.latent, arguments.components)
    request = dataclasses.replace(request, rule=run.calibrated(requested_rule(arguments, run.config.binarization)))
    name = arguments.workdir if arguments.workdir else "the run that ships with wae_jax"
    phrases = MODES[arguments.mode].make(run, request)
    print(f"{name}: step {run.step}, checkpoint {run.digest[:12]}")
    if phrases.rolls is not None:
        print(f"active cells are {describe_rule(request.rule)}")

    output.mkdir(parents=True, exist_ok=True)
    np.save(output / "codes.npy", phrases.codes)
    if phrases.rows is not None:
        np.save(output / "rows.npy", phrases.rows)
    if phrases.rolls is None:
        print(f"wrote the codes of {len(phrases.codes)} phrases to {output / 'codes.npy'}")
        return
    sound = None if audio is None or missing_parts(audio) else describe(audio)
    options: dict[str, Any] = {
        "tempo": arguments.tempo,
        "programs": arguments.programs,
        "audio": audio,
        "pictures": arguments.pictures,
    }
    probabilities = phrases.probabilities if arguments.probabilities else None
    write_phrases(output, phrases.rolls, probabilities=probabilities, names=phrases.names, **options)
    sets = {arguments.mode: phrases.rolls}
    if phrases.originals is not None:
        write_phrases(output / "originals", phrases.originals, names=phrases.original_names, **options)
        sets["originals"] = phrases.originals
    asked = {name: getattr(arguments, name) for name in ("num", "seed", "latent", "components")}
    asked |= {"binarization": dataclasses.asdict(request.rule)} | asked_for(arguments)
    _write_report(output / "report.json", asked, name, run, phrases, sound)
    try:
        sets["training data"] = unpack(np.asarray(run.phrases("train")[:2048]))
        if arguments.page:
            _write_page(output / PAGE, arguments, request, run, phrases)
    except DatasetError as error:
        # A run in one file may have left its data behind.
        print(f"without training data in the table below, and without a page to listen: {error}")
    print(music_table(sets))
    if phrases.table:
        print(f"\n{phrases.table}\n")
    if sound is not None:
        print(f"sound by {sound}")
    print(f"wrote {len(phrases.rolls)} phrases to {output}")
    if (output / PAGE).is_file():
        print(f"to listen, open {output / PAGE} in a browser")


def _write_page(
    path: pathlib.Path, arguments: argparse.Namespace, request: Request, run: Model, phrases: Phrases
) -> None:
    """Writes the listening page of what was made; says so where there would be too much for one."""
    assert phrases.rolls is not None
    sections = sections_of_phrases(
        arguments.mode,
        phrases.rolls,
        phrases.names,
        originals=phrases.originals,
        original_names=phrases.original_names,
    )
    asked = {name: getattr(arguments, name) for name in ("num", "seed", "latent")} | asked_for(arguments)
    try:
        write_page(
            run,
            path,
            sections,
            source=arguments.workdir,
            rule=request.rule,
            tempo=arguments.tempo,
            **asked,
        )
    except RequestError as error:
        print(f"no page to listen: {error}")


def _write_report(
    path: pathlib.Path, asked: Mapping[str, Any], name: str, run: Model, phrases: Phrases, sound: str | None
) -> None:
    """Writes what was asked for, of which run, and how faithful the outcome is."""
    content = {
        "run": {"source": name, "step": run.step, "digest": run.digest},
        "asked": dict(asked),
        "sound": sound,
        **phrases.report,
    }
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wae_jax.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_flags(parser)
    parser.add_argument("--output", required=True, help="folder to write to")
    add_sampling_flags(parser, num=None)
    add_latent_flags(parser)
    parser.add_argument("--probabilities", action="store_true", help="write the probabilities too")
    add_sound_flags(parser)
    parser.add_argument("--no-page", dest="page", action="store_false", help=f"no page to listen, {PAGE}")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="no pictures")
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty, over files of the same names"
    )
    add_mode_flags(parser)
    arguments = parser.parse_args(argv)
    check_mode_flags(parser, arguments)
    check_sampling_flags(parser, arguments)
    check_latent_flags(parser, arguments)
    check_sound_flags(parser, arguments)
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return exit_status(generate, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
