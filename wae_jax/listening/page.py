"""The listening page: one HTML file, needing nothing else, that plays and shows what a run makes.

    python -m wae_jax.listen page --workdir runs/gan --num 64 --output page.html

Phrases travel as lists of notes; sound is made in the browser, from oscillators and noise. The page has random draws,
the decoder to make more of them, music of the training data, reconstructions beside originals, walks through latent
space, favourites to mark and export, the run's metrics, and where all this comes from.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from wae_jax.command_line.model_flags import (
    add_latent_flags,
    add_model_flags,
    add_sampling_flags,
    check_latent_flags,
    open_model,
    requested_rule,
)
from wae_jax.config import BinarizationRule
from wae_jax.generation.model import Model
from wae_jax.listening.document import Section, check_output, make_page, save_page
from wae_jax.listening.latent_model import latent_model
from wae_jax.listening.parts import embed
from wae_jax.listening.provenance import provenance, tables_of_run
from wae_jax.listening.sections import sections_of_run
from wae_jax.pianoroll import DEFAULT_TEMPO

LARGEST_MODEL = 16_000_000  # bytes


def write_page(
    run: Model,
    output: str | os.PathLike[str],
    sections: Sequence[Section],
    *,
    source: str | None,
    rule: BinarizationRule,
    tempo: float = DEFAULT_TEMPO,
    **choice: Any,
) -> int:
    """Writes a listening page.

    Args:
      run: a trained run.
      output: the file; one that is there is replaced, once the new one is complete.
      sections: the phrases.
      source: what the run was opened from; a work folder's metrics and evaluation are shown.
      rule: which cells of fresh draws sound, to begin with.
      tempo: quarter notes a minute, to begin with.
      **choice: what else it takes to make the phrases again, by name.

    Returns:
      Bytes written.

    Raises:
      RequestError: if the output is a folder, or the page would be larger than 25 MB.
      DatasetError: if the run's data are no longer there.
    """
    output = check_output(output)
    model = latent_model(run, rule=rule)
    fits = (size := len(embed(model))) <= LARGEST_MODEL
    left_out = "" if fits else f" The model is left out: it would take {size / 1e6:.0f} MB."
    name = "the run that ships" if source is None else pathlib.Path(source).resolve().name
    page = make_page(
        title=f"Listening to {name}",
        summary=f"Step {run.step}, checkpoint {run.digest[:12]}. The sound is made by this page; it loads nothing."
        f"{left_out}",
        sections=sections,
        tables=[] if source is None else tables_of_run(pathlib.Path(source)),
        provenance=provenance(run, name, **dataclasses.asdict(rule), **choice),
        tempo=tempo,
        latent=model if fits else None,
    )
    return save_page(page, output)


def write_run_page(
    run: Model,
    output: str | os.PathLike[str],
    *,
    source: str | None,
    num: int = 64,
    seed: int = 0,
    rule: BinarizationRule | None = None,
    tempo: float = DEFAULT_TEMPO,
) -> int:
    """Writes the listening page of a run as a whole: `sections_of_run`, and the rest as `write_page` has it.

    Without a rule, cells sound as the run's configuration has it.
    """
    rule = rule or run.own_rule()
    sections = list(sections_of_run(run, num=num, seed=seed, rule=rule))
    return write_page(run, output, sections, source=source, rule=rule, tempo=tempo, num=num, seed=seed)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `python -m wae_jax.listen page`."""
    add_model_flags(parser)
    parser.add_argument("--output", required=True, help="the HTML file to write")
    add_sampling_flags(parser, num=64)
    add_latent_flags(parser)
    parser.add_argument("--tempo", type=float, default=DEFAULT_TEMPO, help="bpm to begin with, 40 to 240 (default 100)")


def check_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Leaves with a usage error where a flag is out of range."""
    check_latent_flags(parser, arguments)
    if not 40 <= arguments.tempo <= 240:
        parser.error(f"--tempo is {arguments.tempo}; expected 40 to 240 bpm")


def run(arguments: argparse.Namespace) -> None:
    """Writes the page that the command line asks for.

    Raises:
      RequestError, WorkdirError, CheckpointError, DatasetError, ConfigError, OSError: with what is wrong.
    """
    trained = open_model(arguments)
    size = write_run_page(
        trained,
        arguments.output,
        source=arguments.workdir,
        num=arguments.num,
        seed=arguments.seed,
        rule=trained.calibrated(requested_rule(arguments, trained.config.binarization)),
        tempo=arguments.tempo,
    )
    print(f"wrote {arguments.output}, {size / 1e6:.1f} MB: open it in a browser")
