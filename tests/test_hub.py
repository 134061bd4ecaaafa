"""Models on a stand-in for the Hugging Face Hub, through huggingface_hub."""

import json
import os
import subprocess
import sys

import huggingface_hub.constants
import numpy as np
import pytest

import wae_jax
from tests.decoding import small_model
from tests.helpers import ROOT
from tests.hub_server import TOKEN, HubServer
from wae_jax import export
from wae_jax.errors import RemoteError
from wae_jax.generation.export_file import write_model
from wae_jax.generation.export_folder import write_model_folder
from wae_jax.hub import parse_hub_url, upload

URL = "hf://me/songs"
# huggingface_hub's way to hand bytes to its HTTP client.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The server; this process reads its address and writes to it with the right token."""
    server = HubServer()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    # Its own protocol for large files takes another server.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path):
    write_model_folder(tmp_path / "model", small_model())
    return tmp_path / "model"


def put(hub, folder, name="me/songs"):
    return hub.put(name, {path.name: path.read_bytes() for path in folder.iterdir()})


def samples(source):
    return wae_jax.load(source).sample(2, seed=3)


def test_what_is_pushed_is_loaded_by_branch_and_commit(hub, tmp_path, capsys):
    write_model(tmp_path / "a.npz", small_model())
    write_model(tmp_path / "b.npz", small_model(seed=4))
    for name in ("a.npz", "b.npz"):
        assert export.main([f"--workdir={tmp_path / name}", f"--push={URL}", "--num=2", "--license=cc0-1.0"]) == 0
    assert f"uploaded to {hub.url}/me/songs" in capsys.readouterr().out
    (first, message, files), (second, *_) = hub.models["me/songs"]
    assert message == "Step 7, exported by wae_jax"
    assert set(files) == {"model.safetensors", "config.json", "README.md"}
    assert files["README.md"].startswith(b"---\nlicense: cc0-1.0\n")
    assert hub.objects.keys()  # weights went the way of large files
    assert not hub.private
    assert (wae_jax.load(f"{URL}@{first}").config.seed, wae_jax.load(URL).config.seed) == (0, 4)
    assert wae_jax.load(f"{URL}@{second}").config.seed == wae_jax.load(f"{URL}@main").config.seed == 4
    np.testing.assert_array_equal(samples(URL), samples(tmp_path / "b.npz"))


def test_output_is_kept_beside_a_push_and_the_model_may_be_private(hub, tmp_path, monkeypatch):
    write_model(tmp_path / "a.npz", small_model())
    output = tmp_path / "kept"
    assert export.main([f"--workdir={tmp_path / 'a.npz'}", f"--push={URL}", f"--output={output}", "--private"]) == 0
    assert {path.name: path.read_bytes() for path in output.iterdir()} == hub.models["me/songs"][0][2]
    assert hub.private == {"me/songs"}
    np.testing.assert_array_equal(samples(URL), samples(output))
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(RemoteError, match=r"could not be read: the hub refused access \(status 401\).* set HF_TOKEN"):
        wae_jax.load(f"{URL}@main2")


def test_what_the_hub_refuses_is_a_sentence(hub, folder, monkeypatch):
    with pytest.raises(RemoteError, match="hf://me/none could not be read: there is no such model, or it is private"):
        wae_jax.load("hf://me/none")
    put(hub, folder)
    with pytest.raises(RemoteError, match="hf://me/songs@old could not be read: it has no such revision"):
        wae_jax.load(f"{URL}@old")
    files = [folder / "config.json"]
    with pytest.raises(RemoteError, match="could not be written: it has no such revision; expected a branch"):
        upload(f"{URL}@old", files, message="m", is_private=False)
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(RemoteError, match=r"could not be written: the hub refused access \(status 401\)"):
        upload(URL, files, message="m", is_private=False)
    assert len(hub.models["me/songs"]) == 1
    hub.put("me/other", {"model.safetensors": b"", "notes.txt": b""})
    with pytest.raises(RemoteError, match=r"hf://me/other has no config\.json; expected a model that .* --push wrote"):
        wae_jax.load("hf://me/other")


def test_damage_is_named_by_the_url(hub, folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1])
    put(hub, folder)
    with pytest.raises(wae_jax.errors.CheckpointError, match="hf://me/songs cannot be read: it is damaged"):
        wae_jax.load(URL)


def test_a_hub_that_is_out_of_order_or_gone_is_a_sentence_and_the_last_download_is_used(hub, folder):
    put(hub, folder)
    expected = samples(URL)
    hub.failing = 500
    with pytest.raises(RemoteError, match=rf"the hub at {hub.url} could not be reached, or failed \(.*500"):
        wae_jax.load("hf://me/none")
    hub.close()
    with pytest.raises(RemoteError, match=rf"the hub at {hub.url} could not be reached, or failed \(Connect"):
        wae_jax.load("hf://me/none")
    with pytest.raises(RemoteError, match=r"written: the hub at .* could not be reached"):
        upload(URL, [folder / "config.json"], message="m", is_private=False)
    np.testing.assert_array_equal(samples(URL), expected)


@pytest.mark.parametrize(
    "url", ["hf://songs", "hf://me/songs/file", "hf://datasets/me/songs", "hf://me/so ngs", "hf://"]
)
def test_other_urls_are_refused(url):
    with pytest.raises(RemoteError, match="is no model on the hub; expected hf://user/name"):
        parse_hub_url(url)


def test_without_the_extra_a_sentence_names_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RemoteError, match=r"hf://me/songs needs huggingface_hub; pip install 'wae_jax\[hub\]'"):
        wae_jax.load(URL)
    # Before the work is done: there is no such workdir.
    assert export.main([f"--workdir={tmp_path / 'none'}", f"--push={URL}"]) == 1
    assert "pip install 'wae_jax[hub]'" in capsys.readouterr().err


@pytest.mark.slow
def test_commands_find_the_hub_at_hf_endpoint(hub, folder, tmp_path):
    put(hub, folder)
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"PYTHONPATH": str(ROOT)}
    flags = ["--mode=encode", "--num=2", f"--workdir={URL}", f"--output={tmp_path / 'codes'}"]
    # The tiny network of the tests is none of the package's.
    program = f"import tests.conftest, sys; from wae_jax import generate; sys.exit(generate.main({json.dumps(flags)}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "codes" / "codes.npy").shape == (2, 3)
