"""local_processes.py starts processes that end together."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import back_ends
import pytest
import sweep

from tests.launch.stubs import LAUNCH, SWEEP, finish, wait_for

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


def test_each_process_has_its_number_and_device(group):
    status, output = finish(group.start(0, 0, 0))
    assert status == 0
    facts = group.wait_for_all(3)
    assert len({given.pop("coordinator") for given, _, _ in facts}) == 1
    for i, (given, variables, _) in enumerate(facts):
        assert given == {"workdir": "w", "num_processes": "3", "process_id": str(i)}
        assert variables == {"JAX_LOCAL_DEVICE_IDS": str(i), "JAX_NUM_CPU_DEVICES": "1"}
    assert sorted(output.splitlines()) == ["[1] process 1 begins", "[2] process 2 begins", "process 0 begins"]


@pytest.mark.launch
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


def test_a_sweep_trains_each_arm_in_several_processes(tmp_path, monkeypatch):
    options = ["--back-end=processes", "--launcher=--num=3", "--no-evaluate", "--trainer=t", f"--output={tmp_path}"]
    run = {}
    monkeypatch.setattr(
        back_ends, "run_here", lambda tasks, _: run.update({task.arm: task.commands[0].words for task in tasks})
    )
    sweep.main([*SWEEP[2:], *options])
    assert run["latent_dim=8"] == (
        *(sys.executable, str(LAUNCH / "local_processes.py"), "--num=3", "--trainer=t", "--"),
        *("--config=configs/ablations.py:latent_dim=8,protocol=cpu", "--config.seed=0"),
        f"--workdir={tmp_path}/latent_dim=8/seed_0",
    )
