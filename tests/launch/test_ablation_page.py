"""Records of sweeps, the tables made of them, and the page, which is what its template and records give."""

import dataclasses
import json

import ablation_page
import ablation_tables
import numpy as np
import pytest
import scipy.stats
import sweep_records
from ablation_tables import Arm
from sweep_records import Record
from sweep_runs import SweepError

from tests.helpers import ROOT


def record(arm="baseline", seed=0, evaluation="split=test", *, protocol="cpu", digest="abc", seconds=60.0, **metrics):
    facts = {"train_seconds": seconds, "evaluation_seconds": 20.0, "commit": "c0ffee1", "processor": "Z80, 1 cores"}
    facts |= {"num_parameters": 1234, "steps": 10, "wae_jax": "1"}
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    return Record(protocol, "some data", digest, arm, seed, evaluation, named, {}, facts)


def coverages(arm, *values, **more):
    return [record(arm, seed, generated__coverage=value, **more) for seed, value in enumerate(values)]


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def make_sweep(folder, evaluations, *, state="finished"):
    """A sweep's folder with one run, whose evaluations have these metrics of generated phrases."""
    (folder / "sweep.json").write_text('{"protocol": "songs", "data": "5e", "flags": []}')
    lines = [{"arm": "latent_dim=8", "seed": 3, "what": "train", "state": "interrupted", "seconds": 10.06}]
    lines += [{**lines[0], "state": "finished", "seconds": 20.0}]
    for what in evaluations:
        lines.append({"arm": "latent_dim=8", "seed": 3, "what": what, "state": state, "seconds": 7.0})
    of_host = {"commit": "c0ffee1", "processor": "Z80, 1 cores"}
    (folder / "sweep.jsonl").write_text("".join(json.dumps(line | of_host) + "\n" for line in lines))
    for what, content in evaluations.items():
        (folder / "latent_dim=8" / "seed_3" / what).mkdir(parents=True)
        (folder / "latent_dim=8" / "seed_3" / what / "evaluation.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """The content of a true evaluation.json."""
    from tests.helpers import train_briefly
    from wae_jax import evaluate

    folder = tmp_path_factory.mktemp("run")
    assert evaluate.main([f"--workdir={train_briefly(folder)}", "--num=12", "--threshold=0.03", "--report=none"]) == 0
    return json.loads((folder / "evaluation" / "evaluation.json").read_text())


def test_the_records_of_a_sweep_are_its_evaluations(tmp_path, evaluation):
    make_sweep(tmp_path, {"evaluation_split=test_prior=kernel_density": evaluation, "evaluation": evaluation})
    found = {each.evaluation: each for each in sweep_records.collect(tmp_path)}
    assert found.keys() == {"prior=kernel_density,split=test", ""}
    one = found["prior=kernel_density,split=test"]
    assert (one.protocol, one.arm, one.seed) == ("songs", "latent_dim=8", 3)
    assert one.metrics["generated/coverage"] == evaluation["distribution"]["sets"]["generated"]["coverage"]
    f1 = evaluation["reconstruction"]["f1"]
    assert one.metrics["reconstructed/reconstruction f1"] == pytest.approx(f1, rel=1e-3)
    assert one.intervals["generated/recall"] == evaluation["distribution"]["intervals"]["generated"]["recall"]
    assert (one.facts["train_seconds"], one.facts["evaluation_seconds"]) == (30.1, 7.0)
    assert one.facts["num_parameters"] > 1000
    assert one.facts["commit"] == "c0ffee1"
    # Real music is the same for all arms.
    assert {name.partition("/")[0] for name in one.metrics} == {"generated", "reconstructed", "held_out"}
    assert [name for name in one.metrics if name.startswith("held_out/cells")] == []


def test_what_is_not_finished_has_no_record(tmp_path, evaluation):
    make_sweep(tmp_path, {"evaluation": evaluation}, state="failed")
    assert sweep_records.collect(tmp_path) == []


def test_records_survive_their_file_and_later_ones_replace_earlier(tmp_path):
    file = tmp_path / "new" / "records.jsonl"
    assert sweep_records.read_records(file) == []
    old, new = record(generated__coverage=0.1), record(generated__coverage=0.2)
    others = [record(seed=1), record("latent_dim=2"), record(evaluation="split=valid"), record(digest="def")]
    merged = sweep_records.merge([old, *others], [new])
    assert len(merged) == 5
    assert new in merged
    assert old not in merged
    sweep_records.write_records(file, merged)
    assert sweep_records.merge(sweep_records.read_records(file)) == merged
    assert [path.name for path in file.parent.iterdir()] == ["records.jsonl"]


def test_what_is_no_sweep_and_no_record_is_refused(tmp_path):
    with pytest.raises(SweepError, match="is not the folder of a sweep"):
        sweep_records.collect(tmp_path)
    (tmp_path / "records.jsonl").write_text('{"arm": "baseline"}\n')
    with pytest.raises(SweepError, match="is not a record"):
        sweep_records.read_records(tmp_path / "records.jsonl")


def test_cells_are_means_over_seeds_with_students_intervals():
    values = [0.50, 0.52, 0.57]
    records = [*coverages("baseline", *values), *coverages("latent_dim=2", 0.25)]
    arms = [Arm("latent_dim=32", "baseline"), Arm("latent_dim=2", "latent_dim=2"), Arm("latent_dim=4", "latent_dim=4")]
    text = ablation_tables.table(arms, records, columns=["coverage", "seconds"], evaluation="split=test")
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(values), scipy.stats.sem(values))
    assert rows(text) == [
        ["", "seeds", "coverage", "seconds"],
        ["---"] * 4,
        ["**`latent_dim=32`**", "3", f".530 [{low:.3f}, {high:.3f}]".replace("0.", "."), "60"],
        ["`latent_dim=2`", "1", ".250", "60"],
    ]
    assert text.endswith("Not run: `latent_dim=4`.")


def test_the_row_of_training_music_is_that_of_the_same_metric():
    records = [record(generated__coverage=0.5, training__coverage=0.6, held_out__x=1.0)]
    text = ablation_tables.table([Arm("a", "baseline")], records, columns=["coverage", "f1"], evaluation="split=test")
    assert rows(text)[-1] == ["*training music*", "", ".600", ""]


def test_stars_are_for_differences_that_holm_leaves():
    rng = np.random.default_rng(0)
    base = rng.normal(0.5, 0.1, size=3)
    records = coverages("baseline", *base)
    shifts = {"far": [0.2, 0.2001, 0.2002], "near": [0.010, 0.014, 0.018], "same": [0.1, -0.1, 0.01], "one": [0.3]}
    for name, shift in shifts.items():
        records += coverages(name, *(base[: len(shift)] + shift))
    arms = [Arm(name, name) for name in ("baseline", *shifts)]
    text = ablation_tables.table(arms, records, columns=["coverage"], evaluation="split=test")
    starred = {row[0] for row in rows(text) if row[2].endswith("\\*")}
    # Alone, `near` would be significant; of three arms it is the second, so that its p-value counts twice.
    p_near = scipy.stats.ttest_1samp(shifts["near"], 0).pvalue
    assert p_near < 0.05 < 2 * p_near
    assert starred == {"`far`"}


def test_holms_correction_is_that_of_a_worked_example():
    # .01 * 4, .02 * 3 = .06, .03 * 2 = .06, and .04, which is not less than the one before.
    adjusted = ablation_tables.holm({"d": 0.04, "b": 0.02, "a": 0.01, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.06})
    assert ablation_tables.holm({"x": 0.7, "y": 0.6}) == {"y": 1.0, "x": 1.0}


def test_an_arm_of_the_evaluation_is_found_by_its_flags():
    records = [*coverages("baseline", 0.5), *coverages("baseline", 0.3, evaluation="prior=normal,split=test")]
    arm = Arm("prior=normal", "baseline", ("--prior=normal",))
    assert ablation_tables.cell(arm, records, column="coverage", evaluation="split=test") == ".300"
    with pytest.raises(SweepError, match="has no evaluation 'split=valid'"):
        ablation_tables.cell(arm, records, column="coverage", evaluation="split=valid")


def test_intervals_over_songs_have_the_mean_ends_of_the_seeds():
    records = [
        dataclasses.replace(record(seed=seed), intervals={"generated/recall": ends})
        for seed, ends in enumerate(([0.2, 0.5], [0.3, 0.7]))
    ]
    found = ablation_tables.songs_interval(Arm("a", "baseline"), records, metric="recall", evaluation="split=test")
    assert found == "[.250, .600]"
    with pytest.raises(SweepError, match="has no evaluation 'split=valid'"):
        ablation_tables.songs_interval(Arm("a", "baseline"), records, metric="recall", evaluation="split=valid")


def test_runs_are_described_once_however_often_they_are_evaluated():
    records = [record(seconds=3600), record(evaluation="split=valid", seconds=3600), record(seed=1, seconds=1800)]
    about = ablation_tables.describe_runs(records)
    assert (about["runs"], about["seeds"], about["seconds"]) == (2, "0, 1", "2700")
    assert about["hours"] == f"{(3600 + 1800 + 3 * 20) / 3600:.1f}"
    assert (about["commits"], about["processors"], about["digest"]) == ("c0ffee1", "Z80, 1 cores", "abc")


def test_a_page_asks_for_tables_and_values():
    of_dimensions = coverages("latent_dim=2", 0.25, 0.35) + coverages("latent_dim=2", 0.1, protocol="songs")
    records = [*coverages("baseline", 0.5, 0.6), *coverages("baseline", 0.2, protocol="songs"), *of_dimensions]
    template = (
        "{{ value('cpu', 'latent_dim=2', 'coverage') }} of {{ about('cpu').data }}\n\n"
        "{{ table('songs', 'latent_dim', ['coverage']) }}\n"
    )
    page = ablation_page.make_page(template, records)
    assert page.startswith(".300 [-.335, .935] of some data\n\n| | seeds | coverage |")
    assert "| `latent_dim=2` | 1 | .100 |" in page
    assert "| **`latent_dim=128`** | 1 | .200 |" in page


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ table('full', 'cost', ['f1']) }}", "no record of the protocol full"),
        ("{{ table('cpu', 'cost', ['f2']) }}", "there is no column 'f2'"),
        ("{{ value('cpu', 'latent_dim=4', 'f1') }}", "latent_dim=4 has no evaluation"),
        ("{{ table('cpu', 'cost', ['f1'], 'split=valid') }}", "the baseline has no evaluation 'split=valid'"),
    ],
)
def test_what_has_not_been_run_is_told(template, message):
    with pytest.raises(SweepError, match=message):
        ablation_page.make_page(template, coverages("baseline", 0.5))


def test_records_of_two_datasets_are_not_mixed():
    with pytest.raises(SweepError, match="are of different data"):
        ablation_page.make_page("{{ about('cpu') }}", [record(), record(seed=1, digest="def")])


def test_the_page_in_the_documentation_is_that_of_its_records():
    records = sweep_records.read_records(ablation_page.RECORDS)
    assert sweep_records.merge(records) == records
    page = ablation_page.make_page(ablation_page.TEMPLATE.read_text(encoding="utf-8"), records)
    assert page == ablation_page.PAGE.read_text(encoding="utf-8"), "run python launch/ablation_page.py"


def test_the_command_writes_page_records_and_figure(tmp_path, monkeypatch, evaluation, capsys):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    make_sweep(sweep, {"evaluation_split=test": evaluation})
    for name, file in {"RECORDS": "r.jsonl", "TEMPLATE": "t", "PAGE": "p.md", "FIGURE": "f.png"}.items():
        monkeypatch.setattr(ablation_page, name, tmp_path / file)
    monkeypatch.setattr(ablation_page, "ROOT", tmp_path)
    template = "{{ value('songs', 'latent_dim=8', 'parameters') }}\n"
    (tmp_path / "t").write_text(template)
    assert ablation_page.main(["--sweeps", str(sweep)]) == 0
    assert capsys.readouterr().out == "wrote p.md from 1 records\n"
    assert int((tmp_path / "p.md").read_text().replace(",", "")) > 1000
    assert not (tmp_path / "f.png").exists()
    (tmp_path / "t").write_text(f"{template}![](f.png)\n")
    assert ablation_page.main([]) == 0
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert ablation_page.main(["--sweeps", str(ROOT)]) == 2
    assert "is not the folder of a sweep" in capsys.readouterr().err


def test_a_table_has_runs_if_another_arm_than_the_baseline_has_them():
    template = "{{ has('cpu', 'latent_dim') }} {{ has('cpu', 'prior') }} {{ has('songs', 'prior') }}"
    records = coverages("baseline", 0.5)
    assert ablation_page.make_page(template, records) == "False False False"
    records += [record(evaluation="prior=normal,split=test"), record("latent_dim=8")]
    assert ablation_page.make_page(template, records) == "True True False"
