from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from wae_jax import pianoroll
from wae_jax.data import demo_corpus, demo_patterns

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)
SCALE_STEPS = {"major": {0, 2, 4, 5, 7, 9, 11}, "minor": {0, 2, 3, 5, 7, 8, 10}}
# Pitch classes above the tonic that a borrowed chord brings: the seventh of the other mode.
BORROWED = {"bVII": 10, "V": 11}
RANGES = {PIANO: (48, 84), GUITAR: (48, 72), BASS: (28, 47), STRINGS: (48, 84)}
PLAIN = demo_corpus.VARIATIONS[0][0]
IN_C = demo_corpus.Song(
    tonic=0,
    mode="major",
    progression="I V vi IV",
    groove="rock",
    bass="long",
    guitar="ring",
    piano="block",
    strings="pad",
    piano_sections=("verse", "chorus", "bridge"),
    strings_sections=("chorus",),
)


@pytest.fixture(scope="module")
def packed() -> np.ndarray:
    return demo_corpus.make_demo_corpus(num_songs=200, phrases_per_song=12, seed=0)[0]


@pytest.fixture(scope="module")
def packed_in_all_keys() -> np.ndarray:
    return demo_corpus.make_demo_corpus(num_songs=200, phrases_per_song=12, seed=0, tonality="all")[0]


@pytest.fixture(scope="module")
def rolls(packed: np.ndarray) -> np.ndarray:
    return pianoroll.unpack(packed)


def notes(roll: np.ndarray) -> list[tuple[int, int, int]]:
    """Reads [T, P] cell by cell: (first step, steps, MIDI number) in order of time, then pitch."""
    found = []
    for pitch in np.flatnonzero(roll.any(axis=0)):
        start = None
        for step, on in enumerate([*roll[:, pitch].tolist(), False]):
            if on and start is None:
                start = step
            elif not on and start is not None:
                found.append((start, step - start, int(pitch) + 24))
                start = None
    return sorted(found)


def pitches_at(roll: np.ndarray, step: int) -> list[int]:
    return (np.flatnonzero(roll[step]) + 24).tolist()


def test_layout_and_song_ids():
    packed, song_ids = demo_corpus.make_demo_corpus(num_songs=3, phrases_per_song=2, seed=5)
    assert packed.shape == (6, 10080)
    assert packed.dtype == np.uint8
    assert song_ids.dtype == np.int32
    assert song_ids.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_corpus_stays_the_same_bit_for_bit(packed: np.ndarray, packed_in_all_keys: np.ndarray):
    # Written down once: runs of all versions train on the same phrases.
    digest = "c0260e337c416e97269b611f21e4045d2b2478a740a1767ee0966ef8235dd621"
    assert hashlib.sha256(packed_in_all_keys.tobytes()).hexdigest() == digest
    digest = "7b5a613e0445b7032258a3c8d18fcb3ce45a8531b3658bb47511d4f88c2e18b5"
    assert hashlib.sha256(packed.tobytes()).hexdigest() == digest


def test_in_one_tonality_the_songs_are_the_same_in_c_major_and_a_minor(rolls, packed_in_all_keys):
    in_all_keys = pianoroll.unpack(packed_in_all_keys)
    np.testing.assert_array_equal(rolls[..., DRUMS], in_all_keys[..., DRUMS])
    # The rhythm of each part, but for the octave that a bass has only where it is not too high.
    for track in (PIANO, GUITAR, BASS, STRINGS):
        np.testing.assert_array_equal(rolls[..., track].any(axis=2), in_all_keys[..., track].any(axis=2))
    # By hand: no sharps and flats but those of borrowed chords, bVII in major (Bb) and V in minor (G#).
    pitch_classes = rolls[..., 1:].any(axis=(1, 3)).reshape(200, 12, 7, 12).any(axis=(1, 2))
    assert not pitch_classes[:, [1, 3, 6]].any()
    assert 0 < pitch_classes[:, [8, 10]].any(axis=1).mean() < 0.5
    other = in_all_keys[..., 1:].any(axis=(1, 3)).reshape(200, 12, 7, 12).any(axis=(1, 2))
    assert other[:, [1, 3, 6]].any(axis=1).mean() > 0.5


def test_unknown_tonality():
    with pytest.raises(ValueError, match="tonality is 'C major'; expected one of c, all"):
        demo_corpus.make_demo_corpus(num_songs=1, phrases_per_song=1, seed=0, tonality="C major")


def test_same_seed_same_corpus_other_seed_another():
    first, again, other = (
        demo_corpus.make_demo_corpus(num_songs=4, phrases_per_song=4, seed=seed)[0] for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=1).all()


def test_songs_and_phrases_do_not_depend_on_how_many_follow():
    few, ids = demo_corpus.make_demo_corpus(num_songs=10, phrases_per_song=6, seed=1)
    more_songs, _ = demo_corpus.make_demo_corpus(num_songs=20, phrases_per_song=6, seed=1)
    more_phrases, more_ids = demo_corpus.make_demo_corpus(num_songs=10, phrases_per_song=9, seed=1)
    np.testing.assert_array_equal(few, more_songs[:60])
    for song in range(10):
        np.testing.assert_array_equal(few[ids == song], more_phrases[more_ids == song][:6])


@pytest.mark.parametrize(("name", "value"), [("num_songs", 0), ("phrases_per_song", 0), ("seed", -1)])
def test_too_small_arguments_are_named(name: str, value: int):
    arguments = {"num_songs": 1, "phrases_per_song": 1, "seed": 0} | {name: value}
    with pytest.raises(ValueError, match=f"{name} is {value}; expected {value + 1} or more"):
        demo_corpus.make_demo_corpus(**arguments)


def test_who_plays(rolls: np.ndarray):
    active = rolls.any(axis=(1, 2)).mean(axis=0)
    assert active[DRUMS] > 0.97
    assert active[BASS] > 0.97
    assert active[GUITAR] > 0.95
    assert 0.4 < active[PIANO] < 0.6
    assert 0.4 < active[STRINGS] < 0.6
    assert rolls[..., [PIANO, GUITAR, STRINGS]].any(axis=(1, 2, 3)).all()


def test_density(rolls: np.ndarray):
    cells = rolls.sum(axis=(1, 2, 3))
    assert 0.013 < cells.mean() / rolls[0].size < 0.025
    assert (cells > cells.mean() / 3).all()
    assert (cells < 2 * cells.mean()).all()


def test_onsets_lie_on_sixteenths_and_mostly_on_eighths(rolls: np.ndarray):
    before = np.zeros_like(rolls)
    before[:, 1:] = rolls[:, :-1]
    per_step = (rolls & ~before).sum(axis=(0, 2, 3))
    steps = np.arange(192)
    assert per_step.sum() > 0
    assert per_step[steps % 3 != 0].sum() == 0
    assert per_step[steps % 6 == 0].sum() > 0.9 * per_step.sum()


def test_drums_last_one_step_on_known_drums(rolls: np.ndarray):
    drums = rolls[..., DRUMS]
    assert not (drums[:, 1:] & drums[:, :-1]).any()
    used = set((np.flatnonzero(drums.any(axis=(0, 1))) + 24).tolist())
    assert {36, 38, 42, 46, 49, 51} <= used <= {36, 38, 42, 46, 49, 51, 41, 43, 45, 47, 48, 50}


@pytest.mark.parametrize("track", sorted(RANGES))
def test_registers(rolls: np.ndarray, track: int):
    used = np.flatnonzero(rolls[..., track].any(axis=(0, 1))) + 24
    low, high = RANGES[track]
    assert low <= used.min() < used.max() <= high


def test_bass_and_guitar_play_one_and_at_most_four_notes_at_a_time(rolls: np.ndarray):
    assert rolls[..., BASS].sum(axis=2).max() == 1
    assert rolls[..., GUITAR].sum(axis=2).max() == 4


def test_pitched_notes_end_one_step_before_the_grid(rolls: np.ndarray):
    last = rolls.copy()
    last[:, :-1] &= ~rolls[:, 1:]
    steps = np.flatnonzero(last[..., [PIANO, GUITAR, BASS, STRINGS]].any(axis=(0, 2, 3)))
    assert set((steps % 3).tolist()) == {1}  # the next note may begin at a multiple of 3, two steps later
    assert steps.max() == 190


def test_phrases_are_distinct(packed: np.ndarray):
    assert len({row.tobytes() for row in packed}) > 0.95 * len(packed)


def test_all_notes_are_in_key():
    tonics, modes, borrowed = set(), set(), 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        song = demo_corpus.sample_song(rng)
        allowed = set(SCALE_STEPS[song.mode])
        for numeral in song.progression.replace(".", " ").split():
            if numeral == "bVII" or (numeral == "V" and song.mode == "minor"):
                allowed.add(BORROWED[numeral])
        pitched = demo_corpus.render_phrases(song, demo_corpus.sample_variations(rng, 10))[..., [1, 2, 3, 4]]
        above_tonic = {(int(p) + 24 - song.tonic) % 12 for p in np.flatnonzero(pitched.any(axis=(0, 1, 3)))}
        assert above_tonic <= allowed
        assert 0 in above_tonic
        tonics.add(song.tonic)
        modes.add(song.mode)
        borrowed += len(allowed) > 7
    assert tonics == set(range(12))
    assert modes == {"major", "minor"}
    assert 0 < borrowed < 75


def test_a_progression_in_c_major_by_hand():
    (verse,) = demo_corpus.render_phrases(IN_C, [PLAIN])
    # C, G, Am, F; bass from E1 up, guitar triads from E3 up with the lowest note doubled, piano from C4 up.
    assert notes(verse[..., BASS]) == [(0, 47, 36), (48, 47, 31), (96, 47, 33), (144, 47, 29)]
    assert [pitches_at(verse[..., GUITAR], bar * 48) for bar in range(4)] == [
        [52, 55, 60, 64],
        [55, 59, 62, 67],
        [52, 57, 60, 64],
        [53, 57, 60, 65],
    ]
    assert [pitches_at(verse[..., PIANO], bar * 48) for bar in range(4)] == [
        [48, 60, 64, 67],
        [55, 62, 67, 71],
        [57, 60, 64, 69],
        [53, 60, 65, 69],
    ]
    assert not verse[..., STRINGS].any()
    drums = [(pitch, step) for step, _, pitch in notes(verse[:48, :, DRUMS])]
    assert sorted(drums) == [
        (36, 0),
        (36, 24),
        (38, 12),
        (38, 36),
        *((42, step) for step in range(0, 48, 6)),
        (49, 0),
    ]


def test_strings_enter_in_the_chorus_and_the_bridge_exchanges_the_halves():
    phrases = demo_corpus.render_phrases(IN_C, [PLAIN] * 10)
    assert [demo_corpus.section_of(i) for i in (0, 1, 2, 3, 8, 9, 10, 12)] == [
        *("verse", "verse", "chorus", "chorus", "bridge", "bridge", "chorus", "verse")
    ]
    assert phrases[..., STRINGS].any(axis=(1, 2)).tolist() == [
        False,
        False,
        True,
        True,
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert [pitches_at(phrases[2, ..., STRINGS], bar * 48) for bar in range(4)] == [
        [48, 67, 72, 76],
        [55, 67, 71, 74],
        [57, 69, 72, 76],
        [53, 69, 72, 77],
    ]
    assert [pitch for _, _, pitch in notes(phrases[8, ..., BASS])] == [33, 29, 36, 31]


def test_two_chords_a_bar_start_the_rhythm_anew():
    song = dataclasses.replace(IN_C, progression="I.V vi.iii IV.I IV.V", bass="fifths", guitar="push")
    (verse,) = demo_corpus.render_phrases(song, [PLAIN])
    assert notes(verse[:96, :, BASS]) == [(0, 23, 36), (24, 23, 31), (48, 23, 33), (72, 23, 28)]
    guitar = notes(verse[:48, :, GUITAR])
    assert sorted({(start, length) for start, length, _ in guitar}) == [(0, 17), (18, 5), (24, 17), (42, 5)]
    assert [pitch for start, _, pitch in guitar if start == 18] == [52, 55, 60, 64]
    assert [pitch for start, _, pitch in guitar if start == 24] == [55, 59, 62, 67]


def test_repeated_notes_stay_apart():
    song = dataclasses.replace(IN_C, bass="eighths", guitar="power", progression="I I I I")
    (verse,) = demo_corpus.render_phrases(song, [PLAIN])
    assert notes(verse[..., BASS]) == [(step, 5, 36) for step in range(0, 192, 6)]
    assert notes(verse[..., GUITAR]) == [(step, 5, pitch) for step in range(0, 192, 6) for pitch in (48, 55, 60)]


def test_octaves_and_walking_bass():
    octaves = dataclasses.replace(IN_C, bass="octaves")
    (verse,) = demo_corpus.render_phrases(octaves, [PLAIN])
    pitches = [pitch for _, _, pitch in notes(verse[..., BASS])]
    assert pitches[:2] == [36, 43]  # the octave above C would be too high: the fifth
    assert pitches[4:6] == [31, 43]
    (verse,) = demo_corpus.render_phrases(dataclasses.replace(IN_C, bass="walking"), [PLAIN])
    # Root, third, fifth, and the scale's step to the next root, from above where that root is the lowest E or F.
    assert [pitch for _, _, pitch in notes(verse[..., BASS])] == [
        *(36, 40, 43, 29),
        *(31, 35, 38, 31),
        *(33, 36, 40, 31),
        *(29, 33, 36, 35),
    ]


@pytest.mark.parametrize(
    ("end", "bass", "guitar"),
    [
        ("on", [(144, 47, 29)], [(144, 47, 53)]),
        ("pause", [(144, 35, 29)], [(144, 35, 53)]),
        ("lead", [(144, 35, 29), (180, 5, 29), (186, 5, 35)], [(144, 41, 53), (186, 5, 52)]),
    ],
)
def test_ends_of_bass_and_guitar(end: str, bass: list, guitar: list):
    (verse,) = demo_corpus.render_phrases(IN_C, [dataclasses.replace(PLAIN, bass_end=end, guitar_end=end)])
    assert [note for note in notes(verse[..., BASS]) if note[0] >= 144] == bass
    lowest = {}
    for note in notes(verse[..., GUITAR]):
        lowest.setdefault(note[0], note)
    assert [lowest[start] for start in sorted(lowest) if start >= 144] == guitar


def test_fills_replace_the_groove_only_from_their_start():
    plain, filled = (
        demo_corpus.render_phrases(IN_C, [dataclasses.replace(PLAIN, fill=fill)])[0, ..., DRUMS]
        for fill in (PLAIN.fill, demo_patterns.FULL_FILLS[0])
    )
    np.testing.assert_array_equal(plain[:180], filled[:180])
    assert notes(filled[180:]) == [(step, 1, 38) for step in (0, 3, 6, 9)]


@pytest.mark.parametrize("track", range(5))
def test_one_part_rests_in_the_bridge(track: int):
    song = dataclasses.replace(IN_C, strings_sections=("verse", "chorus", "bridge"), resting=track)
    active = demo_corpus.render_phrases(song, [PLAIN] * 10).any(axis=(1, 2))
    assert active[:8].all()
    assert (active[8:] == (np.arange(5) != track)).all()


def test_a_section_has_every_variation_before_one_comes_back():
    num_phrases = 12 * 40
    variations = demo_corpus.sample_variations(np.random.default_rng(0), num_phrases)
    bridge_openings = [variations[i] for i in range(8, num_phrases, 12)]
    assert len(set(bridge_openings)) == 40
    assert len(set(variations)) == 54 + 72


def test_every_style_of_every_feel_can_be_played():
    tables = {
        "grooves": demo_patterns.GROOVES,
        "bass": demo_patterns.BASS,
        "guitar": demo_patterns.GUITAR,
        "piano": demo_patterns.PIANO,
        "strings": demo_patterns.STRINGS,
    }
    for field, table in tables.items():
        named = {name for feel in demo_patterns.FEELS for name in getattr(feel, field)}
        assert named == set(table)
    for name in tables["grooves"]:
        assert demo_corpus.render_phrases(dataclasses.replace(IN_C, groove=name), [PLAIN])[..., DRUMS].sum() >= 30
    for part in ("bass", "guitar", "piano", "strings"):
        song = dataclasses.replace(IN_C, strings_sections=("verse", "chorus"))
        track = pianoroll.TRACK_NAMES.index(part.capitalize())
        played = {
            demo_corpus.render_phrases(dataclasses.replace(song, **{part: name}), [PLAIN] * 3)[..., track].tobytes()
            for name in tables[part]
        }
        assert len(played) == len(tables[part])


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_progressions_have_four_bars_and_known_chords(mode: str):
    for progression in demo_patterns.PROGRESSIONS[mode]:
        song = dataclasses.replace(IN_C, mode=mode, progression=progression)
        chords = demo_corpus.chords_of(song, "verse")
        assert [chord.start for chord in chords] == np.cumsum([0, *(chord.length for chord in chords[:-1])]).tolist()
        assert chords[-1].start + chords[-1].length == 192


def test_key_weights_are_a_distribution_over_twelve_keys():
    assert sum(demo_patterns.KEY_WEIGHTS.values()) == pytest.approx(1)
    assert sorted(demo_patterns.PITCH_CLASSES[key] for key in demo_patterns.KEY_WEIGHTS) == list(range(12))
    assert sum(feel.weight for feel in demo_patterns.FEELS) == pytest.approx(1)


def test_strokes_by_hand():
    assert demo_patterns.strokes("#--^....0-0-...x") == (
        *((0, 9, "#"), (9, 3, "^"), (24, 6, "0"), (30, 6, "0"), (45, 3, "x")),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x...", "has 4 characters; expected 16"),
        ("-...............", "at character 0"),
        ("x.-.............", "at character 2"),
    ],
)
def test_strokes_rejects_what_it_cannot_read(line: str, message: str):
    with pytest.raises(ValueError, match=message):
        demo_patterns.strokes(line)
