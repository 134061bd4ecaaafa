"""The help of a command fits a screen and has three examples that are understood; --helpfull explains all options."""

import re
import shlex
import sys

import pytest
from absl import flags

from wae_jax import build_dataset, evaluate, export, generate, listen, main
from wae_jax.command_line import config_flag
from wae_jax.command_line.command import in_this_program
from wae_jax.config import default_config, flatten_config

COMMANDS = {
    "generate": generate,
    "evaluate": evaluate,
    "build_dataset": build_dataset,
    "export": export,
    "listen": listen,
    "listen page": listen,
    "listen survey": listen,
    "listen score": listen,
}


def help_of(command, capsys, *flags):
    """What a command prints for --help, as in a terminal of 100 columns."""
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command].parse_arguments([*command.split()[1:], *(flags or ["--help"])])
    assert ended.value.code == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    return output


def examples_of(text, words):
    return [line.strip().removeprefix(f"{words} ") for line in text.splitlines() if re.match(rf"\s+{words}\b", line)]


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen_and_its_examples_are_understood(command, capsys):
    text = help_of(command, capsys)
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 100
    module = command.split()[0]
    examples = examples_of(text, f"python -m wae_jax.{module}")
    assert len(examples) == 3
    for line in examples:
        words = [] if line.startswith("python") else shlex.split(line)
        assert COMMANDS[command].parse_arguments(words)


@pytest.mark.parametrize("command", ["generate", "evaluate", "build_dataset", "export", "listen page", "listen survey"])
def test_the_full_help_has_all_options(command, capsys):
    short, full = (
        set(re.findall(r"^  (--[\w-]+)", help_of(command, capsys, flag), re.M)) for flag in ("-h", "--helpfull")
    )
    assert "--helpfull" in short
    assert short < full
    assert len(full) > 9


def test_a_command_is_named_as_it_was_started(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["wae-jax generate"])
    text = help_of("generate", capsys)
    assert text.startswith("usage: wae-jax generate [options]\n")
    assert examples_of(text, "wae-jax generate")[1] == "--workdir=runs/gan --num=64 --output=out"
    assert "python" not in text


def test_help_of_training_names_flags_fields_and_configurations_that_exist(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["wae-jax train", "--help"])
    (text,) = in_this_program("main", [main.__doc__])
    with pytest.raises(SystemExit) as ended:
        config_flag.parse_flags(sys.argv, flags.FlagValues(), help_text=text)
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: wae-jax train [options]\n\nTrains a Wasserstein autoencoder")
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 100
    fields = flatten_config(default_config().to_dict())
    named = re.findall(
        r"\b(?:num_\w+|\w+_steps|batch_size|seed|init_from|(?:data|model|objective|\w+_optimizer)\.\w+)", text
    )
    assert len(named) > 12
    assert [name for name in named if name not in fields and name not in ("num_processes",)] == []
    assert set(re.findall(r"--(\w+)", text)) - {"config", "helpfull"} <= set(main.FLAGS)
    examples = examples_of(text, "wae-jax train")
    assert len(examples) == 3
    for line in examples:
        assert config_flag._with_paths(shlex.split(line))
