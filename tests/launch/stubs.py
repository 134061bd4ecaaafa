"""Stubs of the programs of clouds and clusters, which record how they are called."""

import json
import sys
import time

from tests.helpers import ROOT

LAUNCH = ROOT / "launch"
SWEEP = [sys.executable, str(LAUNCH / "sweep.py"), "--arms", "baseline", "latent_dim=8"]

# Records its own name and arguments.
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


def finish(process):
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output
