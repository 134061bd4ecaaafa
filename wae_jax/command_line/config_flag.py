"""The command line of `main`: --config=NAME and --config.FIELD=VALUE, refused in a sentence where they are wrong."""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
from collections.abc import Iterator, Sequence

import ml_collections
from absl import flags
from ml_collections import config_flags

from wae_jax.command_line.config_files import EXAMPLE, find_config
from wae_jax.config import allowed_values
from wae_jax.errors import ConfigError

# So that --config is listed among the flags of the program that calls `define_config`.
flags.disclaim_key_flags()

_WRONG_COMMAND_LINE = 2  # the exit status that argparse gives the other commands
_FIELD = re.compile(r"--?(?:no)?config\.([^=]*)")
_HELP = re.compile(r"--?(?:help|h)")
_HELP_OF_ABSL = re.compile(r"--?(?:help(?:short|full|xml)|\?)")
_CONFIG = re.compile(r"(--?config)(?:=(.*))?", re.DOTALL)


def define_config(values: flags.FlagValues = flags.FLAGS, argv: Sequence[str] | None = None) -> None:
    """Defines the flag --config. ml_collections reads the command line here already; it is refused as by `parse_flags`.

    Args:
      values: the flags to add it to.
      argv: the command line; None for that of the process.
    """
    argv = sys.argv if argv is None else argv
    with _refusing():
        given = _with_paths(_with_files(argv, values))
        config_flags.DEFINE_config_file(
            "config",
            None,
            "Name or file of a configuration, with :variant after it for a variant.",
            lock_config=True,
            flag_values=values,
            sys_argv=given,
        )


def parse_flags(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS, *, help_text: str = "") -> list[str]:
    """Parses a command line into absl's flags, one of which is the `ConfigDict` --config; a parser for `app.run`.

    Where a flag, a field or the configuration file is wrong, the program ends with a sentence and status 2. absl and
    ml_collections would print tracebacks for most of these. After its help, which is `help_text` for --help and all
    flags for --helpfull, the program ends with status 0.

    Returns:
      The arguments without a flag, after the name of the program: none.
    """
    if any(map(_HELP.fullmatch, argv)):
        print(f"usage: {argv[0]} [options]\n\n{help_text}", end="")
        sys.exit(0)
    with _refusing():
        try:
            return _parse(argv, values)
        except SystemExit:
            if any(map(_HELP_OF_ABSL.fullmatch, argv)):
                sys.exit(0)  # absl ends with 1
            raise


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (flags.Error, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_WRONG_COMMAND_LINE)


def _with_files(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
    """The command line with the flags of each --flagfile in its place."""
    try:
        return values.read_flags_from_files(list(argv), force_gnu=False)
    except (flags.Error, ValueError) as error:  # the latter if it is not UTF-8
        cause = error.__context__
        reason = f"{cause.filename!r}: {cause.strerror}" if isinstance(cause, OSError) else error
        raise ConfigError(f"--flagfile cannot be read: {reason}; expected a text file, a flag on each line") from error


def _parse(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
    given = _with_paths(_with_files(argv, values))
    file = _config_file(given)
    if file is None:
        with contextlib.suppress(flags.Error):
            values(given)  # where --help ends
        raise ConfigError(f"expected a configuration, such as {EXAMPLE}")
    if problems := list(_unknown_fields(given)):
        raise ConfigError("; ".join(problems))
    try:
        rest = values(given)
    except flags.Error as error:
        raise ConfigError(_describe(error, file)) from error
    except Exception as error:  # whatever the file raises
        raise ConfigError(_describe_failure(error, file)) from error
    if not isinstance(config := values.config, ml_collections.ConfigDict):
        raise ConfigError(
            f"get_config of {file} returns {config!r}; expected default_config() with other values of some fields"
        )
    if len(rest) > 1:
        raise ConfigError(f"{' '.join(rest[1:])}: expected flags alone, such as {EXAMPLE}")
    return rest


def _with_paths(argv: Sequence[str]) -> list[str]:
    """The command line with each --config as one argument, and with a path in place of a name."""
    given: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if match := _CONFIG.fullmatch(argument):
            text = next(rest, "") if match[2] is None else match[2]
            given.append(f"{match[1]}={find_config(text)}")
        else:
            given.append(argument)
    return given


def _config_file(argv: Sequence[str]) -> str | None:
    """The file of the last --config, without its variant."""
    found = [match[2] for argument in argv if (match := _CONFIG.fullmatch(argument))]
    return found[-1].partition(":")[0] if found else None


def _unknown_fields(argv: Sequence[str]) -> Iterator[str]:
    """A sentence for each --config.FIELD that names no field."""
    for argument in argv:
        if match := _FIELD.match(argument):
            try:
                allowed_values(match[1])
            except ConfigError as error:
                yield str(error)


def _describe(error: flags.Error, file: str) -> str:
    """A sentence for an error of absl's parser, whose cause is what the parser of one flag raised."""
    cause, text = error.__context__, str(error)
    flag = text.removeprefix("flag ").removesuffix(f": {cause}")
    if match := _FIELD.match(flag):
        return f"{flag}; expected {allowed_values(match[1])}"
    # ml_collections raises errors of the file again, with the traceback as their text.
    if cause is not None and cause.__context__ is not None:
        return _describe_failure(cause.__context__, file)
    return " ".join(text.removeprefix("flag ").split())


def _describe_failure(error: BaseException, file: str) -> str:
    """A sentence for an error that the configuration file raised, with the line where it is."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"line {lines[-1]}: " if lines else ""
    return f"{file} cannot be used as a configuration: {where}{type(error).__name__}: {' '.join(str(error).split())}"
