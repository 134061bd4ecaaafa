"""Pictures of phrases and of training runs, drawn with matplotlib's figures alone: no windows, no global state."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from wae_jax.files import whole_file
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
)
from wae_jax.pianoroll.notes import notes

# One colour a track, in the order of `TRACKS`: slate, and four of Okabe and Ito's colours that keep apart under the
# common forms of colour blindness.
TRACK_COLOURS = ("#4A4E5A", "#0072B2", "#E69F00", "#009E73", "#CC5FA0")

# The drum kit from low to high: families of General MIDI percussion, since forty rows of it cannot be read.
DRUM_FAMILIES: Mapping[str, tuple[int, ...]] = {
    "Kick": (35, 36),
    "Snare": (37, 38, 39, 40),
    "Toms": (41, 43, 45, 47, 48, 50),
    "Hi-hat": (42, 44, 46),
    "Cymbals": (49, 51, 52, 53, 55, 57, 59),
    "Other": (),
}

INK = "#2B2D33"
FAINT = "#8A8D96"
_PAPER = "#F5F6F8"
_STRIP_GAP = 2.5  # Between two tracks, in rows.
_SMALLEST_RANGE = 13  # Rows of a track that plays few pitches: an octave.
_SILENT_RANGE = 5
_ROWS_PER_FAMILY = 2
_DPI = 110


@dataclasses.dataclass(frozen=True)
class _Strip:
    """Where one track lies in a panel, in rows of one semitone (or one drum family), counted upwards.

    Attributes:
      bottom: the lower edge.
      rows: the height.
      lowest: the pitch row of the piano-roll that lies at the bottom; 0 for the drums.
      thickness: of a note, in rows.
      shift: how far above their place the notes are drawn, in rows.
    """

    bottom: float
    rows: int
    lowest: int
    thickness: float
    shift: float


def pitch_name(pitch: int) -> str:
    """Names a MIDI number as the LPD data does: 24 is C1, 36 is C2, 60 is C4."""
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    return f"{names[pitch % 12]}{pitch // 12 - 1}"


def plot_phrase(roll: BinaryPiece, *, title: str | None = None) -> Figure:
    """Draws one phrase: five strips, one a track, over bars and beats.

    A pitched strip shows the range that is played, with the Cs named (C4 is MIDI 60); the drums are gathered into the
    `DRUM_FAMILIES`.

    Args:
      roll: of any number of steps.
      title: printed above.

    Returns:
      A figure, to be shown by a notebook or written by `save_figure`.

    Raises:
      ValueError: if the roll has another shape or is not binary.
    """
    strips = _layout(roll[None])
    figure = new_figure(11, 1.1 + 0.052 * _height(strips))
    axes = figure.add_subplot()
    _draw_panel(axes, roll, strips)
    _label_strips(axes, strips)
    if title is not None:
        axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=10)
    axes.set_xlabel("bar", color=FAINT, fontsize=9)
    figure.text(0.99, 0.015, "C4 = MIDI 60", ha="right", color=FAINT, fontsize=7)
    return figure


def plot_grid(
    rolls: BinaryPieces, *, columns: int = 4, titles: Sequence[str] | None = None, suptitle: str | None = None
) -> Figure:
    """Draws several phrases, one small panel each, all with the same range of pitches.

    The pitched tracks share one strip, in their colours; the drums lie below, gathered into the `DRUM_FAMILIES`.

    Args:
      rolls: at least one phrase.
      columns: panels in a row.
      titles: one a phrase, printed above its panel.
      suptitle: printed above all.

    Returns:
      A figure.

    Raises:
      ValueError: if the rolls have another shape, are not binary, or number other than the titles.
    """
    if len(rolls) == 0 or (titles is not None and len(titles) != len(rolls)):
        raise ValueError(
            f"there are {len(rolls)} phrases and {'no' if titles is None else len(titles)} titles; "
            "expected one phrase or more, and as many titles as phrases"
        )
    strips = _layout(rolls, overlay=True)
    columns = min(columns, len(rolls))
    rows = math.ceil(len(rolls) / columns)
    head = 0.75 if suptitle is not None else 0.4
    figure = new_figure(max(6.0, 3.6 * columns), (0.35 + 0.03 * _height(strips)) * rows + head)
    for i, roll in enumerate(rolls):
        axes = figure.add_subplot(rows, columns, i + 1)
        _draw_panel(axes, roll, strips)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        if titles is not None:
            axes.set_title(titles[i], loc="left", fontsize=9, color=INK, pad=3)
    handles = [Patch(color=colour, label=name) for name, colour in zip(TRACK_NAMES, TRACK_COLOURS, strict=True)]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=NUM_TRACKS, frameon=False, fontsize=10, labelcolor=INK
    )
    if suptitle is not None:
        figure.suptitle(suptitle, x=0.01, ha="left", fontsize=14, fontweight="bold", color=INK)
    return figure


def phrase_image(roll: Shaped[np.ndarray, "steps P=84 K=5"]) -> UInt8[np.ndarray, "height=856 6*steps 3"]:
    """Draws every cell of one phrase with NumPy alone, in some milliseconds: for TensorBoard.

    The tracks lie above one another, drums at the bottom; in each, high pitches are up. Paper is white where a cell is
    off and has the track's colour where it is on; probabilities are blended.

    Args:
      roll: bool, 0/1 integers or probabilities.

    Returns:
      Rows, columns and red, green, blue: two pixels a pitch and six a step; 856 x 1152 for a phrase of four bars.

    Raises:
      ValueError: if the roll has another shape.
    """
    if roll.ndim != 3 or roll.shape[1:] != (NUM_PITCHES, NUM_TRACKS):
        raise ValueError(f"roll has shape {roll.shape}; expected [steps, {NUM_PITCHES} pitches, {NUM_TRACKS} tracks]")
    strength = np.clip(np.asarray(roll, np.float32), 0, 1)[:, ::-1].transpose(2, 1, 0)[::-1, :, :, None]
    colours = np.array([_rgb(colour) for colour in TRACK_COLOURS], np.float32)[::-1, None, None, :]
    paper = np.full((1, 1, len(roll), 1), 255, np.float32)
    paper[:, :, ::STEPS_PER_BEAT] = 242
    paper[:, :, ::STEPS_PER_BAR] = 216
    image = paper + strength * (colours - paper)
    # Two lines between tracks; the last has none below it.
    line = np.full((NUM_TRACKS, 2, len(roll), 3), 216, np.float32)
    image = np.concatenate([image, line], axis=1).reshape(-1, len(roll), 3)[:-2]
    return np.rint(image).astype(np.uint8).repeat(2, axis=0).repeat(6, axis=1)


def plot_curves(history: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, columns: int = 3) -> Figure:
    """Draws the curves of a run as small panels.

    Keys that differ only before the first "/" share a panel: `train/reconstruction` and `eval/reconstruction` are two
    lines in the panel "reconstruction".

    Args:
      history: name to (steps, values), two sequences of one length; values that are not finite leave a gap.
      columns: panels in a row.

    Returns:
      A figure.

    Raises:
      ValueError: if there is nothing to draw, or steps and values differ in length.
    """
    panels: dict[str, list[str]] = {}
    for name, (steps, values) in history.items():
        if len(steps) != len(values):
            raise ValueError(f"{name} has {len(steps)} steps and {len(values)} values; expected as many of each")
        panels.setdefault(name.split("/", 1)[-1], []).append(name)
    if not panels:
        raise ValueError("the history is empty; expected at least one named curve")
    groups = dict.fromkeys(name.split("/", 1)[0] for name in history)
    palette = (*TRACK_COLOURS[1:], TRACK_COLOURS[0])
    colours = {group: palette[i % len(palette)] for i, group in enumerate(groups)}
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(4.2 * columns, 2.7 * rows)
    for i, (panel, names) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        for name in names:
            steps, values = history[name]
            finite = np.where(np.isfinite(values), values, np.nan)
            group = name.split("/", 1)[0]
            marker = "o" if len(steps) == 1 else None
            axes.plot(steps, finite, color=colours[group], linewidth=1.6, marker=marker, markersize=4, label=group)
        dress(axes, panel)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
        if i >= len(panels) - columns:
            axes.set_xlabel("step", fontsize=9, color=FAINT)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG; a file that is there is replaced, and only once the new one is complete."""
    with whole_file(path) as part:
        figure.savefig(part, format="png")


def _rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of "#RRGGBB"."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of a size in inches that arranges its parts itself."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str) -> None:
    """Gives a panel of curves or bars its title, a faint grid and faint edges."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.grid(color="#E4E6EA", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#C9CCD3")
    axes.tick_params(colors=FAINT, labelsize=8)


def _drum_rows() -> Int64[np.ndarray, " P=84"]:
    """The row of the drum strip for each of the P pitches."""
    families = list(DRUM_FAMILIES.values())
    rows = np.full(NUM_PITCHES, len(families) - 1)
    for row, pitches in enumerate(families):
        rows[np.array(pitches, int) - LOWEST_PITCH] = row
    return rows


def _layout(rolls: BinaryPieces, *, overlay: bool = False) -> list[_Strip]:
    """Places the tracks: stacked from the drums up, or the drums below one strip that the pitched tracks share.

    A pitched strip is as high as the range of pitches that it shows in any of the rolls.
    """
    found = notes(rolls)
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
    """Height of all strips together, in rows."""
    return strips[-1].bottom + strips[-1].rows


def _draw_panel(axes: Axes, roll: BinaryPiece, strips: Sequence[_Strip]) -> None:
    """Draws the strips of one phrase: paper, lines of bars and beats, notes."""
    num_steps = len(roll)
    found = notes(roll[None])
    edges = [(strip.bottom, strip.bottom + strip.rows) for strip in strips]
    for (bottom, top), strip, (k, track) in zip(edges, strips, enumerate(TRACKS), strict=True):
        axes.fill_between([0, num_steps], bottom, top, color=_PAPER, linewidth=0, zorder=0)
        mine = found.track == k
        left = found.onset[mine].astype(float)
        if track.is_drum:
            # Strokes are two steps wide, so that a hit of one step can be seen.
            row, right = _ROWS_PER_FAMILY * (_drum_rows()[found.pitch[mine]] + 0.5), left + 2
        else:
            row, right = found.pitch[mine] - strip.lowest + 0.5, left + found.length[mine]
        middle = bottom + row + strip.shift
        low, high = middle - strip.thickness / 2, middle + strip.thickness / 2
        corners = np.stack([np.stack([left, left, right, right]), np.stack([low, high, high, low])]).transpose(2, 1, 0)
        # Where tracks share a strip, the pads of the strings lie behind. Snapped to whole pixels, notes of one
        # thickness would be drawn in two.
        behind = k / NUM_TRACKS
        axes.add_collection(
            PolyCollection(list(corners), facecolor=TRACK_COLOURS[k], linewidth=0, zorder=4 - behind, snap=False)
        )
    for spacing, colour, width in ((STEPS_PER_BEAT, "#E3E5EA", 0.6), (STEPS_PER_BAR, "#B4B8C1", 1.0)):
        lines = [[(x, bottom), (x, top)] for x in range(0, num_steps + 1, spacing) for bottom, top in edges]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, zorder=1 + width))
    axes.set_xlim(0, num_steps)
    axes.set_ylim(-0.5, _height(strips) + 0.5)
    bars = range(0, num_steps, STEPS_PER_BAR)
    axes.set_xticks(bars, [str(1 + step // STEPS_PER_BAR) for step in bars])
    axes.tick_params(length=0, colors=FAINT)
    axes.spines[:].set_visible(False)


def _label_strips(axes: Axes, strips: Sequence[_Strip]) -> None:
    """Names the tracks on the right in their colours, and on the left the Cs and the drum families."""
    places: list[float] = []
    labels: list[str] = []
    for strip, track, colour in zip(strips, TRACKS, TRACK_COLOURS, strict=True):
        middle = strip.bottom + strip.rows / 2
        silent = strip.rows == _SILENT_RANGE
        axes.annotate(
            f"{track.name}\n(silent)" if silent else track.name,
            (1.012, middle),
            xycoords=("axes fraction", "data"),
            va="center",
            color=colour,
            alpha=0.5 if silent else 1,
            fontsize=11,
            fontweight="bold",
        )
        if silent:
            continue
        if track.is_drum:
            places += [strip.bottom + _ROWS_PER_FAMILY * (row + 0.5) for row in range(len(DRUM_FAMILIES))]
            labels += DRUM_FAMILIES
            continue
        octaves = [row for row in range(strip.rows) if (strip.lowest + row + LOWEST_PITCH) % 12 == 0]
        places += [strip.bottom + row + 0.5 for row in octaves]
        labels += [pitch_name(strip.lowest + row + LOWEST_PITCH) for row in octaves]
    axes.set_yticks(places, labels, fontsize=7)
