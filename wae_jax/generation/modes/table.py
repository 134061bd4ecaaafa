"""The table of modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from wae_jax.generation.model import Model
from wae_jax.generation.modes.accompaniment import accompany
from wae_jax.generation.modes.continuation import continue_
from wae_jax.generation.modes.editing import edit
from wae_jax.generation.modes.request import Phrases, Request
from wae_jax.generation.modes.standard import decode, encode, interpolate, reconstruct, sample
from wae_jax.generation.modes.variation import vary


class Mode(NamedTuple):
    """A row of the table."""

    make: Callable[[Model, Request], Phrases]
    num: int | None  # default number of phrases; None where the codes of the user's decide
    num_with_input: int | None  # with music of the user's; None where that decides
    required: tuple[str, ...] = ()  # flags that have to be given
    optional: tuple[str, ...] = ()  # its other flags
    makes_music: bool = True  # or codes alone
    takes_all: bool = False  # whether all phrases of --input, where no --start-bar chooses one
    is_path: bool = False  # whether its phrases follow one another, so that they have one key

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that the mode reads, besides those that all modes have."""
        return (*self.required, *self.optional)


MODES = {
    "sample": Mode(sample, 16, 16),
    "reconstruct": Mode(reconstruct, 64, 64),
    "interpolate": Mode(interpolate, 64, 9, optional=("--from", "--to", "--from-bar", "--to-bar"), is_path=True),
    "encode": Mode(encode, 64, None, optional=("--input", "--start-bar"), makes_music=False, takes_all=True),
    "decode": Mode(decode, None, None, required=("--codes",)),
    "vary": Mode(vary, 8, 8, required=("--input",), optional=("--start-bar",)),
    "continue": Mode(continue_, 16, 16, optional=("--input", "--start-bar"), is_path=True),
    "accompany": Mode(accompany, 4, 4, required=("--input", "--keep"), optional=("--start-bar",)),
    "edit": Mode(edit, 8, None, required=("--attribute",), optional=("--input", "--start-bar")),
}
