"""Determines whether a dataset is in C major and A minor, from the build's options and the notes of kept arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int64

from wae_jax.data.build import key_estimation
from wae_jax.data.dataset import spread
from wae_jax.pianoroll import PackedPhrases, unpack

# Of the time in which notes sound. Real songs that were transposed by estimated keys have .87 and more, and the
# built-in corpus .98; in their own keys they have at most .73.
_LEAST_SHARE = 0.8
_PHRASES = 2048


def fields(rows: PackedPhrases, kept: Int64[np.ndarray, " kept"], option: str) -> dict[str, Any]:
    """The fields of dataset.json about its tonality.

    Args:
      rows: all phrases.
      kept: the indices of those of arrays, whose keys are unknown; up to 2,048 of them are looked at.
      option: `--tonality` of the build.

    Returns:
      "tonality": "c" or "all". With kept phrases, unless all were kept by request: their number, "kept", and
      "kept_in_c_major", the share of their pitched notes, by time, in the scale of C major and A minor.
    """
    if option == "keep":
        return {"tonality": "all"}
    if not len(kept):
        return {"tonality": "c"}
    chosen = kept[spread(len(kept), _PHRASES)]
    share = key_estimation.scale_shares(key_estimation.sounding_steps(unpack(rows[chosen])).sum(axis=0))[0]
    return {"tonality": "c" if share >= _LEAST_SHARE else "all", "kept": len(kept), "kept_in_c_major": float(share)}
