"""Standard output takes any text, and a reader that goes away."""

import io
import os
import sys

import pytest

from wae_jax.command_line.terminal import any_text_on_stdout
from wae_jax.errors import RequestError


def test_what_cannot_be_encoded_or_controls_a_terminal_is_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    with any_text_on_stdout():
        print("caf\udce9 \x1b[31m \u202e\r MMD² é\ta\nb")
    assert sys.stdout is stream
    assert stream.buffer.getvalue() == rb"caf\udce9 \x1b[31m \u202e\r MMD\xb2 \xe9" + b"\ta\nb\n"


def test_a_reader_that_goes_away_does_not_end_the_command(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with any_text_on_stdout():
            print("first")
            sys.stdout.flush()
            print("second")
            done = True
        assert done
        stream.flush()  # as the interpreter does when it ends


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_an_error(monkeypatch):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with (
            pytest.raises(RequestError, match="standard output cannot be written: No space left"),
            any_text_on_stdout(),
        ):
            print("text")
        stream.flush()


def test_a_closed_stdout_is_none(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with any_text_on_stdout():
        print("text")
