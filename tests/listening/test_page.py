"""The listening page of a model: its content, its file, and the command that writes it."""

import json
import re

import numpy as np
import pytest

from tests.helpers import random_rolls, train_briefly
from tests.listening.binarization_cases import cells_of
from tests.listening.browsing import opened
from tests.listening.parsing import assert_loads_nothing, data_of
from tests.listening.small_page import small_page
from wae_jax import listen
from wae_jax.config import BinarizationRule
from wae_jax.errors import RequestError
from wae_jax.evaluation.table import DISTRIBUTION_METRICS, FORMAT_VERSION, HEADLINE
from wae_jax.generation.load import load
from wae_jax.generation.model import Model
from wae_jax.listening import document, page
from wae_jax.listening.page import write_run_page
from wae_jax.listening.provenance import tables_of_workdir
from wae_jax.listening.sections import note_lists, sections_of_model


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


def test_a_page_loads_nothing_whatever_its_names():
    assert_loads_nothing(small_page())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_briefly(tmp_path_factory.mktemp("run") / "small & <b>")


@pytest.fixture(scope="module")
def model(workdir):
    return load(workdir)


def command(workdir, output, *flags):
    return listen.main(["page", f"--workdir={workdir}", f"--output={output}", "--threshold=0.03", *flags])


def cells(phrase):
    return cells_of(phrase["notes"])


def test_a_workdir_becomes_a_page(workdir, model, tmp_path, capsys):
    file = tmp_path / "new" / "page.html"
    assert command(workdir, file, "--num=5", "--seed=3", "--tempo=90") == 0
    assert f", {file.stat().st_size / 1e6:.1f} MB" in capsys.readouterr().out
    data = data_of(file.read_text(encoding="utf-8"))
    assert (data["title"], data["tempo"]) == ("Listening to small & <b>", 90)
    sections = {section["id"]: section for section in data["sections"]}
    assert list(sections) == ["samples", "real", "reconstructions", "interpolations"]
    assert "the first 5 of seed 3" in sections["samples"]["description"]

    (samples,) = sections["samples"]["groups"]
    expected = model.decode(model.sample_codes(3, 5)) > 0.03
    np.testing.assert_array_equal([cells(phrase) for phrase in samples["phrases"]], expected)
    assert expected.any()

    (real,) = sections["real"]["groups"]
    rows = np.unpackbits(model.phrases("train"), axis=1).reshape(-1, 192, 84, 5).astype(bool)
    assert len(real["phrases"]) == 8
    for phrase in real["phrases"]:
        np.testing.assert_array_equal(cells(phrase), rows[int(phrase["name"].split()[-1])])

    rows = np.unpackbits(model.phrases("valid"), axis=1).reshape(-1, 192, 84, 5).astype(bool)
    pairs = sections["reconstructions"]["groups"]
    for pair in pairs:
        original, copy = pair["phrases"]
        index = int(original["name"].split()[-1])
        np.testing.assert_array_equal(cells(original), rows[index])
        probabilities = model.decode(model.encode(rows[index : index + 1]))
        np.testing.assert_array_equal(cells(copy), probabilities[0] > 0.03)
        common = (cells(original) & cells(copy)).sum()
        f1 = 2 * common / (cells(original).sum() + cells(copy).sum())
        assert pair["title"] == f"Validation phrase {index}: F1 {f1:.2f}"

    paths = sections["interpolations"]["groups"]
    assert [len(path["phrases"]) for path in paths] == [8, 8, 8]
    copies = [pair["phrases"][1]["notes"] for pair in pairs]
    for i, path in enumerate(paths):
        assert path["phrases"][0]["notes"] == copies[i]
        assert path["phrases"][-1]["notes"] == copies[i + 1]

    provenance = dict(data["provenance"])
    assert provenance["checkpoint digest"] == model.digest
    assert [provenance[name] for name in ("seed", "num", "model")] == ["3", "5", workdir.name]
    assert "None" not in provenance.values()
    assert provenance["thresholds"] == "0.03, 0.03, 0.03, 0.03, 0.03"
    assert provenance["config.objective.penalty"] == '"mmd"'
    (table,) = data["tables"]
    assert table["columns"] == ["", "validation data"]
    last = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()][-1]
    written = next(row for row in table["rows"] if row[0] == "reconstruction")
    assert float(written[1].replace(",", "")) == pytest.approx(last["eval/reconstruction"], rel=0.01)


def test_the_page_opens_plays_and_decodes_in_a_browser(workdir, model, tmp_path, browser):
    """The one test by default of a page in a browser, where there is one; the others are marked `browser`."""
    rule = BinarizationRule(thresholds=(0.03,) * 5, min_note_length=2)
    write_run_page(model, tmp_path / "page.html", source=str(workdir), num=1, rule=rule)
    with opened(browser, tmp_path / "page.html") as page:
        assert page.locator("h1").inner_text() == "Listening to small & <b>"
        assert page.locator("article").count() == 1 + 8 + 2 * 8 + 3 * 8
        page.get_by_role("button", name="New sample").click()
        page.wait_for_function("() => player.isPlaying && player.position > 0")
        code = np.array([page.evaluate("() => sampleCode(2, data.panel)")], np.float32)
        expected = note_lists(model.binarize(model.decode(code), rule))[0]
        assert page.evaluate("() => current.notes") == expected
        assert expected


class Circle(Model):
    """A model of known codes, and with a decoder in which small differences of codes are heard."""

    def encode(self, rolls):
        others = np.random.default_rng(0).normal(size=(2, 3))
        return np.array([[1.0, 0, 0], [0, 2, 0], *others])[np.arange(len(rolls)) % 4]

    def decode(self, codes):
        mixing = np.random.default_rng(1).normal(size=(3, 192 * 84 * 5))
        return (1 / (1 + np.exp(-(codes @ mixing)))).reshape(-1, 192, 84, 5).astype(np.float32)

    def sample_codes(self, seed, num):
        return np.zeros((num, 3))


def test_an_interpolation_turns_evenly_from_one_code_to_the_next(model):
    circle = Circle(model.config, model.variables, model.step, model.digest)
    *_, section = sections_of_model(circle, num=1, seed=0, rule=BinarizationRule(thresholds=(0.6,) * 5))
    path = section.groups[0].phrases
    # The third of seven steps: this share of a right angle, and of the way from norm 1 to norm 2.
    angle, norm = 3 / 7 * np.pi / 2, 1 + 3 / 7
    middle = norm * np.array([[np.cos(angle), np.sin(angle), 0]])
    for i, code in ((0, [[1.0, 0, 0]]), (3, middle), (7, [[0.0, 2, 0]])):
        np.testing.assert_array_equal(cells(path[i]), circle.decode(np.array(code))[0] > 0.6)
    assert "43%" in path[3]["name"]


def test_the_metrics_of_the_last_evaluation_are_shown(tmp_path):
    lines = [{"step": 5, "eval/f1": 0.25, "samples/cells": 12.5}, {"step": 6, "train/loss": 1.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (table,) = tables_of_workdir(tmp_path)
    assert table["caption"].endswith("step 5")
    assert table["columns"] == ["", "validation data", "samples"]
    assert table["rows"] == [["f1", "0.250", ""], ["cells", "", "12.50"]]
    assert tables_of_workdir(tmp_path / "none") == []


def test_the_headline_of_an_evaluation_is_shown(tmp_path):
    music = {}
    for metric, column in HEADLINE:
        entry = music.setdefault(metric, {"columns": [], "floor": {"median": []}, "sets": {"generated": {}}})
        entry["columns"].append(column)
        entry["floor"]["median"].append(1.0)
        for key in ("mean", "low", "high"):
            entry["sets"]["generated"].setdefault(key, []).append(250.0 + len(entry["columns"]))
    content = {
        "format": "wae_jax evaluation",
        "format_version": FORMAT_VERSION,
        "provenance": {"checkpoint_step": 9},
        "sets": {"generated": {}, "held_out": {}},
        "music": music,
        "distribution": {"sets": {"generated": dict.fromkeys(DISTRIBUTION_METRICS, 0.5)}},
    }
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").write_text(json.dumps(content))
    (table,) = tables_of_workdir(tmp_path)
    assert table["caption"] == "Evaluation of step 9"
    assert table["columns"] == ["", "generated", "held-out"]
    assert table["rows"][0] == ["cells", "251", ""]
    assert ["empty_bar_rate, Drums", "252", ""] in table["rows"]
    assert ["recall", "0.500", ""] in table["rows"]


def test_damaged_metrics_are_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "eval/f1": 0.25}\n{"step": 6, "eval/f1": []}\n{"step"')
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").write_text("[")
    (table,) = tables_of_workdir(tmp_path)
    assert table["caption"].endswith("step 5")


def test_errors_are_one_sentence_and_leave_no_file(workdir, model, tmp_path, capsys, monkeypatch):
    assert command(workdir, tmp_path, "--num=1") == 1
    assert "is a folder; expected the name of a file" in capsys.readouterr().err
    assert command(tmp_path, tmp_path / "page.html") == 1
    assert "config.json" in capsys.readouterr().err
    monkeypatch.setattr(document, "LARGEST_PAGE", 1000)
    with pytest.raises(RequestError, match="--num"):
        write_run_page(model, tmp_path / "page.html", source=str(workdir), num=1)
    assert not list(tmp_path.glob("*.html"))


def test_a_model_too_large_for_a_page_is_left_out(workdir, model, tmp_path, monkeypatch):
    def page_of_size(largest):
        monkeypatch.setattr(page, "LARGEST_PANEL", largest)
        write_run_page(model, tmp_path / "page.html", source=str(workdir), num=1)
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        return data_of(text), "parseMidi" in text

    data, opens_songs = page_of_size(page.LARGEST_PANEL)
    assert opens_songs
    assert "left out" not in data["summary"]
    size = len(document.embed(data["panel"]))
    # One byte too few for both networks.
    data, opens_songs = page_of_size(size - 1)
    assert data["panel"]["decoder"]
    assert data["panel"]["encoder"] is None
    assert not opens_songs
    assert re.search(r"MIDI files cannot be opened here, .* \d+ MB", data["summary"])
    data, opens_songs = page_of_size(1000)
    assert data["panel"] is None
    assert not opens_songs
    assert re.search(r"left out, .* \d+ MB", data["summary"])


def test_what_is_of_another_project_comes_with_its_licence():
    text = small_page(panel={"encoder": []})
    (licence,) = data_of(text)["licences"]
    assert "midi-file" in licence["name"]
    assert licence["text"].startswith("Copyright © 2016 Carter Thaxton")
    assert "THE SOFTWARE IS PROVIDED" in licence["text"]
    assert_loads_nothing(text)
    assert data_of(small_page())["licences"] == []


@pytest.mark.parametrize("flag", ["--num=0", "--threshold=2", "--tempo=0", "--seed=-1", "--binarization=soft"])
def test_flags_out_of_range_are_refused(workdir, tmp_path, flag):
    with pytest.raises(SystemExit, match="2"):
        command(workdir, tmp_path / "page.html", flag)
