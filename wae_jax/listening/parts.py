"""What pages that open from disk are made of: scripts and styles of this package, and data between them."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

# What would end a script element, or a line of a script, wherever it stands in a string.
_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def read_part(name: str) -> str:
    """A file of `wae_jax/listening/browser` as text."""
    return importlib.resources.files("wae_jax.listening").joinpath("browser", name).read_text(encoding="utf-8")


def embed(value: Any) -> str:
    """A value as JSON that may stand inside a script element of HTML, whatever its strings contain.

    Raises:
      ValueError: if a number is not finite, which JSON does not know.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPED)
