"""tpu_pod.sh calls gcloud as it should, on a stub of a slice with two hosts."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.launch.stubs import LAUNCH, SWEEP, calls, finish, wait_for

# A slice of two hosts in the folder SLICE: `state` has its state, and each host's home is a folder of its number.
GCLOUD = """
folder = pathlib.Path(os.environ["SLICE"])
state = folder / "state"
verb, rest = sys.argv[4], sys.argv[5:]
options = dict(word[2:].split("=", 1) for word in rest if word.startswith("--") and "=" in word)
if verb == "create":
    if (folder / "full").exists():
        (folder / "full").unlink()
        sys.exit("no capacity")
    for host in "01":
        (folder / host).mkdir(parents=True)
    state.write_text("READY")
elif not state.exists():
    sys.exit("no such slice")
elif verb == "describe":
    print(state.read_text())
elif verb == "delete":
    subprocess.run(["rm", "-rf", folder / "0", folder / "1", state], check=True)
elif state.read_text() != "READY" or (folder / "deaf").exists():
    (folder / "deaf").unlink(missing_ok=True)
    sys.exit("cannot be reached")
else:
    for host in "01" if options["worker"] == "all" else options["worker"]:
        home = folder / host
        if verb == "scp":
            subprocess.run(["cp", rest[0], home / rest[1].partition(":")[2]], check=True)
        else:
            os.environ["HOST"] = host
            subprocess.run(["bash", "-c", options["command"]], cwd=home, check=True)
"""
# Installs: what it makes takes main's place, and ends when there is a file `end` with its status.
PYTHON3 = """
if sys.argv[1:4] == ["-m", "uv", "venv"]:
    python = pathlib.Path(sys.argv[-1]) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable} -IS\\n" + os.environ["MAIN"])
    python.chmod(0o755)
"""
MAIN = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["SLICE"])
with (folder / "runs").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
print("it begins", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
while not (folder / "end").exists():
    time.sleep(0.02)
sys.exit(int((folder / "end").read_text()))
"""


class Slice:
    """The stub of a slice, and the script that is to look after it."""

    def __init__(self, tmp_path):
        self.folder = tmp_path / "slice"
        self.folder.mkdir()
        self.tmp_path = tmp_path

    def words(self, command, *options, flags=()):
        where = ("--name=wae", "--zone", "us-central2-b", "--type", "v4-16", *options)
        return [LAUNCH / "tpu_pod.sh", command, *where, *(("--", *flags) if flags else ())]

    def do(self, command, *options, flags=(), status=0):
        done = subprocess.run(
            self.words(command, *options, flags=flags), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *options, flags):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        # A group of its own, as a terminal makes it, and Ctrl-C heeded: where a shell has put the tests into the
        # background it is ignored, by all that they start as well.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(self.words("run", *options, flags=flags), start_new_session=True, **pipes)
        finally:
            signal.signal(signal.SIGINT, before)

    def verbs(self):
        """What gcloud was asked to do, without asking for the state and looking at the hosts."""
        verbs = [call[3] for call in calls(self.tmp_path, "gcloud") if not any("status:" in word for word in call)]
        return [verb for verb in verbs if verb != "describe"]

    def runs(self):
        path = self.folder / "runs"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def end(self, status):
        (self.folder / "end").write_text(str(status))


@pytest.fixture
def tpu(programs, tmp_path, monkeypatch):
    programs("gcloud", GCLOUD)
    programs("python3", PYTHON3)
    for name, value in {"SLICE": tmp_path / "slice", "MAIN": MAIN, "TPU_POD_POLL_SECONDS": "0.1"}.items():
        monkeypatch.setenv(name, str(value))
    slice_ = Slice(tmp_path)
    yield slice_
    slice_.end(0)  # whoever is still running


@pytest.mark.launch
def test_the_commands_for_a_pod_are_printed_and_not_run(tpu):
    flags = ("--workdir=gs://music/runs/it's", "--config.model.kernel_size=(6, 6)")
    said = tpu.do("run", "--dry-run", "--spot", "--project=p", flags=flags)
    assert calls(tpu.tmp_path) == []
    where = "--zone=us-central2-b --project=p\n"
    create = "gcloud compute tpus tpu-vm create wae --accelerator-type=v4-16 --version=tpu-ubuntu2204-base --spot "
    assert create + where in said
    assert "gcloud compute tpus tpu-vm ssh wae --worker=all '--command=set -e\n" in said
    # What is printed does what would be done.
    subprocess.run(["bash", "-euc", f"mkdir -p {tpu.folder}; {said}"], check=True, capture_output=True)
    assert tpu.verbs() == ["create", "scp", "ssh", "ssh"]
    wait_for(lambda: len(tpu.runs()) == 2)
    main = ["-m", "wae_jax.main", "--join_seconds=300", "--status_when_stopped=75"]
    # URLs of buckets are passed on: main knows them.
    assert tpu.runs() == [[*main, *flags]] * 2
    assert "-e '\\''.[tpu,gcs]'\\''" in said


def test_a_slice_is_made_once_and_deleted_once(tpu):
    tpu.do("create")
    assert "wae exists" in tpu.do("create")
    assert tpu.verbs() == ["create"]
    tpu.do("delete")
    assert "wae does not exist" in tpu.do("delete")
    assert tpu.verbs() == ["create", "delete"]


@pytest.mark.launch
def test_a_preempted_run_is_started_again_until_it_is_finished(tpu):
    (tpu.folder / "full").touch()  # the first attempt finds no room
    process = tpu.start(flags=("--workdir=w",))
    try:
        wait_for(lambda: len(tpu.runs()) == 2)
        # A second command looks on, and starts nothing.
        other = tpu.start(flags=("--workdir=w",))
        time.sleep(1)
        os.killpg(other.pid, signal.SIGKILL)
        assert finish(other)[1] == ""
        (tpu.folder / "state").write_text("PREEMPTED")
        subprocess.run(["pkill", "-KILL", "-f", f"{tpu.folder}.*/python"], check=False)
        wait_for(lambda: len(tpu.runs()) == 4)
    finally:
        tpu.end(0)
        status, output = finish(process)
    assert status == 0, output
    assert output.endswith("finished\n")
    assert "starting again from the last checkpoint" in output
    assert "could not be created; trying again" in output
    assert len(tpu.runs()) == 4
    assert tpu.do("logs", "--worker=1").endswith("it begins\n")


@pytest.mark.launch
def test_a_run_in_progress_is_left_alone_and_can_be_stopped(tpu):
    process = tpu.start(flags=("--workdir=gs://music/w",))
    wait_for(lambda: len(tpu.runs()) == 2)
    os.killpg(process.pid, signal.SIGINT)  # ends the looking after
    assert finish(process)[0] == -signal.SIGINT
    assert "nothing was changed" in tpu.do("setup")
    (tpu.folder / "deaf").touch()  # once: so that it seems not to be running
    before = len(tpu.verbs())
    process = tpu.start(flags=("--workdir=w",))
    # It sets up and starts what is running, and looks after it from then on.
    wait_for(lambda: tpu.verbs()[before:] == ["scp", "ssh", "ssh"])
    wait_for(lambda: any("status:" in word for word in calls(tpu.tmp_path, "gcloud")[-1]))
    tpu.do("stop")
    status, output = finish(process)
    assert status == 75, output
    assert "stopped; the same command resumes from there" in output
    assert len(tpu.runs()) == 2


@pytest.mark.launch
def test_a_run_that_fails_at_once_is_not_started_again(tpu):
    tpu.end(1)
    said = tpu.do("run", flags=("--workdir=w",), status=1)
    assert "it begins" in said
    assert "the run failed soon after its start" in said
    assert len(tpu.runs()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected create, setup, run, logs, stop or delete"),
        (("build", "--name=a", "--zone=z"), "there is no build"),
        (("create", "--name=a"), "create needs --name and --zone"),
        (("create", "--name=a", "--zone=z"), "create needs --type, such as v4-32"),
        (("run", "--name=a", "--zone=z", "--type=v4-8"), "run needs main's flags, after --"),
        (("stop", "--nome=a"), "there is no option --nome"),
        (("stop", "--name"), "--name needs a value"),
        (("run", "--name=a", "--zone=z", "--bucket=b"), "there is no option --bucket"),
    ],
)
def test_a_command_for_a_pod_that_makes_no_sense_is_refused(tpu, words, message):
    done = subprocess.run([LAUNCH / "tpu_pod.sh", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert calls(tpu.tmp_path) == []


@pytest.mark.launch
def test_a_sweep_on_a_slice_runs_what_is_left(tpu):
    tpu.end(0)
    where = "--name=wae --zone=us-central2-b --type=v4-16"
    options = ["--back-end=tpu", f"--launcher={where}", "--remote=gs://b/sweep", "--data=gs://b/data"]
    words = [*SWEEP, *options, f"--output={tpu.tmp_path / 'out'}"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.endswith("2 finished\n")
    assert [run[4:] for run in tpu.runs()[::2]] == [
        [
            *(f"--config=configs/ablations.py:{arm},protocol=cpu", "--config.seed=0"),
            *("--config.data.path=gs://b/data", f"--workdir=gs://b/sweep/{arm}/seed_0"),
        ]
        for arm in ("baseline", "latent_dim=8")
    ]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.endswith("2 skipped\n")
    assert len(tpu.runs()) == 4
