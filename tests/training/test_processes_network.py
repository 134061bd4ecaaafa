"""Two network namespaces with an address and a name each stand in for two hosts; needs root and iproute2."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT, finish, read_metrics
from tests.training.test_processes_train import (
    FLAGS,
    IN_DOUBLE,
    assert_equal_in_double,
    environment,
    run,
    wait_for_step,
)

__all__ = ["environment"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PORT = 8476


def ip(*words):
    return subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False)


class Hosts:
    """Two hosts, `names`, with a link between them."""

    def __init__(self):
        self.names = [f"wae{os.getpid()}{letter}" for letter in "ab"]
        self.addresses = ["10.213.77.1", "10.213.77.2"]

    def open(self):
        """Makes them; the first word of complaint, or nothing."""
        commands = [("netns", "add", name) for name in self.names]
        one, other = self.names
        commands.append(("-n", one, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", other))
        for name, address in zip(self.names, self.addresses, strict=True):
            commands.append(("-n", name, "address", "add", f"{address}/24", "dev", "wire"))
            commands += [("-n", name, "link", "set", device, "up") for device in ("lo", "wire")]
        for command in commands:
            if (done := ip(*command)).returncode:
                return f"ip {' '.join(command)}: {done.stderr.strip()}"
        for name in self.names:
            # What `ip netns exec` puts in the place of /etc/hosts.
            folder = pathlib.Path("/etc/netns", name)
            folder.mkdir(parents=True)
            known = zip([*self.addresses, "127.0.0.1"], [*self.names, "localhost"], strict=True)
            (folder / "hosts").write_text("".join(f"{address} {other}\n" for address, other in known))
        return ""

    def cut(self):
        assert ip("-n", self.names[1], "link", "set", "wire", "down").returncode == 0

    def close(self):
        for name in self.names:
            ip("netns", "delete", name)
            shutil.rmtree(pathlib.Path("/etc/netns", name), ignore_errors=True)

    def start(self, workdir, *flags, steps):
        """A process of a run on each host."""
        together = (f"--coordinator={self.names[0]}:{PORT}", "--num_processes=2")
        main = [sys.executable, "-m", "tiny_main", "--config=configs/wae_gan.py", f"--workdir={workdir}", *together]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return [
            subprocess.Popen(
                # Each host knows itself by its own name.
                [
                    *(
                        "ip",
                        "netns",
                        "exec",
                        name,
                        "unshare",
                        "--uts",
                        "sh",
                        "-c",
                        f'hostname {name} && exec "$@"',
                        "sh",
                    ),
                    *(*main, f"--process_id={i}", f"--config.num_train_steps={steps}", *FLAGS, *flags),
                ],
                cwd=ROOT,
                **pipes,
            )
            for i, name in enumerate(self.names)
        ]


@pytest.fixture
def hosts():
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("no ip (iproute2) or unshare (util-linux)")
    made = Hosts()
    try:
        if why := made.open():
            pytest.skip(f"no network namespaces can be made here: {why}")
        yield made
    finally:
        made.close()


def test_training_across_a_link_is_training_in_one_process(tmp_path, environment, hosts):
    for i, (status, output) in enumerate(map(finish, hosts.start(tmp_path / "two", *IN_DOUBLE, steps=24))):
        assert status == 0, output
        assert ("processes 2, devices 1 local / 2 global" in output) == (i == 0)
    run(tmp_path / "one", 1, *IN_DOUBLE)
    assert_equal_in_double(tmp_path / "two", tmp_path / "one")


def test_when_the_link_is_cut_both_end_and_the_run_goes_on(tmp_path, environment, hosts):
    processes = hosts.start(tmp_path / "run", steps=4000)
    wait_for_step(processes[0], tmp_path / "run", 9)
    hosts.cut()
    at = time.monotonic()
    for i, process in enumerate(processes):
        status, output = finish(process)
        print(f"process {i} ended with status {status} {time.monotonic() - at:.1f} s after the cut\n{output}")
        assert status in (1, -signal.SIGABRT)
        assert "lost the connection" in output or "JAX distributed service detected fatal errors" in output
    assert time.monotonic() - at < 120
    last = read_metrics(tmp_path / "run")[-1]["step"]
    assert "resuming from step" in run(tmp_path / "run", 1, steps=last + 3)
