"""Songs cut into phrases by the page's scripts, in a real browser, against `build_dataset`."""

import base64

import numpy as np
import pytest

from tests.listening.browsing import opened
from tests.listening.midi_cases import REFUSED, SONGS, random_song
from wae_jax.data.build import formats
from wae_jax.data.build.sources import Options
from wae_jax.errors import SourceError
from wae_jax.listening.document import PLAYER_SCRIPTS, read_browser_script
from wae_jax.listening.page import PANEL_SCRIPTS, SONG_SCRIPTS
from wae_jax.listening.sections import note_lists
from wae_jax.pianoroll import transpose, unpack

pytestmark = pytest.mark.browser

CUT = """([files, isInOneTonality]) => files.map((file) => {
  const bytes = Uint8Array.from(atob(file), (character) => character.charCodeAt(0));
  try {
    return cutSong(readSong(bytes), {pitches: 84, lowestPitch: 24, isInOneTonality});
  } catch (error) {
    if (!(error instanceof SongError)) throw error;
    return error.message;
  }
})"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    file = tmp_path_factory.mktemp("songs") / "songs.html"
    names = (*PLAYER_SCRIPTS, *PANEL_SCRIPTS, *SONG_SCRIPTS)
    scripts = "".join(f"<script>{read_browser_script(name)}</script>" for name in names)
    file.write_text(f"<!doctype html><meta charset=utf-8>{scripts}", encoding="utf-8")
    with opened(browser, file) as page:
        page.set_default_timeout(120_000)
        yield page


def cut_by_script(page, files, is_in_one_tonality=True):
    texts = [base64.b64encode(content).decode() for content in files]
    return page.evaluate(CUT, [texts, is_in_one_tonality])


def cut_by_python(path, tonality="signature"):
    """The only chunk of a file and how its notes were changed, or why it has none."""
    try:
        source = formats.open_source(path, options=Options(tonality=tonality))
    except SourceError as error:
        return str(error)
    (chunk,) = source.chunks
    return chunk, source.changes


def assert_same(found, expected):
    """The script and Python agree about a file in one tonality."""
    if isinstance(expected, str):
        assert found == expected
        return
    chunk, changes = expected
    assert not isinstance(found, str), found
    phrases = found["phrases"]
    assert [phrase["inC"] for phrase in phrases] == note_lists(unpack(chunk.rows))
    assert [phrase["firstBar"] for phrase in phrases] == list(chunk.first_bars)
    assert [phrase["tempo"] for phrase in phrases] == list(chunk.tempos)
    moved = [phrase["transposition"] for phrase in phrases]
    assert [each["semitones"] if each else 0 for each in moved] == list(chunk.semitones)
    assert found["numLeftOut"] == changes.num_out_of_range
    keys = {each["key"] for each in moved if each}
    assert keys == {each.key for each in changes.transpositions}


def assert_all_same(page, files, folder):
    """The script and Python agree about files, by name, for models of one tonality and of many."""
    found = dict(zip(files, cut_by_script(page, files.values()), strict=True))
    kept = dict(zip(files, cut_by_script(page, files.values(), False), strict=True))
    for name, content in files.items():
        (folder / "song.mid").write_bytes(content)
        assert_same(found[name], cut_by_python(folder / "song.mid"))
        expected = cut_by_python(folder / "song.mid", "keep")
        if isinstance(expected, str):
            assert kept[name] == expected
        else:
            rolls = note_lists(unpack(expected[0].rows))
            assert [phrase["inC"] for phrase in kept[name]["phrases"]] == rolls
            assert [phrase["notes"] for phrase in kept[name]["phrases"]] == rolls


@pytest.mark.parametrize("name", SONGS)
def test_small_songs_are_cut_as_by_build_dataset(page, tmp_path, name):
    assert not isinstance(cut_by_script(page, [SONGS[name]])[0], str)
    assert_all_same(page, {name: SONGS[name]}, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_song_is_refused_with_the_same_reason(page, tmp_path, name):
    (found,) = cut_by_script(page, [REFUSED[name]])
    (tmp_path / "song.mid").write_bytes(REFUSED[name])
    expected = cut_by_python(tmp_path / "song.mid")
    assert isinstance(expected, str)
    if name in ("nothing", "not MIDI"):  # which for Python might be a file of another kind
        assert found.startswith("is no MIDI file: it is")
    elif name == "days":  # where symusic counts in negative numbers
        assert "beyond tick 2147483647" in found
    else:
        assert found == expected


def test_random_songs_are_cut_as_by_build_dataset(page, tmp_path):
    files = {seed: random_song(seed) for seed in range(150)}
    assert_all_same(page, files, tmp_path)
    reasons = [each for each in cut_by_script(page, files.values()) if isinstance(each, str)]
    assert 20 < len(reasons) < 130
    assert any("unreadable" in reason for reason in reasons)


def test_real_songs_are_cut_as_by_build_dataset(page, shared_data):
    paths = sorted(path for path in (shared_data / "midi").rglob("*") if path.suffix in (".mid", ".kar"))[::20]
    found = cut_by_script(page, [path.read_bytes() for path in paths])
    num_phrases = 0
    for path, each in zip(paths, found, strict=True):
        assert_same(each, cut_by_python(path))
        num_phrases += 0 if isinstance(each, str) else len(each["phrases"])
    assert num_phrases > 300


def test_bad_files_are_refused_or_cut_as_by_build_dataset(page, shared_data):
    paths = sorted((shared_data / "bad_midi").glob("*.[mk]*"))
    assert len(paths) > 20
    for path, found in zip(paths, cut_by_script(page, [path.read_bytes() for path in paths]), strict=True):
        if path.stat().st_size == 0:
            assert found == "is no MIDI file: it is 0 bytes that start with nothing"
        else:
            assert_same(found, cut_by_python(path))


@pytest.mark.parametrize(
    "unit",
    [
        bytes.fromhex("00 3c 40 01 3c 00"),
        bytes.fromhex("00 ff 7f 00"),
        bytes.fromhex("01 ff 58 02 04 02 01 ff 58 02 03 02"),
        b"MTrk" + (8).to_bytes(4) + bytes.fromhex("00 90 3c 40 60 80 3c 00"),
    ],
)
def test_time_does_not_grow_faster_than_the_file(page, unit):
    """Sixteen times the file takes some sixteen times as long, where a square would take 256 times."""
    program = """(unit) => {
      const seconds = [2 ** 15, 2 ** 19].map((size) => {
        const head = [...asciiBytes('MThd'), 0, 0, 0, 6, 0, 1, 0, 1, 1, 224];
        const body = [0, 0x90, 60, 64];
        while (body.length < size) body.push(...unit);
        const chunk = unit[0] === 77 ? body.slice(4) : midiChunk('MTrk', body);
        const bytes = Uint8Array.from(head.concat(chunk));
        const least = Math.min(...[1, 2].map(() => {
          const start = performance.now();
          try { cutSong(readSong(bytes), {pitches: 84, lowestPitch: 24, isInOneTonality: true}); }
          catch (error) { if (!(error instanceof SongError)) throw error; }
          return performance.now() - start;
        }));
        return least;
      });
      return seconds;
    }"""
    short, long = page.evaluate(program, list(unit))
    assert long < 80 * short + 500


def test_phrases_are_moved_to_other_keys_as_by_python(page):
    rolls = np.repeat(np.random.default_rng(0).random((12, 16, 84, 5)) < 0.03, 12, axis=1)
    shifts = np.arange(-6, 6)
    program = """([phrases, shifts]) => phrases.map((notes, i) =>
      transposeNotes(notes, shifts[i], {pitches: 84, lowestPitch: 24}))"""
    found = page.evaluate(program, [note_lists(rolls), shifts.tolist()])
    assert found == note_lists(transpose(rolls, shifts))
