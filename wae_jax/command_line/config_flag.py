"""The command line of `main`: --config=FILE and --config.FIELD=VALUE, refused in a sentence where they are wrong."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence

import ml_collections
from absl import flags

from wae_jax.config import allowed_values
from wae_jax.errors import ConfigError

_WRONG_COMMAND_LINE = 2  # the exit status that argparse gives the other commands
_FIELD = re.compile(r"--?(?:no)?config\.([^=]*)")
_EXAMPLE = "--config=configs/wae_gan.py"


def parse_flags(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parses a command line into absl's flags, one of which is the `ConfigDict` --config; a parser for `app.run`.

    Where a flag, a field or the configuration file is wrong, the program ends with a sentence and status 2. absl and
    ml_collections would print tracebacks for most of these.

    Returns:
      The arguments without a flag, after the name of the program: none.
    """
    try:
        return _parse(argv, values)
    except (flags.Error, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_WRONG_COMMAND_LINE)


def _parse(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
    given = values.read_flags_from_files(list(argv), force_gnu=False)
    file = _config_file(given)
    if file is None:
        with contextlib.suppress(flags.Error):
            values(argv)  # where --help ends
        raise ConfigError(f"expected a configuration, such as {_EXAMPLE}")
    if not os.path.isfile(file):
        raise ConfigError(f"there is no configuration file {file!r}; expected one, such as {_EXAMPLE}")
    if problems := list(_unknown_fields(given)):
        raise ConfigError("; ".join(problems))
    try:
        rest = values(argv)
    except flags.Error as error:
        raise ConfigError(_describe(error, file)) from error
    except Exception as error:  # whatever the file raises
        raise ConfigError(_describe_failure(error, file)) from error
    if not isinstance(config := values.config, ml_collections.ConfigDict):
        raise ConfigError(
            f"get_config of {file} returns {config!r}; expected default_config() with other values of some fields"
        )
    if len(rest) > 1:
        raise ConfigError(f"{' '.join(rest[1:])}: expected flags alone, such as {_EXAMPLE}")
    return rest


def _config_file(argv: Sequence[str]) -> str | None:
    """The file of the last --config, without its variant."""
    for argument, following in reversed(list(zip(argv, [*argv[1:], ""], strict=True))):
        if match := re.fullmatch(r"--?config(=.*)?", argument, re.DOTALL):
            return (match[1][1:] if match[1] else following).partition(":")[0]
    return None


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
