"""What the listening page is made of: phrases, sections and tables in, one HTML file out."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wae_jax.errors import RequestError
from wae_jax.files import whole_file
from wae_jax.listening.parts import embed, read_part
from wae_jax.pianoroll import DEFAULT_TEMPO, LOWEST_PITCH, BinaryRolls
from wae_jax.pianoroll.notes import find_notes

# What every page needs that plays and draws phrases, in this order; and one with a model.
PLAYER_SCRIPTS = ("voices.js", "player.js", "roll.js")
MODEL_SCRIPTS = ("decoder.js", "latent.js")

LARGEST_PAGE = 25_000_000  # bytes

# What JSON has of one phrase: {"name": str, "notes": [[track, pitch, onset, length], ...]}.
Phrase = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Group:
    """Phrases that belong together.

    Attributes:
      phrases: with names that need no context, such as "Draw 3".
      title: printed above them; empty for none.
    """

    phrases: Sequence[Phrase]
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
      id: for links, letters alone.
      title: its heading.
      says: what the phrases are and how they were chosen.
      groups: the phrases.
    """

    id: str
    title: str
    says: str
    groups: Sequence[Group]


@dataclasses.dataclass(frozen=True)
class Table:
    """Figures, as text.

    Attributes:
      caption: what they are.
      columns: the heads; the first is that of the names of the rows.
      rows: as many cells each, the name first.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def note_lists(rolls: BinaryRolls) -> list[list[list[int]]]:
    """The notes of each phrase as pages take them.

    Returns:
      For each phrase its notes by onset: track, MIDI number, onset and length in steps.
    """
    found = find_notes(rolls)
    rows = np.stack([found.track, found.pitch + LOWEST_PITCH, found.onset, found.length], axis=1)
    order = np.lexsort((found.pitch, found.track, found.onset, found.phrase))
    ends = np.searchsorted(found.phrase[order], np.arange(1, len(rolls)))
    return [part.tolist() for part in np.split(rows[order], ends)] if len(rolls) else []


def make_page(
    *,
    title: str,
    summary: str,
    sections: Sequence[Section],
    tables: Sequence[Table] = (),
    provenance: Sequence[tuple[str, str]] = (),
    tempo: float = DEFAULT_TEMPO,
    latent: Mapping[str, Any] | None = None,
) -> str:
    """The page.

    Args:
      title: its heading.
      summary: a sentence below.
      sections: the phrases.
      tables: the run's figures.
      provenance: names and values.
      tempo: quarter notes a minute, to begin with.
      latent: what `mountLatent` of latent.js is called with; None for a page without a model.

    Returns:
      HTML, as `assemble` makes it.
    """
    # Marks of favourites are kept by this, so that those of another run's page do not turn up.
    described = [dataclasses.asdict(section) for section in sections]
    identity = hashlib.sha256(embed(described).encode()).hexdigest()[:16]
    data = {
        "title": title,
        "summary": summary,
        "sections": described,
        "tables": [dataclasses.asdict(table) for table in tables],
        "provenance": provenance,
        "tempo": tempo,
        "identity": identity,
        "latent": latent,
    }
    model_scripts = () if latent is None else MODEL_SCRIPTS
    scripts = (*PLAYER_SCRIPTS, "downloads.js", *model_scripts, "page.js")
    return assemble("page.html", title=title, data=data, styles=("page.css",), scripts=scripts)


def assemble(
    template: str, *, title: str, data: Mapping[str, Any], styles: Sequence[str], scripts: Sequence[str]
) -> str:
    """A page of parts of this package.

    Args:
      template: the part that becomes the body of frame.html; {{title}} may stand in it.
      title: of the document, any text.
      data: what the scripts find as JSON, with any text in it.
      styles: parts, in this order.
      scripts: parts, in this order.

    Returns:
      HTML that may load nothing: its policy lets only its own scripts and style run.
    """
    style = "\n".join(read_part(name) for name in styles)
    programs = [read_part(name) for name in scripts]
    parts = {
        "policy": _policy(programs, style),
        "title": html.escape(title),
        "style": style,
        "data": embed(data),
        "scripts": "\n".join(f"<script>{program}</script>" for program in programs),
    }
    page = read_part("frame.html").replace("{{body}}", read_part(template))
    # At one go: what is filled in may itself contain what looks like a place.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], page)


def check_output(output: str | os.PathLike[str]) -> pathlib.Path:
    """The path of a page to be written; to be asked before the work is done.

    Raises:
      RequestError: if it is a folder.
    """
    path = pathlib.Path(output)
    if path.is_dir():
        raise RequestError(f"{path} is a folder; expected the name of a file, such as {path / 'page.html'}")
    return path


def save_page(page: str, output: pathlib.Path) -> int:
    """Writes a page, whole or not at all.

    Args:
      page: HTML.
      output: the file; one that is there is replaced, once the new one is complete.

    Returns:
      Bytes written.

    Raises:
      RequestError: if there are more than `LARGEST_PAGE`.
    """
    content = page.encode()
    if len(content) > LARGEST_PAGE:
        raise RequestError(
            f"the page would have {len(content) / 1e6:.0f} MB, more than {LARGEST_PAGE / 1e6:.0f}; ask for fewer "
            "with --num, or for fewer notes with another --threshold"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output) as part:
        part.write_bytes(content)
    return len(content)


def _policy(programs: Sequence[str], style: str) -> str:
    """The page's Content-Security-Policy: these scripts and this style, known by their digests, and no network."""
    allowed = " ".join(_digest(program) for program in programs)
    return f"default-src 'none'; script-src {allowed}; style-src {_digest(style)}; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
