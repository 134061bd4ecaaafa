"""Freed memory stays with the process, unless its environment sets malloc."""

import os
import platform
import subprocess
import sys

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back at once")

# Megabytes in memory before and after an array of 200 MB is freed.
CODE = """
import resource, numpy as np
from wae_jax.command_line.host_memory import keep_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
keep_freed_memory()
array = np.ones(25_000_000)
before = resident()
del array
print(before - resident())
"""


def megabytes_given_back(**environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUN"))}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, env={**inherited, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_freed_memory_is_kept():
    assert megabytes_given_back() < 10


@pytest.mark.parametrize("given", [{"MALLOC_TOP_PAD_": "0"}, {"GLIBC_TUNABLES": "glibc.malloc.top_pad=0"}])
def test_an_environment_that_sets_malloc_is_left_alone(given):
    assert megabytes_given_back(**given) > 190
