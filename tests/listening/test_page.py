"""The listening page: what is in it, and what it does in a real browser."""

import dataclasses
import html.parser
import io
import json
import pathlib
import re

import mido
import numpy as np
import pytest
import soundfile

from tests.browsing import loudest, opened
from tests.helpers import random_rolls, train_briefly
from wae_jax import listen
from wae_jax.config import BinarizationRule
from wae_jax.errors import RequestError
from wae_jax.evaluation.table import DISTRIBUTION_METRICS, HEADLINE
from wae_jax.generation.model import load_run
from wae_jax.generation.sampling import Sampler, binarize
from wae_jax.listening import document, provenance
from wae_jax.listening import page as listening_page
from wae_jax.listening.document import Group, Section, Table, make_page, note_lists
from wae_jax.listening.sections import sections_of_run

HOSTILE = "</script><img src=x onerror=alert(1)>{{scripts}}&amp;\u2028"
PHRASES = [
    {"name": "Draw 1", "notes": [[4, 69, 0, 192], [0, 36, 0, 1], [0, 42, 96, 1]]},
    {"name": f"Draw 2 {HOSTILE}", "notes": [[1, 60, 0, 48], [1, 60, 48, 24], [3, 40, 12, 24]]},
    {"name": "Draw 3", "notes": []},
]


def make(**changes):
    content = {
        "title": f"Listening to {HOSTILE}",
        "summary": "Step 3",
        "sections": [Section("samples", "Random samples", "Unselected: seed 0, the first 3.", [Group(PHRASES)])],
        "tables": [Table("Last evaluation", ["", "validation"], [["f1", "0.5"], [HOSTILE, "1"]])],
        "provenance": [("config.data.path", HOSTILE)],
    }
    return make_page(**(content | changes))


class Scripts(html.parser.HTMLParser):
    """The elements of a page and the text of its data."""

    def __init__(self):
        super().__init__()
        self.tags, self.data, self._is_data = [], "", False

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._is_data = dict(attributes).get("id") == "data"

    def handle_data(self, data):
        if self._is_data:
            self.data += data

    def handle_endtag(self, tag):
        self._is_data = False


def data_of(text):
    parser = Scripts()
    parser.feed(text)
    return json.loads(parser.data)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(make(), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, file):
    with opened(browser, file, viewport={"width": 1000, "height": 900}) as page:
        yield page


def downloaded(page, button):
    """Name and bytes of what a click offers."""
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, pathlib.Path(download.value.path()).read_bytes()


def test_note_lists_are_the_runs_of_cells():
    rolls = random_rolls(3, density=0.03)
    rolls[1] = False
    rolls[2, 10:40, 5, 3] = True
    expected = []
    for roll in rolls:
        found = []
        for k in range(5):
            for pitch in range(84):
                onset = None
                for step, on in enumerate([*roll[:, pitch, k], False]):
                    if on and onset is None:
                        onset = step
                    elif not on and onset is not None:
                        found.append([k, pitch + 24, onset, step - onset])
                        onset = None
        expected.append(sorted(found, key=lambda note: (note[2], note[0], note[1])))
    assert note_lists(rolls) == expected
    assert note_lists(rolls[:0]) == []


def test_nothing_in_a_page_comes_from_elsewhere_or_from_a_name():
    parser = Scripts()
    parser.feed(make())
    assert not [tag for tag, _ in parser.tags if tag in ("img", "iframe", "link", "object", "base")]
    assert not [given for _, given in parser.tags if "src" in given or any(name.startswith("on") for name in given)]
    policy = next(given["content"] for _, given in parser.tags if "Security" in given.get("http-equiv", ""))
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://", make())


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
    file.write_text(make().replace("<body>", "<body><script>globalThis.intruder = 1</script>"), encoding="utf-8")
    with pytest.raises(AssertionError, match="Content Security Policy"), opened(browser, file) as page:
        assert page.evaluate("typeof globalThis.intruder") == "undefined"


def test_a_card_plays_shows_where_it_is_and_pauses(page):
    card = page.locator("article").first
    before = card.locator("canvas").screenshot()
    card.get_by_role("button", name="Play Draw 1").click()
    assert loudest(page, 400) > 0.01
    assert page.locator("#now").inner_text() == "Draw 1"
    first, picture = page.evaluate("player.position"), card.locator("canvas").screenshot()
    page.wait_for_timeout(300)
    assert page.evaluate("player.position") > first
    assert len({before, picture, card.locator("canvas").screenshot()}) == 3
    shown, step = page.evaluate("[document.getElementById('seek').valueAsNumber, player.position]")
    assert 0 < shown <= step + 1
    card.get_by_role("button", name="Pause Draw 1").click()
    page.wait_for_timeout(200)
    assert loudest(page, 100) < 1e-3


def test_a_click_into_the_roll_plays_from_there(page):
    canvas = page.locator("article canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": 20})
    assert 95 < page.evaluate("player.position") < 150
    assert page.evaluate("player.isPlaying")


def test_mute_and_solo_in_the_bar(page):
    page.get_by_role("button", name="Play Draw 1").click()
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
    assert page.locator("#place").inner_text() == "bar 3, beat 1"
    assert page.locator("#tempo").input_value() == "240"


def test_the_keyboard_does_it_all(page):
    keys = page.keyboard
    keys.press("Space")
    assert page.evaluate("[player.isPlaying, current.name]") == [True, "Draw 1"]
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
    assert page.evaluate("current.name") == "Draw 3"
    keys.press("ArrowUp")
    keys.press("Space")
    assert page.evaluate("[player.isPlaying, current.name.slice(0, 6)]") == [False, "Draw 2"]
    # In a field, keys write.
    page.locator("#tempo").focus()
    keys.press("1")
    assert not page.evaluate("player.isMuted(0)")
    # On a button, Space presses it, and does nothing else.
    page.locator("#loop").focus()
    keys.press("Space")
    assert page.evaluate("[player.isPlaying, player.loop]") == [False, False]


def test_the_phrase_ends_and_says_so(page):
    page.get_by_role("button", name="Play Draw 1").click()
    page.evaluate("player.seek(186)")
    page.wait_for_function("() => !player.isPlaying")
    assert page.locator("#play").get_attribute("aria-label") == "Play"


def test_favourites_are_kept_and_exported(browser, file):
    with opened(browser, file) as page:
        assert page.locator("#favourites-midi").is_disabled()
        for i in (0, 1):
            page.locator("article .star").nth(i).click()
        page.reload()
        pressed = [star.get_attribute("aria-pressed") for star in page.locator("article .star").all()]
        assert pressed == ["true", "true", "false"]
        assert page.locator("#favourites-cards button").count() == 2
        name, content = downloaded(page, page.locator("#favourites-json"))
        assert name == "favourites.json"
        exported = json.loads(content)
        assert [{k: p[k] for k in ("name", "notes")} for p in exported["phrases"]] == PHRASES[:2]
        assert exported["provenance"] == {"config.data.path": HOSTILE}
        _, content = downloaded(page, page.locator("#favourites-midi"))
        assert mido.MidiFile(file=io.BytesIO(content)).length == pytest.approx(2 * 16 * 60 / 100, abs=0.01)
        page.locator("article .star").first.click()
        assert page.locator("#favourites-cards button").count() == 1


def test_what_is_stored_and_broken_is_passed_over(browser, file):
    with opened(browser, file) as page:
        page.evaluate("localStorage.setItem(STORE, '{broken')")
        page.reload()
        assert page.locator("#favourites-cards button").count() == 0
        assert page.locator("article").count() == 3


def test_midi_has_exactly_the_notes(page):
    name, content = downloaded(page, page.get_by_role("button", name="as MIDI").nth(1))
    assert re.fullmatch(r"Draw_2_[A-Za-z0-9._-]*\.mid", name)
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
    assert sorted(found) == sorted(PHRASES[1]["notes"])


def test_wav_is_heard_and_does_not_clip(page):
    page.keyboard.press("5")
    name, content = downloaded(page, page.get_by_role("button", name="Download Draw 1 as WAV"))
    samples, rate = soundfile.read(io.BytesIO(content))
    assert (name, rate, samples.shape[1]) == ("Draw_1.wav", 44100, 2)
    # Four bars at 100 bpm and a second to ring out.
    assert len(samples) / rate == pytest.approx(10.6, abs=0.01)
    assert 0.05 < np.abs(samples).max() < 0.96
    # The strings, which sound throughout, are muted: between the two drums there is nothing.
    assert np.abs(samples[2 * rate : 4 * rate]).max() < 1e-3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways(browser, file, scheme):
    with opened(browser, file, viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        page.get_by_role("button", name="Play Draw 1").click()
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
        "Piano-roll of Draw 1: notes: Drums 2, Strings 1"
    )
    assert page.locator("article canvas").nth(2).get_attribute("aria-label") == "Piano-roll of Draw 3: silent"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_latent_model_is_mounted(browser, tmp_path, monkeypatch):
    script = """'use strict';
    function mountLatent(section, latent, {player, openPhrase}) {
      section.append(`model of ${latent.size}`);
      section.onclick = () => openPhrase({name: 'Fresh', notes: [[4, 60, 0, 192]]});
    }"""
    read = document.read_part
    monkeypatch.setattr(document, "read_part", lambda name: script if name == "latent.js" else read(name))
    file = tmp_path / "latent.html"
    file.write_text(make(latent={"size": 7}), encoding="utf-8")
    with opened(browser, file) as page:
        assert page.locator("#latent").inner_text() == "model of 7"
        page.locator("#latent").click()
        assert page.evaluate("[player.isPlaying, current.name]") == [True, "Fresh"]
        assert loudest(page, 400) > 0.01


def test_without_a_model_there_is_no_such_section(page):
    assert page.locator("#latent").is_hidden()
    assert page.locator("nav a").all_inner_texts() == [
        "Random samples",
        "Favourites",
        "Metrics",
        "Where this comes from",
    ]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_briefly(tmp_path_factory.mktemp("run") / "small & <b>")


def command(workdir, output, *flags):
    return listen.main(["page", f"--workdir={workdir}", f"--output={output}", "--threshold=0.03", *flags])


def cells(phrase):
    roll = np.zeros((192, 84, 5), bool)
    for track, pitch, onset, length in phrase["notes"]:
        roll[onset : onset + length, pitch - 24, track] = True
    return roll


def test_a_run_becomes_a_page(workdir, tmp_path, browser, capsys):
    file = tmp_path / "new" / "page.html"
    assert command(workdir, file, "--num=5", "--seed=3", "--tempo=90") == 0
    assert f", {file.stat().st_size / 1e6:.1f} MB" in capsys.readouterr().out
    data = data_of(file.read_text(encoding="utf-8"))
    run = load_run(str(workdir), "best")
    sections = {section["id"]: section for section in data["sections"]}
    assert list(sections) == ["samples", "real", "reconstructions", "interpolations"]
    assert sections["samples"]["says"] == "Unselected: seed 3, the first 5."

    (draws,) = sections["samples"]["groups"]
    expected = binarize(run.sampler.decode(run.sampler.sample_codes(3, 5)), method="hard", threshold=0.03, seed=3)
    np.testing.assert_array_equal([cells(phrase) for phrase in draws["phrases"]], expected)
    assert expected.any()

    (real,) = sections["real"]["groups"]
    rows = np.unpackbits(run.phrases("train"), axis=1).reshape(-1, 192, 84, 5).astype(bool)
    assert len(real["phrases"]) == 8
    for phrase in real["phrases"]:
        np.testing.assert_array_equal(cells(phrase), rows[int(phrase["name"].split()[-1])])

    rows = np.unpackbits(run.phrases("valid"), axis=1).reshape(-1, 192, 84, 5).astype(bool)
    pairs = sections["reconstructions"]["groups"]
    for pair in pairs:
        original, copy = pair["phrases"]
        place = int(original["name"].split()[-1])
        np.testing.assert_array_equal(cells(original), rows[place])
        probabilities = run.sampler.decode(run.sampler.encode(rows[place : place + 1]))
        np.testing.assert_array_equal(cells(copy), probabilities[0] > 0.03)
        common = (cells(original) & cells(copy)).sum()
        f1 = 2 * common / (cells(original).sum() + cells(copy).sum())
        assert pair["title"] == f"Validation phrase {place}: F1 {f1:.2f}"

    walks = sections["interpolations"]["groups"]
    assert [len(walk["phrases"]) for walk in walks] == [8, 8, 8]
    copies = [pair["phrases"][1]["notes"] for pair in pairs]
    for i, walk in enumerate(walks):
        assert walk["phrases"][0]["notes"] == copies[i]
        assert walk["phrases"][-1]["notes"] == copies[i + 1]

    provenance = dict(data["provenance"])
    assert provenance["checkpoint digest"] == run.digest
    assert [provenance[name] for name in ("seed", "threshold", "num", "run")] == ["3", "0.03", "5", workdir.name]
    assert provenance["config.objective.penalty"] == '"mmd"'
    (table,) = data["tables"]
    assert table["columns"] == ["", "validation data"]
    last = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()][-1]
    written = next(row for row in table["rows"] if row[0] == "reconstruction")
    assert float(written[1].replace(",", "")) == pytest.approx(last["eval/reconstruction"], rel=0.01)
    with opened(browser, file) as page:
        assert page.locator("article").count() == 5 + 8 + 2 * len(pairs) + 24
        assert page.locator("h1").inner_text() == "Listening to small & <b>"
        assert page.evaluate("player.tempo") == 90


def test_a_walk_turns_evenly_from_one_phrase_to_the_next(workdir):
    """With a decoder that hears small differences, as that of a run of three steps does not."""
    generator = np.random.default_rng(0)
    cloud, mixing = generator.normal(size=(2, 3)), generator.normal(size=(3, 192 * 84 * 5))

    def encode(rolls):
        return np.array([[1.0, 0, 0], [0, 2, 0], *cloud])[np.arange(len(rolls)) % 4]

    def decode(z):
        return (1 / (1 + np.exp(-(z @ mixing)))).reshape(-1, 192, 84, 5).astype(np.float32)

    run = load_run(str(workdir), "best")
    run = dataclasses.replace(run, sampler=Sampler(encode, decode, lambda seed, num: np.zeros((num, 3))))
    *_, walks = sections_of_run(run, num=1, seed=0, rule=BinarizationRule(thresholds=(0.6,) * 5))
    first = [cells(phrase) for phrase in walks.groups[0].phrases]
    # The third of seven steps: so much of a right angle, and of the way from norm 1 to norm 2.
    angle, norm = 3 / 7 * np.pi / 2, 1 + 3 / 7
    middle = norm * np.array([[np.cos(angle), np.sin(angle), 0]])
    for place, code in ((0, [[1.0, 0, 0]]), (3, middle), (7, [[0.0, 2, 0]])):
        np.testing.assert_array_equal(first[place], decode(np.array(code))[0] > 0.6)
    assert walks.groups[0].phrases[3]["name"] == "Walk 1, 43% of the way"


def test_the_figures_of_an_evaluation_are_shown(tmp_path):
    lines = [{"step": 5, "eval/f1": 0.25, "samples/cells": 12.5}, {"step": 6, "train/loss": 1.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (table,) = provenance._metrics(tmp_path)
    assert table.caption.endswith("step 5")
    assert table.columns == ["", "validation data", "samples"]
    assert table.rows == [["f1", "0.250", ""], ["cells", "", "12.50"]]
    assert list(provenance._metrics(tmp_path / "none")) == []
    assert list(provenance._evaluation(tmp_path)) == []


def test_the_headline_of_an_evaluation_is_shown(tmp_path):
    music = {}
    for metric, column in HEADLINE:
        entry = music.setdefault(metric, {"columns": [], "floor": {"median": []}, "sets": {"generated": {}}})
        entry["columns"].append(column)
        entry["floor"]["median"].append(1.0)
        for key in ("mean", "low", "high"):
            entry["sets"]["generated"].setdefault(key, []).append(250.0 + len(entry["columns"]))
    content = {
        "provenance": {"checkpoint_step": 9},
        "sets": {"generated": {}, "held_out": {}},
        "music": music,
        "distribution": {"sets": {"generated": dict.fromkeys(DISTRIBUTION_METRICS, 0.5)}},
    }
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").write_text(json.dumps(content))
    (table,) = provenance._evaluation(tmp_path)
    assert table.caption == "Evaluation of step 9"
    assert table.columns == ["", "generated", "held-out"]
    assert table.rows[0] == ["cells", "251", ""]
    assert ["empty_bar_rate, Drums", "252", ""] in table.rows
    assert ["recall", "0.500", ""] in table.rows


def test_what_cannot_be_done_is_said_in_a_sentence(workdir, tmp_path, capsys, monkeypatch):
    assert command(workdir, tmp_path, "--num=1") == 1
    assert "is a folder; expected the name of a file" in capsys.readouterr().err
    assert command(tmp_path, tmp_path / "page.html") == 1
    assert "config.json" in capsys.readouterr().err
    monkeypatch.setattr(document, "LARGEST_PAGE", 1000)
    with pytest.raises(RequestError, match="fewer with --num"):
        listening_page.write_run_page(
            load_run(str(workdir), "best"), tmp_path / "page.html", source=str(workdir), num=1
        )
    assert not list(tmp_path.glob("*.html"))


def test_a_model_too_large_for_a_page_is_left_out(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(listening_page, "LARGEST_MODEL", 1000)
    listening_page.write_run_page(load_run(str(workdir), "best"), tmp_path / "page.html", source=str(workdir), num=1)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert data_of(text)["latent"] is None
    assert re.search(r"The model is left out: it would take \d+ MB", data_of(text)["summary"])


@pytest.mark.parametrize("flag", ["--num=0", "--threshold=2", "--tempo=0", "--seed=-1", "--binarize=soft"])
def test_flags_out_of_range_are_refused(workdir, tmp_path, flag):
    with pytest.raises(SystemExit, match="2"):
        command(workdir, tmp_path / "page.html", flag)
