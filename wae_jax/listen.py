"""To listen to a run, and to have others listen: `python -m wae_jax.listen page --workdir runs/gan --output page.html`.

page     one HTML file with draws, real music, reconstructions and walks, to hear, to see and to keep
survey   one HTML file on which listeners compare runs with each other and with real music, blindly
score    what they preferred, from the results files that they handed back
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from wae_jax.command_line.exit_status import run_command
from wae_jax.listening import page
from wae_jax.listening.survey import page as survey
from wae_jax.listening.survey import score as survey_score

# Each has `add_flags(parser)` and `run(arguments)`, and may have `check_flags(parser, arguments)` for usage errors.
COMMANDS: dict[str, ModuleType] = {"page": page, "survey": survey, "score": survey_score}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wae_jax.listen",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True)
    parsers = {}
    for name, module in COMMANDS.items():
        parsers[name] = subparsers.add_parser(
            name, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_flags(parsers[name])
    arguments = parser.parse_args(argv)
    if check := getattr(COMMANDS[arguments.command], "check_flags", None):
        check(parsers[arguments.command], arguments)
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = parse_arguments(argv)
    return run_command(COMMANDS[arguments.command].run, arguments)


if __name__ == "__main__":
    sys.exit(main())
