"""The program `wae-jax`, which is `python -m wae_jax` too: starts a command by its name.

Imports of a command take seconds; they begin once the name is known.
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from typing import NoReturn

from wae_jax import __version__
from wae_jax.programs import CONSOLE, PACKAGE, PROGRAMS

_WRONG_COMMAND_LINE = 2  # the exit status of argparse


def run() -> NoReturn:
    """Starts the command that the command line names; `sys.argv` becomes that of the command."""
    started = PACKAGE if os.path.basename(sys.argv[0]) == "__main__.py" else CONSOLE
    given = sys.argv[1:2]
    if given in (["-h"], ["--help"]):
        print(_help(started))
        sys.exit(0)
    if given == ["--version"]:
        print(f"wae_jax {__version__}")
        sys.exit(0)
    if not given:
        sys.exit(_refuse(_help(started)))
    name = given[0].replace("_", "-")
    if name not in PROGRAMS:
        close = difflib.get_close_matches(name, PROGRAMS, n=1)
        hint = f"did you mean {close[0]}? Expected" if close else "expected"
        sys.exit(_refuse(f"error: there is no command {given[0]!r}; {hint} one of {', '.join(PROGRAMS)}"))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command takes Ctrl-C, as in `wae_jax`
    sys.argv = [f"{started} {name}", *sys.argv[2:]]
    module = importlib.import_module(f"wae_jax.{PROGRAMS[name].module}")
    if name == "train":
        module.run()
        sys.exit(0)
    from wae_jax.command_line.command import run_program

    run_program(module.main)


def _help(started: str) -> str:
    commands = [f"  {name:15}{program.summary}" for name, program in PROGRAMS.items()]
    return "\n".join(
        [
            f"usage: {started} COMMAND [options]",
            "",
            "Wasserstein autoencoders for multi-track music.",
            "",
            *commands,
            "",
            f"{started} COMMAND --help explains a command; {started} --version prints the version.",
        ]
    )


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return _WRONG_COMMAND_LINE


if __name__ == "__main__":
    run()
