"""A sweep runs what is not done yet, reports what failed, and ends cleanly.

All but one of the tests replace main by a stub that leaves the same files in the workdir.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import sweep
import sweep_runs

from tests.helpers import ROOT, read_metrics, tiny_config
from wae_jax.data.load import open_data
from wae_jax.errors import WorkdirError
from wae_jax.models.networks import NETWORKS
from wae_jax.training.calls import num_train_steps
from wae_jax.training.workdir import lock_workdir

# Four steps, a checkpoint after each. It fails where its folder's name is in the file `fail`, waits at step 2 for as
# long as there is a file `wait`, and saves and leaves when it is told to.
STUB_MAIN = """
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
given = dict(argument.lstrip("-").partition("=")[::2] for argument in sys.argv[1:])
workdir = pathlib.Path(given["workdir"])
with (here / "calls").open("a") as file:
    file.write(json.dumps(["train", given]) + "\\n")
if (here / "fail").exists() and workdir.parent.name in (here / "fail").read_text():
    print("first line")
    sys.exit("error: " + (here / "fail").read_text())
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
(workdir / "checkpoints").mkdir(parents=True, exist_ok=True)
(workdir / "config.json").write_text('{"num_train_steps": 4}')
first = max([int(path.name) for path in (workdir / "checkpoints").iterdir()], default=0)
for step in range(first + 1, 5):
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step}) + "\\n")
    (workdir / "checkpoints" / str(step)).mkdir()
    while step == 2 and (here / "wait").exists() and not (stop and not (here / "deaf").exists()):
        time.sleep(0.01)
    if stop and not (here / "deaf").exists():
        break
"""
STUB_EVALUATE = """
import json, pathlib, sys
here = pathlib.Path(__file__).parent
given = dict(argument.lstrip("-").partition("=")[::2] for argument in sys.argv[1:])
with (here / "calls").open("a") as file:
    file.write(json.dumps(["evaluate", given]) + "\\n")
pathlib.Path(given["output"]).mkdir(exist_ok=True)
(pathlib.Path(given["output"]) / "evaluation.json").write_text("{}")
"""


class Stubs:
    """The two programs, what they were asked, and the sweep that starts them."""

    def __init__(self, folder):
        self.folder = folder
        self.output = folder / "sweep"
        (folder / "stub_main.py").write_text(STUB_MAIN)
        (folder / "stub_evaluate.py").write_text(STUB_EVALUATE)
        self.arguments = ["--trainer=stub_main", "--evaluator=stub_evaluate", f"--output={self.output}"]

    def run(self, *arguments):
        return sweep.main([*arguments[: self._flags(arguments)], *self.arguments, *arguments[self._flags(arguments) :]])

    def start(self, *arguments):
        command = [sys.executable, "launch/sweep.py", *arguments, *self.arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)

    @staticmethod
    def _flags(arguments):
        return arguments.index("--") if "--" in arguments else len(arguments)

    def calls(self):
        """What was run since the last time: "train" or "evaluate", and the arm and seed."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        calls = [json.loads(line) for line in lines]
        return [(what, os.path.relpath(given["workdir"], self.output)) for what, given in calls]

    def records(self):
        return [json.loads(line) for line in (self.output / "sweep.jsonl").read_text().splitlines()]


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Stubs(tmp_path)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def steps(workdir):
    return [row["step"] for row in read_metrics(workdir)]


def test_every_arm_is_trained_and_evaluated_once_however_often_it_is_asked_for(stubs, capsys):
    arguments = ("--table", "averaging", "prior", "--arms", "latent_dim=32", "--seeds", "0", "7")
    assert stubs.run(*arguments) == 0
    of_a_seed = [("train", "baseline"), ("evaluate", "baseline"), ("evaluate", "baseline")]
    of_a_seed += [("train", "averaging=0.998"), ("evaluate", "averaging=0.998")]
    assert stubs.calls() == [(what, f"{arm}/seed_{seed}") for seed in (0, 7) for what, arm in of_a_seed]
    assert capsys.readouterr().out.endswith("4 finished\n")
    records = stubs.records()
    assert [record["what"] for record in records[:3]] == ["train", "evaluation", "evaluation_prior=normal"]
    assert {record["state"] for record in records} == {"finished"}
    of_command = {"arm", "seed", "what", "state", "status", "seconds", "started", "ended"}
    assert records[0].keys() == {*of_command, "commit", "processor"}
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    assert head.startswith(records[0]["commit"].rstrip("+"))
    assert records[0]["processor"].endswith(f", {os.cpu_count()} cores")

    assert stubs.run(*arguments) == 0
    assert stubs.calls() == []
    assert capsys.readouterr().out.endswith("4 skipped\n")
    assert stubs.records() == records


def test_the_commands_are_those_of_the_arms(stubs):
    data = stubs.folder / "data"
    data.mkdir()
    (data / "dataset.json").write_text('{"phrases_sha256": "5e"}')
    arguments = ["--arms", "latent_dim=2,binarization=bernoulli", "--seeds", "3", f"--data={data}", "--num=9"]
    assert stubs.run(*arguments, "--protocol=full", "--", "--config.num_epochs=1") == 0
    train, evaluate = (json.loads(line)[1] for line in (stubs.folder / "calls").read_text().splitlines())
    assert train == {
        "config": "configs/ablations.py:latent_dim=2,protocol=full",
        "config.seed": "3",
        "config.data.path": str(data),
        "workdir": f"{stubs.output}/latent_dim=2/seed_3",
        "config.num_epochs": "1",
    }
    assert evaluate == {
        "workdir": train["workdir"],
        "data": str(data),
        "num": "9",
        "report": "none",
        "output": f"{train['workdir']}/evaluation_binarization=bernoulli",
        "binarization": "bernoulli",
    }


def test_configurations_are_arms_and_are_evaluated_in_each_way_that_is_asked_for(stubs):
    arguments = ["--configs", "configs/vae.py", "configs/wae_gan.py:large", "--num=9"]
    assert stubs.run(*arguments, "--evaluate-with", "split=test", "split=test,prior=normal") == 0
    calls = [json.loads(line)[1] for line in (stubs.folder / "calls").read_text().splitlines()]
    for name, (train, *evaluations) in {"vae": calls[:3], "wae_gan_large": calls[3:]}.items():
        workdir = f"{stubs.output}/{name}/seed_0"
        config = {"vae": "configs/vae.py", "wae_gan_large": "configs/wae_gan.py:large"}[name]
        assert train == {"config": config, "config.seed": "0", "workdir": workdir}
        assert [each.pop("output").removeprefix(f"{workdir}/") for each in evaluations] == [
            "evaluation_split=test",
            "evaluation_split=test_prior=normal",
        ]
        expected = {"workdir": workdir, "num": "9", "report": "none", "split": "test"}
        assert evaluations == [expected, {**expected, "prior": "normal"}]


def test_a_configuration_goes_by_its_name_too(stubs, monkeypatch):
    monkeypatch.chdir(stubs.folder)
    assert stubs.run("--configs", "wae_gan:large", "vae", "configs/vae.py", "--no-evaluate") == 0
    calls = [json.loads(line)[1] for line in (stubs.folder / "calls").read_text().splitlines()]
    assert [each["config"] for each in calls] == ["configs/wae_gan.py:large", "configs/vae.py"]
    assert [each["workdir"] for each in calls] == [f"{stubs.output}/{name}/seed_0" for name in ("wae_gan_large", "vae")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("piror=normal", "--evaluate-with piror=normal: unrecognized arguments: --piror=normal"),
        (
            "split=test,prior=uniform",
            "--evaluate-with split=test,prior=uniform: argument --prior: invalid choice: 'uni",
        ),
        ("threshold=2", "argument --threshold: "),
        ("split=tset", "--evaluate-with split=tset: there is no split 'tset' in DATA; it has train, test"),
    ],
)
def test_a_setting_that_evaluate_would_refuse_is_refused_before_training(stubs, capsys, settings, message):
    data = stubs.folder / "data"
    data.mkdir()
    (data / "dataset.json").write_text('{"phrases_sha256": "5e", "splits": {"train": [0, 8], "test": [8, 9]}}')
    arguments = ["--configs", "vae", f"--data={data}", "--trainer=stub_main", f"--output={stubs.output}"]
    assert sweep.main([*arguments, "--evaluate-with", "split=test", settings]) == 2
    assert message.replace("DATA", str(data)) in capsys.readouterr().err
    assert stubs.calls() == []
    assert sweep.main([*arguments, "--evaluate-with", "split=test,prior=normal", "--list"]) == 0


def test_configurations_of_one_name_would_share_a_workdir_and_are_refused(stubs, capsys):
    other = stubs.folder / "vae.py"
    other.write_text((ROOT / "configs" / "vae.py").read_text())
    assert stubs.run("--configs", "configs/vae.py", str(other)) == 2
    assert "two arms would be trained in" in capsys.readouterr().err
    assert stubs.calls() == []
    assert stubs.run("--configs", "configs/vae.py", "configs/vae.py") == 0
    assert stubs.calls() == [("train", "vae/seed_0"), ("evaluate", "vae/seed_0")]


def test_an_evaluation_older_than_the_run_is_made_again(stubs):
    assert stubs.run("--arms", "baseline", "--no-evaluate") == 0
    assert stubs.calls() == [("train", "baseline/seed_0")]
    assert stubs.run("--arms", "baseline") == 0
    assert stubs.calls() == [("evaluate", "baseline/seed_0")]
    workdir = stubs.output / "baseline" / "seed_0"
    os.utime(workdir / "evaluation" / "evaluation.json", (1e9, 1e9))
    assert stubs.run("--arms", "baseline") == 0
    assert stubs.calls() == [("evaluate", "baseline/seed_0")]


def test_an_unfinished_run_goes_on_where_it_was(stubs):
    assert stubs.run("--arms", "baseline") == 0
    workdir = stubs.output / "baseline" / "seed_0"
    for step in ("3", "4"):
        (workdir / "checkpoints" / step).rmdir()
    stubs.calls()
    assert stubs.run("--arms", "baseline", "--no-evaluate") == 0
    assert stubs.calls() == [("train", "baseline/seed_0")]
    assert steps(workdir) == [1, 2, 3, 4, 3, 4]


def test_a_half_written_last_checkpoint_is_none(tmp_path):
    (tmp_path / "config.json").write_text('{"num_train_steps": 10}')
    assert not sweep_runs.is_trained(tmp_path, "")
    for name in ("9", "10.orbax-checkpoint-tmp", "10.damaged"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert not sweep_runs.is_trained(tmp_path, "")
    (tmp_path / "checkpoints" / "10").mkdir()
    assert sweep_runs.is_trained(tmp_path, "")
    (tmp_path / "config.json").write_text('{"num_train_steps": 11}')
    assert not sweep_runs.is_trained(tmp_path, "")


@pytest.mark.parametrize("changes", [{"num_train_steps": 7}, {"num_epochs": 3, "pretrain_steps": 5}, {"num_epochs": 1}])
def test_the_number_of_steps_is_that_of_training(tmp_path, changes):
    config = tiny_config(**{"num_train_steps": 0, **changes})
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    (tmp_path / "dataset.json").write_text('{"splits": {"valid": [0, 11], "train": [11, 113]}}')
    assert sweep_runs.total_steps(tmp_path, str(tmp_path)) == num_train_steps(config, 102)


def test_the_built_in_corpus_is_counted(tmp_path):
    config = tiny_config(num_train_steps=0, num_epochs=2, batch_size=2)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    assert sweep_runs.total_steps(tmp_path, "") == len(open_data(config.data).split("train"))


def test_a_failing_arm_is_told_at_the_end_and_the_others_go_on(stubs, capsys):
    (stubs.folder / "fail").write_text("latent_dim=4 is unwell")
    arguments = ("--arms", "latent_dim=4", "latent_dim=8")
    assert stubs.run(*arguments) == 1
    assert stubs.calls() == [("train", f"latent_dim={z}/seed_0") for z in (4, 8)] + [
        ("evaluate", "latent_dim=8/seed_0")
    ]
    output = capsys.readouterr().out
    assert output.endswith(
        f"1 failed, 1 finished\n\nlatent_dim=4 seed 0 failed; the end of {stubs.output}/latent_dim=4/seed_0.log:\n"
        "  first line\n  error: latent_dim=4 is unwell\n"
    )
    assert (stubs.records()[0]["state"], stubs.records()[0]["status"]) == ("failed", 1)
    (stubs.folder / "fail").unlink()
    assert stubs.run(*arguments) == 0
    assert stubs.calls() == [("train", "latent_dim=4/seed_0"), ("evaluate", "latent_dim=4/seed_0")]


def test_an_arm_whose_folder_another_run_holds_is_left_to_it(stubs, capsys):
    with lock_workdir(stubs.folder), pytest.raises(WorkdirError) as raised:
        lock_workdir(stubs.folder).__enter__()
    (stubs.folder / "fail").write_text(f"baseline: {raised.value}")
    assert stubs.run("--arms", "baseline", "latent_dim=8") == 0
    assert capsys.readouterr().out.endswith("1 elsewhere, 1 finished\n")


def test_two_sweeps_share_the_work(stubs, capsys):
    (stubs.folder / "wait").touch()
    first = stubs.start("--arms", "baseline", "latent_dim=8")
    try:
        wait_for((stubs.output / "baseline" / "seed_0" / "checkpoints" / "2").exists)
        assert stubs.run("--arms", "baseline") == 0
        assert "1 elsewhere" in capsys.readouterr().out
        (stubs.folder / "wait").unlink()
        output, _ = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 0, output
    assert [call for call in stubs.calls() if call[0] == "train"] == [
        ("train", "baseline/seed_0"),
        ("train", "latent_dim=8/seed_0"),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_run_save_and_ends_the_sweep(stubs, number):
    (stubs.folder / "wait").touch()
    process = stubs.start("--arms", "baseline", "latent_dim=8")
    workdir = stubs.output / "baseline" / "seed_0"
    try:
        wait_for((workdir / "checkpoints" / "2").exists)
        os.killpg(process.pid, number)  # as a terminal does it: to the sweep and all in its group
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert output.endswith(f"interrupted\n{number.name}: the same command resumes from here\n")
    assert stubs.calls() == [("train", "baseline/seed_0")]
    assert steps(workdir) == [1, 2]
    assert [(record["state"], record["status"]) for record in stubs.records()] == [("interrupted", 0)]
    (stubs.folder / "wait").unlink()
    assert stubs.run("--arms", "baseline") == 0
    assert steps(workdir) == [1, 2, 3, 4]


def test_a_second_interrupt_ends_a_run_that_does_not_listen(stubs):
    (stubs.folder / "wait").touch()
    (stubs.folder / "deaf").touch()
    process = stubs.start("--arms", "baseline")
    try:
        wait_for((stubs.output / "baseline" / "seed_0" / "checkpoints" / "2").exists)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGINT
    assert [(record["state"], record["status"]) for record in stubs.records()] == [("interrupted", -signal.SIGKILL)]


def test_the_list_is_that_of_the_array_tasks_and_runs_nothing(stubs, capsys, monkeypatch):
    arguments = ("--table", "prior_variance", "--seeds", "0", "1")
    assert stubs.run(*arguments, "--list") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == [str(index) for index in range(6)]
    assert rows[1][1:3] == ["baseline seed 0", f"{stubs.output}/baseline/seed_0"]
    assert not stubs.output.exists()
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "5")
    assert rows[5][1] == "prior_variance=4 seed 1"
    assert stubs.run(*arguments, "--task", "env", "--no-evaluate") == 0
    assert stubs.calls() == [("train", "prior_variance=4/seed_1")]
    # The command of the list does the same.
    assert rows[3][3].startswith(
        f"{sys.executable} -m stub_main --config=configs/ablations.py:prior_variance=0.25,protocol=cpu"
    )
    subprocess.run(rows[3][3], shell=True, check=True, cwd=ROOT)
    assert stubs.calls() == [("train", "prior_variance=0.25/seed_1")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--table", "latents"), "there is no table latents; expected all, or some of regularizer, "),
        (("--arms", "latents=3"), "'latents=3' in the arm"),
        ((), "nothing to run"),
        (("--configs", "configs/wea_gan.py"), "there is no configuration file 'configs/wea_gan.py'; expected one of"),
        (("--configs", "wea_gan:songs"), "there is no configuration 'wea_gan'; did you mean wae_gan?"),
        (("--table", "prior_variance", "--task", "3"), "there is no task '3'; expected 0 to 2"),
        (("--table", "kernel", "--task", "env"), "there is no task ''"),
        (("--table", "kernel", "--data", "nowhere"), "nowhere holds no dataset.json"),
        (("--table", "kernel", "--protocol", "full"), "the protocol full is for a dataset of one's own"),
        (("--table", "kernel", "--protocol", "songs"), "the protocol songs is for a dataset of one's own"),
    ],
)
def test_what_makes_no_sense_is_refused(stubs, capsys, monkeypatch, arguments, message):
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    assert stubs.run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not stubs.output.exists()


def test_a_folder_is_of_one_protocol_data_and_flags(stubs, capsys):
    assert stubs.run("--arms", "baseline", "--no-evaluate") == 0
    assert stubs.run("--arms", "baseline", "--no-evaluate", "--", "--config.batch_size=4") == 2
    output = capsys.readouterr().err
    assert "'flags': []}, this one of {" in output
    assert "'flags': ['--config.batch_size=4']}; choose another --output" in output


@pytest.mark.slow  # half a minute on a busy machine
def test_a_real_run_is_trained_skipped_and_recognised(tmp_path, monkeypatch, capsys):
    row = repr(NETWORKS["tiny"])
    (tmp_path / "tiny_main.py").write_text(
        f"from wae_jax.models.networks import NETWORKS, Conv, Network\nNETWORKS['tiny'] = {row}\n"
        "from wae_jax import main\nmain.run()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    flags = [
        *("--config.model.network=tiny", "--config.model.h_dim=1", "--config.batch_size=4"),
        *("--config.data.num_songs=12", "--config.data.phrases_per_song=2", "--config.num_train_steps=2"),
        *("--config.eval.num_phrases=4", "--config.eval.num_train_phrases=0", "--config.eval.num_shown=0"),
        "--config.eval.num_samples=0",
        "--config.eval.num_page_samples=0",
    ]
    arguments = ["--arms", "latent_dim=2", "--trainer=tiny_main", "--no-evaluate", f"--output={tmp_path / 'sweep'}"]
    assert sweep.main([*arguments, "--", *flags]) == 0, (tmp_path / "sweep/latent_dim=2/seed_0.log").read_text()
    workdir = tmp_path / "sweep" / "latent_dim=2" / "seed_0"
    assert json.loads((workdir / "config.json").read_text())["model"]["z_dim"] == 2
    assert steps(workdir) == [2]
    assert sweep.main([*arguments, "--", *flags]) == 0
    assert capsys.readouterr().out.endswith("1 skipped\n")
