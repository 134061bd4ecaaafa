"""The built-in corpus: rock and pop phrases made by rule from a seed, so that a first run needs no download.

A song has a key (C major or A minor, unless all twelve are requested), a four-bar chord progression, a feel, and from
that feel a drum groove and a style for each part (`demo_patterns` holds the tables). Guitar and bass play nearly
always, piano and strings in about half of the phrases each. The phrases follow the form verse, chorus, verse, chorus,
bridge, chorus, two phrases each, and vary:

- verse and chorus differ in rhythm, in the cymbals and in the active tracks; the bridge begins the progression at its
  third bar, and one part rests;
- the first phrase of a pair ends in a slight drum fill or none (3 ways), the second in a full one (4 ways);
- the bass drum of bars 2 and 4 is plain or busy (2 ways); in the last beat bass and guitar continue, pause, or lead
  back to the first bar (3 ways each).

13 progressions in C major or A minor and 334 choices of groove and styles make 4,342 songs, not counting the
arrangement, and twelve times as many in all keys; a song has up to 378 phrases. Single notes are deliberately not
random: they would be heard as mistakes and could not be learned.

Every chord tone has one pitch, the only one within a fixed octave of the part, so voices move little from chord to
chord in any key, as an arranger would write them and as a small network learns them most easily. Every pitched note
ends one step early, because a piano-roll cannot show where one of two touching notes ends.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Integer

from wae_jax import pianoroll
from wae_jax.config.fields import Tonality
from wae_jax.data import demo_patterns as patterns
from wae_jax.pianoroll import PackedPhrases, Rolls

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(pianoroll.NUM_TRACKS)
FORM = ("verse", "chorus", "verse", "chorus", "bridge", "chorus")
SECTIONS = ("verse", "chorus", "bridge")
TONALITIES = typing.get_args(Tonality)
# The tonic of each mode without sharps and flats.
IN_C = {"major": 0, "minor": 9}
LAST_BAR = pianoroll.NUM_STEPS - pianoroll.STEPS_PER_BAR
LAST_BEAT = pianoroll.NUM_STEPS - pianoroll.STEPS_PER_BEAT
LAST_EIGHTH = pianoroll.NUM_STEPS - pianoroll.STEPS_PER_BEAT // 2

# The lowest MIDI number of the octave with the chord tones of a part (or of a hand).
BASS_FLOOR = 28
POWER_CHORD_FLOOR = 48
GUITAR_FLOOR = 52
PIANO_LEFT_FLOOR = 48
PIANO_RIGHT_FLOOR = 60
CELLO_FLOOR = 48
VIOLIN_FLOOR = 67
BASS_CEILING = 47

# One track of a phrase, some steps of it, and the MIDI numbers of a chord's voices.
Part = Bool[np.ndarray, "T=192 P=84"]
Block = Bool[np.ndarray, "steps P=84"]
Voices = Integer[np.ndarray, " voices"]


class Chord(NamedTuple):
    """A chord of a phrase: first step, length in steps, pitch class of the root, semitones from root to third.

    The fifth is perfect.
    """

    start: int
    length: int
    root: int
    third: int


@dataclasses.dataclass(frozen=True)
class Song:
    """A song: everything that its phrases have in common."""

    tonic: int  # pitch class of the key, 0 is C
    mode: str  # "major" or "minor"
    progression: str  # one of `demo_patterns.PROGRESSIONS`, or numerals in that notation
    groove: str  # a name in `demo_patterns.GROOVES`
    bass: str  # a name in `demo_patterns.BASS`; likewise `guitar`, `piano` and `strings`
    guitar: str
    piano: str
    strings: str
    piano_sections: tuple[str, ...] = ()  # the sections in which the piano plays; likewise `strings_sections`
    strings_sections: tuple[str, ...] = ()
    resting: int | None = None  # the track that rests in the bridge, or None


@dataclasses.dataclass(frozen=True)
class Variation:
    """Differences of a phrase from the others of its section."""

    fill: patterns.Fill  # the drums at the end of the phrase
    busy: bool  # whether the bass drum of bars 2 and 4 is the busy one
    bass_end: str  # the bass in the last beat, one of `ENDS`
    guitar_end: str  # the guitar in the last beat, one of `ENDS`


ENDS = ("on", "pause", "lead")
VARIATIONS = tuple(  # of the first and of the second phrase of a pair
    tuple(itertools.starmap(Variation, itertools.product(fills, (False, True), ENDS, ENDS)))
    for fills in (patterns.SLIGHT_FILLS, patterns.FULL_FILLS)
)


def make_demo_corpus(
    *, num_songs: int, phrases_per_song: int, seed: int, tonality: str = "c"
) -> tuple[PackedPhrases, Int32[np.ndarray, " B"]]:
    """Makes the built-in corpus.

    Song i of a seed does not depend on `num_songs`, nor its first phrases on `phrases_per_song`.

    Args:
      num_songs: number of songs, at least 1.
      phrases_per_song: phrases of each song, at least 1.
      seed: not negative.
      tonality: "c" for C major and A minor; "all" for all keys, which gives the same songs with other tonics.

    Returns:
      The packed phrases, song by song, and the index of each phrase's song; B = num_songs * phrases_per_song.

    Raises:
      ValueError: if an argument is too small, or there is no such tonality.
    """
    least = {"num_songs": (num_songs, 1), "phrases_per_song": (phrases_per_song, 1), "seed": (seed, 0)}
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise ValueError(f"{name} is {value}; expected {minimum} or more")
    if tonality not in TONALITIES:
        raise ValueError(f"tonality is {tonality!r}; expected one of {', '.join(TONALITIES)}")
    packed = np.empty((num_songs, phrases_per_song, pianoroll.BYTES_PER_PHRASE), np.uint8)
    for i in range(num_songs):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(i,)))
        song = sample_song(rng)
        if tonality == "c":
            song = dataclasses.replace(song, tonic=IN_C[song.mode])
        packed[i] = pianoroll.pack(render_phrases(song, sample_variations(rng, phrases_per_song)))
    song_ids = np.repeat(np.arange(num_songs, dtype=np.int32), phrases_per_song)
    return packed.reshape(-1, pianoroll.BYTES_PER_PHRASE), song_ids


def sample_song(rng: np.random.Generator) -> Song:
    """A song of random key, progression, feel, styles and arrangement."""

    def pick(names: Sequence[str]) -> str:
        return names[int(rng.integers(len(names)))]

    keys = tuple(patterns.KEY_WEIGHTS)
    major_tonic = patterns.PITCH_CLASSES[keys[rng.choice(len(keys), p=tuple(patterns.KEY_WEIGHTS.values()))]]
    mode = "major" if rng.random() < 0.65 else "minor"
    feel = patterns.FEELS[rng.choice(len(patterns.FEELS), p=[feel.weight for feel in patterns.FEELS])]
    guitar = pick(feel.guitar)

    all_but_verse = ("chorus", "bridge")
    piano_sections = (SECTIONS, all_but_verse, ())[rng.choice(3, p=(0.4, 0.12, 0.48))]
    strings_sections = (SECTIONS, all_but_verse, ())[rng.choice(3, p=(0.28, 0.26, 0.46))]
    if patterns.GUITAR[guitar].thin and piano_sections != SECTIONS:
        strings_sections = SECTIONS
    resting = (DRUMS, BASS, GUITAR, PIANO, STRINGS)[rng.choice(5, p=(0.1, 0.1, 0.2, 0.3, 0.3))]
    has_company = bool(piano_sections or strings_sections)
    return Song(
        tonic=major_tonic if mode == "major" else (major_tonic - 3) % 12,
        mode=mode,
        progression=pick(patterns.PROGRESSIONS[mode]),
        groove=pick(feel.grooves),
        bass=pick(feel.bass),
        guitar=guitar,
        piano=pick(feel.piano),
        strings=pick(feel.strings),
        piano_sections=piano_sections,
        strings_sections=strings_sections,
        resting=resting if resting != GUITAR or has_company else None,
    )


def section_of(index: int) -> str:
    """The section of a song's phrase by its index: "verse", "chorus" or "bridge"."""
    return FORM[index // 2 % len(FORM)]


def sample_variations(rng: np.random.Generator, num_phrases: int) -> list[Variation]:
    """Random variations of the phrases of a song; a section repeats none before it has had all of them."""
    orders = {
        (section, second): itertools.cycle(rng.permutation(len(VARIATIONS[second])).tolist())
        for section in SECTIONS
        for second in (0, 1)
    }
    return [VARIATIONS[i % 2][next(orders[section_of(i), i % 2])] for i in range(num_phrases)]


def render_phrases(song: Song, variations: Sequence[Variation]) -> Rolls:
    """The first phrases of a song, one for each variation."""
    parts = {section: _render_section(song, section) for section in SECTIONS}
    rolls = np.zeros((len(variations), *pianoroll.PHRASE_SHAPE), bool)
    for i, (roll, variation) in enumerate(zip(rolls, variations, strict=True)):
        section = section_of(i)
        crash = section == "chorus" or i % 2 == 0
        roll[..., DRUMS] = _render_drums(song.groove, section == "chorus", variation.busy, variation.fill, crash)
        roll[..., BASS] = parts[section][BASS, variation.bass_end]
        roll[..., GUITAR] = parts[section][GUITAR, variation.guitar_end]
        for track, sections in ((PIANO, song.piano_sections), (STRINGS, song.strings_sections)):
            if section in sections:
                roll[..., track] = parts[section][track, "on"]
        if section == "bridge" and song.resting is not None:
            roll[..., song.resting] = False
    return rolls


def chords_of(song: Song, section: str) -> list[Chord]:
    """The chords of a phrase in order; the bridge exchanges the halves of the progression."""
    bars = song.progression.split()
    if section == "bridge":
        bars = bars[2:] + bars[:2]
    chords = []
    for bar, numerals in enumerate(bars):
        names = numerals.split(".")
        length = pianoroll.STEPS_PER_BAR // len(names)
        for position, name in enumerate(names):
            above_tonic, third = patterns.NUMERALS[name]
            start = bar * pianoroll.STEPS_PER_BAR + position * length
            chords.append(Chord(start, length, (song.tonic + above_tonic) % 12, third))
    return chords


def _render_section(song: Song, section: str) -> dict[tuple[int, str], Part]:
    """The pitched parts of a section by track and end; bass and guitar have all three `ENDS`."""
    chords = chords_of(song, section)
    scale = {(song.tonic + step) % 12 for step in patterns.SCALES[song.mode]}
    power = patterns.GUITAR[song.guitar].power
    bass = [_bass_voices(chord, after, scale) for chord, after in zip(chords, chords[1:] + chords[:1], strict=True)]
    guitar = [_guitar_voices(chord, power) for chord in chords]
    parts = {}
    for track, style, voices in (
        (BASS, patterns.BASS[song.bass], bass),
        (GUITAR, patterns.GUITAR[song.guitar], guitar),
        (PIANO, patterns.PIANO[song.piano], [_hands(chord, PIANO_LEFT_FLOOR, PIANO_RIGHT_FLOOR) for chord in chords]),
        (STRINGS, patterns.STRINGS[song.strings], [_hands(chord, CELLO_FLOOR, VIOLIN_FLOOR) for chord in chords]),
    ):
        lines = style.chorus if section == "chorus" else style.verse
        roll = parts[track, "on"] = np.zeros((pianoroll.NUM_STEPS, pianoroll.NUM_PITCHES), bool)
        for chord, pitches in zip(chords, voices, strict=True):
            roll[chord.start : chord.start + chord.length] = _render_chord(lines, chord.length, tuple(pitches.tolist()))
    for track, lead in (
        # The bass steps to the first root; the guitar is early with the first chord.
        (BASS, ((LAST_BEAT, bass[-1][:1]), (LAST_EIGHTH, bass[-1][-1:]))),
        (GUITAR, ((LAST_EIGHTH, guitar[0]),)),
    ):
        parts[track, "pause"] = _replace_end(parts[track, "on"], LAST_BEAT, ())
        parts[track, "lead"] = _replace_end(parts[track, "on"], lead[0][0], lead)
    return parts


def _pitch_above(pitch_class: int, floor: int) -> int:
    """The MIDI number of a pitch class in the octave from `floor` up."""
    return floor + (pitch_class - floor) % 12


def _triad(chord: Chord, floor: int) -> list[int]:
    """The three chord tones in the octave from `floor` up, ascending, in whichever inversion that makes."""
    return sorted(_pitch_above(chord.root + interval, floor) for interval in (0, chord.third, 7))


def _hands(chord: Chord, low_floor: int, high_floor: int) -> Voices:
    """The root in the left hand, the triad in the right."""
    return np.array([_pitch_above(chord.root, low_floor), *_triad(chord, high_floor)])


def _guitar_voices(chord: Chord, power: bool) -> Voices:
    if power:
        return _pitch_above(chord.root, POWER_CHORD_FLOOR) + np.array([0, 7, 12])
    triad = _triad(chord, GUITAR_FLOOR)
    return np.array([*triad, triad[0] + 12])


def _bass_voices(chord: Chord, following: Chord, scale: set[int]) -> Voices:
    """Root, third, fifth, octave (the fifth if it is too high), and the step of the scale to the next root."""
    root = _pitch_above(chord.root, BASS_FLOOR)
    octave = root + 12 if root + 12 <= BASS_CEILING else root + 7
    target = _pitch_above(following.root, BASS_FLOOR)
    steps = (-1, -2) if target - 2 >= BASS_FLOOR else (1, 2)
    leading = next(target + step for step in steps if (target + step) % 12 in scale)
    return np.array([root, root + chord.third, root + 7, octave, leading])


@functools.lru_cache(maxsize=4096)
def _render_chord(lines: tuple[str, ...], num_steps: int, voices: tuple[int, ...]) -> Block:
    """The rhythm on one chord; a short chord cuts it off."""
    roll = np.zeros((num_steps, pianoroll.NUM_PITCHES), bool)
    for line in lines:
        for onset, length, mark in patterns.strokes(line):
            if onset < num_steps:
                _write_notes(roll, onset, min(onset + length, num_steps), np.array(voices)[patterns.VOICES[mark]])
    roll.flags.writeable = False
    return roll


def _replace_end(part: Part, start: int, notes: Sequence[tuple[int, Voices]]) -> Part:
    """Silences a part from `start` on and writes eighths (onset, pitches) there."""
    part = part.copy()
    part[start - 1 :] = False
    for onset, pitches in notes:
        _write_notes(part, onset, onset + pianoroll.STEPS_PER_BEAT // 2, pitches)
    return part


def _write_notes(roll: Block, start: int, end: int, pitches: Voices) -> None:
    """Writes notes from `start` to one step before `end`, so that the same note can follow."""
    roll[start : end - 1, pitches - pianoroll.LOWEST_PITCH] = True


@functools.cache
def _render_drums(groove: str, chorus: bool, busy: bool, fill: patterns.Fill, crash: bool) -> Part:
    """The drums of a phrase, one step a stroke."""
    roll = np.zeros((pianoroll.NUM_STEPS, pianoroll.NUM_PITCHES), bool)

    def strike(start: int, drum: int, line: str) -> None:
        roll[[start + onset for onset, _, _ in patterns.strokes(line)], drum - pianoroll.LOWEST_PITCH] = True

    kit = patterns.GROOVES[groove]
    odd, even, busy_even = kit.kicks
    for bar in range(pianoroll.NUM_BARS):
        start = bar * pianoroll.STEPS_PER_BAR
        strike(start, patterns.KICK, odd if bar % 2 == 0 else busy_even if busy else even)
        strike(start, patterns.SNARE, kit.snare)
        strike(start, patterns.OPEN_HAT, kit.offbeats)
        strike(start, kit.chorus_drum if chorus else kit.verse_drum, kit.time)
    roll[LAST_BAR + fill.start * patterns.STEPS_PER_SIXTEENTH :] = False
    for drum, line in fill.drums:
        strike(LAST_BAR, drum, line)
    roll[0, patterns.CRASH - pianoroll.LOWEST_PITCH] = crash
    roll.flags.writeable = False
    return roll
