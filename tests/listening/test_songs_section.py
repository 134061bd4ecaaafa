"""Files that are opened or dropped on the listening page, in a real browser."""

import base64
import itertools
import json
import re

import numpy as np
import pytest

from tests.listening.browsing import opened
from tests.listening.midi_cases import BAR, REFUSED, SONGS, meta, note, program, scale, song
from tests.listening.small_page import HOSTILE, small_page
from wae_jax.config import BinarizationRule
from wae_jax.data.build import formats
from wae_jax.generation.latent_paths import slerp
from wae_jax.generation.modes.input_phrase import read_input_phrases
from wae_jax.listening.latent_panel import latent_panel
from wae_jax.listening.sections import note_lists
from wae_jax.pianoroll import transpose, unpack

pytestmark = pytest.mark.browser

# In E flat major at 150 bpm.
IN_E_FLAT = song(
    meta(0, "set_tempo", tempo=400_000) + meta(0, "key_signature", key="Eb"),
    scale(tonic=63, bars=12) + scale(tonic=39, bars=12, channel=1) + program(0, 33, 1),
)
# In D major at 120 bpm.
IN_D = song(meta(0, "key_signature", key="D"), scale(tonic=62, bars=4))


@pytest.fixture(scope="module")
def model(corpus_model):
    return corpus_model


@pytest.fixture(scope="module")
def panel(model):
    return latent_panel(model, rule=BinarizationRule())


@pytest.fixture
def page(browser, panel, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(small_page(panel=panel), encoding="utf-8")
    with opened(browser, file) as page:
        yield page


def open_files(page, folder, **contents):
    """Opens files by the field; the names are those of the arguments."""
    paths = []
    for name, content in contents.items():
        paths.append(folder / f"{name}.mid")
        paths[-1].write_bytes(content)
    page.get_by_label("Open MIDI").set_input_files(paths)
    page.wait_for_function(
        "() => byId('songs-message').textContent && !/Reading/.test(byId('songs-message').textContent)"
    )
    return page.locator("#songs-message").text_content()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def decoded(model, code, up=0):
    """The notes that Python decodes from a code, moved up."""
    rolls = model.decode(np.array([code], np.float32)) > 0.5
    return note_lists(transpose(rolls, np.array([up])))[0]


def test_the_phrases_of_a_song_are_cards_in_its_own_key_and_tempo(page, tmp_path):
    assert open_files(page, tmp_path, one=IN_E_FLAT) == "one.mid is open."
    names = [f"one.mid, bars {first} to {first + 3}" for first in (1, 5, 9)]
    assert [card.get_attribute("aria-label") for card in page.locator("#songs article").all()] == names
    # The heading above them is the name of the file.
    assert page.locator("#songs .name").all_inner_texts() == ["Bars 1 to 4", "Bars 5 to 8", "Bars 9 to 12"]
    assert "3 phrases of four bars at 150 bpm; in Eb major by its key signature." in page.locator("#songs").inner_text()
    press(page, "Play one.mid, bars 5 to 8")
    phrase = read_input_phrases(tmp_path / "one.mid")[1]
    assert page.evaluate("() => current.notes") == note_lists(phrase.roll[None])[0]
    assert page.evaluate("() => [player.isPlaying, player.tempo]") == [True, pytest.approx(150)]
    assert page.locator("#tempo").input_value() == "150"
    with page.expect_download() as download:
        press(page, "Download one.mid, bars 9 to 12 as MIDI")
    download.value.save_as(tmp_path / "saved.mid")
    (saved,) = read_input_phrases(tmp_path / "saved.mid")
    np.testing.assert_array_equal(saved.roll, read_input_phrases(tmp_path / "one.mid")[2].roll)
    assert saved.tempo == pytest.approx(150)


def test_a_phrase_put_into_the_panel_is_its_reconstruction_in_its_own_key(page, model, tmp_path):
    open_files(page, tmp_path, one=IN_E_FLAT)
    press(page, "Put one.mid, bars 5 to 8 into the panel")
    (chunk,) = formats.open_source(tmp_path / "one.mid", options=formats.Options(tonality="signature")).chunks
    assert chunk.semitones == [-3] * 3
    code = model.encode(unpack(chunk.rows[1:2]))[0]
    state = page.evaluate("() => byId('latent-status').textContent")
    assert state.startswith("one.mid, bars 5 to 8, reconstructed. Notes:")
    assert page.evaluate("() => current.notes") == decoded(model, code, 3)
    assert page.evaluate("() => [player.isPlaying, player.tempo]") == [True, pytest.approx(150)]
    assert page.evaluate("() => document.activeElement.id") == "latent-title"
    # A slider changes it in the same key.
    before = page.evaluate("() => current.notes")
    page.get_by_role("slider", name=re.compile("^Density")).fill("2")
    page.wait_for_function(
        "(notes) => JSON.stringify(current.notes) !== notes", arg=json.dumps(before, separators=(",", ":"))
    )
    assert page.evaluate("() => current.name") == "one.mid, bars 5 to 8, reconstructed, moved"
    # A sample is in that of the model again.
    press(page, "New sample")
    code = page.evaluate("() => sampleCode(2, data.panel)")
    assert page.evaluate("() => current.notes") == decoded(model, code)


def test_halfway_between_phrases_of_two_songs_has_the_key_and_tempo_of_the_first(page, model, tmp_path):
    open_files(page, tmp_path, one=IN_E_FLAT, two=IN_D)
    press(page, "Keep two.mid, bars 1 to 4 as B")
    press(page, "Keep one.mid, bars 1 to 4 as A")
    assert page.locator("#songs-message").text_content() == "one.mid, bars 1 to 4 is kept as A."
    assert page.locator("#latent-A").text_content() == "A: one.mid, bars 1 to 4, reconstructed"
    codes = []
    for name in ("one", "two"):
        options = formats.Options(tonality="signature")
        (chunk,) = formats.open_source(tmp_path / f"{name}.mid", options=options).chunks
        codes.append(model.encode(unpack(chunk.rows[:1]))[0].astype(np.float64))
    press(page, "Halfway between A and B")
    assert page.evaluate("() => current.notes") == decoded(model, slerp(*codes, 0.5), 3)
    assert page.evaluate("() => player.tempo") == pytest.approx(150)
    press(page, "Play B")
    assert page.evaluate("() => current.notes") == decoded(model, codes[1], 2)
    assert page.evaluate("() => player.tempo") == pytest.approx(120)


def test_a_link_keeps_key_and_tempo(page, tmp_path):
    open_files(page, tmp_path, one=IN_E_FLAT)
    press(page, "Put one.mid, bars 1 to 4 into the panel")
    press(page, "Keep as A")
    press(page, "Copy link")
    page.wait_for_function("() => byId('latent-message').textContent !== ''")
    shown = page.evaluate("() => [current.notes, player.tempo]")
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_function("() => document.activeElement.id === 'latent-title'")
    assert 0 <= page.locator("#latent-title").bounding_box()["y"] < 100  # in sight, though far down the page
    press(page, "Play this")
    assert page.evaluate("() => [current.notes, player.tempo]") == shown
    press(page, "New sample")
    press(page, "Play A")
    assert page.evaluate("() => [current.notes, player.tempo]") == shown


def test_a_model_of_many_keys_gets_the_music_as_it_is(browser, model, panel, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(small_page(panel=panel | {"is_in_one_tonality": False}), encoding="utf-8")
    with opened(browser, file) as page:
        open_files(page, tmp_path, one=IN_E_FLAT)
        press(page, "Put one.mid, bars 1 to 4 into the panel")
        code = model.encode(read_input_phrases(tmp_path / "one.mid")[0].roll[None])[0]
        assert page.evaluate("() => current.notes") == decoded(model, code)
        assert "Eb" not in page.locator("#songs-groups").inner_text()


DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  const target = byId('bar');
  const send = (type) => {
    const event = new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true});
    target.dispatchEvent(event);
    return event.defaultPrevented;
  };
  return [send('dragover'), byId('songs').classList.contains('dropping'), send('drop')];
}"""


def drop(page, **contents):
    files = [[f"{name}.mid", base64.b64encode(content).decode()] for name, content in contents.items()]
    return page.evaluate(DROP, files)


def test_files_are_dropped_anywhere(page):
    assert drop(page, one=IN_E_FLAT, bad=b"x", two=IN_D) == [True, True, True]
    page.wait_for_function("() => byId('songs-groups').childElementCount === 2")
    # The last one is shown first.
    assert page.locator("#songs h3").all_inner_texts() == ["two.mid", "one.mid"]
    page.wait_for_function("() => byId('songs-message').textContent.endsWith('two.mid is open.')")
    message = page.locator("#songs-message").inner_text().splitlines()
    assert message == [
        "one.mid is open.", "bad.mid is no MIDI file: it is 1 bytes that start with 78.", "two.mid is open."
    ]  # fmt: skip
    assert not page.evaluate("() => byId('songs').classList.contains('dropping')")


def test_what_is_dragged_out_of_the_page_is_not_opened_again(page):
    page.evaluate(
        "() => document.querySelector('canvas').dispatchEvent(new DragEvent('dragstart', {bubbles: true, "
        "dataTransfer: new DataTransfer()}))"
    )
    assert drop(page, one=IN_E_FLAT) == [False, False, False]
    page.evaluate("() => document.querySelector('canvas').dispatchEvent(new DragEvent('dragend', {bubbles: true}))")
    assert drop(page, one=IN_E_FLAT) == [True, True, True]
    page.wait_for_function("() => byId('songs-groups').childElementCount === 1")


def test_what_cannot_be_opened_is_said_and_the_rest_stays(page, tmp_path):
    open_files(page, tmp_path, one=IN_E_FLAT)
    for name in ("waltz", "cut off", "damaged data", "short"):
        page.evaluate("() => { byId('songs-message').textContent = ''; }")
        message = open_files(page, tmp_path, bad=REFUSED[name])
        assert re.fullmatch(r"bad\.mid (has|is cut|is unreadable: it).{20,}\.", message)
    large = SONGS["plain"] + bytes(2**24)
    page.evaluate("() => { byId('songs-message').textContent = ''; }")
    assert re.match(
        r"bad\.mid is a file of 16\d{6} bytes; expected at most 16777216", open_files(page, tmp_path, bad=large)
    )
    assert page.locator("#songs article").count() == 3


def test_songs_are_closed_and_opened_again_once(page, tmp_path):
    open_files(page, tmp_path, one=IN_E_FLAT)
    open_files(page, tmp_path, two=IN_D)
    open_files(page, tmp_path, one=IN_E_FLAT)
    page.wait_for_function("() => byId('songs-message').textContent === 'one.mid is open.'")
    assert page.locator("#songs h3").all_inner_texts() == ["one.mid", "two.mid"]
    # The arrow keys go through all cards in the order of the page.
    order = page.evaluate("() => cards.map(({phrase}) => phrase.name)")
    assert order == [card.get_attribute("aria-label") for card in page.locator("article").all()]
    press(page, "Close one.mid")
    assert page.locator("#songs article").count() == 1
    assert page.evaluate("() => cards.length") == page.locator("article").count()
    assert page.evaluate("() => document.activeElement.id") == "songs-file"


def test_cards_of_a_long_song_are_made_by_and_by(page, tmp_path):
    open_files(page, tmp_path, long=song(scale(bars=4 * 100)))
    assert page.locator("#songs article").count() == 48
    press(page, "Show 48 more of 52")
    assert page.locator("#songs article").count() == 96
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Play long.mid, bars 193 to 196"
    press(page, "Show 4 more of 4")
    assert page.locator("#songs article").count() == 100
    assert page.get_by_role("button", name=re.compile("^Show")).count() == 0


def test_a_field_for_files_does_not_say_that_none_is_chosen(page, tmp_path):
    open_files(page, tmp_path, one=IN_D)
    # The browser's own text has the color of the field; the button in it has another.
    colors = "(part) => ['songs-file', 'latent-file'].map((name) => getComputedStyle(byId(name), part).color)"
    assert page.evaluate(colors, None) == ["rgba(0, 0, 0, 0)"] * 2
    assert "rgba(0, 0, 0, 0)" not in page.evaluate(colors, "::file-selector-button")


def test_buttons_without_effect_look_so(page):
    program = "(names) => names.map((name) => Number(getComputedStyle(byId(name)).opacity))"
    assert page.evaluate(program, ["favorites-midi", "play"]) == [pytest.approx(0.6), 1]


def test_names_of_files_are_text(page):
    name = HOSTILE.replace("/", "")
    page.evaluate(DROP, [[name, base64.b64encode(IN_D).decode()]])
    page.wait_for_function("() => byId('songs-groups').childElementCount === 1")
    assert page.locator("#songs h3").text_content() == name
    assert page.locator("img").count() == 0


def test_the_tempo_of_a_phrase_can_be_changed(page, tmp_path):
    open_files(page, tmp_path, one=IN_E_FLAT)
    press(page, "Play one.mid, bars 1 to 4")
    page.locator("#tempo").fill("90")
    page.locator("#tempo").press("Enter")
    with page.expect_download() as download:
        press(page, "Download one.mid, bars 1 to 4 as MIDI")
    download.value.save_as(tmp_path / "saved.mid")
    assert read_input_phrases(tmp_path / "saved.mid")[0].tempo == pytest.approx(90)


def test_absurd_tempos_are_played_at_the_nearest_that_is_not(page, tmp_path):
    for tempo, played in ((1, 1000), (2**24 - 1, 10)):
        content = song(meta(0, "set_tempo", tempo=tempo), note(0, 4 * BAR, 60))
        open_files(page, tmp_path, **{f"tempo{played}": content})
        press(page, f"Play tempo{played}.mid, bars 1 to 4")
        assert page.evaluate("() => player.tempo") == played
        press(page, "Pause")


def test_a_phone_needs_no_scrolling_sideways(browser, panel, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(small_page(panel=panel), encoding="utf-8")
    with opened(browser, file, viewport={"width": 360, "height": 740}) as page:
        open_files(page, tmp_path, **{"a_long_name_" * 8: IN_E_FLAT})
        page.get_by_role("button", name=re.compile("^Put .*1 to 4 into the panel")).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        # A long name has two lines, and the player leaves most of the screen to the page.
        assert page.locator("#now").bounding_box()["width"] > 300
        assert page.locator("#now").bounding_box()["height"] > 30
        assert page.evaluate("() => byId('tempo').scrollWidth <= byId('tempo').clientWidth")
        assert page.locator("#bar").bounding_box()["height"] < 220
        for part in ("#bar .row", "#songs .card", "#songs h3", "#latent .card"):
            for box in (each.bounding_box() for each in page.locator(part).all()):
                assert box is None or box["x"] + box["width"] <= 360, part


def test_everything_has_a_name_and_is_reached_by_keys(page, tmp_path):
    open_files(page, tmp_path, one=IN_D)
    snapshot = page.locator("#songs").aria_snapshot()
    names = re.findall(r'button "([^"]+)"', snapshot)
    assert names == [
        "Open MIDI", "Close one.mid", "Play one.mid, bars 1 to 4", "Favorite: one.mid, bars 1 to 4",
        "Download one.mid, bars 1 to 4 as MIDI", "Download one.mid, bars 1 to 4 as WAV",
        "Put one.mid, bars 1 to 4 into the panel", "Keep one.mid, bars 1 to 4 as A", "Keep one.mid, bars 1 to 4 as B",
    ]  # fmt: skip
    page.locator("#songs-file").focus()
    focused = []
    for _ in itertools.repeat(None, len(names) - 1):
        page.keyboard.press("Tab")
        focused.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert focused == names[1:]
    page.get_by_role("button", name=names[6]).press("Enter")
    assert page.evaluate("() => player.isPlaying")
