"""One table of the convolutional networks; `encoder_decoder` makes modules of its rows.

`fir`, `alt`, `new_alt`, `newnew` and `mus` are those of `w00zie/wae_music` (its folder `models`) at commit 360051b,
except the dropout of `alt` and `new_alt`, which is of commit 6bf83c8 (rate .2), and the kernels of `mus`, which there
have the configured size throughout. `meter` is this project's own.
"""

from __future__ import annotations

import dataclasses

from wae_jax.errors import ConfigError

# In place of a number of filters: one channel a track, whatever `h_dim` is.
TRACKS = 0


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution or transposed convolution.

    Attributes:
      filters: their number as a multiple of `h_dim`, or `TRACKS`.
      strides: along time and pitch.
      kernel: size along time and pitch; None for the configured size.
      use_bias: whether a bias is added.
    """

    filters: int
    strides: tuple[int, int]
    kernel: tuple[int, int] | None = None
    use_bias: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the table.

    Attributes:
      encoder: convolutions, each followed by normalization and activation; a dense layer then makes the code.
      start: steps, pitches and filters (as a multiple of `h_dim`) to which the output of the decoder's dense layer is
        reshaped; None means no dense layer: the code is the start, of one step and one pitch.
      decoder: transposed convolutions, each but the last followed by normalization and activation.
      dropout: whether dropout is available, before the encoder's and after the decoder's dense layer.
      normalize_start: whether the decoder's dense layer is normalized before its activation.
    """

    encoder: tuple[Conv, ...]
    start: tuple[int, int, int] | None
    decoder: tuple[Conv, ...]
    dropout: bool
    normalize_start: bool = False


NETWORKS = {
    "fir": Network(
        encoder=(Conv(1, (2, 2)), Conv(2, (2, 2)), Conv(4, (2, 1)), Conv(8, (2, 3))),
        start=(12, 7, 8),
        normalize_start=True,
        decoder=(Conv(4, (2, 3)), Conv(2, (2, 1)), Conv(1, (2, 2)), Conv(TRACKS, (2, 2), use_bias=True)),
        dropout=False,
    ),
    "alt": Network(
        encoder=(Conv(1, (2, 1)), Conv(2, (2, 2)), Conv(4, (2, 2)), Conv(8, (3, 3))),
        start=(8, 7, 8),
        decoder=(Conv(4, (3, 3)), Conv(2, (2, 2)), Conv(1, (2, 2)), Conv(TRACKS, (2, 1), use_bias=True)),
        dropout=True,
    ),
    # `alt` with one more layer at full resolution.
    "new_alt": Network(
        encoder=(Conv(1, (2, 1)), Conv(2, (2, 2)), Conv(4, (2, 2)), Conv(8, (3, 3))),
        start=(8, 7, 8),
        decoder=(
            Conv(4, (3, 3)),
            Conv(2, (2, 2)),
            Conv(1, (2, 2)),
            Conv(TRACKS, (2, 1), use_bias=True),
            Conv(TRACKS, (1, 1), use_bias=True),
        ),
        dropout=True,
    ),
    # `alt` with fixed kernels, larger at high resolution.
    "newnew": Network(
        encoder=(
            Conv(1, (2, 1), (12, 12)),
            Conv(2, (2, 2), (8, 8)),
            Conv(4, (2, 2), (6, 6)),
            Conv(8, (3, 3), (6, 6)),
        ),
        start=(8, 7, 8),
        decoder=(
            Conv(4, (3, 3), (6, 6)),
            Conv(2, (2, 2), (6, 6)),
            Conv(1, (2, 2), (8, 8)),
            Conv(TRACKS, (2, 1), (12, 12), use_bias=True),
        ),
        dropout=False,
    ),
    # After MuseGAN: convolutions down to a single cell and up again.
    "mus": Network(
        encoder=(Conv(1, (1, 1)), Conv(2, (2, 2)), Conv(4, (6, 7)), Conv(8, (4, 2)), Conv(16, (4, 3))),
        start=None,
        decoder=(
            Conv(16, (1, 1)),
            Conv(8, (4, 3)),
            Conv(4, (4, 2), (5, 5)),
            Conv(2, (6, 7)),
            Conv(1, (2, 2)),
            Conv(TRACKS, (1, 1), use_bias=True),
        ),
        dropout=False,
    ),
    # Strides follow the meter: eighth notes, quarters, halves and bars, and whole octaves. Only the layers next to the
    # phrase overlap: the others are products of matrices, and learn other songs better from as many phrases.
    "meter": Network(
        encoder=(Conv(1, (6, 1)), Conv(2, (2, 2), (2, 2)), Conv(4, (2, 2), (2, 2)), Conv(8, (2, 3), (2, 3))),
        start=(4, 7, 8),
        decoder=(
            Conv(4, (2, 3), (2, 3)),
            Conv(2, (2, 2), (2, 2)),
            Conv(1, (2, 2), (2, 2)),
            Conv(TRACKS, (6, 1), use_bias=True),
        ),
        dropout=True,
    ),
}


def find_network(name: str, *, dropout_rate: float) -> Network:
    """The row called `name`.

    Raises:
      ConfigError: if there is no such row, or if it has no dropout and the rate is not 0.
    """
    if name not in NETWORKS:
        raise ConfigError(f"model.network is {name!r}; expected one of {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    if dropout_rate and not network.dropout:
        others = ", ".join(other for other, row in NETWORKS.items() if row.dropout)
        raise ConfigError(
            f"model.dropout_rate is {dropout_rate:g}, but the network {name!r} has no dropout; "
            f"expected 0, or a network with dropout: {others}"
        )
    return network
