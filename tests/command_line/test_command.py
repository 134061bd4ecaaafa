"""Commands: their exit statuses and messages, and checks of --output."""

import argparse
import errno
import os

import pytest

from wae_jax import build_dataset, evaluate, generate, listen
from wae_jax.command_line.command import check_output, local_path, path, run_command
from wae_jax.command_line.signals import Terminated
from wae_jax.errors import RequestError


def run(error, **arguments):
    def command(arguments):
        raise error

    return run_command(command, argparse.Namespace(**arguments))


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RequestError("a\udce9\x1b[31m is wrong:\n  b"), 1, "error: a\\udce9\\x1b[31m is wrong:\n  b"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, "error: {output}: No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "x"), 1, "error: x: Permission denied"),
        (OSError("9 requested"), 1, "error: {output}: cannot be written or read completely (9 requested); is the disk"),
        (MemoryError(), 1, "error: there is not enough memory; expected a smaller --num"),
        (RuntimeError("RESOURCE_EXHAUSTED: of a device"), 1, "error: there is not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted; {output} may be incomplete"),
        (Terminated(), 143, "terminated; {output} may be incomplete"),
    ],
)
def test_an_error_is_a_sentence(error, status, message, tmp_path, capsys):
    assert run(error, output=str(tmp_path)) == status
    assert capsys.readouterr().err.startswith(message.format(output=tmp_path))


def test_an_error_without_any_file_is_what_the_system_said(capsys):
    assert run(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == 1
    assert capsys.readouterr().err == "error: No space left on device\n"


def test_a_command_may_say_what_an_interrupt_leaves(tmp_path, capsys):
    def command(arguments):
        raise Terminated

    arguments = argparse.Namespace(output=str(tmp_path))
    assert run_command(command, arguments, when_interrupted=": nothing was written") == 143
    assert capsys.readouterr().err == "terminated: nothing was written\n"


def test_other_errors_are_those_of_the_program():
    with pytest.raises(RuntimeError, match="a bug"):
        run(RuntimeError("a bug"))


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    with pytest.raises(RequestError, match="--output is gs://bucket/music; expected a local path"):
        check_output("gs://bucket/music", is_folder=True)
    with pytest.raises(RequestError, match="file is no folder; expected --output to be one"):
        check_output(str(file), is_folder=True)
    for name in (file / "a" / "b", tmp_path / "dangling" / "a"):
        for is_folder in (False, True):
            with pytest.raises(RequestError, match="is no folder"):
                check_output(str(name), is_folder=is_folder)
    with pytest.raises(RequestError, match="is a folder; expected the name of a file in it"):
        check_output(str(tmp_path), is_folder=False)


def test_an_output_in_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for a user who is not root
    with pytest.raises(RequestError, match=f"{tmp_path} cannot be written"):
        check_output(str(tmp_path / "a"), is_folder=True)


def test_outputs_that_can_be_written(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert check_output(str(file), is_folder=False) == file
    assert check_output(str(tmp_path / "a" / "b"), is_folder=False) == tmp_path / "a" / "b"
    assert check_output(str(tmp_path), is_folder=True) == tmp_path
    assert str(check_output("new", is_folder=True)) == "new"


@pytest.mark.parametrize("read", [path, local_path])
def test_an_empty_path_is_refused(read):
    with pytest.raises(argparse.ArgumentTypeError, match="the path is empty"):
        read("")
    assert read(" ") == " "


@pytest.mark.parametrize(
    ("command", "flags", "flag"),
    [
        (generate, ["--output=o", "--mode=vary", "--input=file:///a.mid"], "--input"),
        (generate, ["--output=o", "--mode=interpolate", "--from=a.mid", "--to=gs://b/a.mid"], "--to"),
        (generate, ["--output=o", "--sound-font=https://host/a.sf2"], "--sound-font"),
        (evaluate, ["--phrases=gs://b/a.npz"], "--phrases"),
        (listen, ["score", "gs://b/a.json"], "FILE"),
        (build_dataset, ["--input=gs://b/a.mid", "--output=o"], "--input"),
    ],
)
def test_files_of_the_users_are_local(command, flags, flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.parse_arguments(flags)
    url = flags[-1 if flag != "--input" or command is generate else 0].rpartition("=")[2]
    problem = f"argument {flag}: {url} is a URL; expected a local path, where files can be copied\n"
    assert problem in capsys.readouterr().err
