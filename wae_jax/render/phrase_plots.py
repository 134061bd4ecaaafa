"""Pictures of phrases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import matplotlib.colors
import numpy as np
from jaxtyping import Int64, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from wae_jax.pianoroll import (
    LOWEST_PITCH,
    NUM_PITCHES,
    NUM_TRACKS,
    PITCHED_TRACKS,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    TRACK_NAMES,
    TRACKS,
    BinaryPiece,
    BinaryPieces,
    BinaryRolls,
)
from wae_jax.pianoroll.notes import find_notes
from wae_jax.render.style import FAINT, TRACK_COLORS, add_legend_below, new_figure, set_labels, set_title

# The drum kit from low to high: families of General MIDI percussion, since forty rows of it cannot be read.
DRUM_FAMILIES: Mapping[str, tuple[int, ...]] = {
    "Kick": (35, 36),
    "Snare": (37, 38, 39, 40),
    "Toms": (41, 43, 45, 47, 48, 50),
    "Hi-hat": (42, 44, 46),
    "Cymbals": (49, 51, 52, 53, 55, 57, 59),
    "Other": (),
}

_PAPER = "#F5F6F8"
_STRIP_GAP = 2.5  # between two tracks, in rows
_SMALLEST_RANGE = 13  # rows of a track with few pitches: an octave
_SILENT_RANGE = 5
_ROWS_PER_FAMILY = 2


@dataclasses.dataclass(frozen=True)
class _Strip:
    """Position of one track in a panel, in rows of one semitone or half a drum family, counted upwards."""

    bottom: float  # lower edge
    rows: int  # height
    lowest: int  # pitch index of the piano-roll that lies at the bottom; 0 for the drums
    thickness: float  # of a note, in rows
    shift: float  # how far notes are moved up, in rows


def pitch_name(pitch: int) -> str:
    """The name of a MIDI number as in the LPD data: 24 is C1, 36 is C2, 60 is C4."""
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    return f"{names[pitch % 12]}{pitch // 12 - 1}"


def plot_phrase(roll: BinaryPiece, *, title: str) -> Figure:
    """Draws one phrase: five strips, one a track, over bars and beats.

    A pitched strip shows the range of its notes, with the Cs named (C4 is MIDI 60); drums are grouped into the
    `DRUM_FAMILIES`.

    Args:
      roll: of any number of steps.
      title: printed above.

    Raises:
      ValueError: if the roll has another shape or is not binary.
    """
    strips = _layout(roll[None])
    figure = new_figure(11, 1.1 + 0.052 * _height(strips))
    axes = figure.add_subplot()
    _draw_panel(axes, roll, strips)
    _label_strips(axes, strips)
    set_title(axes, title, size=13, bold=True, pad=10)
    set_labels(axes, "bar")
    figure.text(0.99, 0.015, "C4 = MIDI 60", ha="right", color=FAINT, fontsize=7)
    return figure


def plot_grid(rolls: BinaryPieces, *, titles: Sequence[str], columns: int = 4) -> Figure:
    """Draws several phrases, one small panel each, all with the same range of pitches.

    The pitched tracks share one strip, in their colors; the drums lie below, grouped into the `DRUM_FAMILIES`.

    Args:
      rolls: at least one phrase.
      titles: one a phrase, printed above its panel.
      columns: panels in a row.

    Raises:
      ValueError: if the rolls have another shape or are not binary.
    """
    strips = _layout(rolls, overlay=True)
    columns = min(columns, len(rolls))
    rows = math.ceil(len(rolls) / columns)
    figure = new_figure(max(6.0, 3.6 * columns), (0.35 + 0.03 * _height(strips)) * rows + 0.4)
    for i, roll in enumerate(rolls):
        axes = figure.add_subplot(rows, columns, i + 1)
        _draw_panel(axes, roll, strips)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        set_title(axes, titles[i], size=9, pad=3)
    handles = [Patch(color=color, label=name) for name, color in zip(TRACK_NAMES, TRACK_COLORS, strict=True)]
    add_legend_below(figure, handles)
    return figure


def plot_pairs(
    left: BinaryRolls, right: BinaryRolls, *, names: tuple[str, str], captions: Sequence[str] = ()
) -> Figure:
    """Draws phrases in rows of two, such as originals beside their reconstructions.

    Args:
      left: at least one phrase.
      right: as many.
      names: of the left and the right phrases.
      captions: printed after the right phrase's name, one a pair.
    """
    rolls = np.stack([left, right], axis=1).reshape(-1, *left.shape[1:])
    titles = []
    for i in range(len(left)):
        caption = f" · {captions[i]}" if captions else ""
        titles += [f"{i + 1} · {names[0]}", f"{i + 1} · {names[1]}{caption}"]
    return plot_grid(rolls, columns=2, titles=titles)


def phrase_image(roll: Shaped[np.ndarray, "steps P=84 K=5"]) -> UInt8[np.ndarray, "height=856 6*steps 3"]:
    """Every cell of one phrase as an RGB image, in some milliseconds: for TensorBoard.

    The tracks lie above one another, drums at the bottom; in each, high pitches are up. Cells that are off are white,
    active cells have the track's color; probabilities are blended.

    Args:
      roll: bool, 0/1 integers or probabilities.

    Returns:
      Two pixels a pitch and six a step; 856 x 1152 for a phrase of four bars.

    Raises:
      ValueError: if the roll has another shape.
    """
    if roll.ndim != 3 or roll.shape[1:] != (NUM_PITCHES, NUM_TRACKS):
        raise ValueError(f"roll has shape {roll.shape}; expected [steps, {NUM_PITCHES} pitches, {NUM_TRACKS} tracks]")
    strength = np.clip(np.asarray(roll, np.float32), 0, 1)[:, ::-1].transpose(2, 1, 0)[::-1, :, :, None]
    colors = np.rint(255 * matplotlib.colors.to_rgba_array(TRACK_COLORS)[::-1, None, None, :3]).astype(np.float32)
    paper = np.full((1, 1, len(roll), 1), 255, np.float32)
    paper[:, :, ::STEPS_PER_BEAT] = 242
    paper[:, :, ::STEPS_PER_BAR] = 216
    image = paper + strength * (colors - paper)
    # Two lines between tracks; the last has none below it.
    line = np.full((NUM_TRACKS, 2, len(roll), 3), 216, np.float32)
    image = np.concatenate([image, line], axis=1).reshape(-1, len(roll), 3)[:-2]
    return np.rint(image).astype(np.uint8).repeat(2, axis=0).repeat(6, axis=1)


def _drum_rows() -> Int64[np.ndarray, " P=84"]:
    """The row of the drum strip of each pitch."""
    families = list(DRUM_FAMILIES.values())
    rows = np.full(NUM_PITCHES, len(families) - 1)
    for row, pitches in enumerate(families):
        rows[np.array(pitches, int) - LOWEST_PITCH] = row
    return rows


def _layout(rolls: BinaryPieces, *, overlay: bool = False) -> list[_Strip]:
    """Strips of the tracks: stacked from the drums up, or the drums below one strip that the pitched tracks share.

    A pitched strip is as high as the range of its pitches over all rolls.
    """
    found = find_notes(rolls)
    strips = []
    bottom = 0.0
    for k, track in enumerate(TRACKS):
        shared = [k] if track.is_drum or not overlay else PITCHED_TRACKS
        pitches = found.pitch[np.isin(found.track, shared)]
        if not pitches.size:
            lowest, rows = 0, _SILENT_RANGE
        elif track.is_drum:
            lowest, rows = 0, _ROWS_PER_FAMILY * len(DRUM_FAMILIES)
        else:
            low, high = int(pitches.min()) - 1, int(pitches.max()) + 1
            missing = max(0, _SMALLEST_RANGE - (high - low + 1))
            lowest, rows = low - missing // 2, high - low + 1 + missing
        if track.is_drum:
            thickness, shift = 0.8 * _ROWS_PER_FAMILY, 0.0
        elif overlay:
            # A little apart, or one of two tracks in unison would hide the other.
            thickness, shift = 1.1, (PITCHED_TRACKS.index(k) / (len(PITCHED_TRACKS) - 1) - 0.5)
        else:
            thickness, shift = 0.86, 0.0
        strips.append(_Strip(bottom, rows, lowest, thickness, shift))
        if track.is_drum or not overlay:
            bottom += rows + _STRIP_GAP
    return strips


def _height(strips: Sequence[_Strip]) -> float:
    return strips[-1].bottom + strips[-1].rows


def _draw_panel(axes: Axes, roll: BinaryPiece, strips: Sequence[_Strip]) -> None:
    """Draws the strips of one phrase: paper, lines of bars and beats, notes."""
    num_steps = len(roll)
    found = find_notes(roll[None])
    edges = [(strip.bottom, strip.bottom + strip.rows) for strip in strips]
    for (bottom, top), strip, (k, track) in zip(edges, strips, enumerate(TRACKS), strict=True):
        axes.fill_between([0, num_steps], bottom, top, color=_PAPER, linewidth=0, zorder=0)
        of_track = found.track == k
        left = found.onset[of_track].astype(float)
        if track.is_drum:
            # Two steps wide, so that a hit of one step can be seen.
            row, right = _ROWS_PER_FAMILY * (_drum_rows()[found.pitch[of_track]] + 0.5), left + 2
        else:
            row, right = found.pitch[of_track] - strip.lowest + 0.5, left + found.length[of_track]
        middle = bottom + row + strip.shift
        low, high = middle - strip.thickness / 2, middle + strip.thickness / 2
        corners = np.stack([np.stack([left, left, right, right]), np.stack([low, high, high, low])]).transpose(2, 1, 0)
        # Where tracks share a strip, the pads of the strings lie behind. Snapped to whole pixels, notes of one
        # thickness would be drawn in two.
        order = 4 - k / NUM_TRACKS
        axes.add_collection(
            PolyCollection(list(corners), facecolor=TRACK_COLORS[k], linewidth=0, zorder=order, snap=False)
        )
    for spacing, color, width in ((STEPS_PER_BEAT, "#E3E5EA", 0.6), (STEPS_PER_BAR, "#B4B8C1", 1.0)):
        lines = [[(x, bottom), (x, top)] for x in range(0, num_steps + 1, spacing) for bottom, top in edges]
        axes.add_collection(LineCollection(lines, colors=color, linewidths=width, zorder=1 + width))
    axes.set_xlim(0, num_steps)
    axes.set_ylim(-0.5, _height(strips) + 0.5)
    bars = range(0, num_steps, STEPS_PER_BAR)
    axes.set_xticks(bars, [str(1 + step // STEPS_PER_BAR) for step in bars])
    axes.tick_params(length=0, colors=FAINT)
    axes.spines[:].set_visible(False)


def _label_strips(axes: Axes, strips: Sequence[_Strip]) -> None:
    """Names the tracks on the right in their colors, and on the left the Cs and the drum families."""
    heights: list[float] = []
    labels: list[str] = []
    for strip, track, color in zip(strips, TRACKS, TRACK_COLORS, strict=True):
        is_silent = strip.rows == _SILENT_RANGE
        axes.annotate(
            f"{track.name}\n(silent)" if is_silent else track.name,
            (1.012, strip.bottom + strip.rows / 2),
            xycoords=("axes fraction", "data"),
            va="center",
            color=color,
            alpha=0.5 if is_silent else 1,
            fontsize=11,
            fontweight="bold",
        )
        if is_silent:
            continue
        if track.is_drum:
            heights += [strip.bottom + _ROWS_PER_FAMILY * (row + 0.5) for row in range(len(DRUM_FAMILIES))]
            labels += DRUM_FAMILIES
            continue
        octaves = [row for row in range(strip.rows) if (strip.lowest + row + LOWEST_PITCH) % 12 == 0]
        heights += [strip.bottom + row + 0.5 for row in octaves]
        labels += [pitch_name(strip.lowest + row + LOWEST_PITCH) for row in octaves]
    axes.set_yticks(heights, labels, fontsize=7)
