"""The listening page in a real browser."""

import base64
import io
import json
import pathlib
import re

import mido
import numpy as np
import pytest
import soundfile

from tests.listening.browsing import loudest, opened
from tests.listening.small_page import HOSTILE, PHRASES, small_page
from wae_jax.listening import document

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(small_page(), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, file):
    with opened(browser, file, viewport={"width": 1000, "height": 900}) as page:
        yield page


def downloaded(page, button):
    """Name and bytes of the file that a click downloads."""
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, pathlib.Path(download.value.path()).read_bytes()


def test_names_are_shown_as_text(page):
    assert page.locator("#title").inner_text() == f"Listening to {HOSTILE}"
    assert page.title().startswith("Listening to </script><img")
    # Line separators are white space to a browser.
    assert HOSTILE.strip() in page.locator("#provenance dd").text_content()
    assert HOSTILE in page.locator("#metrics tbody").text_content()
    assert HOSTILE in page.locator("article .name").nth(1).text_content()
    assert page.locator("img").count() == 0


def test_a_script_that_is_not_the_pages_own_does_not_run(browser, tmp_path):
    file = tmp_path / "changed.html"
    file.write_text(small_page().replace("<body>", "<body><script>globalThis.intruder = 1</script>"), encoding="utf-8")
    with pytest.raises(AssertionError, match="Content Security Policy"), opened(browser, file) as page:
        assert page.evaluate("typeof globalThis.intruder") == "undefined"


def test_a_card_plays_shows_where_it_is_and_pauses(page):
    card = page.locator("article").first
    before = card.locator("canvas").screenshot()
    card.get_by_role("button", name="Play Sample 1").click()
    assert loudest(page, 400) > 0.01
    assert page.locator("#now").inner_text() == "Sample 1"
    first, picture = page.evaluate("player.position"), card.locator("canvas").screenshot()
    page.wait_for_timeout(300)
    assert page.evaluate("player.position") > first
    assert len({before, picture, card.locator("canvas").screenshot()}) == 3
    shown, step = page.evaluate("[document.getElementById('seek').valueAsNumber, player.position]")
    assert 0 < shown <= step + 1
    card.get_by_role("button", name="Pause Sample 1").click()
    page.wait_for_timeout(200)
    assert loudest(page, 100) < 1e-3


def test_a_click_into_the_roll_plays_from_there(page):
    canvas = page.locator("article canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": 20})
    assert 95 < page.evaluate("player.position") < 150
    assert page.evaluate("player.isPlaying")


def test_mute_and_solo_in_the_bar(page):
    page.get_by_role("button", name="Play Sample 1").click()
    assert loudest(page, 400) > 0.01
    mute = page.get_by_role("button", name="Mute Strings")
    mute.click()
    # The kick at the first step has rung out.
    page.wait_for_timeout(900)
    assert mute.get_attribute("aria-pressed") == "true"
    assert loudest(page, 150) < 1e-3
    mute.click()
    page.wait_for_timeout(100)
    assert loudest(page, 150) > 0.01
    page.get_by_role("button", name="Solo Bass").click()
    page.wait_for_timeout(250)
    assert loudest(page, 150) < 1e-3


def test_volume_tempo_and_place(page):
    page.locator("#volume").fill("0")
    page.locator("#tempo").fill("1000")
    page.locator("#tempo").press("Enter")
    page.locator("#seek").fill("96")
    assert page.evaluate("[player.volume, player.tempo, player.position]") == [0, 240, 96]
    assert page.locator("#position").inner_text() == "bar 3, beat 1"
    assert page.locator("#tempo").input_value() == "240"


def test_the_keyboard_does_it_all(page):
    keys = page.keyboard
    keys.press("Space")
    assert page.evaluate("[player.isPlaying, current.name]") == [True, "Sample 1"]
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    assert page.evaluate("player.position") >= 24
    keys.press("ArrowLeft")
    page.evaluate("player.seek(150)")
    keys.press("Home")
    assert page.evaluate("player.position") < 100
    keys.press("2")
    keys.press("Shift+Digit4")
    assert page.evaluate("TRACKS.map((_, k) => player.isHeard(k))") == [False, False, False, True, False]
    assert page.evaluate("[player.isMuted(1), player.isSolo(3)]") == [True, True]
    keys.press("l")
    assert page.evaluate("player.loop")
    assert page.locator("#loop").get_attribute("aria-pressed") == "true"
    keys.press("f")
    assert page.locator("article .star").first.get_attribute("aria-pressed") == "true"
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    assert page.evaluate("current.name") == "Sample 3"
    keys.press("ArrowUp")
    keys.press("Space")
    assert page.evaluate("[player.isPlaying, current.name.slice(0, 8)]") == [False, "Sample 2"]
    # In a field, keys write.
    page.locator("#tempo").focus()
    keys.press("1")
    assert not page.evaluate("player.isMuted(0)")
    # On a button, Space presses it, and does nothing else.
    page.locator("#loop").focus()
    keys.press("Space")
    assert page.evaluate("[player.isPlaying, player.loop]") == [False, False]


def test_the_phrase_ends_and_says_so(page):
    page.get_by_role("button", name="Play Sample 1").click()
    page.evaluate("player.seek(186)")
    page.wait_for_function("() => !player.isPlaying")
    assert page.locator("#play").get_attribute("aria-label") == "Play"


def test_favorites_are_kept_and_exported(browser, file):
    with opened(browser, file) as page:
        assert page.locator("#favorites-midi").is_disabled()
        for i in (0, 1):
            page.locator("article .star").nth(i).click()
        page.reload()
        pressed = [star.get_attribute("aria-pressed") for star in page.locator("article .star").all()]
        assert pressed == ["true", "true", "false"]
        assert page.locator("#favorites-cards button").count() == 2
        name, content = downloaded(page, page.locator("#favorites-json"))
        assert name == "favorites.json"
        exported = json.loads(content)
        assert [{k: p[k] for k in ("name", "notes")} for p in exported["phrases"]] == PHRASES[:2]
        assert exported["provenance"] == {"config.data.path": HOSTILE}
        _, content = downloaded(page, page.locator("#favorites-midi"))
        assert mido.MidiFile(file=io.BytesIO(content)).length == pytest.approx(2 * 16 * 60 / 100, abs=0.01)
        page.locator("article .star").first.click()
        assert page.locator("#favorites-cards button").count() == 1


def test_what_is_stored_and_broken_is_passed_over(browser, file):
    with opened(browser, file) as page:
        page.evaluate("localStorage.setItem(STORE, '{broken')")
        page.reload()
        assert page.locator("#favorites-cards button").count() == 0
        assert page.locator("article").count() == 3


def notes_of_midi(content):
    """The notes of a MIDI file of a page, in its order of tracks."""
    file = mido.MidiFile(file=io.BytesIO(content), charset="utf-8")
    found = []
    for k, track in enumerate(file.tracks[1:]):
        now, begun = 0, {}
        for message in track:
            now += message.time
            if message.type == "note_on":
                begun[message.note] = now
            elif message.type == "note_off":
                found.append([k, message.note, begun[message.note] / 40, (now - begun.pop(message.note)) / 40])
    return sorted(found)


def test_midi_has_exactly_the_notes(page):
    name, content = downloaded(page, page.get_by_role("button", name="as MIDI").nth(1))
    assert re.fullmatch(r"Sample_2_[A-Za-z0-9._-]*\.mid", name)
    assert notes_of_midi(content) == sorted(PHRASES[1]["notes"])


def dragged(page, element):
    """Name and bytes of the MIDI file that a drag of an element carries, and the same of its file."""
    program = """async (element) => {
      const dataTransfer = new DataTransfer();
      element.dispatchEvent(new DragEvent('dragstart', {dataTransfer, bubbles: true}));
      const [file] = dataTransfer.files;
      return [element.draggable, dataTransfer.getData('DownloadURL'), file.name,
        Array.from(new Uint8Array(await file.arrayBuffer()))];
    }"""
    is_draggable, text, name, content = element.evaluate(program)
    assert is_draggable
    kind, url_name, url = text.split(":", 2)
    assert (kind, url_name) == ("audio/midi", name)
    assert base64.b64decode(url.removeprefix("data:audio/midi;base64,"), validate=True) == bytes(content)
    return name, bytes(content)


def test_a_phrase_is_dragged_out_as_midi(page):
    name, content = dragged(page, page.locator("article canvas").first)
    assert name == "Sample_1.mid"
    assert notes_of_midi(content) == sorted(PHRASES[0]["notes"])


def test_a_track_of_the_phrase_in_the_player_is_dragged_out_alone(page):
    strings = page.locator("#tracks .label").nth(4)
    assert notes_of_midi(dragged(page, strings)[1]) == []  # nothing is in the player yet
    page.get_by_role("button", name="Play Sample 1").click()
    name, content = dragged(page, strings)
    assert name == "Sample_1_Strings.mid"
    assert notes_of_midi(content) == [note for note in PHRASES[0]["notes"] if note[0] == 4]


def test_wav_is_heard_and_does_not_clip(page):
    page.keyboard.press("5")
    name, content = downloaded(page, page.get_by_role("button", name="Download Sample 1 as WAV"))
    samples, rate = soundfile.read(io.BytesIO(content))
    assert (name, rate, samples.shape[1]) == ("Sample_1.wav", 44100, 2)
    # Four bars at 100 bpm and a second to ring out.
    assert len(samples) / rate == pytest.approx(10.6, abs=0.01)
    assert 0.05 < np.abs(samples).max() < 0.96
    # The strings, which sound throughout, are muted: between the two drums there is nothing.
    assert np.abs(samples[2 * rate : 4 * rate]).max() < 1e-3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways(browser, file, scheme):
    with opened(browser, file, viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        page.get_by_role("button", name="Play Sample 1").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        bar = page.locator("#bar").bounding_box()
        assert bar["height"] < 220
        assert bar["x"] + bar["width"] <= 360
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades = [int(shade) for shade in re.findall(r"\d+", paper)[:3]]
        assert min(shades) > 200 if scheme == "light" else max(shades) < 60


def test_all_that_can_be_used_has_a_name_and_shows_its_focus(page):
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, canvas, [role]')].filter((element) =>
          !element.getAttribute('aria-label') && !element.labels?.length && !element.textContent.trim()).length"""
    )
    assert nameless == 0
    assert page.locator("article canvas").first.get_attribute("aria-label") == (
        "Piano-roll of Sample 1: notes: Drums 2, Strings 1"
    )
    assert page.locator("article canvas").nth(2).get_attribute("aria-label") == "Piano-roll of Sample 3: silent"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_latent_model_is_mounted(browser, tmp_path, monkeypatch):
    script = """'use strict';
    class LatentPanel {
      constructor(section, model, {player, openPhrase}) {
        section.append(make('h2', {}, `model of ${model.size}`));
        section.onclick = () => openPhrase({name: 'New', notes: [[4, 60, 0, 192]]});
      }
    }"""
    read = document.read_browser_file
    monkeypatch.setattr(document, "read_browser_file", lambda name: script if name == "latent_panel.js" else read(name))
    file = tmp_path / "latent.html"
    file.write_text(small_page(panel={"size": 7}), encoding="utf-8")
    with opened(browser, file) as page:
        assert page.locator("#latent h2").inner_text() == "model of 7"
        page.locator("#latent").click()
        assert page.evaluate("[player.isPlaying, current.name]") == [True, "New"]
        assert loudest(page, 400) > 0.01


def test_without_a_model_there_is_no_such_section(page):
    assert page.locator("#latent").is_hidden()
    assert page.locator("nav a").all_inner_texts() == [
        "Random samples",
        "Favorites",
        "Metrics",
        "Provenance",
    ]


MIDI = """() => {
  globalThis.sent = [];
  const port = (id) => ({id, name: `Port ${id}`, send: (bytes) => sent.push([id, ...bytes])});
  navigator.requestMIDIAccess = async () => ({outputs: new Map(globalThis.names.map((id) => [id, port(id)]))});
}"""


def test_a_midi_port_can_be_chosen(page):
    page.evaluate("() => { globalThis.names = ['a', 'b']; }")
    page.evaluate(MIDI)
    sound = page.get_by_label("Sound")
    sound.select_option("MIDI port …")
    page.wait_for_function("() => player.output !== null")
    assert sound.locator("option").all_inner_texts() == ["speakers", "Port a", "Port b"]
    assert sound.input_value() == "a"
    sound.select_option("Port b")
    page.get_by_role("button", name="Play Sample 1").click()
    page.wait_for_function("() => sent.some(([id, status]) => id === 'b' && status === 0x93)")
    sound.select_option("speakers")
    assert page.evaluate("() => [player.output, player.isPlaying]") == [None, False]


def test_a_computer_without_midi_ports_keeps_its_speakers(page):
    page.evaluate("() => { globalThis.names = []; }")
    page.evaluate(MIDI)
    page.get_by_label("Sound").select_option("MIDI port …")
    page.wait_for_function("() => byId('now').textContent === 'This computer has no MIDI port.'")
    assert page.get_by_label("Sound").input_value() == ""
    page.evaluate("() => { navigator.requestMIDIAccess = undefined; }")
    page.get_by_label("Sound").select_option("MIDI port …")
    page.wait_for_function("() => byId('now').textContent === 'This browser has no MIDI.'")
