"""HTML files assembled from the scripts and styles in `browser/` and from data as JSON."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from wae_jax.errors import RequestError
from wae_jax.files import whole_file

# The scripts of every page that plays and draws phrases, in this order.
PLAYER_SCRIPTS = ("elements.js", "voices.js", "sound.js", "player.js", "piano_roll.js", "downloads.js")

LARGEST_PAGE = 25_000_000  # bytes

# Characters that could end a script element or a line of a script from within a string, and halves of surrogate pairs,
# which names of files may hold and UTF-8 has not.
_ESCAPED = {code: f"\\u{code:04x}" for code in (*map(ord, "<>&\u2028\u2029"), *range(0xD800, 0xE000))}


# Scripts of other projects, unchanged, in the form of CommonJS modules: a browser gets their function under this name.
_FUNCTION_OF_MODULE = {"vendor/midi-file/midi-parser.js": "parseMidi"}


def read_browser_script(name: str) -> str:
    """A script of `wae_jax/listening/browser` as a browser can run it."""
    program = read_browser_file(name)
    if name not in _FUNCTION_OF_MODULE:
        return program
    return (
        f"const {_FUNCTION_OF_MODULE[name]} = (() => {{ const module = {{}};\n{program}\nreturn module.exports; }})();"
    )


def read_browser_file(name: str) -> str:
    """The text of a file of `wae_jax/listening/browser`."""
    return importlib.resources.files("wae_jax.listening").joinpath("browser", name).read_text(encoding="utf-8")


def embed(value: Any) -> str:
    """A value as JSON that is safe inside a script element, whatever its strings contain.

    Raises:
      ValueError: if a number is not finite, which JSON cannot express.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPED)


def assemble(body: str, *, title: str, data: Mapping[str, Any], styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A page that runs only its own scripts and loads nothing (by its Content-Security-Policy).

    Args:
      body: name of the file in `browser/` that becomes the body of frame.html; may contain {{title}}.
      title: title of the document; any text.
      data: JSON data for the scripts, with any text in it.
      styles: names of style sheets, in this order.
      scripts: names of scripts, in this order.

    Returns:
      HTML.
    """
    style = "\n".join(map(read_browser_file, styles))
    programs = [read_browser_script(name) for name in scripts]
    allowed = " ".join(map(_digest, programs))
    parts = {
        "policy": f"default-src 'none'; script-src {allowed}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "style": style,
        "data": embed(data),
        "scripts": "\n".join(f"<script>{program}</script>" for program in programs),
    }
    page = read_browser_file("frame.html").replace("{{body}}", read_browser_file(body))
    # All in one pass, since inserted text may itself contain something like {{title}}.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)


def check_output(output: str | os.PathLike[str]) -> pathlib.Path:
    """The path of a page to be written; called before the work is done.

    Raises:
      RequestError: if it is a folder.
    """
    path = pathlib.Path(output)
    if path.is_dir():
        raise RequestError(f"{path} is a folder; expected the name of a file, such as {path / 'page.html'}")
    return path


def save_page(page: str, output: pathlib.Path) -> int:
    """Writes a page, atomically.

    Args:
      page: HTML.
      output: the file; an existing one is replaced.

    Returns:
      Number of bytes written.

    Raises:
      RequestError: if there are more than `LARGEST_PAGE`.
    """
    content = page.encode()
    if len(content) > LARGEST_PAGE:
        raise RequestError(
            f"the page would have {len(content) / 1e6:.0f} MB, more than {LARGEST_PAGE / 1e6:.0f}; ask for fewer "
            "phrases with --num, or for fewer notes with a higher --threshold"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output) as part:
        part.write_bytes(content)
    return len(content)


def _digest(text: str) -> str:
    """The digest by which a Content-Security-Policy knows a script or a style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
