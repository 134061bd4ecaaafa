"""Flags about sound."""

import argparse

import numpy as np
import pytest

from wae_jax.command_line.generate_flags import add_sound_flags, requested_audio, requested_tempo
from wae_jax.errors import RequestError
from wae_jax.generate import parse_arguments
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.render.audio import Audio


def parse(*flags):
    parser = argparse.ArgumentParser()
    add_sound_flags(parser)
    return parser.parse_args(flags)


def test_defaults():
    arguments = parse()
    assert requested_audio(arguments) == Audio()
    assert arguments.programs == (0, 0, 25, 33, 48)
    assert requested_audio(parse("--no-audio")) is None


def test_the_tempo_is_that_of_the_first_phrase_that_has_one():
    inputs = [InputPhrase(np.zeros((192, 84, 5), bool), "a.mid", 1, tempo=tempo) for tempo in (None, 87.5, 140.0)]
    assert requested_tempo(parse(), inputs) == 87.5
    assert requested_tempo(parse("--tempo=120"), inputs) == 120
    assert requested_tempo(parse(), inputs[:1]) == requested_tempo(parse(), []) == 100
    for tempo, nearest in ((3.6, 10), (6e7, 1000)):
        inputs[0] = InputPhrase(inputs[0].roll, "a.mid", 1, tempo=tempo)
        assert requested_tempo(parse(), inputs) == nearest


def test_programs_of_named_tracks():
    assert parse("--programs=piano=4, BASS=38,drums=8").programs == (8, 4, 25, 38, 48)


def test_format_and_synthesiser():
    assert requested_audio(parse("--audio-format=mp3")) == Audio("mp3", None)


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--programs=flute=3", "'flute=3' names no track; expected one of drums, piano, guitar, bass, strings"),
        ("--programs=piano=128", "'piano=128' has no program; expected a number from 0 to 127"),
        ("--programs=piano", "'piano' has no program"),
        ("--programs=", "'' names no track"),
        ("--tempo=5", "'5'; expected 10 to 1000 bpm"),
        ("--tempo=nan", "'nan'; expected 10 to 1000 bpm"),
        ("--audio-format=aac", "invalid choice: 'aac'"),
    ],
)
def test_flags_out_of_range_are_refused(flag, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(flag)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--mode=encode", "--tempo=90"], "--tempo applies only to music; --mode=encode makes codes"),
        (["--mode=encode", "--threshold=.3", "--prior=kernel_density"], "--prior, --threshold applies only to music"),
        (["--mode=encode", "--probabilities", "--programs=bass=38"], "--probabilities, --programs applies only to"),
        (["--no-audio", "--audio-format=mp3"], "--audio-format applies only to sound files; expected no --no-audio"),
        (["--no-audio", "--sound-font=a.sf2"], "--sound-font applies only to sound files"),
        (["--start-bar=3"], "--start-bar applies only to --mode=encode or vary or continue or accompany or edit"),
        (["--num=100001"], "'100001'; expected a whole number from 1 to 100000"),
        (["--workdir="], "argument --workdir: the path is empty"),
        (["--mode=vary", "--input="], "argument --input: the path is empty"),
    ],
)
def test_flags_without_an_effect_are_refused(flags, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(["--output=music", *flags])
    assert told in capsys.readouterr().err


def test_what_a_mode_does_not_make_may_be_refused_by_the_user():
    assert not parse_arguments(["--output=codes", "--mode=encode", "--no-audio", "--no-page", "--no-pictures"]).audio


def test_what_is_asked_for_and_missing_is_an_error(tmp_path):
    with pytest.raises(RequestError, match="there is no sound font"):
        requested_audio(parse(f"--sound-font={tmp_path / 'none.sf2'}"))
