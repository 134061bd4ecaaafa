"""The look that all pictures share: colors, empty figures, axes, titles and legends."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from wae_jax.files import printable, whole_file

# One color a track, in the order of `TRACKS`: slate, and four of Okabe and Ito's colors that stay distinct under the
# common forms of color blindness.
TRACK_COLORS = ("#4A4E5A", "#0072B2", "#E69F00", "#009E73", "#CC5FA0")
INK = "#2B2D33"
FAINT = "#8A8D96"
_DPI = 110
_CHARACTER = (0.5, 0.62)  # width, as a share of the size; the second is bold


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, sizes in inches, that arranges its parts itself; no window, no global state."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def set_title(axes: Axes, title: str, *, size: float, bold: bool = False, pad: float = 6) -> None:
    """Prints a title above a panel, on the left, character by character: it may be a file's name.

    Dollar signs start no formula; bytes of a name that are not UTF-8 are escaped. A line that is much longer than the
    panel is wide, which would leave it no width, is cut in its middle.
    """
    spec = axes.get_subplotspec()
    columns = 1 if spec is None else spec.get_gridspec().ncols
    most = round(axes.figure.bbox.width / _DPI / columns * 72 / (_CHARACTER[bold] * size))
    axes.set_title(
        "\n".join(_shorten(printable(line), most) for line in title.split("\n")),
        loc="left",
        fontsize=size,
        fontweight="bold" if bold else "normal",
        color=INK,
        pad=pad,
        parse_math=False,
    )


def _shorten(text: str, most: int) -> str:
    """The text with at most so many characters, from its start and its end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[most // 2 + 1 - most :]}"


def style_axes(axes: Axes, title: str) -> None:
    """Gives a panel of curves or bars its title, a faint grid and faint edges."""
    set_title(axes, title, size=10, bold=True)
    axes.grid(color="#E4E6EA", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#C9CCD3")
    axes.tick_params(colors=FAINT, labelsize=8)


def set_labels(axes: Axes, x: str | None = None, y: str | None = None, *, color: str = FAINT) -> None:
    """Labels the axes of a panel."""
    if x is not None:
        axes.set_xlabel(x, fontsize=9, color=color)
    if y is not None:
        axes.set_ylabel(y, fontsize=9, color=color)


def legend_columns(handles: Sequence[Patch], width: float) -> int:
    """The number of entries of a legend that fit in a row below a figure; `width` is in inches."""
    widths = [0.6 + 0.08 * len(str(handle.get_label())) for handle in handles]
    return len(handles) if sum(widths) <= width else max(1, int(width // max(widths)))


def add_legend_below(figure: Figure, handles: Sequence[Patch]) -> None:
    """Explains the colors of all panels below them."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=legend_columns(handles, figure.get_figwidth()),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )


def add_headline(figure: Figure, title: str) -> None:
    """Prints a title above all panels."""
    figure.suptitle(printable(title), x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK, parse_math=False)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG; an existing file is replaced only once the new one is complete."""
    with whole_file(path) as part:
        part.write_bytes(figure_png(figure))


def figure_png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file; a character that the font lacks is a box."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        figure.savefig(stream, format="png")
    return stream.getvalue()
