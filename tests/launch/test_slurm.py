"""slurm.sbatch calls srun and scontrol as it should; stubs record their arguments."""

import signal
import subprocess

import pytest

from tests.helpers import ROOT
from tests.launch.stubs import LAUNCH, SWEEP, calls, wait_for

# Runs as a task would, and ends when scancel has sent it what it is asked to send.
SRUN = """
sent = pathlib.Path(os.environ["CALLS"]).with_name("sent")
deadline = time.monotonic() + 30
while os.environ.get("WAITS") and not sent.exists() and time.monotonic() < deadline:
    time.sleep(0.02)
sys.exit(int(os.environ["STATUS"]))
"""


@pytest.fixture
def slurm(programs, monkeypatch, tmp_path):
    programs("srun", SRUN)
    programs("scancel", "pathlib.Path(os.environ['CALLS']).with_name('sent').touch()")
    programs("scontrol", "")
    for name, value in {"SLURM_SUBMIT_DIR": ROOT, "SLURM_JOB_ID": "12", "STATUS": "0"}.items():
        monkeypatch.setenv(name, str(value))
    return ["bash", LAUNCH / "slurm.sbatch"]


def test_a_job_trains_on_all_its_tasks(slurm, tmp_path):
    assert subprocess.run([*slurm, "--config=c", "--workdir=a b"], check=False).returncode == 0
    main = ["-m", "wae_jax.main", "--status_when_stopped=75", "--config=c", "--workdir=a b"]
    [called] = calls(tmp_path)
    assert called == ["srun", "--gpu-bind=none", "--kill-on-bad-exit=1", ".venv/bin/python", *main]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize(("arguments", "status"), [(("--config=c",), 75), (("sweep", "--table=all"), 143)])
def test_a_job_that_must_end_saves_and_is_queued_again(slurm, tmp_path, monkeypatch, number, arguments, status):
    monkeypatch.setenv("WAITS", "1")
    monkeypatch.setenv("STATUS", str(status))
    process = subprocess.Popen([*slurm, *arguments])
    wait_for(lambda: calls(tmp_path, "srun"))
    process.send_signal(number)
    assert process.wait(timeout=60) == status
    assert calls(tmp_path)[1:] == [["scancel", "--signal=TERM", "12"], ["scontrol", "requeue", "12"]]


@pytest.mark.parametrize(("status", "again"), [(0, []), (1, []), (75, [["requeue", "12"]])])
def test_only_a_job_that_has_saved_is_queued_again(slurm, tmp_path, monkeypatch, status, again):
    monkeypatch.setenv("STATUS", str(status))
    assert subprocess.run([*slurm, "--config=c"], check=False).returncode == status
    assert calls(tmp_path, "scontrol") == again


def test_a_job_of_an_array_runs_an_arm(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("WAE_JAX_PYTHON", "python3.12")
    subprocess.run([*slurm, "sweep", "--table=all", "--output=o"], check=True)
    words = ["srun", "--nodes=1", "--ntasks=1", "python3.12", "launch/sweep.py", "--task=env", "--table=all"]
    assert calls(tmp_path) == [[*words, "--output=o"]]


def test_a_sweep_is_submitted_as_an_array_of_what_is_left(programs, tmp_path):
    programs("sbatch", "print('Submitted')")
    finished = tmp_path / "out" / "baseline" / "seed_0"
    (finished / "checkpoints" / "4").mkdir(parents=True)
    (finished / "config.json").write_text('{"num_train_steps": 4}')
    options = ["--back-end", "slurm", "--launcher=--partition=gpu --time=1:00:00", "--no-evaluate"]
    words = [*SWEEP, "--seeds", "0", "1", *options, "--output=out", "--", "--config.batch_size=4"]
    subprocess.run(words, check=True, cwd=tmp_path)
    [called] = calls(tmp_path, "sbatch")
    assert called == [
        *("--array=1,2,3", "--nodes=1", "--ntasks-per-node=1", "--gpus-per-node=1", "--partition=gpu"),
        *("--time=1:00:00", str(LAUNCH / "slurm.sbatch"), "sweep", "--arms", "baseline", "latent_dim=8"),
        *("--seeds", "0", "1", "--no-evaluate", "--output=out", f"--output={tmp_path / 'out'}"),
        *("--", "--config.batch_size=4"),
    ]
    # The arguments after the word sweep are a sweep's; its third task is the one of index 2.
    listed = subprocess.run(
        [*SWEEP[:2], "--list", "--task=2", *called[8:]], check=True, capture_output=True, text=True
    ).stdout
    assert "baseline seed 1" in listed
