"""Paths between codes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float


def slerp(start: Float[np.ndarray, " Z"], end: Float[np.ndarray, " Z"], share: float) -> Float[np.ndarray, " Z"]:
    """Spherical interpolation: a code between two others (share 0 and 1) whose direction and norm change evenly.

    A straight line between samples of a Gaussian in many dimensions passes near the origin, where samples hardly ever
    lie.
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


def slerp_path(
    start: Float[np.ndarray, " Z"], end: Float[np.ndarray, " Z"], shares: Iterable[float]
) -> Float[np.ndarray, "shares Z"]:
    """The codes at some shares of the way from one code to another, by `slerp`."""
    return np.stack([slerp(start, end, float(share)) for share in shares])


def at_distance(
    start: Float[np.ndarray, " Z"], end: Float[np.ndarray, " Z"], distance: float
) -> Float[np.ndarray, " Z"]:
    """The code at a Euclidean distance from the start, on the path of `slerp` to another code.

    Raises:
      ValueError: if the other code is nearer.
    """
    if distance > np.linalg.norm(end - start):
        raise ValueError(f"the end is {np.linalg.norm(end - start):g} from the start, nearer than {distance:g}")
    near, far = 0.0, 1.0
    # As many halvings as a float has digits.
    for _ in range(60):
        middle = (near + far) / 2
        if np.linalg.norm(slerp(start, end, middle) - start) < distance:
            near = middle
        else:
            far = middle
    return slerp(start, end, far)
