"""Models on the Hugging Face Hub, at hf://user/name, through huggingface_hub, which the extra `hub` brings.

The address of the hub is HF_ENDPOINT, the token HF_TOKEN or that of `hf auth login`, and HF_HUB_OFFLINE=1 uses what has
been downloaded before, as in all programs that use huggingface_hub.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

from wae_jax.errors import RemoteError
from wae_jax.programs import how_to_run

SCHEME = "hf://"
# The files of a model, by the names that the hub knows.
WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "config.json"


class HubModel(NamedTuple):
    """A model on the hub."""

    repository: str  # user/name
    revision: str | None  # a branch, tag or commit; None for the newest

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def is_hub_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the URL of a model on the hub."""
    return os.fspath(path).startswith(SCHEME)


def parse_hub_url(url: str) -> HubModel:
    """Reads hf://user/name or hf://user/name@revision.

    Raises:
      RemoteError: if it has another form.
    """
    found = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", url.rstrip("/"), re.ASCII)
    if found is None:
        raise RemoteError(f"{url} is no model on the hub; expected hf://user/name or hf://user/name@revision")
    return HubModel(*found.groups())


def download(url: str) -> pathlib.Path:
    """A local folder with weights and description of a model on the hub, both of one commit.

    It is in the cache of huggingface_hub. Where the hub cannot be reached, what was downloaded last is used.

    Raises:
      RemoteError: if huggingface_hub is not installed, or the model cannot be downloaded, or is none of this package.
    """
    model, names = parse_hub_url(url), (DESCRIPTION_FILE, WEIGHTS_FILE)
    with _errors(model, "read") as hub:
        folder = pathlib.Path(hub.snapshot_download(model.repository, revision=model.revision, allow_patterns=[*names]))
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise RemoteError(
            f"{model} has no {' and no '.join(missing)}; expected a model that {how_to_run('export')} --push wrote"
        )
    return folder


def upload(url: str, files: Sequence[pathlib.Path], *, message: str, is_private: bool) -> str:
    """Writes files to a model on the hub, in one commit; returns its web address.

    Args:
      url: hf://user/name; the model is made if it is missing.
      files: the local files, which keep their names.
      message: of the commit.
      is_private: whether a model that is made can be seen by its owner alone; one that is there stays as it is.

    Raises:
      RemoteError: if huggingface_hub is not installed, or the files cannot be uploaded. Then none has been changed.
    """
    model = parse_hub_url(url)
    with _errors(model, "written") as hub:
        api = hub.HfApi()
        address = api.create_repo(model.repository, private=is_private or None, exist_ok=True)
        additions = [hub.CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file)) for file in files]
        api.create_commit(model.repository, additions, commit_message=message, revision=model.revision)
        return str(address)


def check_hub(url: str) -> None:
    """Raises RemoteError unless the URL is of a model on the hub, and huggingface_hub is installed."""
    _import_hub(parse_hub_url(url))


def _import_hub(model: HubModel) -> ModuleType:
    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise RemoteError(f"{model} needs huggingface_hub; pip install 'wae_jax[hub]'") from error
    return huggingface_hub


@contextlib.contextmanager
def _errors(model: HubModel, what: str) -> Iterator[ModuleType]:
    """Yields huggingface_hub, whose errors become RemoteError."""
    hub = _import_hub(model)
    try:
        yield hub
    except Exception as error:  # its own, those of its HTTP library, ValueError
        raise RemoteError(f"{model} could not be {what}: {_reason(hub, error)}") from error


def _reason(hub: ModuleType, error: BaseException) -> str:
    """The reason why the hub refused or could not be reached, and what would be right."""
    errors = hub.errors
    # An error of a request that led to another error, such as that nothing has been downloaded before, says more.
    while not isinstance(error, errors.HfHubHTTPError) and error.__cause__ is not None:
        error = error.__cause__
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and it has not been downloaded before"
    if isinstance(error, errors.RevisionNotFoundError):
        return "it has no such revision; expected a branch, a tag or a commit of it"
    if isinstance(error, errors.GatedRepoError):
        return "its owner grants access to it on request; ask for it on its page, and set HF_TOKEN to your token"
    if status in (401, 403):
        return (
            f"the hub refused access (status {status}): there is no such model, or the token is missing, wrong or does "
            "not allow it; set HF_TOKEN, or run hf auth login"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such model, or it is private and HF_TOKEN is not a token of its owner"
    first_line = next(iter(str(error).splitlines()), "")
    return f"the hub at {hub.constants.ENDPOINT} could not be reached, or failed ({type(error).__name__}: {first_line})"
