"""Trains in several processes on this host, each with one device: GPU i, or a CPU device of its own.

    python launch/local_processes.py --num 4 -- --config=configs/wae_gan.py --workdir=runs/gan

Flags after `--` go to every process. The output of the first one is shown as it is, that of the others with their index
before each line. SIGTERM and Ctrl-C are passed on as SIGTERM: all save and end. A second Ctrl-C kills all.

When one process fails, the others have --grace seconds to notice and end by themselves; then they are killed. The exit
status is that of the process that failed first, 128 plus its number for a signal, and 0 if none failed.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

ROOT = pathlib.Path(__file__).resolve().parents[1]
_POLL_SECONDS = 0.05


class Group:
    """Processes that end together."""

    def __init__(self, commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]) -> None:
        self._stopped_by: int | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        self._readers = []
        for i, (command, environment) in enumerate(zip(commands, environments, strict=True)):
            pipes = {} if i == 0 else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            # A session of their own, so that Ctrl-C at a terminal reaches only this process, which passes it on.
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, **pipes
            )
            self._processes.append(process)
            if process.stdout is not None:
                reader = threading.Thread(target=_copy_lines, args=(i, process.stdout), daemon=True)
                reader.start()
                self._readers.append(reader)
        if self._stopped_by is not None:  # while they were being started
            self._send(signal.SIGTERM)

    def _handle(self, number: int, frame: object) -> None:
        again = number == signal.SIGINT == self._stopped_by
        self._stopped_by = number
        self._send(signal.SIGKILL if again else signal.SIGTERM)

    def _send(self, number: int) -> None:
        for process in self._processes:
            process.send_signal(number)  # one that has ended gets none

    def wait(self, grace: float) -> int:
        """Waits for all and returns the exit status; `grace` seconds after one has failed, the others are killed."""
        status, deadline = 0, float("inf")
        while True:
            waiting = [process for process in self._processes if process.poll() is None]
            failed = self._first_to_fail()
            if failed is not None and not status:
                i, returncode = failed
                status, deadline = _status(returncode), time.monotonic() + grace
                others = f"the others end by themselves or are killed in {grace:g} s" if waiting else "all have ended"
                _log(f"process {i} {_describe_end(returncode)}; {others}")
            if not waiting:
                break
            if time.monotonic() > deadline:
                numbers = ", ".join(str(i) for i, each in enumerate(self._processes) if each in waiting)
                _log(f"killing process {numbers}, {grace:g} s after another has failed")
                self._send(signal.SIGKILL)
                deadline = float("inf")
            time.sleep(_POLL_SECONDS)
        for reader in self._readers:
            reader.join()
        return status

    def _first_to_fail(self) -> tuple[int, int] | None:
        """Index and status of a failed process; of several, one that a signal ended, which made the others fail."""
        failed = [(i, process.returncode) for i, process in enumerate(self._processes) if process.returncode]
        return min(failed, key=lambda each: each[1] > 0, default=None)


def _status(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


def _describe_end(returncode: int) -> str:
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"


def _log(message: str) -> None:
    print(f"local_processes: {message}", file=sys.stderr, flush=True)


def _copy_lines(number: int, lines: IO[bytes]) -> None:
    """Copies the output of a process to stderr, line by line, with its index."""
    for line in lines:
        sys.stderr.buffer.write(b"[%d] " % number + line.rstrip(b"\n") + b"\n")
        sys.stderr.buffer.flush()


def free_port() -> int:
    """A port of this host on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        description="Trains in several processes on this host, each with one device.",
        usage="%(prog)s [-h] --num N [--grace SECONDS] [--trainer MODULE] -- FLAGS OF WAE_JAX.MAIN",
    )
    parser.add_argument("--num", type=int, required=True, help="how many processes")
    parser.add_argument("--grace", type=float, default=30, help="seconds for the others when one fails (default 30)")
    parser.add_argument("--trainer", default="wae_jax.main", help="the module that trains")
    ours = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:ours])
    if options.num < 1:
        parser.error(f"--num is {options.num}; expected at least 1")
    flags = arguments[ours + 1 :]
    together = (f"--coordinator=localhost:{free_port()}", f"--num_processes={options.num}")
    python = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    group = Group(
        [(sys.executable, "-m", options.trainer, *flags, *together, f"--process_id={i}") for i in range(options.num)],
        # The first two are variables of jax: the GPU that a process sees, and the number of its CPU devices.
        [
            {**os.environ, "JAX_LOCAL_DEVICE_IDS": str(i), "JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": python}
            for i in range(options.num)
        ],
    )
    return group.wait(options.grace)


if __name__ == "__main__":
    sys.exit(main())
