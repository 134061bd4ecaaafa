"""What documents name exists: files, links, commands, fields of the configuration and flags."""

import importlib
import pkgutil
import re
import shlex

import pytest

from tests.helpers import ROOT
from wae_jax.config import default_config, flatten_config

_PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "tour.ipynb"]
_SHIPPED = ROOT / "wae_jax" / "shipped" / "wae_free_sources.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", _SHIPPED, *_PAGES]
_ROOTS = r"(?:wae_jax|configs|launch|tests|docs|\.github|\.ci)/"


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def document(request):
    return request.param


def commands(text):
    """Command lines of fenced blocks, with their continuation lines."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if re.search(r"wae_jax\.|launch/|tests\.bench", line)]


def test_files_exist(document):
    text = document.read_text()
    named = re.findall(rf"(?<![\w./-]){_ROOTS}[\w./*-]*", text)
    # `wae_jax/shipped/wae_free.npz` at the end of a sentence, and `configs/wae_gan.py:blog`.
    missing = [each for each in named if not list(ROOT.glob(each.rstrip("./")))]
    assert not missing


def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if "://" not in target and not target.startswith("#"):
            assert (document.parent / target.partition("#")[0]).is_file(), target


def test_modules_that_commands_run_exist(document):
    for module in re.findall(r"-m ((?:wae_jax|tests)(?:\.\w+)+)", document.read_text()):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def test_fields_of_the_configuration_exist(document):
    fields = flatten_config(default_config().to_dict())
    for name in re.findall(r"--config\.([\w.]*\w)", document.read_text()):
        assert any(field == name or field.startswith(f"{name}.") for field in fields), name


def test_flags_exist(document):
    text = document.read_text()
    sources = [path for folder in ("wae_jax", "launch", "tests/bench") for path in (ROOT / folder).rglob("*.[ps][yh]")]
    known = set(re.findall(r"--([\w-]+)|DEFINE_\w+\(\s*\"(\w+)\"", "\n".join(path.read_text() for path in sources)))
    known = {name for pair in known for name in pair}
    used = {flag for line in commands(text) for flag in re.findall(r"\s--([a-z][\w-]*)", line)}
    used |= set(re.findall(r"`--([a-z][\w-]*)", text))
    made = {"config", "steps", "rounds", "devices"}  # by ml_collections, and by tests/bench/report.py for all benches
    assert used - known - made == set()


def test_commands_are_understood(document):
    for line in commands(document.read_text()):
        found = re.search(r"-m wae_jax\.(generate|evaluate|build_dataset|export|listen) ([^#&]*)", line)
        if found and not re.search(r"[${…]", line):
            module = importlib.import_module(f"wae_jax.{found.group(1)}")
            module.parse_arguments(shlex.split(found.group(2)))


def test_the_names_of_the_api_exist():
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert len(names) > 10
    for name in names:
        pkgutil.resolve_name(name)


@pytest.mark.slow
def test_the_python_of_the_tour_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
    names = {}
    exec(code.replace('"runs/gan"', ""), names)
    assert names["phrases"].shape == names["probabilities"].shape == (8, 192, 84, 5)
    assert names["phrases"].dtype == bool
    assert names["codes"].shape == (8, names["model"].config.model.z_dim)
