"""Ctrl-C and SIGTERM end commands without a traceback."""

import gc
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT
from wae_jax.command_line.signals import Terminated, raising_on_signals, take_interrupts


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_signals_raise(number, kind):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as raised, raising_on_signals():
        signal.raise_signal(number)
    assert raised.type is kind
    assert signal.getsignal(number) is before


def test_signals_raise_after_a_callback_of_the_garbage_collector(capfd):
    """In the callback the exception would be printed, and then be lost."""

    def callback(phase, info):
        signal.raise_signal(signal.SIGTERM)
        done.append(phase)
        gc.callbacks.remove(callback)

    def collect_and_wait():
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(5)

    done = []
    gc.collect()  # so that afterwards nothing else runs in there
    with pytest.raises(Terminated), raising_on_signals():
        collect_and_wait()
    assert done == ["start"]
    assert capfd.readouterr().err == ""


def test_a_signal_that_is_ignored_stays_so(monkeypatch):
    """As under nohup, or of a job that a shell script starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        take_interrupts()
        with raising_on_signals():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("command", ["main", "generate", "evaluate", "listen", "export", "build_dataset"])
def test_interrupts_while_a_command_imports_print_nothing(command, tmp_path):
    (tmp_path / "numpy.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    ran = subprocess.run(
        [sys.executable, "-m", f"wae_jax.{command}"], env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, "", "")


def test_an_import_of_the_package_takes_no_signal():
    code = "import signal, wae_jax; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"
