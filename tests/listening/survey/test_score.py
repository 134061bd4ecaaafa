"""`python -m wae_jax.listen score`: what it prints, what it writes, what it leaves out."""

import dataclasses
import json
import re

import numpy as np
import pytest
import scipy.special

from tests.listening.survey.simulation import MEANS, STRENGTHS, Listeners, make_key, simulate_results
from wae_jax import listen
from wae_jax.listening.survey.design import is_check
from wae_jax.listening.survey.results import RESULT_FIELDS, checksum

KEY = dataclasses.replace(make_key(), sources=["gan <b>", "mmd", "real music"])
LISTENERS = Listeners(STRENGTHS, MEANS)


def write(folder, results):
    paths = []
    for i, result in enumerate(results):
        paths.append(folder / f"{i}.json")
        paths[-1].write_text(json.dumps(result))
    return [str(path) for path in paths]


def score(capsys, *arguments, status=0):
    assert listen.main(["score", *map(str, arguments)]) == status
    said = capsys.readouterr()
    return said.out if status == 0 else said.err


def no_preference_at_all(result):
    answers = [["none", *ratings] for _, *ratings in result["answers"]]
    result = {**result, "answers": answers}
    return {**result, "checksum": checksum([result[field] for field in RESULT_FIELDS])}


def test_names_are_printed_in_one_line(tmp_path, capsys):
    key = dataclasses.replace(KEY, sources=["a\nb", "\x1b[31mred", "caf\udce9"])
    output = tmp_path / "scores.json"
    said = score(capsys, *write(tmp_path, simulate_results(key, LISTENERS, 3, 0)), f"--output={output}")
    assert r"a\nb : \x1b[31mred" in said
    assert r"caf\udce9" in said
    assert json.loads(output.read_text())["sources"] == key.sources


def test_all_that_is_said_and_written(tmp_path, capsys):
    results = simulate_results(KEY, LISTENERS, 21, 0)
    # Who never has a preference fails all checks, and a file is damaged.
    results[4] = no_preference_at_all(results[4])
    paths = write(tmp_path, results)
    (tmp_path / "5.json").write_text("{")
    output = tmp_path / "new" / "scores.json"
    said = score(capsys, *paths, f"--output={output}", "--seed=3")
    places = [i for i, pair in enumerate(KEY.pairs, 1) if is_check(pair)]
    assert f"survey {KEY.survey_id}: 44 pairs, of which attention checks: {', '.join(map(str, places))}" in said
    assert "more than 1 of the 4 pairs of music and noise are not counted" in said
    assert "listeners counted: 19; dropped by the rule: 1; files skipped: 1" in said
    assert f"dropped: {paths[4]} failed 4 checks" in said
    assert f"skipped: {paths[5]} is not JSON" in said
    assert f"wrote {output}" in said

    written = json.loads(output.read_text())
    assert written["sources"] == KEY.sources
    assert written["rule"] == KEY.rule
    assert written["check_numbers"] == places
    assert written["listeners"] == [f"simulated 0.{i}" for i in range(21) if i not in (4, 5)]
    assert written["dropped"] == [{"path": paths[4], "failed_checks": 4}]
    assert [each["path"] for each in written["skipped"]] == [paths[5]]
    # Counted anew from the files.
    counted = [result for i, result in enumerate(results) if i not in (4, 5)]
    wins, totals = np.zeros((3, 3)), np.zeros((3, 4))
    met, rated = np.zeros((3, 3)), np.zeros(3)
    for result in counted:
        for (preference, *ratings), (a, b) in zip(result["answers"], KEY.pairs, strict=True):
            if -1 in (a, b):
                continue
            met[a, b] += 1
            met[b, a] += 1
            wins[a, b] += preference == "A"
            wins[b, a] += preference == "B"
            for source, rating in zip((a, b), ratings, strict=True):
                totals[source] += rating
                rated[source] += 1
    shares = wins / np.maximum(met, 1)
    preferred, ratings = written["preferred"], written["ratings"]
    assert preferred["value"][0][2] == pytest.approx(shares[0, 2])
    assert preferred["value"][0][0] is None
    assert written["undecided"]["value"][1][0] == pytest.approx(1 - shares[0, 1] - shares[1, 0])
    np.testing.assert_allclose(ratings["value"], totals / rated[:, None])
    for low, value, high in zip(*(np.ravel(ratings[end]) for end in ("low", "value", "high")), strict=True):
        assert low < value < high

    # What is printed are these numbers.
    row = re.search(r"^gan <b> : real music +(\d+)% \[(\d+)%, (\d+)%\] +(\d+)% \[.*\] +(\d+)% \[", said, re.MULTILINE)
    expected = [shares[0, 2], preferred["low"][0][2], preferred["high"][0][2]]
    expected += [written["undecided"]["value"][0][2], shares[2, 0]]
    assert [int(text) for text in row.groups()] == [round(100 * value) for value in expected]
    strength = written["strengths"]
    row = re.search(r"^mmd +([-+]\d\.\d\d) \[(.*), (.*)\] +(\d+)%", said, re.MULTILINE)
    logarithms = [strength[end][1] for end in ("value", "low", "high")]
    assert [float(text) for text in row.groups()[:3]] == pytest.approx(logarithms, abs=0.0051)
    assert int(row[4]) == round(100 * scipy.special.expit(strength["value"][1]))
    row = re.search(r"^real music +(\d\.\d\d) \[(.*?), (.*?)\]", said[said.index("rated, 1 to 5") :], re.MULTILINE)
    means = [ratings[end][2][0] for end in ("value", "low", "high")]
    assert [float(text) for text in row.groups()] == pytest.approx(means, abs=0.0051)
    # The strongest first.
    assert said.index("real music  ", said.index("logarithm")) < said.index("mmd  ", said.index("logarithm"))
    # The least sure share, and what it takes to make it surer.
    errors = {pair: written["scores"]["error"][pair[0]][pair[1]] for pair in ((0, 1), (0, 2), (1, 2))}
    error = max(errors.values())
    assert f"a standard error of {error:.1%}" in said
    assert f"would tell a share of {0.5 + 2.8016 * error:.0%} from one half" in said
    needed = int(re.search(r"need about (\d+) such listeners", said)[1])
    assert needed == pytest.approx(19 * (1.96 * error / 0.05) ** 2, rel=0.05)
    assert "too short" not in said
    assert "[-]" not in said

    again = tmp_path / "again.json"
    score(capsys, *paths, f"--output={again}", "--seed=3")
    assert again.read_text() == output.read_text()
    score(capsys, *paths, f"--output={again}", "--seed=4")
    other = json.loads(again.read_text())
    assert other["ratings"]["value"] == ratings["value"]
    assert other["ratings"]["low"] != ratings["low"]


def test_few_who_agree_are_told_what_that_means(tmp_path, capsys):
    strong = Listeners(np.array([-9.0, 0, 9]), MEANS, undecided=0.0, slips=0.0)
    said = score(capsys, *write(tmp_path, simulate_results(KEY, strong, 3, 0)))
    # The exact interval: where all of n answers are alike, its lower end is the n-th root of .025.
    answers = 3 * sum(set(pair) == {0, 2} for pair in KEY.pairs)
    low = 0.025 ** (1 / answers)
    none = rf"0% \[0%, {1 - low:.0%}\]"
    assert re.search(rf"gan <b> : real music +{none} +{none} +100% \[{low:.0%}, 100%\]", said)
    assert re.search(r"real music +\+\d\.\d\d \[-\]", said)
    assert "[-]: all listeners agree" in said
    assert "with fewer than 10 listeners" in said


def test_too_few_are_an_error_with_all_reasons(tmp_path, capsys):
    paths = write(tmp_path, simulate_results(KEY, LISTENERS, 2, 0))
    (tmp_path / "1.json").write_text("[]")
    said = score(capsys, *paths, status=1)
    assert said.startswith("error: 1 of 1 listeners count, 0 failed the attention checks; expected at least 2")
    assert f"skipped: {paths[1]} is no results file" in said
    assert "none of 1 files" in score(capsys, tmp_path / "absent.json", status=1)


def test_a_place_that_cannot_be_written_is_said(tmp_path, capsys):
    paths = write(tmp_path, simulate_results(KEY, LISTENERS, 2, 0))
    assert "error:" in score(capsys, *paths, f"--output={paths[0]}/scores.json", status=1)
    with pytest.raises(SystemExit, match="2"):
        listen.main(["score", *paths, "--seed=-1"])
