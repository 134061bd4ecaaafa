"""The parser of a command: its help fits a screen, with examples; --helpfull explains all options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

_FULL = "--helpfull"  # as absl calls it


class CommandParser(argparse.ArgumentParser):
    """A parser whose --help shows the options that most users need.

    Args:
      common: these options, such as "--output"; empty if --help shows all.
      examples: command lines.
      details: what --helpfull says below the options.
      options: of `ArgumentParser`. Texts keep their lines.
    """

    def __init__(
        self, *, common: Sequence[str] = (), examples: Sequence[str] = (), details: str = "", **options: Any
    ) -> None:
        self._common = common
        self._examples = "\n".join(["examples:", *(f"  {line}" for line in examples)]) if examples else ""
        epilog = "\n\n".join(filter(None, (details.strip("\n"), self._examples)))
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        if common:
            options["usage"] = "%(prog)s [options]"
        super().__init__(**options, epilog=epilog or None)
        if common:
            self.add_argument(_FULL, action=_FullHelp, help="explain all options and exit")

    def format_help(self) -> str:
        """The help of the common options."""
        if not self._common:
            return super().format_help()
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, (), ())
        formatter.add_text(self.description)
        formatter.start_section("options")
        formatter.add_arguments([self._option_string_actions[name] for name in (*self._common, _FULL)])
        formatter.end_section()
        formatter.add_text(self._examples)
        return formatter.format_help()

    def format_full_help(self) -> str:
        """The help of all options."""
        return super().format_help()


class _FullHelp(argparse.Action):
    """Prints the full help and ends the program."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: Any, *arguments: Any) -> None:
        print(parser.format_full_help(), end="")
        parser.exit()
