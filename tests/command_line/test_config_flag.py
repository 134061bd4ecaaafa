"""Wrong command lines of `main` end in one sentence and status 2."""

import pathlib
import subprocess
import sys

import pytest
from absl import flags

from tests.helpers import ROOT
from wae_jax.command_line.config_files import find_config
from wae_jax.command_line.config_flag import define_config, parse_flags

# ml_collections loads the file by it on Python 3.11.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")
NAMES = "one of ablations, vae, wae_free, wae_gan, wae_mmd, or a file"
GAN = f"--config={ROOT / 'configs' / 'wae_gan.py'}"


def parse(*arguments):
    values, argv = flags.FlagValues(), ["main", *arguments]
    define_config(values, argv)
    flags.DEFINE_float("join_seconds", 50.0, "", flag_values=values)
    assert parse_flags(argv, values) == ["main"]
    return values.config


def test_fields_are_changed():
    config = parse(
        GAN, "--config.model.z_dim=3", "--config.model.kernel_size=(5, 7)", "--noconfig.discriminator.prior_logit"
    )
    assert (config.model.z_dim, config.model.kernel_size, config.discriminator.prior_logit) == (3, (5, 7), False)
    assert parse("--config", GAN.partition("=")[2] + ":blog").model.network == "new_alt"


@pytest.mark.parametrize(
    "words", [["--config=wae_gan:songs"], ["--config", "wae_gan:songs"], ["-config=wae_gan:songs"]]
)
def test_a_configuration_has_a_name_in_every_folder(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parse(*words, "--config.batch_size=8")
    assert (config.model.z_dim, config.batch_size) == (128, 8)
    (tmp_path / "flags.txt").write_text("--config=wae_gan\n")
    assert parse("--flagfile=flags.txt").model.z_dim == 32
    for name in ("vae", "wae_mmd"):  # which read another file beside theirs
        assert parse(f"--config={name}").model.z_dim == 32


def test_a_file_stays_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "from wae_jax.config import default_config\n\ndef get_config():\n  config = default_config()\n"
    (tmp_path / "wae_gan").write_text(f"{text}  config.seed = 77\n  return config\n")
    assert find_config("wae_gan:songs") == "wae_gan:songs"
    (tmp_path / "wae_gan").rename("mine.py")
    assert parse("--config=mine.py").seed == 77
    assert pathlib.Path(find_config("wae_gan")).is_absolute()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [GAN, "--config.modle.z_dim=3", "--config.batchsize=3"],
            "there is no field modle.z_dim; did you mean model.z_dim?; there is no field batchsize; did you mean "
            "batch_size?",
        ),
        (
            [GAN, "--config.batch_size=abc"],
            "--config.batch_size=abc; expected a whole number, at least 2 and at most 1048576",
        ),
        ([GAN, "--config.model=3"], "--config.model=3; expected a group of fields"),
        (
            [GAN, "--config.discriminator.prior_logit=maybe"],
            "--config.discriminator.prior_logit=maybe; expected True or False",
        ),
        ([GAN, "--join_seconds=soon"], "--join_seconds=soon: could not convert string to float: 'soon'"),
        ([GAN, "--nonsense"], "Unknown command line flag 'nonsense'"),
        ([GAN, "more"], "more: expected flags alone, such as --config=wae_gan"),
        ([], "expected a configuration, such as --config=wae_gan"),
        (["--config="], f"there is no configuration file ''; expected {NAMES}"),
        (["--config"], f"there is no configuration file ''; expected {NAMES}"),
        (
            ["--config=a\udce9\n.py"],
            f"there is no configuration file 'a\\udce9\\n.py'; expected {NAMES}",
        ),
        (["--config=."], f"there is no configuration file '.'; expected {NAMES}"),
        (
            ["--config=configs/mine.py:songs"],
            f"there is no configuration file 'configs/mine.py'; expected {NAMES}",
        ),
        (["--config=wae_gam"], f"there is no configuration 'wae_gam'; did you mean wae_gan? Expected {NAMES}"),
        (["--config=mine:songs"], f"there is no configuration 'mine'; expected {NAMES}"),
    ],
)
def test_a_wrong_command_line_ends_in_a_sentence(arguments, message, capsys):
    with pytest.raises(SystemExit) as raised:
        parse(*arguments)
    assert raised.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('of the\\nfile')", "line 1: RuntimeError: of the file"),
        ("def get_config(:", "SyntaxError: invalid syntax"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", "AttributeError: module 'config_config' has no attribute 'get_config'"),
        ("def get_config():\n  return 3", "returns 3; expected default_config()"),
        (
            "def get_config(variant=''):\n  raise ValueError('no variant ' + variant)",
            "line 2: ValueError: no variant x",
        ),
        (
            "from wae_jax.config import default_config\n\ndef get_config():\n  default_config().modle.z_dim = 3",
            "line 4: AttributeError: ",
        ),
    ],
)
def test_a_configuration_file_that_fails_is_named_with_the_line(text, message, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # ml_collections loads into the same module
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(SystemExit) as raised:
        parse(f"--config={file}" + (":x" if "variant" in text else ""))
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert str(file) in error


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "'{file}': No such file or directory"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_a_flag_file_that_cannot_be_read_is_refused(content, reason, tmp_path, capsys):
    file = tmp_path / "flags.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit) as raised:
        parse(GAN, f"--flagfile={file}")
    assert raised.value.code == 2
    problem = f"--flagfile cannot be read: {reason.format(file=file)}; expected a text file, a flag on each line"
    assert capsys.readouterr().err == f"error: {problem}\n"
    file.write_text("--config.model.z_dim=3\n")
    assert parse(GAN, f"--flagfile={file}").model.z_dim == 3


@pytest.mark.parametrize("flags", [["--help"], ["-help"], ["--helpfull"], [GAN, "--help"]])
def test_after_its_help_main_ends_with_status_0(flags):
    ran = subprocess.run(
        [sys.executable, "-m", "wae_jax.main", *flags], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    if "--helpfull" in flags:
        assert "\n  --config: Name or file of a configuration, with :variant after it for a" in ran.stdout
    else:
        assert "\n--config=NAME[:VARIANT] " in ran.stdout


def test_a_configuration_file_that_ends_the_program_has_its_own_status(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit(7)")
    with pytest.raises(SystemExit) as raised:
        parse(f"--config={file}")
    assert raised.value.code == 7
