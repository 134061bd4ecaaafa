"""Tables of the built-in corpus: progressions, drum grooves, styles of each part, and which go together.

Rhythms are strings of sixteen characters, one a sixteenth note of a 4/4 bar:

    .      silence
    -      the note before continues
    x      a drum is struck
    0 - 4  one voice of the chord is struck; its meaning depends on the part
    #      all voices of the chord are struck
    ^      all voices but the lowest are struck

Strings of one pattern sound together. The tables are small on purpose: a network of modest size has to learn them in
minutes. Variety comes from their combination (see `demo_corpus`).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

SIXTEENTHS_PER_BAR = 16
STEPS_PER_SIXTEENTH = 3

# General MIDI drum numbers.
KICK, SNARE, CLOSED_HAT, OPEN_HAT, CRASH, RIDE = 36, 38, 42, 46, 49, 51
FLOOR_TOM, LOW_TOM, MID_TOM, HIGH_TOM = 43, 45, 47, 50

# The voices that a character strikes, in the part's list of voices.
VOICES = {"#": slice(None), "^": slice(1, None)} | {str(i): slice(i, i + 1) for i in range(5)}

# Semitones above the tonic.
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}

# Numeral: semitones of the root above the tonic, semitones of the third above the root; the fifth is always perfect.
# Two chords leave the scale: bVII of major has its minor seventh, V of minor its major seventh.
NUMERALS = {
    "I": (0, 4), "ii": (2, 3), "iii": (4, 3), "IV": (5, 4), "V": (7, 4), "vi": (9, 3), "bVII": (10, 4),
    "i": (0, 3), "III": (3, 4), "iv": (5, 3), "VI": (8, 4), "VII": (10, 4),
}  # fmt: skip

# Four bars each; two chords of half a bar are joined by a full stop.
PROGRESSIONS = {
    "major": (
        "I V vi IV", "vi IV I V", "I vi IV V", "I IV V IV", "I iii IV V", "I bVII IV I", "ii V I vi",
        "I.V vi.iii IV.I IV.V",
    ),
    "minor": ("i VI III VII", "i VII VI VII", "i VII VI V", "i iv VI V", "i.VI III.VII i.VI iv.V"),
}  # fmt: skip

# Chance of each major key, and of the minor key that shares its notes: as on a guitar, few flats and sharps are common.
KEY_WEIGHTS = {
    "C": 0.18, "G": 0.18, "D": 0.15, "A": 0.12, "F": 0.10, "E": 0.08,
    "Bb": 0.06, "Eb": 0.04, "B": 0.03, "Ab": 0.02, "Db": 0.02, "Gb": 0.02,
}  # fmt: skip
PITCH_CLASSES = {"C": 0, "Db": 1, "D": 2, "Eb": 3, "E": 4, "F": 5, "Gb": 6, "G": 7, "Ab": 8, "A": 9, "Bb": 10, "B": 11}


@dataclasses.dataclass(frozen=True)
class Groove:
    """One bar of drums."""

    kicks: tuple[str, str, str]  # bass drum of bars 1 and 3, of bars 2 and 4, and a busier one for bars 2 and 4
    snare: str
    time: str  # the cymbal or tom that marks the time
    verse_drum: int  # MIDI number of `time` in verse and bridge
    chorus_drum: int  # MIDI number of `time` in the chorus
    offbeats: str = "................"  # open hi-hat


BACKBEAT = "....x.......x..."
EIGHTHS = "x.x.x.x.x.x.x.x."
QUARTERS = "x...x...x...x..."

# fmt: off
GROOVES = {
    "rock": Groove(
        ("x.......x.......", "x.......x.......", "x.......x.x....."), BACKBEAT, EIGHTHS, CLOSED_HAT, OPEN_HAT),
    "push": Groove(
        ("x.....x.x.......", "x.....x.x.......", "x.....x.x.....x."), BACKBEAT, EIGHTHS, CLOSED_HAT, RIDE),
    "sixteen": Groove(
        ("x.......x.......", "x.......x..x....", "x..x....x..x...."), BACKBEAT, "x" * 16, CLOSED_HAT, CLOSED_HAT),
    "disco": Groove(
        (QUARTERS, QUARTERS, "x...x...x...x.x."), BACKBEAT, QUARTERS, CLOSED_HAT, RIDE, offbeats="..x...x...x...x."),
    "half_time": Groove(
        ("x.....x.........", "x.....x.........", "x.....x.......x."), "........x.......", EIGHTHS, CLOSED_HAT, RIDE),
    "ballad": Groove(
        ("x.......x.......", "x.......x.x.....", "x.....x.x.x....."), BACKBEAT, QUARTERS, CLOSED_HAT, RIDE),
    "soul": Groove(
        ("x.....x.x.....x.", "x.....x.x.....x.", "x.....x.x.x...x."), QUARTERS, EIGHTHS, CLOSED_HAT, RIDE),
    "toms": Groove(
        ("x.......x.......", "x.......x.x.....", "x.....x.x.x....."), BACKBEAT, EIGHTHS, FLOOR_TOM, RIDE),
}
# fmt: on


@dataclasses.dataclass(frozen=True)
class Fill:
    """The end of a phrase's last bar: from sixteenth `start` on, `drums` replaces the groove (MIDI number, strokes)."""

    start: int
    drums: tuple[tuple[int, str], ...]


# The first phrase of a pair ends in a slight fill or none (start 16: nothing is replaced), the second in a full one.
SLIGHT_FILLS = (
    Fill(16, ()),
    Fill(14, ((OPEN_HAT, "..............x."), (KICK, "..............x."))),
    Fill(14, ((CLOSED_HAT, "..............x."), (SNARE, "...............x"))),
)
FULL_FILLS = (
    Fill(12, ((SNARE, "............xxxx"),)),
    Fill(12, ((HIGH_TOM, "............xx.."), (MID_TOM, "..............x."), (FLOOR_TOM, "...............x"))),
    Fill(8, ((SNARE, "........xx......"), (HIGH_TOM, "..........xx...."),
             (MID_TOM, "............xx.."), (LOW_TOM, "..............xx"))),
    Fill(8, ((SNARE, "........x.x.x.x."), (FLOOR_TOM, "........x.x.x.x."))),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Style:
    """The rhythm of a part on a chord of one bar."""

    verse: tuple[str, ...]  # strings of the verse and the bridge
    chorus: tuple[str, ...]  # strings of the chorus, as a rule denser
    power: bool = False  # whether the voices are a power chord (root, fifth, octave) instead of the triad
    thin: bool = False  # whether the style has so few notes that it needs piano or strings beside it


# Voices: 0 root, 1 third, 2 fifth, 3 octave (the fifth where that lies too high), 4 the scale's step to the next root.
BASS = {
    "long": Style(("0---------------",), ("0-----0-0-------",)),
    "pulse": Style(("0-----0-0-----0-",), ("0-0-0-0-0-0-0-0-",)),
    "eighths": Style(("0-0-0-0-0-0-0-0-",), ("0-0-0-0-0-0-0-4-",)),
    "fifths": Style(("0-------2-------",), ("0-----0-2-----2-",)),
    "octaves": Style(("0---3---0---3---",), ("0-3-0-3-0-3-0-3-",)),
    "walking": Style(("0---1---2---4---",), ("0---2---3---4---",)),
}

# Voices: 0 to 2 the triad from below, 3 its lowest note an octave higher.
GUITAR = {
    "ring": Style(("#---------------",), ("#-------#-------",)),
    "strum": Style(("#---#---#---#-#-",), ("#---#-#---#-#-#-",)),
    "push": Style(("#-----#-----#---",), ("#-----#-#-----#-",)),
    "power": Style(("#-#-#-#-#-#-#-#-",), ("#-------#-----#-",), power=True),
    "arpeggio": Style(
        ("0---------------", "..1-------1---1-", "....2---2---2---", "......3---------"), ("#---#---#---#-#-",)
    ),
    "offbeat": Style(("..#-..#-..#-..#-",), ("#-----#-..#-..#-",), thin=True),
}

# Voices: 0 the root in the left hand, 1 to 3 the triad in the right.
PIANO = {
    "block": Style(("#---------------",), ("#-------#-------",)),
    "quarters": Style(("0---------------", "^---^---^---^---"), ("0-------0-------", "^---^---^---^---")),
    "broken": Style(
        ("0---------------", "1-------1-------", "..2---2---2---2-", "....3-------3---"),
        ("0-------0-------", "1-------1-------", "..2---2---2---2-", "....3-------3---"),
    ),
    "push": Style(("0---------------", "^-----^-----^---"), ("0-----0-----0---", "^-----^-----^---")),
    "offbeat": Style(("0---------------", "..^-..^-..^-..^-"), ("0-------0-------", "..^-..^-..^-..^-")),
}

# Voices: 0 the root in the cellos, 1 to 3 the triad in the violins.
STRINGS = {
    "pad": Style(("^---------------",), ("#---------------",)),
    "line": Style(
        ("0---------------", "3-------2-------"), ("0---------------", "1---------------", "3-------2---3---")
    ),
    "swell": Style(("#-----------....",), ("#-------#-------",)),
}


class Feel(NamedTuple):
    """Grooves and styles (names in the tables above) that go together, and the feel's share of the songs."""

    weight: float
    grooves: tuple[str, ...]
    bass: tuple[str, ...]
    guitar: tuple[str, ...]
    piano: tuple[str, ...]
    strings: tuple[str, ...]


FEELS = (  # rock, pop, ballad, disco, soul
    Feel(0.28, ("rock", "push", "toms"), ("pulse", "eighths"), ("power", "strum", "push"),
         ("block", "quarters"), ("pad",)),
    Feel(0.28, ("rock", "push", "sixteen"), ("pulse", "fifths", "long"), ("strum", "push", "arpeggio"),
         ("block", "broken", "push"), ("pad", "line")),
    Feel(0.2, ("ballad", "half_time"), ("long", "fifths"), ("arpeggio", "ring"),
         ("block", "broken", "quarters"), ("pad", "line", "swell")),
    Feel(0.12, ("disco", "sixteen"), ("octaves", "eighths"), ("offbeat", "strum"),
         ("push", "offbeat"), ("swell", "line")),
    Feel(0.12, ("soul", "push"), ("walking", "fifths"), ("offbeat", "ring"),
         ("quarters", "offbeat"), ("pad", "line")),
)  # fmt: skip


@functools.cache
def strokes(line: str) -> tuple[tuple[int, int, str], ...]:
    """Reads a string of the notation.

    Returns:
      First step within the bar, length in steps, and character of every note.

    Raises:
      ValueError: if the string has not sixteen characters or continues a note that does not exist.
    """
    if len(line) != SIXTEENTHS_PER_BAR:
        raise ValueError(f"rhythm {line!r} has {len(line)} characters; expected {SIXTEENTHS_PER_BAR}")
    notes: list[tuple[int, int, str]] = []
    before = "."
    for position, mark in enumerate(line):
        if mark == "-":
            if before == ".":
                raise ValueError(f"rhythm {line!r} continues a note at character {position}, but there is none before")
            onset, length, struck = notes[-1]
            notes[-1] = (onset, length + STEPS_PER_SIXTEENTH, struck)
        elif mark != ".":
            notes.append((position * STEPS_PER_SIXTEENTH, STEPS_PER_SIXTEENTH, mark))
        before = mark
    return tuple(notes)
