"""Runs side by side, from evaluations written by hand."""

import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest
from scipy import stats

from wae_jax.config import BinarizationRule
from wae_jax.errors import CompareError
from wae_jax.evaluation import comparison
from wae_jax.evaluation.measure import DISTRIBUTION_METRICS
from wae_jax.evaluation.table import HEADLINE, to_json

FILE = "evaluation.json"


def write(folder, *, penalty, seed, cells, precision=0.5, path="here", **provenance):
    """An evaluation whose metrics are all equal but for cells and precision."""
    music = {}
    for metric, column in HEADLINE:
        entry = music.setdefault(metric, {"columns": [], "floor": {"median": []}, "sets": {"generated": {}}})
        entry["columns"].append(column)
        entry["floor"]["median"].append(0.1)
        for key in ("mean", "low", "high"):
            entry["sets"]["generated"].setdefault(key, []).append(cells if metric == "cells" else 0.25)
    distribution = dict.fromkeys(DISTRIBUTION_METRICS, 0.75) | {"precision": precision}
    config = {"penalty": penalty, "seed": seed, "data": {"path": path, "num_songs": 3}, "log_every_steps": seed}
    content = {
        "format": "wae_jax evaluation",
        "format_version": 2,
        "provenance": {"config": config, "data_digest": "d", "split": "valid", "num": 8, "compat": "", **provenance},
        "sets": {"generated": {}},
        "music": music,
        "distribution": {"sets": {"generated": distribution}},
    }
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation" / FILE).write_text(json.dumps(to_json(content)))
    return folder


def table(folders):
    """The cells of each arm by the name of their row; the arm's own name is that of the row without one."""
    return columns(folders)[1:]


def columns(folders):
    """`table`, with held-out music before the arms."""
    lines = comparison.compare([pathlib.Path(folder) for folder in folders]).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert all(cell == "---" for cell in rows.pop(1))
    names = [row[0] for row in rows]
    return [dict(zip(names, column, strict=True)) for column in list(zip(*rows, strict=True))[1:]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.pop("provenance"),
        lambda content: content["provenance"].update(config=[]),
        lambda content: content["provenance"]["config"].update(seed=[1]),
        lambda content: content["provenance"].update(binarization={"thresholds": ["a"]}),
        lambda content: content.update(sets=3),
        lambda content: content["music"].pop("cells"),
        lambda content: content["music"]["cells"].update(columns=["some"]),
        lambda content: content["music"]["cells"]["floor"].update(median=None),
        lambda content: content["music"]["cells"]["sets"]["generated"].update(mean=[]),
        lambda content: content["music"]["cells"].update(sets={}),
        lambda content: content["distribution"]["sets"]["generated"].update(recall="high"),
        lambda content: content["distribution"]["sets"]["generated"].update(recall=10**400),
        lambda content: content.update(copies=[1]),
    ],
)
def test_a_damaged_evaluation_is_refused_by_name(tmp_path, damage):
    folder = write(tmp_path / "a", penalty="gan", seed=0, cells=1.0)
    file = folder / "evaluation" / FILE
    content = json.loads(file.read_text())
    damage(content)
    file.write_text(json.dumps(content))
    with pytest.raises(CompareError, match=f"(?s){file} is damaged .*; evaluate the run again"):
        comparison.compare([folder])


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff", '{"a": NaN}', "1" * 5000])
def test_what_is_no_json_is_refused_by_name(tmp_path, text):
    folder = write(tmp_path / "a", penalty="gan", seed=0, cells=1.0)
    (folder / "evaluation" / FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(CompareError, match=r"cannot be read: .*; evaluate the run again"):
        comparison.compare([folder])


def test_a_file_of_any_name_is_one_column(tmp_path):
    names = "a|b\n.npz", "c.npz"
    folders = [write(tmp_path / str(i), penalty="gan", seed=0, cells=1.0, phrases=name) for i, name in enumerate(names)]
    head = comparison.compare(folders).splitlines()[0]
    assert head == r"| | held-out | phrases=a\|b\n.npz | phrases=c.npz |"


def test_differences_are_taken_seed_by_seed(tmp_path):
    gan, mmd = [900.0, 1000.0, 1100.0], [905.0, 1010.0, 1104.0]
    folders = [write(tmp_path / f"g{i}", penalty="gan", seed=i, cells=each) for i, each in enumerate(gan)]
    folders += [
        write(tmp_path / f"m{i}", penalty="mmd", seed=i, cells=each, path="there") for i, each in enumerate(mmd)
    ]
    first, second = table(folders)
    assert (first[""], first["seeds"], first["cells"]) == (
        "penalty=gan",
        "3",
        "1,000 [752, 1,248]",  # 4.303 standard errors of 100 / sqrt(3)
    )
    differences = np.array(mmd) - gan
    low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert second[""] == "penalty=mmd"
    assert second["cells"] == f"1,006 (+6.333 [{low:+.3f}, +{high:.2f}])"
    assert second["precision"] == "0.500 (+0.000 [+0.000, +0.000])"


def rule(**parts):
    """A rule as evaluation.json has it."""
    return json.loads(json.dumps(dataclasses.asdict(BinarizationRule(**parts))))


def test_the_requested_rule_defines_the_arm_and_the_fitted_one_does_not(tmp_path):
    fit, numbers = rule(thresholds="fit"), rule(thresholds=(0.3,) * 5)
    folders = [
        write(
            tmp_path / f"{i}",
            penalty="gan",
            seed=i % 2,
            cells=1.0,
            binarization=requested,
            calibrated_binarization=rule(thresholds=(0.1 * (i + 1),) * 5),
        )
        for i, requested in enumerate((fit, fit, numbers))
    ]
    first, second = table(folders)
    assert (first[""], first["seeds"]) == ("thresholds=fit", "2")
    assert (second[""], second["seeds"]) == ("thresholds=0.3", "1")


def test_the_rule_of_the_configuration_does_not_define_the_arm(tmp_path):
    folders = [write(tmp_path / f"{i}", penalty="gan", seed=i, cells=1.0, binarization=rule()) for i in range(2)]
    path = folders[1] / "evaluation" / FILE
    content = json.loads(path.read_text())
    content["provenance"]["config"]["binarization"] = rule(thresholds="fit")
    path.write_text(json.dumps(content))
    (arm,) = table(folders)
    assert arm["seeds"] == "2"


def test_one_seed_has_no_interval(tmp_path):
    folders = [write(tmp_path / p, penalty=p, seed=4, cells=c) for p, c in (("gan", 10.0), ("mmd", 13.0))]
    assert table(folders)[1]["cells"] == "13.00 (+3.000)"
    other = write(tmp_path / "late", penalty="kl", seed=5, cells=1.0)
    assert table([folders[0], other])[1]["cells"] == "1.000 (no seed in common)"


def test_fields_of_one_name_are_told_apart(tmp_path):
    folders = []
    for i, name in enumerate("ab"):
        folders.append(write(tmp_path / name, penalty="gan", seed=0, cells=1.0))
        path = folders[i] / "evaluation" / FILE
        content = json.loads(path.read_text())
        content["provenance"]["config"] |= {"one": {"rate": i, "size": i}, "other": {"rate": 2 * i}}
        path.write_text(json.dumps(content))
    assert [arm[""] for arm in table(folders)] == [
        "one.rate=0, size=0, other.rate=0",
        "one.rate=1, size=1, other.rate=2",
    ]


def test_what_is_undefined_is_left_empty(tmp_path):
    folders = [write(tmp_path / p, penalty=p, seed=4, cells=c) for p, c in (("gan", math.nan), ("mmd", 13.0))]
    assert [arm["cells"] for arm in table(folders)] == ["", "13.00"]
    assert [arm["cells"] for arm in table(folders[::-1])] == ["13.00", ""]


def test_held_out_music_stands_before_the_arms(tmp_path):
    folder = write(tmp_path / "run", penalty="gan", seed=0, cells=10.0)
    path = folder / "evaluation" / FILE
    content = json.loads(path.read_text())
    for entry in content["music"].values():
        entry["sets"]["held_out"] = {key: [-2.5] * len(entry["columns"]) for key in ("mean", "low", "high")}
    path.write_text(json.dumps(content))
    real, arm = columns([folder])
    assert (real[""], real["cells"], arm["cells"]) == ("held-out", "-2.500", "10.00")
    assert real["precision"] == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_digest": "e"}, "different data_digest"),
        ({"num": 9}, "different num"),
        ({"compat": "musegan"}, "different compat"),
    ],
)
def test_what_does_not_compare_is_refused(tmp_path, change, message):
    one = write(tmp_path / "one", penalty="gan", seed=0, cells=1.0)
    other = write(tmp_path / "other", penalty="mmd", seed=0, cells=1.0, **change)
    with pytest.raises(CompareError, match=message):
        table([one, other])


def test_two_runs_of_one_arm_and_seed_are_refused(tmp_path):
    folders = [write(tmp_path / name, penalty="gan", seed=0, cells=1.0) for name in "ab"]
    with pytest.raises(CompareError, match="one arm and one seed"):
        table(folders)


def test_two_rules_are_two_arms(tmp_path):
    hard = write(tmp_path / "run", penalty="gan", seed=0, cells=10.0, binarization=rule())
    soft = write(tmp_path / "other", penalty="gan", seed=0, cells=14.0, binarization=rule(method="bernoulli"))
    first, second = table([hard, soft])
    assert (first[""], second[""]) == ("method=hard", "method=bernoulli")
    assert second["cells"] == "14.00 (+4.000)"


def test_samples_of_the_normal_and_of_a_learned_prior_are_arms(tmp_path):
    folders = [
        write(tmp_path / prior, penalty="gan", seed=0, cells=10.0, prior=prior)
        for prior in ("normal", "kernel_density")
    ]
    assert [arm[""] for arm in table(folders)] == ["prior=normal", "prior=kernel_density"]


def test_what_is_no_evaluation_is_named(tmp_path):
    with pytest.raises(CompareError, match=r"run python -m wae_jax\.evaluate --workdir"):
        table([tmp_path])
    (tmp_path / FILE).write_text("{")
    with pytest.raises(CompareError, match="cannot be read"):
        table([tmp_path])
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(CompareError, match="is not an evaluation"):
        table([tmp_path])
    (tmp_path / FILE).write_text('{"format": "wae_jax evaluation", "format_version": 1}')
    with pytest.raises(CompareError, match="version 1 of its format, and this program reads version 2"):
        table([tmp_path])
