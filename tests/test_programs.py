"""`wae-jax COMMAND`: the commands by name, without imports that take seconds until one is named."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

import wae_jax
from tests.helpers import ROOT
from wae_jax import __main__ as program
from wae_jax import programs

# Fails where jax or NumPy are imported.
WITHOUT = "import sys; sys.modules['jax'] = sys.modules['numpy'] = None; "
RUN = "from wae_jax.__main__ import run; run()"


def start(*words, code=WITHOUT + RUN):
    """Output, errors and status of `wae-jax` with these words."""
    code = f"import sys; sys.argv = ['/venv/bin/wae-jax', *{words!r}]; {code}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr, done.returncode


def test_every_command_is_listed_with_a_module():
    output, errors, status = start("--help")
    assert (errors, status) == ("", 0)
    for name, each in programs.PROGRAMS.items():
        assert f"\n  {name} " in output
        assert each.summary in output
        assert importlib.util.find_spec(f"wae_jax.{each.module}")
    assert start() == ("", output, 2)
    assert start("-h")[0] == output
    assert len(output.splitlines()) < 40
    assert max(map(len, output.splitlines())) <= 100


def test_the_version():
    assert start("--version") == (f"wae_jax {wae_jax.__version__}\n", "", 0)


@pytest.mark.parametrize(
    ("word", "hint"),
    [("genrate", "did you mean generate? Expected one of generate, train,"), ("x", "expected one of generate, train,")],
)
def test_an_unknown_command_is_refused_in_a_sentence(word, hint):
    output, errors, status = start(word, "--output=x")
    assert (output, status) == ("", 2)
    assert errors.startswith(f"error: there is no command {word!r}; {hint}")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("word", ["build-dataset", "build_dataset"])
def test_a_command_is_started_with_the_rest_of_the_line(word, tmp_path):
    output, errors, status = start(word, f"--verify={tmp_path / 'none'}", code=RUN)
    assert (output, status) == ("", 1)
    assert errors.startswith(f"error: {tmp_path / 'none'}")
    output, errors, status = start(word, "--nonsense", code=RUN)
    assert status == 2
    assert errors.startswith("usage: wae-jax build-dataset ")


def test_train_is_main():
    output, errors, status = start("train", "--config=nowhere.py", code=RUN)
    assert (output, status) == ("", 2)
    assert errors.startswith("error: there is no configuration file 'nowhere.py'")


@pytest.mark.parametrize(
    ("started", "words"),
    [
        ("/home/me/wae_jax/generate.py", "python -m wae_jax.build_dataset"),
        ("wae-jax generate", "wae-jax build-dataset"),
        ("python -m wae_jax listen", "python -m wae_jax build-dataset"),
    ],
)
def test_a_command_is_named_as_this_one_was_started(started, words, monkeypatch):
    monkeypatch.setattr(sys, "argv", [started])
    assert programs.how_to_run("build_dataset") == words


def test_the_package_is_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "wae_jax", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: python -m wae_jax COMMAND [options]")


def test_ctrl_c_while_a_command_is_imported_prints_no_traceback(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    seen = []
    monkeypatch.setattr(sys, "argv", ["wae-jax", "train"])
    monkeypatch.setattr(program.importlib, "import_module", lambda name: seen.append(signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(AttributeError):  # nothing was imported
            program.run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIG_DFL]
