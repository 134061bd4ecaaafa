# ruff: noqa: F401, these names are the package's
"""The representation: binary piano-rolls of five tracks, and what all other packages assume about them.

Axis letters, used in shapes throughout the project:

    B  phrases
    T  192 time steps: 4 bars of 48, 12 steps a quarter note
    P  84 pitches: MIDI numbers 24 to 107
    K  5 tracks, in the order of `TRACKS`
    Z  latent dimensions

Annotations of arrays are jaxtyping's: the type of the cells, the array type, and the axes. An axis named twice in a
signature has one length, `P=84` has that length, `*shape` is any number of axes. The tests check every call against
them; calls of users are not checked.

`layout`, `notes` and `transposition` are NumPy, exported here, and import no jax, which takes a second: processes that
read files need no more. `device` is for jitted functions. No models, files or metrics. May import nothing of the
project but `array_types`.
"""

from wae_jax.pianoroll.layout import (
    BYTES_PER_PHRASE,
    CELLS_PER_PHRASE,
    DEFAULT_TEMPO,
    LOWEST_PITCH,
    NUM_BARS,
    NUM_PITCHES,
    NUM_STEPS,
    NUM_TRACKS,
    PHRASE_SHAPE,
    PITCHED_TRACKS,
    PROGRAMS,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    TRACK_NAMES,
    TRACKS,
    BinaryPiece,
    BinaryPieces,
    BinaryRolls,
    Codes,
    PackedPhrases,
    Probabilities,
    Rolls,
    Track,
    active_track_bars,
    active_tracks,
    check_rolls,
    count_track_cells,
    pack,
    unpack,
)
from wae_jax.pianoroll.notes import Notes, find_notes
from wae_jax.pianoroll.transposition import transpose
