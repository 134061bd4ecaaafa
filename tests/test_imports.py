"""The direction of imports: the contracts of pyproject.toml hold, and what is written about them agrees."""

import ast
import re
import subprocess
import sys
import tomllib

import grimp
import pytest

from tests.helpers import ROOT

LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
LAYERS = [[name.strip() for name in re.split(r"[|:]", layer)] for layer in LINTER["contracts"][0]["layers"]]
PACKAGES = sorted(path.parent.name for path in (ROOT / "wae_jax").glob("*/__init__.py"))


def test_contracts_hold():
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("KEPT") == len(LINTER["contracts"])


def test_contributing_shows_the_layers():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    picture = text[text.index("## Layers") :].split("```")[1]
    names = [re.split(r"\s{2,}", line)[0] for line in picture.strip().splitlines()]
    assert [line.split(" | ") for line in names] == LAYERS


def test_every_package_stands_in_a_layer():
    assert {name for layer in LAYERS for name in layer} >= set(PACKAGES)


@pytest.fixture(scope="module")
def imports():
    """For each package, the modules and packages of wae_jax that it imports by itself."""
    graph = grimp.build_graph("wae_jax", cache_dir=None)
    found = {package: set() for package in PACKAGES}
    for package in PACKAGES:
        inside = {f"wae_jax.{package}"} | graph.find_descendants(f"wae_jax.{package}")
        for module in inside:
            names = {each.split(".")[1] for each in graph.find_modules_directly_imported_by(module) if "." in each}
            found[package] |= names - {package}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_may_import(package, imports):
    """Its docstring ends with "May import ...", of names in backticks, which are lower layers."""
    docstring = ast.get_docstring(ast.parse((ROOT / "wae_jax" / package / "__init__.py").read_text()))
    allowed = set(re.findall(r"`(\w+)`", docstring[docstring.index("May import") :]))
    (layer,) = (i for i, names in enumerate(LAYERS) if package in names)
    lower = {name for names in LAYERS[layer + 1 :] for name in names}
    assert imports[package] <= allowed <= lower
