"""Standard output of a command: it takes any name of a file, and its reader may go away."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from wae_jax.errors import RequestError
from wae_jax.files import printable


@contextlib.contextmanager
def any_text_on_stdout() -> Iterator[None]:
    """Escapes characters that standard output cannot encode or that control a terminal; names of files may hold both.

    Where the reader goes away (`| head -n 1`), the rest of the text is dropped and the command continues.

    Raises:
      RequestError: at the end of the block, if the text could not be written, as on a full disk.
    """
    if sys.stdout is None:  # closed by the shell
        yield
        return
    output = _Output(sys.stdout)
    try:
        with contextlib.redirect_stdout(cast(TextIO, output)):
            yield
    finally:
        output.flush()
        if output.error is not None:
            # Otherwise the interpreter, when it ends, fails at the same text once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.stream.fileno())
    if output.error is not None and not isinstance(output.error, BrokenPipeError):
        raise RequestError(f"standard output cannot be written: {output.error.strerror}")


class _Output:
    """A stream that writes to another one until that fails."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        escaped = re.sub(r"[^\n\t]+", lambda part: printable(part[0]), text)
        encoding = self.stream.encoding or "utf-8"
        self._try(self.stream.write, escaped.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            if self.error is None:
                function(*arguments)
        except OSError as error:
            self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
