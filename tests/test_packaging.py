"""What a release consists of, and that it runs where the repository is not."""

import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml

from tests.helpers import ROOT


def test_continuous_integration_runs_the_test_command_of_the_readme():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    job = workflow["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert workflow["permissions"] == {"contents": "read"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_hooks_are_programs_of_the_extra_for_developers():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    project = (ROOT / "pyproject.toml").read_text()
    assert len(hooks) == 4
    for hook in hooks:
        assert hook["language"] == "system"
        assert f'"{hook["entry"].split()[0]}' in project


def test_the_citation_names_the_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
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
    assert held == tracked("wae_jax")
    with tarfile.open(source) as members:
        inside = {name.partition("/")[2] for name in members.getnames()}
    assert tracked("wae_jax", "configs", "launch", "tests") <= inside
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", ".github/images/draws.png"} <= inside


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_programs_run_outside_the_repository(release, tmp_path):
    wheel, source = release
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*pip, site, wheel], check=True)
    with tarfile.open(source) as members:
        members.extractall(tmp_path, filter="data")
    (configs,) = tmp_path.glob("wae_jax-*/configs")
    environment = {**os.environ, "PYTHONPATH": str(site), "JAX_PLATFORMS": "cpu"}

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(site) in run("-c", "import wae_jax; print(wae_jax.__file__)")
    run("-m", "wae_jax.generate", "--output=music", "--num=2", "--no-audio", "--no-page")
    run("-m", "wae_jax.listen", "page", "--output=page.html", "--num=1")
    run("-m", "wae_jax.build_dataset", "--input=music/phrases.npz", "--output=data")
    small = ["--config.model.h_dim=2", "--config.batch_size=2", "--config.num_train_steps=1"]
    small += ["--config.eval.num_phrases=4", "--config.eval.num_train_phrases=0", "--config.eval.num_page_samples=0"]
    small += ["--config.data.num_songs=80", "--config.eval.num_samples=0"]
    run("-m", "wae_jax.main", f"--config={configs / 'wae_mmd.py'}", "--workdir=run", *small)
    run("-m", "wae_jax.evaluate", "--workdir=run", "--num=8")
    run("-m", "wae_jax.export", "--workdir=run", "--output=model.npz", "--num=4")
    for made in ("music/phrase_0001.mid", "page.html", "data/phrases.npy", "run/evaluation/report.html", "model.npz"):
        assert (tmp_path / made).is_file()
