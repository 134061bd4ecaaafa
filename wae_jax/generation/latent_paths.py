"""Paths between codes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def slerp(start: Float[np.ndarray, " Z"], end: Float[np.ndarray, " Z"], share: float) -> Float[np.ndarray, " Z"]:
    """A code between two others whose direction turns, and whose norm changes, evenly.

    A straight line between draws of a Gaussian in many dimensions passes through the middle, where there are none.

    Args:
      start: one of the two.
      end: the other.
      share: 0 at the start, 1 at the end.
    """
    norms = np.linalg.norm(start), np.linalg.norm(end)
    if min(norms) == 0:
        return (1 - share) * start + share * end
    one, other = start / norms[0], end / norms[1]
    angle = np.arccos(np.clip(one @ other, -1.0, 1.0))
    if np.sin(angle) < 1e-6:
        return (1 - share) * start + share * end
    direction = (np.sin((1 - share) * angle) * one + np.sin(share * angle) * other) / np.sin(angle)
    return direction * ((1 - share) * norms[0] + share * norms[1])


def at_distance(
    start: Float[np.ndarray, " Z"], end: Float[np.ndarray, " Z"], distance: float
) -> Float[np.ndarray, " Z"]:
    """The code at a distance from the start on the way of `slerp` to another code.

    Args:
      start: a code.
      end: another, not nearer than the distance.
      distance: Euclidean, at least 0.

    Raises:
      ValueError: if the other code is nearer.
    """
    if distance > np.linalg.norm(end - start):
        raise ValueError(f"the end is {np.linalg.norm(end - start):g} from the start, nearer than {distance:g}")
    near, far = 0.0, 1.0
    # Halved until floats have no more digits for it.
    for _ in range(60):
        middle = (near + far) / 2
        if np.linalg.norm(slerp(start, end, middle) - start) < distance:
            near = middle
        else:
            far = middle
    return slerp(start, end, far)
