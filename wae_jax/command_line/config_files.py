"""Configurations by name: those of `configs/`, which the wheel has inside the package."""

from __future__ import annotations

import difflib
import os
import pathlib
import re

import wae_jax
from wae_jax.errors import ConfigError

EXAMPLE = "--config=wae_gan"
_NAME = re.compile(r"\w+")


def find_config(text: str) -> str:
    """The file of a configuration and, after a colon, its variant.

    Args:
      text: the same, or with a name such as "wae_gan:songs" in place of a path. A file that exists is a path.

    Raises:
      ConfigError: if there is no such file, and none of that name.
    """
    file, colon, variant = text.partition(":")
    if os.path.isfile(file):
        return text
    folder = _folder()
    names = sorted(path.stem for path in folder.glob("*.py"))
    if file in names:
        return f"{folder / file}.py{colon}{variant}"
    listed = f"one of {', '.join(names)}, or a file"
    if not _NAME.fullmatch(file):
        raise ConfigError(f"there is no configuration file {file!r}; expected {listed}")
    close = difflib.get_close_matches(file, names, n=1)
    hint = f"did you mean {close[0]}? Expected" if close else "expected"
    raise ConfigError(f"there is no configuration {file!r}; {hint} {listed}")


def _folder() -> pathlib.Path:
    """The folder `configs`: in an installed package inside of it, in a checkout beside it."""
    package = pathlib.Path(wae_jax.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"
