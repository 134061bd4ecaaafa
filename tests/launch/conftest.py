"""Makes the scripts of launch/ importable, as they are to each other when one is run, and stubs of programs."""

import os
import sys

import pytest

from tests.helpers import ROOT
from tests.launch.stubs import RECORD

sys.path.insert(0, str(ROOT / "launch"))


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
