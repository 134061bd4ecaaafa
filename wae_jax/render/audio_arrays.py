"""Sound as arrays, and the finish that all synthesizers share: tail, fade and loudness."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

PEAK = 0.9
_FADE_SECONDS = 0.02
_INAUDIBLE = 1e-3

# Left and right channel.
Stereo = Float32[np.ndarray, "samples 2"]


def audible_length(sound: Stereo) -> int:
    """Number of samples up to the last one above -60 dB of the loudest; 0 for silence."""
    loudness = np.maximum(np.abs(sound[:, 0]), np.abs(sound[:, 1]))
    audible = np.flatnonzero(loudness > _INAUDIBLE * loudness.max(initial=0))
    return int(audible[-1]) + 1 if audible.size else 0


def finish(mix: Stereo, num_samples: int, sample_rate: int) -> Float32[np.ndarray, "others 2"]:
    """Cuts the inaudible part of the tail, fades the very end out, and scales the loudest sample to `PEAK`.

    Args:
      mix: changed in place.
      num_samples: length without the tail.
      sample_rate: samples a second.
    """
    mix = mix[: max(num_samples, audible_length(mix))]
    fade = min(len(mix), round(_FADE_SECONDS * sample_rate))
    mix[len(mix) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    loudest = np.abs(mix).max(initial=0)
    return mix * (PEAK / loudest) if loudest > 0 else mix
