"""The networks, the binarization rule and the latent panel in a real browser, against JAX and NumPy."""

import base64
import dataclasses
import json
import re
import statistics

import numpy as np
import pytest
import scipy.stats

from tests.decoding import Z_DIM, codes_of, logits, random_model
from tests.helpers import random_rolls
from tests.listening.binarization_cases import CASES, rule_of
from tests.listening.browsing import loudest, opened
from wae_jax.config import BinarizationRule
from wae_jax.generation.attributes import ATTRIBUTES
from wae_jax.generation.binarization import binarize
from wae_jax.generation.exported import to_storage
from wae_jax.generation.latent_paths import slerp
from wae_jax.generation.load import load
from wae_jax.listening.document import PLAYER_SCRIPTS, embed, read_browser_file
from wae_jax.listening.latent_panel import latent_panel, layer_to_json
from wae_jax.listening.network_layers import decoder_layers, encoder_layers
from wae_jax.listening.page import PANEL_SCRIPTS
from wae_jax.listening.sections import note_lists
from wae_jax.pianoroll import unpack
from wae_jax.training.learned_prior import KernelDensity

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def model(corpus_model):
    return corpus_model


@pytest.fixture(scope="module")
def panel(model):
    return latent_panel(model, rule=BinarizationRule())


@pytest.fixture
def page(browser, panel, tmp_path):
    """A page with the panel alone; the phrases that it opens are put into `opened`."""
    scripts = "".join(f"<script>{read_browser_file(name)}</script>" for name in (*PLAYER_SCRIPTS, *PANEL_SCRIPTS))
    file = tmp_path / "panel.html"
    file.write_text(
        f"<!doctype html><meta charset=utf-8><section id=latent></section>{scripts}<script>"
        f"const model = {embed(panel)}; const player = new Player({{tempo: 100}}); const opened = [];"
        "const openPhrase = (phrase, {from = 0} = {}) => {"
        "opened.push(phrase); player.load(phrase.notes); player.seek(from); player.play(); };"
        "const panel = new LatentPanel(byId('latent'), model, {player, openPhrase});</script>",
        encoding="utf-8",
    )
    with opened(browser, file) as page:
        yield page


def state(page):
    return page.evaluate("() => panel.state")


def decode(page, codes, layers=None):
    """Probabilities that the script decodes, with the layers of the panel or with others."""
    program = """([codes, layers]) => {
      const decoder = new Decoder(layers ? {decoder: layers} : model);
      return codes.map((z) => {
        const bytes = new Uint8Array(decoder.decode(z).buffer);
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
      });
    }"""
    found = page.evaluate(program, [codes.tolist(), layers])
    return np.stack([np.frombuffer(base64.b64decode(text), np.float32).reshape(192, 84, 5) for text in found])


def test_a_trained_model_decodes_as_in_jax(page, model):
    codes = np.concatenate([model.sample_codes(5, 4), 3 * model.sample_codes(6, 1)])
    np.testing.assert_allclose(decode(page, codes), model.decode(codes), rtol=0, atol=1e-5)


def encode(page, rolls, layers=None):
    """Codes that the script encodes, with the layers of the panel or with others."""
    program = """([phrases, layers]) => {
      const encoder = new Encoder(layers ? {...model, encoder: layers} : model);
      return phrases.map((notes) => encoder.encode(notes));
    }"""
    return np.array(page.evaluate(program, [note_lists(rolls), layers]))


def test_a_trained_model_encodes_as_in_jax(page, model):
    rolls = np.concatenate([unpack(np.asarray(model.phrases("valid")[:3])), random_rolls(1, density=0.05)])
    np.testing.assert_allclose(encode(page, rolls), model.encode(rolls), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def shipped():
    return load()


@pytest.fixture(scope="module")
def shipped_panel(shipped):
    return latent_panel(shipped, rule=BinarizationRule())


def test_the_shipped_model_computes_as_in_jax(page, shipped, shipped_panel):
    codes = shipped.sample_codes(5, 3)
    np.testing.assert_allclose(decode(page, codes, shipped_panel["decoder"]), shipped.decode(codes), rtol=0, atol=1e-5)
    rolls = np.concatenate([shipped.binarize(shipped.decode(codes)), random_rolls(1, density=0.05)])
    np.testing.assert_allclose(encode(page, rolls, shipped_panel["encoder"]), shipped.encode(rolls), rtol=0, atol=1e-4)


def assert_computes_as_in_jax(page, config, variables):
    variables = to_storage(variables)
    codes = np.random.default_rng(2).normal(size=(2, Z_DIM)).astype(np.float32)
    truth = 1 / (1 + np.exp(-logits(config, variables, codes)))
    assert truth.std() > 0.01
    layers = [layer_to_json(layer) for layer in decoder_layers(config.model, config.refiner, variables)]
    np.testing.assert_allclose(decode(page, codes, layers), truth, rtol=0, atol=1e-3)
    rolls = random_rolls(2, density=0.05)
    layers = [layer_to_json(layer) for layer in encoder_layers(config.model, variables)]
    np.testing.assert_allclose(encode(page, rolls, layers), codes_of(config, variables, rolls), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("network", "normalization", "activation"),
    [
        ("fir", "batch", "relu"),
        ("mus", "layer", "leaky_relu"),
        ("newnew", "batch", "leaky_relu"),
        ("new_alt", "layer", "relu"),
        ("meter", "layer", "leaky_relu"),
    ],
)
def test_other_networks_compute_as_in_jax(page, network, normalization, activation):
    assert_computes_as_in_jax(page, *random_model(network, normalization, activation))


@pytest.mark.parametrize(("kernel_size", "strides"), [((12, 12), (6, 1)), ((3, 2), (4, 3))])
def test_refined_networks_decode_as_in_jax(page, kernel_size, strides):
    config, variables = random_model(
        "meter", refiner__num_units=2, refiner__filters=5,
        refiner__kernel_size=kernel_size, refiner__strides=strides,
    )  # fmt: skip
    assert_computes_as_in_jax(page, config, variables)


def test_a_phrase_of_the_shipped_model_is_decoded_in_less_than_half_a_second(page, shipped, shipped_panel):
    program = """([codes, layers]) => {
      const decoder = new Decoder({decoder: layers});
      return codes.map((z) => {
        const start = performance.now();
        findNotes(decoder.decode(z), model.rule, model.shape, model.lowest_pitch);
        return performance.now() - start;
      });
    }"""
    times = page.evaluate(program, [shipped.sample_codes(0, 15).tolist(), shipped_panel["decoder"]])
    assert statistics.median(times) < 500


def test_the_rule_gives_the_notes_of_every_case(page):
    program = """([lines, rule]) => {
      const [steps, pitches, tracks] = model.shape;
      const probabilities = new Float32Array(steps * pitches * tracks);
      for (const {track, pitch, onset, probabilities: values} of lines) values.forEach((value, i) => {
        probabilities[((onset + i) * pitches + pitch - model.lowest_pitch) * tracks + track] = value;
      });
      return findNotes(probabilities, rule, model.shape, model.lowest_pitch);
    }"""
    for name, case in CASES.items():
        found = page.evaluate(program, [case["lines"], dataclasses.asdict(rule_of(case))])
        assert found == case["notes"], name


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"min_note_length": 17, "short_note_thresholds": (1.05,) * 5},
        {"min_note_length": 9, "short_note_thresholds": (1.0, 1.2, 1.1, 1.05, 0.0)},
        {"track_gates": (0.0, 16128.0, 0.0, 1.0, 8064.0)},
    ],
)
def test_the_rule_gives_the_notes_of_python_for_random_phrases(page, rule):
    rng = np.random.default_rng(3)
    # Constant for eight steps each, for notes of many lengths.
    probabilities = np.repeat(rng.random((24, 84, 5)), 8, axis=0).astype(np.float32)
    rule = BinarizationRule(thresholds=(0.5, 0.25, 0.9, 0.75, 1.0), **rule)
    expected = note_lists(binarize(probabilities[None], rule))[0]
    assert len(expected) > 700
    program = "([p, rule]) => findNotes(Float32Array.from(p), rule, model.shape, model.lowest_pitch)"
    assert page.evaluate(program, [probabilities.ravel().tolist(), dataclasses.asdict(rule)]) == expected


def test_samples_are_standard_normal_and_differ_by_seed(page):
    drawn = np.array(page.evaluate("() => [...Array(500).keys()].map((seed) => standardNormals(seed, 32))"))
    assert scipy.stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    # Between dimensions and between neighbouring seeds there is no correlation: 4.5 deviations of one.
    assert np.abs(np.corrcoef(drawn.T) - np.eye(32)).max() < 4.5 / 500**0.5
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 4.5 / drawn.size**0.5
    again = page.evaluate("() => standardNormals(7, 32)")
    np.testing.assert_array_equal(drawn[7], again)
    # The prior need not be standard.
    normal = "{...model, kernel_density: null, prior_deviation: 3}"
    program = f"() => new LatentPanel(make('section'), {normal}, {{player, openPhrase}})"
    np.testing.assert_allclose(page.evaluate(f"({program})().state.code"), 3 * drawn[1])


def test_new_samples_are_of_the_models_density_estimate(page, model):
    Z = model.config.model.z_dim
    centers = np.stack([np.full(Z, center) for center in (-40.0, 0.0, 0.0, 40.0)])
    factor = np.tril(np.full((Z, Z), 0.5)) + np.eye(Z)
    density = KernelDensity(centers, factor, np.int32(4))
    panel = latent_panel(dataclasses.replace(model, kernel_density=density), rule=BinarizationRule())
    program = "(model) => [...Array(4000).keys()].map((seed) => sampleCode(seed, model))"
    sampled = np.array(page.evaluate(program, panel))
    nearest = np.round(np.clip(sampled.mean(axis=1), -40, 40) / 40).astype(int)
    assert [np.mean(nearest == each) for each in (-1, 0, 1)] == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    for each in (-1, 0, 1):
        whitened = np.linalg.solve(factor, (sampled[nearest == each] - 40.0 * each).T).T
        np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=0.15)
        np.testing.assert_allclose(np.cov(whitened.T), np.eye(Z), atol=0.25)
    normal = "{...model, kernel_density: null, prior_deviation: 2}"
    assert page.evaluate(f"() => sampleCode(3, {normal})") == pytest.approx(
        page.evaluate(f"() => standardNormals(3, {Z}).map((value) => 2 * value)")
    )


def test_halfway_is_that_of_the_great_circle(page):
    one, other = np.random.default_rng(4).normal(size=(2, 32)) * [[1], [2]]
    halfway = "([one, other]) => halfwayCode(one, other)"
    np.testing.assert_allclose(page.evaluate(halfway, [one.tolist(), other.tolist()]), slerp(one, other, 0.5))
    np.testing.assert_allclose(page.evaluate(halfway, [one.tolist(), (-one).tolist()]), 0 * one, atol=1e-12)
    np.testing.assert_allclose(page.evaluate(halfway, [(0 * one).tolist(), one.tolist()]), one / 2)


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def test_a_new_sample_is_decoded_and_played_at_once(page, model):
    first = state(page)
    press(page, "New sample")
    second = state(page)
    assert not np.allclose(first["code"], second["code"])
    for shown in (first, second):
        code = np.array([shown["code"]], np.float32)
        assert shown["notes"] == note_lists(model.decode(code) > 0.5)[0]
    assert page.evaluate("() => [opened.at(-1), player.isPlaying]") == [
        {"name": "New sample 2", "notes": second["notes"]},
        True,
    ]
    assert loudest(page, 600) > 1e-3
    assert second["name"] in page.locator("#latent-status").text_content()


def along(panel, code):
    """Where a code lies along each direction."""
    components = np.array([direction["component"] for direction in panel["directions"]])
    deviations = np.array([direction["deviation"] for direction in panel["directions"]])
    return components @ (np.array(code) - panel["mean"]) / deviations


def test_a_slider_moves_the_code_along_its_direction_alone(page, panel):
    before = along(panel, state(page)["code"])
    page.get_by_text("Explore the principal components").click()
    slider = page.get_by_role("slider", name=re.compile("^Direction 2"))
    assert float(slider.input_value()) == pytest.approx(before[1], abs=0.026)
    slider.fill("-2")
    page.wait_for_function("() => opened.length === 1")
    shown = state(page)
    expected = before.copy()
    expected[1] = -2
    np.testing.assert_allclose(along(panel, shown["code"]), expected, atol=1e-6)
    assert page.evaluate("() => opened[0]") == {"name": "New sample 1, moved", "notes": shown["notes"]}
    assert slider.get_attribute("aria-valuetext") == "\N{MINUS SIGN}2.0 standard deviations"
    # By keyboard too: an arrow is a step of .05.
    slider.press("ArrowRight")
    page.wait_for_function("() => opened.length === 2")
    assert along(panel, state(page)["code"])[1] == pytest.approx(-1.95)


def test_a_position_that_is_shown_as_0_has_no_sign(page):
    found = page.evaluate("() => [-0.04, 0.04, -0.06, 1.26].map((position) => LatentAxis.textOf(position))")
    assert found == ["0.0", "0.0", "\N{MINUS SIGN}0.1", "+1.3"]


def predicted(panel, code):
    """The attributes of a code by the linear model, in deviations."""
    slopes = np.array([attribute["slope"] for attribute in panel["attributes"]])
    return slopes @ (np.array(code) - panel["mean"])


def test_a_slider_of_an_attribute_takes_the_shortest_way_to_its_value(page, panel):
    code = np.array(state(page)["code"])
    slider = page.get_by_role("slider", name=re.compile("^Drum busyness"))
    assert float(slider.input_value()) == pytest.approx(predicted(panel, code)[4], abs=0.026)
    slider.fill("1.5")
    page.wait_for_function("() => opened.length === 1")
    moved = np.array(state(page)["code"])
    slope = np.array(panel["attributes"][4]["slope"])
    expected = code + (1.5 - predicted(panel, code)[4]) * np.linalg.pinv(slope[None])[:, 0]
    np.testing.assert_allclose(moved, expected, atol=1e-9)
    assert slider.get_attribute("aria-valuetext") == "+1.5 standard deviations of the attribute"


def test_the_sliders_of_attributes_change_the_music_that_they_name(page, model):
    """In most of forty samples, a step of two deviations raises the attribute of the notes."""
    program = """([index, seeds]) => {
      const axis = LatentAxis.ofAttribute(model.attributes[index], model.mean);
      return seeds.map((seed) => {
        const code = sampleCode(seed, model);
        return [code, axis.moved(code, axis.positionOf(code) + 2)];
      });
    }"""
    for index, measure in enumerate(ATTRIBUTES.values()):
        pairs = np.array(page.evaluate(program, [index, list(range(40))]), np.float32)
        before, after = (measure(model.binarize(model.decode(pairs[:, i]))) for i in (0, 1))
        assert np.nanmean(np.sign(after - before)) > 0.3, list(ATTRIBUTES)[index]


def test_a_seed_gives_its_sample(page, panel):
    field = page.get_by_label("Seed")
    assert field.input_value() == "1"
    field.fill("4294967295")
    field.press("Enter")
    page.wait_for_function("() => opened.length === 1")
    shown = state(page)
    assert shown["code"] == page.evaluate("() => sampleCode(4294967295, model)")
    assert shown["name"] == "New sample 4294967295"
    press(page, "New sample")
    assert (field.input_value(), state(page)["seed"]) == ("0", 0)
    for wrong in ("-1", "1.5", "4294967296", ""):
        field.fill(wrong)
        field.press("Enter")
        assert field.input_value() == "0"
    assert page.evaluate("() => opened.length") == 2


def rich_state(page):
    """A state in which everything differs from that of a new page."""
    press(page, "New sample")
    press(page, "Keep as A")
    page.get_by_role("slider", name=re.compile("^Register")).fill("-1")
    page.get_by_label("Thresholds of all tracks").fill("0.5")
    page.evaluate("() => { player.tempo = 133; }")
    page.wait_for_function("() => panel.state.name.endsWith('moved') && opened.length === 2")
    return state(page)


def test_a_link_restores_what_is_shown(browser, page):
    kept = rich_state(page)
    press(page, "Copy link")
    page.wait_for_function("() => byId('latent-message').textContent !== ''")
    link = page.url
    assert "#state=" in link
    page.goto("about:blank")
    page.goto(link)
    assert state(page) == kept
    common = page.get_by_label("Thresholds of all tracks")
    assert (common.input_value(), common.get_attribute("aria-valuetext")) == ("0.5", "0.50")
    assert page.evaluate("() => player.tempo") == 133
    # Also where the page is open already.
    press(page, "New sample")
    assert state(page) != kept
    page.evaluate("(link) => { location.hash = ''; location.href = link; }", link)
    page.wait_for_function("(name) => panel.state.name === name", arg=kept["name"])
    assert state(page) == kept


def test_a_file_restores_what_is_shown(page, tmp_path):
    kept = rich_state(page)
    with page.expect_download() as download:
        press(page, "Save to a file")
    assert download.value.suggested_filename == "New_sample_2_moved.json"
    download.value.save_as(file := tmp_path / "state.json")
    page.reload()
    page.get_by_label("Open a file").set_input_files(file)
    page.wait_for_function("(name) => panel.state.name === name", arg=kept["name"])
    assert state(page) == kept


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: "{", "no saved state, or it is damaged"),
        (lambda state: "[1]", "no saved state of such a page"),
        (lambda state: "null", "no saved state of such a page"),
        (lambda state: json.dumps({**state, "model": "0" * 64}), "of another model, 000000000000; this page has"),
        (lambda state: json.dumps({**state, "code": state["code"][1:]}), "saved state is damaged"),
        (lambda state: json.dumps({**state, "thresholds": ["a"] * 5}), "saved state is damaged"),
        (lambda state: json.dumps({**state, "kept": {"A": {"code": [1], "name": "x"}, "B": None}}), "is damaged"),
        (lambda state: json.dumps({**state, "kept": {}}), "saved state is damaged"),
        (lambda state: json.dumps({**state, "seed": 1.5}), "saved state is damaged"),
    ],
)
def test_a_file_that_is_no_state_is_refused_in_a_sentence(page, tmp_path, change, sentence):
    before = state(page)
    (tmp_path / "state.json").write_text(change(before))
    page.get_by_label("Open a file").set_input_files(tmp_path / "state.json")
    page.wait_for_function("(text) => byId('latent-message').textContent.includes(text)", arg=sentence)
    assert state(page) == before


def test_a_damaged_link_is_refused_in_a_sentence(page):
    before = state(page)
    for wrong in ("%%%", "e30", ""):
        page.evaluate("(wrong) => { location.hash = ''; byId('latent-message').textContent = ''; }", wrong)
        page.evaluate("(wrong) => { location.hash = `#state=${wrong}`; }", wrong)
        page.wait_for_function("() => byId('latent-message').textContent.includes('no saved state')")
    assert state(page) == before


def test_music_goes_on_from_where_it_was_when_a_slider_moves(page):
    press(page, "Play this")
    page.evaluate("() => player.seek(90)")
    page.get_by_role("slider", name=re.compile("^Density")).fill("1")
    page.wait_for_function("() => opened.length === 2")
    assert page.evaluate("() => [player.isPlaying, player.position >= 90]") == [True, True]
    press(page, "New sample")
    assert page.evaluate("() => player.position") < 30


def test_halfway_between_two_that_are_kept(page):
    halfway = page.get_by_role("button", name="Halfway between A and B")
    press(page, "Keep as A")
    assert halfway.is_disabled()
    one = state(page)
    press(page, "New sample")
    press(page, "Keep as B")
    other = state(page)
    halfway.click()
    np.testing.assert_allclose(state(page)["code"], slerp(np.array(one["code"]), np.array(other["code"]), 0.5))
    press(page, "Play A")
    assert (state(page)["code"], state(page)["name"], state(page)["notes"]) == (
        one["code"], "New sample 1", one["notes"]
    )  # fmt: skip
    assert page.evaluate("() => opened.length") == 3


def test_thresholds_of_all_tracks_and_of_one(page, model):
    p = model.decode(np.array([state(page)["code"]], np.float32))
    page.get_by_label("Thresholds of all tracks").fill("0.2")  # times .5
    page.wait_for_function("() => opened.length === 1")
    assert state(page)["notes"] == note_lists(p > 0.1)[0]
    page.get_by_text("A threshold for each track").click()
    page.get_by_role("slider", name="Drums").fill("0.9")
    page.wait_for_function("() => opened.length === 2")
    assert state(page)["thresholds"] == [0.9, 0.1, 0.1, 0.1, 0.1]
    assert state(page)["notes"] == note_lists(p > np.array([0.9, 0.1, 0.1, 0.1, 0.1]))[0]
    assert page.get_by_role("slider", name="Drums").get_attribute("aria-valuetext") == "0.90"
    common = page.get_by_label("Thresholds of all tracks")
    assert common.get_attribute("aria-valuetext") == "different multiples"
    common.fill("3")  # which would be above the largest threshold
    page.wait_for_function("() => opened.length === 3")
    assert state(page)["thresholds"] == [0.99] * 5
    assert common.get_attribute("aria-valuetext") == "1.98"


def test_a_lower_threshold_lowers_the_gates(page, model):
    p = model.decode(np.array([state(page)["code"]], np.float32))
    gates = (p.sum(axis=(0, 1, 2), dtype=np.float64) * [0.9, 1.1, 0, 1.5, 0]).tolist()
    program = """(gates) => {
      const section = document.getElementById('latent');
      section.replaceChildren();
      const rule = {...model.rule, track_gates: gates};
      window.gated = new LatentPanel(section, {...model, rule}, {player, openPhrase});
      return gated.state.notes;
    }"""
    every = note_lists(p > 0.5)[0]
    assert page.evaluate(program, gates) == [note for note in every if note[0] not in (1, 3)]
    page.get_by_label("Thresholds of all tracks").fill("0.8")
    page.wait_for_function("() => opened.length === 1")
    woken = [note for note in note_lists(p > 0.4)[0] if note[0] != 3]
    assert page.evaluate("() => gated.state.notes") == woken
    assert any(note[0] == 1 for note in woken)


def test_what_is_shown_can_be_saved_as_midi(page):
    with page.expect_download() as download:
        press(page, "Save as MIDI")
    assert download.value.suggested_filename == "New_sample_1.mid"


def test_every_control_has_a_name(page):
    snapshot = page.locator("#latent").aria_snapshot()
    controls = re.findall(r"- '?(button|slider)( \"..)?", snapshot)
    # Principal components and the tracks' thresholds are folded away; a field for a file is a button.
    assert [kind for kind, _ in controls].count("button") == 8 + 3
    assert [kind for kind, _ in controls].count("slider") == 5 + 1
    assert page.get_by_label("Seed").is_visible()
    assert all(name for _, name in controls)
