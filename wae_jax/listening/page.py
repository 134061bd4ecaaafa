"""The listening page: one HTML file that plays and shows what a model makes.

Phrases are stored as lists of notes; the sound is made in the browser from oscillators and noise. The page has random
samples, the decoder to make more of them, training music, reconstructions beside originals, interpolations, favorites
to mark and export, the run's metrics, and the provenance of all this.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from wae_jax.config import BinarizationRule
from wae_jax.files import printable
from wae_jax.generation.model import Model
from wae_jax.listening.document import (
    PLAYER_SCRIPTS,
    assemble,
    check_output,
    embed,
    read_browser_file,
    save_page,
)
from wae_jax.listening.latent_panel import latent_panel
from wae_jax.listening.provenance import Table, provenance, tables_of_workdir
from wae_jax.listening.sections import Section, sections_of_model
from wae_jax.pianoroll import DEFAULT_TEMPO

LARGEST_PANEL = 16_000_000  # bytes
PANEL_SCRIPTS = (
    "binarization.js",
    "transposition.js",
    "layers.js",
    "networks.js",
    "latent_codes.js",
    "latent_axes.js",
    "panel_state.js",
    "latent_panel.js",
)
# What opens MIDI files; the parser is midi-file's, the other scripts are this project's.
SONG_SCRIPTS = (
    "vendor/midi-file/midi-parser.js",
    "midi_validation.js",
    "song_keys.js",
    "midi_song.js",
    "song_bars.js",
    "song_phrases.js",
    "songs.js",
)
_MIDI_FILE = "midi-file 1.2.4, which reads MIDI files in this page (MIT License)"


def write_run_page(
    model: Model,
    output: str | os.PathLike[str],
    *,
    source: str | None,
    num: int = 64,
    seed: int = 0,
    rule: BinarizationRule | None = None,
    tempo: float = DEFAULT_TEMPO,
) -> int:
    """Writes a page with all sections of a trained model; see `write_page`.

    Args:
      model: a trained model.
      output: the file to write.
      source: the workdir or file that the model was opened from; None for the shipped model.
      num: number of random samples.
      seed: seed of the samples and of the choice of other phrases.
      rule: the binarization rule; None for that of the model's configuration.
      tempo: initial tempo in bpm.
    """
    rule = rule or model.rule
    sections = list(sections_of_model(model, num=num, seed=seed, rule=rule))
    return write_page(model, output, sections, source=source, rule=rule, tempo=tempo, num=num, seed=seed)


def write_page(
    model: Model,
    output: str | os.PathLike[str],
    sections: Sequence[Section],
    *,
    source: str | None,
    rule: BinarizationRule,
    tempo: float = DEFAULT_TEMPO,
    **settings: Any,
) -> int:
    """Writes a listening page.

    Args:
      model: a trained model.
      output: the file to write; an existing one is replaced.
      sections: the phrases.
      source: the workdir or file that the model was opened from, None for the shipped model; the metrics and the
        evaluation in a workdir are shown.
      rule: the initial binarization rule of the latent panel.
      tempo: initial tempo in bpm.
      **settings: further values needed to make the phrases again, by name; shown under "Provenance".

    Returns:
      Number of bytes written.

    Raises:
      RequestError: if the output is a folder, or the page would be larger than 25 MB.
      DatasetError: if the statistics of codes take training data that can no longer be found.
    """
    output = check_output(output)
    panel, left_out = _fitting(latent_panel(model, rule=rule))
    name = "the shipped model" if source is None else printable(pathlib.Path(source).resolve().name)
    page = make_page(
        title=f"Listening to {name}",
        summary=f"Step {model.step}, checkpoint {model.digest[:12]}. The sound is made in this page, which loads "
        f"nothing else.{left_out}",
        sections=sections,
        tables=[] if source is None else tables_of_workdir(pathlib.Path(source)),
        provenance=provenance(model, name, **dataclasses.asdict(rule), **settings),
        tempo=tempo,
        panel=panel,
    )
    return save_page(page, output)


def _fitting(panel: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The data of a panel, without the encoder or none if they are too large, and a sentence about what is left out."""
    if (size := len(embed(panel))) <= LARGEST_PANEL:
        return panel, ""
    smaller = panel | {"encoder": None}
    if len(embed(smaller)) <= LARGEST_PANEL:
        return (
            smaller,
            f" MIDI files cannot be opened here, since with the encoder the model would take {size / 1e6:.0f} MB.",
        )
    return None, f" The latent panel is left out, since its model would take {size / 1e6:.0f} MB."


def make_page(
    *,
    title: str,
    summary: str,
    sections: Sequence[Section],
    tables: Sequence[Table] = (),
    provenance: Sequence[tuple[str, str]] = (),
    tempo: float = DEFAULT_TEMPO,
    panel: Mapping[str, Any] | None = None,
) -> str:
    """The HTML of a listening page.

    Args:
      title: heading.
      summary: sentence below it.
      sections: the phrases.
      tables: the run's metrics.
      provenance: names and values.
      tempo: initial tempo in bpm.
      panel: data of the latent panel; None for a page without one.
    """
    described = [dataclasses.asdict(section) for section in sections]
    opens_songs = panel is not None and panel.get("encoder") is not None
    data = {
        "title": title,
        "summary": summary,
        "sections": described,
        "tables": tables,
        "provenance": provenance,
        # A MIDI file has whole microseconds a beat, so that its 90 bpm are 89.999955.
        "tempo": round(tempo, 2),
        # Favorites are stored under this name, so that those of another page do not turn up.
        "identity": hashlib.sha256(embed(described).encode()).hexdigest()[:16],
        "panel": panel,
        "licences": _licences() if opens_songs else [],
    }
    panel_scripts = () if panel is None else PANEL_SCRIPTS
    song_scripts = SONG_SCRIPTS if opens_songs else ()
    scripts = (*PLAYER_SCRIPTS, "midi_output.js", *panel_scripts, *song_scripts, "page.js")
    return assemble("page.html", title=title, data=data, styles=("page.css",), scripts=scripts)


def _licences() -> list[dict[str, str]]:
    """Name and licence of what this page contains of other projects; they ask for the notice in every copy."""
    text = read_browser_file("vendor/midi-file/LICENSE.md")
    # The title above the copyright is a link.
    return [{"name": _MIDI_FILE, "text": text[text.index("Copyright") :]}]
