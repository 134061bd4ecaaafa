"""Keys and scales of the songs of a dataset, in words."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from wae_jax import pianoroll
from wae_jax.data.build import key_estimation
from wae_jax.data.dataset import IndexLine
from wae_jax.pianoroll import PackedPhrases

_ROWS_AT_A_TIME = 1024
# By how much another scale has to hold more of a transposed song than that of C major before the song is named. Of 208
# songs of known keys, moved by estimates of which 36 were wrong, 24 are beyond it; moved by their keys, 1 is.
_SCALE_MARGIN = 0.02
_SONGS_NAMED = 5


def lines(phrases: PackedPhrases, index: Sequence[IndexLine], *, is_transposed: bool) -> Iterator[str]:
    """Lines about the keys of the songs and, if they were transposed, about how well they fit C major and A minor."""
    times = _sounding_times(phrases, index)
    yield f"estimated keys of the songs: {_keys(times)}"
    if is_transposed and times:
        # Wrong keys show here without estimating them in the same way again.
        yield f"scale of C major and A minor: {_scales(times)}"


def _sounding_times(phrases: PackedPhrases, index: Sequence[IndexLine]) -> dict[str, np.ndarray]:
    """Steps in which each pitch class sounds, `[12]`, of each song with a pitched note.

    A phrase whose song is unknown is one by itself. Notes of one pitch class that sound at the same time count once, as
    in `key_estimation.sounding_times`.
    """
    # No name in the index has a tab.
    names = [f"row\t{row}" if line.song is None else line.song for row, line in enumerate(index)]
    times: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros(12))
    for start in range(0, len(phrases), _ROWS_AT_A_TIME):
        rolls = pianoroll.unpack(np.asarray(phrases[start : start + _ROWS_AT_A_TIME]))
        steps = key_estimation.sounding_steps(rolls)
        for name, row in zip(names[start : start + len(rolls)], steps, strict=True):
            times[name] += row
    return {name.replace("\t", " "): time for name, time in times.items() if time.any()}


def _keys(times: Mapping[str, np.ndarray]) -> str:
    """The ten most frequent estimated keys."""
    found = collections.Counter(key_estimation.key_name(*key_estimation.estimate_key(time)) for time in times.values())
    shares = (f"{key} {count / found.total():.0%}" for key, count in found.most_common(10))
    return ", ".join(shares) or "none: no pitched track is active"


def _scales(times: Mapping[str, np.ndarray]) -> str:
    """The share of the songs that lies in the scale of C major, and the songs of which another holds more."""
    shares = {name: key_estimation.scale_shares(time) for name, time in times.items()}
    gains = {name: share.max() - share[0] for name, share in shares.items()}
    others = sorted((name for name in shares if gains[name] > _SCALE_MARGIN), key=lambda name: -gains[name])
    named = (
        f"{name} ({key_estimation.key_name(int(shares[name].argmax()), False)} {shares[name].max():.0%}, "
        f"C major {shares[name][0]:.0%})"
        for name in others[:_SONGS_NAMED]
    )
    mean = np.mean([share[0] for share in shares.values()])
    text = f"{mean:.1%} of a song on average; songs of which another scale holds over {_SCALE_MARGIN:.0%} more: "
    return f"{text}{len(others)}, first of all {', '.join(named)}" if others else f"{text}none"
