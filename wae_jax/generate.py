"""Makes music with a trained model: MIDI, sound, pictures and a page to listen.

--mode=sample        decodes codes sampled from the distribution that --prior names
--mode=reconstruct   encodes and decodes validation phrases, originals beside them
--mode=interpolate   goes from one validation phrase to the next, or from --from to --to
--mode=encode        writes the codes of all phrases of --input, or of validation phrases
--mode=decode        decodes the codes of a file, --codes, as the codes.npy that every mode writes
--mode=vary          four bars of --input, and variations of them
--mode=continue      a longer piece without silent bars, starting with --input if given
--mode=accompany     the tracks --keep of --input as they are, with other tracks found for them
--mode=edit          samples, or four bars of --input, with each --attribute changed
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wae_jax.command_line.command import check_output, make_parser, path, run_command, run_program
from wae_jax.command_line.generate_flags import (
    add_mode_flags,
    add_sound_flags,
    check_mode_flags,
    check_music_flags,
    given_files,
    given_mode_flags,
    make_request,
    read_inputs,
    requested_audio,
    requested_codes,
    requested_tempo,
)
from wae_jax.command_line.model_flags import (
    add_model_flags,
    add_prior_flag,
    add_sampling_flags,
    open_model,
    requested_rule,
)
from wae_jax.errors import DatasetError, RequestError
from wae_jax.files import whole_file
from wae_jax.generation.binarization import describe as describe_rule
from wae_jax.generation.model import Model
from wae_jax.generation.modes.keys import make_in_key, own_key
from wae_jax.generation.modes.request import Phrases, Request
from wae_jax.generation.modes.table import MODES
from wae_jax.listening.page import write_page
from wae_jax.listening.sections import sections_of_phrases
from wae_jax.metrics.suite import music_table
from wae_jax.pianoroll import unpack
from wae_jax.programs import how_to_run
from wae_jax.render.audio import Audio, describe, missing_parts
from wae_jax.render.phrase_files import write_phrases, written_files
from wae_jax.training.workdir import RUN_FILE

CODES, ROWS, REPORT, PAGE, ORIGINALS = "codes.npy", "rows.npy", "report.json", "listen.html", "originals"
DECODED = "decoded"
_DEFAULT_OUTPUT = "music"
_COMMON = (
    *("--workdir", "--output", "--num", "--seed", "--mode", "--input", "--keep", "--attribute", "--key", "--tempo"),
    *("--no-audio", "--overwrite"),
)
_EXAMPLES = (
    "python -m wae_jax.generate",
    "python -m wae_jax.generate --workdir=runs/gan --num=64 --output=out",
    "python -m wae_jax.generate --mode=vary --input=song.mid --output=variations",
)
_DETAILS = """
Variations are at growing distance; --mode=encode writes the rows of validation phrases in their split too.

Music of your own is a MIDI file, a Multitrack of pypianoroll, or phrases as npz or npy, as `build_dataset` reads them.
Its tempo and its key are those of all files that are written, unless --tempo and --key give others. How near the music
is to what was requested is printed as a table, and written to report.json.
"""
_TRAINING_PHRASES_IN_TABLE = 2048


def generate(arguments: argparse.Namespace) -> None:
    """Makes the phrases, and then writes them. Raises UserError and OSError."""
    output = check_output(arguments.output, is_folder=True)
    earlier = _earlier_output(output, arguments)
    audio = requested_audio(arguments)
    inputs, codes = read_inputs(arguments), requested_codes(arguments)
    model = open_model(arguments)
    rule = requested_rule(arguments, model.config.binarization)
    if MODES[arguments.mode].makes_music:
        rule = model.calibrated(rule)
    request = make_request(arguments, inputs, rule, codes)
    phrases = make_in_key(MODES[arguments.mode], model, request)
    print(f"{_source(arguments)}: step {model.step}, checkpoint {model.digest[:12]}")

    _remove(output, earlier)
    output.mkdir(parents=True, exist_ok=True)
    for name, array in ((CODES, phrases.codes), (ROWS, phrases.rows)):
        if array is not None:
            with whole_file(output / name) as part, part.open("wb") as file:
                np.save(file, array)
    if phrases.rolls is None:
        _report_codes(output, arguments, model, request, phrases)
    else:
        print(f"active cells are {describe_rule(rule)}")
        _write_music(output, arguments, audio, model, request, phrases)


def _earlier_output(output: pathlib.Path, arguments: argparse.Namespace) -> list[pathlib.Path]:
    """The files in a folder that an earlier command has written, by their names: they are no part of the new output.

    Raises:
      RequestError: if the folder is not empty and --overwrite was not given, or if it would remove what is in use.
    """
    if not (output.exists() and any(output.iterdir())):
        return []
    if not arguments.overwrite:
        raise RequestError(f"{output} is not an empty folder; choose another, or pass --overwrite")
    if (output / RUN_FILE).is_file():
        raise RequestError(
            f"{output} is the workdir of a run, which has files of the same names; choose another folder"
        )
    single = [file for name in (CODES, ROWS, REPORT, PAGE) if (file := output / name).is_file()]
    earlier = [*single, *written_files(output), *written_files(output / ORIGINALS)]
    in_use = {pathlib.Path(name).resolve() for name in given_files(arguments)}
    for file in earlier:
        if file.resolve() in in_use:
            raise RequestError(f"--overwrite would remove {file}, which is to be read; choose another --output")
    return earlier


def _remove(output: pathlib.Path, files: Sequence[pathlib.Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
    if files:
        with contextlib.suppress(OSError):  # it holds something else, or there is none
            (output / ORIGINALS).rmdir()
        print(f"removed {len(files)} files of an earlier output from {output}")


def _source(arguments: argparse.Namespace) -> str:
    return arguments.workdir or "the model that ships with wae_jax"


def _report_codes(
    output: pathlib.Path, arguments: argparse.Namespace, model: Model, request: Request, phrases: Phrases
) -> None:
    """Says which codes were written, and with which command they become music again."""
    back = {
        "workdir": arguments.workdir,
        "checkpoint": None if arguments.checkpoint == "best" else arguments.checkpoint,
    }
    back |= {"mode": "decode", "codes": output / CODES}
    if request.inputs:
        _write_report(output, arguments, model, {"requested": given_mode_flags(arguments), **phrases.report})
        back |= {"key": own_key(model, request), "tempo": f"{requested_tempo(arguments, request.inputs):.6g}"}
        of_which = f" of {request.inputs[0].name_to(request.inputs[-1])},"
    else:
        of_which = f" of the validation split, whose rows in it are in {output / ROWS},"
    if phrases.table:
        print(phrases.table)
    num, dimensions = phrases.codes.shape
    print(f"wrote the codes of {num} phrase{'s' * (num > 1)}{of_which} to {output / CODES}: {dimensions} numbers each")
    flags = [f"--{name}={value}" for name, value in back.items() if value is not None]
    print(f"to decode them: {how_to_run('generate')} {shlex.join([*flags, f'--output={output / DECODED}'])}")


def _write_music(
    output: pathlib.Path,
    arguments: argparse.Namespace,
    audio: Audio | None,
    model: Model,
    request: Request,
    phrases: Phrases,
) -> None:
    assert phrases.rolls is not None
    tempo = requested_tempo(arguments, request.inputs)
    given = {name: getattr(arguments, name) for name in ("programs", "pictures", "multitracks")}
    options: dict[str, Any] = {"tempo": tempo, "audio": audio, **given}
    probabilities = phrases.probabilities if arguments.probabilities else None
    options |= {"names": phrases.names, "tonics": phrases.tonics}
    write_phrases(output, phrases.rolls, probabilities=probabilities, **options)
    sets = {arguments.mode: phrases.rolls}
    if phrases.originals is not None:
        options |= {"names": phrases.original_names, "tonics": phrases.original_tonics}
        write_phrases(output / ORIGINALS, phrases.originals, **options)
        sets["originals"] = phrases.originals
    requested = {name: getattr(arguments, name) for name in ("seed", "prior")}
    requested |= {"num": request.num} | given_mode_flags(arguments)
    sound = None if audio is None or missing_parts(audio) else describe(audio)
    report = {
        "requested": requested | {"binarization": dataclasses.asdict(request.rule)},
        "tempo": tempo,
        "sound": sound,
    }
    _write_report(output, arguments, model, report | dict(phrases.report))
    has_page = arguments.page and _write_page(output, arguments, model, request, phrases, requested)
    try:
        sets["training data"] = unpack(np.asarray(model.phrases("train")[:_TRAINING_PHRASES_IN_TABLE]))
    except DatasetError as error:
        # An exported model may be far from its data.
        print(f"nothing to compare with in the table below: {error}")
    print(music_table(sets))
    if phrases.table:
        print(f"\n{phrases.table}\n")
    print(f"tempo: {tempo:.4g} bpm")
    if sound is not None:
        print(f"sound by {sound}")
    print(f"wrote {len(phrases.rolls)} phrases to {output}")
    if has_page:
        print(f"to listen, open {output / PAGE} in a browser")


def _write_page(
    output: pathlib.Path,
    arguments: argparse.Namespace,
    model: Model,
    request: Request,
    phrases: Phrases,
    requested: Mapping[str, Any],
) -> bool:
    """Writes the listening page; returns whether it could, and says why not."""
    assert phrases.rolls is not None
    sections = sections_of_phrases(
        arguments.mode,
        phrases.rolls,
        phrases.names,
        originals=phrases.originals,
        original_names=phrases.original_names,
    )
    shown = {"source": arguments.workdir, "rule": request.rule, "tempo": requested_tempo(arguments, request.inputs)}
    try:
        write_page(model, output / PAGE, sections, **shown, **requested)
    except (RequestError, DatasetError) as error:
        print(f"no listening page: {error}")
        return False
    return True


def _write_report(
    output: pathlib.Path, arguments: argparse.Namespace, model: Model, content: Mapping[str, Any]
) -> None:
    source = {"source": _source(arguments), "step": model.step, "digest": model.digest}
    with whole_file(output / REPORT) as part:
        text = json.dumps({"model": source, **content}, indent=2, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser("generate", __doc__, common=_COMMON, examples=_EXAMPLES, details=_DETAILS)
    add_model_flags(parser)
    parser.add_argument(
        "--output", type=path, help=f"folder to write to (default: {_DEFAULT_OUTPUT}, or one with a number after it)"
    )
    add_sampling_flags(parser, num=None)
    add_prior_flag(parser)
    parser.add_argument("--probabilities", action="store_true", help="write the probabilities too")
    parser.add_argument("--multitracks", action="store_true", help="write each phrase as a Multitrack of pypianoroll")
    add_sound_flags(parser)
    parser.add_argument("--no-page", dest="page", action="store_false", help=f"no listening page, {PAGE}")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="no pictures")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write into a folder that is not empty; files that an earlier command wrote there (phrase_0000.mid and "
        "the like, codes, report, page) are removed, others stay",
    )
    add_mode_flags(parser)
    arguments = parser.parse_args(argv)
    check_mode_flags(parser, arguments)
    check_music_flags(parser, arguments)
    if arguments.output is None:
        arguments.output = _DEFAULT_OUTPUT if arguments.overwrite else _free_folder(_DEFAULT_OUTPUT)
    return arguments


def _free_folder(name: str) -> str:
    """The first of NAME, NAME_2, NAME_3 ... that does not exist yet."""
    numbered = (f"{name}_{i}" for i in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if not os.path.lexists(each))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(generate, parse_arguments(argv))


if __name__ == "__main__":
    run_program(main)
