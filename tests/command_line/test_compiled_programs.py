"""Where compiled programs are kept, each time in a process of its own."""

import os
import subprocess
import sys

from tests.helpers import ROOT

CODE = """
from wae_jax.command_line.compiled_programs import keep_compiled_programs
keep_compiled_programs()
import jax
print(jax.config.jax_compilation_cache_dir)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: x * 2 + 1)(3.0)
"""


def folder_used(**environment):
    """The folder that jax keeps programs in, or "None"."""
    inherited = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, env={**inherited, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.strip()


def programs(folder):
    return sorted(path.name for path in folder.rglob("*-cache"))


def test_programs_are_kept_in_the_users_cache(tmp_path):
    used = folder_used(XDG_CACHE_HOME=str(tmp_path))
    assert used.startswith(str(tmp_path / "wae_jax" / "programs-"))
    kept = programs(tmp_path)
    assert any("lambda" in name for name in kept)
    assert folder_used(XDG_CACHE_HOME=str(tmp_path)) == used
    assert programs(tmp_path) == kept


def test_the_cache_is_in_the_home_by_default(tmp_path):
    assert folder_used(XDG_CACHE_HOME="", HOME=str(tmp_path)).startswith(str(tmp_path / ".cache" / "wae_jax"))


def test_a_folder_of_the_environment_is_used(tmp_path):
    given, other = tmp_path / "given", tmp_path / "other"
    assert folder_used(XDG_CACHE_HOME=str(other), JAX_COMPILATION_CACHE_DIR=str(given)) == str(given)
    assert not other.exists()


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert folder_used(XDG_CACHE_HOME=str(tmp_path / "file")) == "None"


def test_a_command_that_compiles_nothing_does_not_import_jax(tmp_path):
    code = """
import sys
import wae_jax.build_dataset
from wae_jax.command_line.compiled_programs import keep_compiled_programs
keep_compiled_programs()
print("jax" in sys.modules)
"""
    inherited = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
    environment = {**inherited, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
