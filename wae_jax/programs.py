"""The commands by name, and how a user starts them: `wae-jax generate` or `python -m wae_jax.generate`."""

from __future__ import annotations

import sys
from typing import NamedTuple


class Program(NamedTuple):
    """A command.

    Attributes:
      module: its module in `wae_jax`.
      summary: what it does, in a line.
    """

    module: str
    summary: str


PROGRAMS = {
    "generate": Program("generate", "makes music with a trained model: MIDI, sound, pictures, a page to listen"),
    "train": Program("main", "trains a model, or resumes its training"),
    "evaluate": Program("evaluate", "measures a model, or any phrases, against held-out music; compares runs"),
    "build-dataset": Program("build_dataset", "packs MIDI files, Multitracks and arrays into a dataset"),
    "listen": Program("listen", "makes a page to hear a model, or a blind survey, and scores its answers"),
    "export": Program("export", "writes a trained model to a small file or folder, or to the Hugging Face Hub"),
}
# Where one of these is started, `sys.argv[0]` becomes its name and that of the command.
CONSOLE, PACKAGE = "wae-jax", "python -m wae_jax"


def how_to_run(module: str) -> str:
    """The words that start a command in the way in which this process was started.

    Args:
      module: the command's module in `wae_jax`, such as "build_dataset".
    """
    started = next((name for name in (CONSOLE, PACKAGE) if sys.argv[0].startswith(f"{name} ")), None)
    if started is None:
        return f"python -m wae_jax.{module}"
    (command,) = (name for name, program in PROGRAMS.items() if program.module == module)
    return f"{started} {command}"
