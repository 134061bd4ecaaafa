from tests.data.build.test_segmentation import BAR, BASS, DRUMS, GUITAR, PIANO, STRINGS, song
from wae_jax import pianoroll
from wae_jax.data.build import songs


def test_families():
    tracks = {program: songs.family(program, False) for program in range(128)}
    expected = dict.fromkeys(range(8), PIANO) | dict.fromkeys(range(8, 24), STRINGS)
    expected |= dict.fromkeys(range(24, 32), GUITAR) | dict.fromkeys(range(32, 40), BASS)
    expected |= dict.fromkeys(range(40, 96), STRINGS) | dict.fromkeys(range(96, 104), None)
    expected |= dict.fromkeys(range(104, 112), STRINGS) | dict.fromkeys(range(112, 128), None)
    assert tracks == expected
    assert {songs.family(program, True) for program in range(128)} == {DRUMS}
    assert [songs.family(t.program, t.is_drum) for t in pianoroll.TRACKS] == [0, 1, 2, 3, 4]


def test_bars_that_do_not_last_a_whole_number_of_ticks():
    # A bar of 7/16 lasts 17 ticks and a half here: four of them are 70 ticks.
    meters = [[0, 7, 16], [70, 4, 4]]
    piece = song((0, 70, 60, PIANO), (70, 70 + 4 * 40, 62, PIANO), ticks_per_beat=10, meters=meters)
    assert songs.stretches(piece) == [(0, 0, 4, "7/16"), (70, 4, 4, "4/4")]


def test_a_song_ends_where_it_says():
    # But not before its last note, and at most four bars after it.
    assert songs.stretches(song((0, 9 * BAR, 60, PIANO), end_tick=4 * BAR)) == [(0, 0, 9, "4/4")]
    assert songs.stretches(song((0, 10, 60, PIANO), end_tick=4 * BAR)) == [(0, 0, 4, "4/4")]
    assert songs.stretches(song((0, 10, 60, PIANO), end_tick=4 * BAR + 1)) == [(0, 0, 5, "4/4")]
    assert songs.stretches(song((0, 10, 60, PIANO), end_tick=4000 * BAR)) == [(0, 0, 5, "4/4")]


def test_meters_after_the_last_note_cut_no_bar():
    piece = song((0, 3 * BAR + 10, 60, PIANO), end_tick=6 * BAR, meters=[[0, 4, 4], [3 * BAR + 480, 3, 4]])
    assert songs.stretches(piece) == [(0, 0, 6, "4/4")]


def test_tracks_go_by_names_where_each_is_there_once():
    five = list(pianoroll.TRACK_NAMES)
    assert songs.tracks_by_name(["Lead", *reversed(five), "Lead", None]) == dict(zip(five, range(5), strict=True))
    for names in ([], five[:4], [*five, "Bass"], [*five[:4], "strings"]):
        assert songs.tracks_by_name(names) == {}
