from __future__ import annotations

import argparse

from wae_jax.command_line.command import run_command


def test_an_output_at_a_url_is_refused_before_anything_is_done(capsys):
    done = []
    assert run_command(done.append, argparse.Namespace(output="gs://bucket/music")) == 1
    assert capsys.readouterr().err.startswith("error: --output is gs://bucket/music; expected a local path")
    assert done == []
