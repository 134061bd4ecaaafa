"""The run-time check of the package's annotations, which holds for the whole test run.

Users never meet it: the package does not import beartype, and a call of theirs costs nothing more.
"""

import contextlib
import pathlib
import typing
from collections.abc import Iterator

import beartype
import jaxtyping

_PACKAGE = pathlib.Path(__file__).parents[1] / "wae_jax"

# Nothing is let pass but an int for a float, which is right, and what beartype takes too narrowly: files,
# among which it counts no member of a zip, and `Self`, which it knows only where it is given whole classes.
_LET_PASS = (typing.IO[bytes], typing.BinaryIO, typing.TextIO, typing.Self)
typechecker = beartype.beartype(
    conf=beartype.BeartypeConf(
        is_pep484_tower=True,
        hint_overrides=beartype.FrozenDict(dict.fromkeys(_LET_PASS, object)),
    )
)


def check_annotations() -> None:
    """Makes every later import of the package check, at each call, what its functions are annotated with."""
    modules = {path.stem for path in _PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    jaxtyping.install_import_hook([f"wae_jax.{name}" for name in sorted(modules)], f"{__name__}.typechecker")


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """As for a user, whom nobody checks: what a function says to arrays that are none of its kind.

    Where a function refuses by name what its annotation excludes, the check would be first; so tests of these messages
    call it in here.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
