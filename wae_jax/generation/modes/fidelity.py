"""How like one phrase is to another, cell by cell, and small tables of such figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

# Of two arrays of these one may have a single phrase, which then stands for all.
Cells = Bool[np.ndarray, "#B steps pitches tracks"]


def cell_f1(rolls: Cells, others: Cells) -> Float64[np.ndarray, " B"]:
    """F1 of each phrase's cells with those of another: 1 where they are the same, 0 where they share none.

    One minus this is the share of their cells in which they differ.

    Args:
      rolls: phrases, or some of their tracks.
      others: one for each, or one for all.
    """
    axes = (1, 2, 3)
    both = np.count_nonzero(rolls & others, axis=axes)
    total = np.count_nonzero(rolls, axis=axes) + np.count_nonzero(others, axis=axes)
    # Two silences are alike.
    return np.divide(2 * both, total, out=np.ones(len(both)), where=total > 0)


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text, their keys above them: words to the left, numbers to the right with three digits after the point.

    Args:
      rows: at least one, with the keys of the first.
    """
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_word = [isinstance(value, str) for value in rows[0].values()]
    return "\n".join(
        "  ".join(
            text.ljust(width) if word else text.rjust(width)
            for text, width, word in zip(line, widths, is_word, strict=True)
        ).rstrip()
        for line in cells
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
