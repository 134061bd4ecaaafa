"""The convolutional networks as rows of one table: numbers alone; `models.py` makes modules of them.

`fir`, `alt`, `new_alt`, `newnew` and `mus` are those of `w00zie/wae_music` (its `models/` folder) at commit 360051b.
Dropout came to its `alt` and `new_alt` later, at commit 6bf83c8, of rate .2; there `mus` has the configured kernel
throughout. `meter`, `octaves` and `bars` are this project's own, the last with a decoder in the spirit of MuseGAN's.
"""

from __future__ import annotations

import dataclasses

TRACKS = 0  # as a number of filters: one a track, or two with planes for onsets and sustains, whatever the width


@dataclasses.dataclass(frozen=True)
class Conv:
    """One convolution, or transposed convolution, of a network.

    Attributes:
      filters: how many, as a multiple of `h_dim`, or `TRACKS`.
      strides: along time and pitch.
      kernel: its size along time and pitch; None takes the configured size.
      use_bias: whether a bias is added.
      groups: into how many equal shares the channels are divided on both sides; filters of one see no other.
    """

    filters: int
    strides: tuple[int, int]
    kernel: tuple[int, int] | None = None
    use_bias: bool = False
    groups: int = 1


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the table.

    Attributes:
      encoder: its convolutions; each is followed by normalisation and activation. A dense layer gives the code.
      bars: how many codes a dense layer makes of the phrase's, one a bar, and their units (as a multiple of `h_dim`).
        Their normalisation and activation, and all that follows, is the same for each bar and sees no other. None where
        the whole phrase is made at once.
      start: steps, pitches and filters (as a multiple of `h_dim`) that the decoder's dense layer is shaped to, after
        its activation; None where there is no dense layer and the code itself is the start, one step by one pitch.
      normalize_start: whether that dense layer is normalised before its activation.
      decoder: its transposed convolutions; each but the last is followed by normalisation and activation.
      dropout: whether the network has dropout, at the configured rate: before the code's dense layer and after the
        decoder's. The others take no rate but 0.
    """

    encoder: tuple[Conv, ...]
    start: tuple[int, int, int] | None
    decoder: tuple[Conv, ...]
    dropout: bool
    normalize_start: bool = False
    bars: tuple[int, int] | None = None


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
    # `alt`, and once more over the finished roll.
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
    # `alt` with wide kernels where the roll is large; none of them follows the configuration.
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
    # After MuseGAN: down to a single cell and up again, convolutions all the way.
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
    # Follows the meter: the encoder's layers end at eighth notes, quarters, halves and bars, and at whole octaves. A
    # third of the arithmetic of `alt`.
    "meter": Network(
        encoder=(Conv(1, (6, 1)), Conv(2, (2, 2)), Conv(4, (2, 2)), Conv(8, (2, 3))),
        start=(4, 7, 8),
        decoder=(Conv(4, (2, 3)), Conv(2, (2, 2)), Conv(1, (2, 2)), Conv(TRACKS, (6, 1), use_bias=True)),
        dropout=True,
    ),
    # `meter`'s grid with kernels that are musical lengths too: a beat of steps where notes are written, and then, for
    # chords move in octaves, two octaves of pitches taken in one stride of twelve, four eighths, beats or halves long.
    "octaves": Network(
        encoder=(
            Conv(1, (6, 1), (12, 6)),
            Conv(2, (2, 12), (4, 24)),
            Conv(4, (2, 1), (4, 3)),
            Conv(8, (2, 1), (4, 3)),
        ),
        start=(4, 7, 8),
        decoder=(
            Conv(4, (2, 1), (4, 3)),
            Conv(2, (2, 1), (4, 3)),
            Conv(1, (2, 12), (4, 24)),
            Conv(TRACKS, (6, 1), (12, 6), use_bias=True),
        ),
        dropout=True,
    ),
    # `meter`'s encoder, and a decoder of three parts: the code of a phrase becomes a code for each bar; each bar is
    # made of its own as any other is, down to quarters by major thirds; from there on each track has filters of its
    # own, h of these five times h, and of the last layer's five groups each sees one track's.
    "bars": Network(
        encoder=(Conv(1, (6, 1)), Conv(2, (2, 2)), Conv(4, (2, 2)), Conv(8, (2, 3))),
        bars=(4, 8),
        start=(1, 7, 8),
        normalize_start=True,
        decoder=(
            Conv(4, (2, 3), (2, 6)),
            Conv(2, (2, 1)),
            Conv(5, (2, 2), (4, 4)),
            Conv(TRACKS, (6, 2), use_bias=True, groups=5),
        ),
        dropout=True,
    ),
}


@dataclasses.dataclass(frozen=True)
class RefinerUnits:
    """The residual units of a refiner, which any row may have after its decoder.

    Attributes:
      num: how many, one after the other; at least 1.
      filters: of each, for each track.
      kernel: the size of its two kernels along time and pitch.
      strides: of its first convolution along time and pitch.
    """

    num: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int]


def find_network(name: str, *, dropout_rate: float) -> Network:
    """The row called `name`.

    Raises:
      ValueError: if there is none, or if it has no dropout and the rate is not 0. A rate that is left without effect,
        or dropout where the reference has none, would both be found out late.
    """
    if name not in NETWORKS:
        raise ValueError(f"no network called {name!r}; there are {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    if dropout_rate and not network.dropout:
        others = ", ".join(other for other, row in NETWORKS.items() if row.dropout)
        raise ValueError(
            f"the dropout rate is {dropout_rate:g}, and the network {name!r} has no dropout; "
            f"set model.dropout_rate to 0, or take a network that has it: {others}"
        )
    return network
