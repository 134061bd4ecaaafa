"""evaluation.json: written, read and checked."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from wae_jax.errors import CompareError
from wae_jax.files import whole_file

RESULT_FILE = "evaluation.json"
FORMAT = "wae_jax evaluation"
FORMAT_VERSION = 2


def write_evaluation(folder: pathlib.Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Writes evaluation.json; returns its content as `read_evaluation` would."""
    plain = to_json({"format": FORMAT, "format_version": FORMAT_VERSION, **content})
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / RESULT_FILE) as part:
        part.write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return plain


def to_json(value: Any) -> Any:
    """The value in JSON's types: lists for arrays, None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(name): to_json(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_evaluation(folder: pathlib.Path) -> dict[str, Any]:
    """The evaluation in a workdir, or a folder that --output named; raises CompareError if it cannot be used."""
    candidates = [folder / "evaluation" / RESULT_FILE, folder / RESULT_FILE]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise CompareError(
            f"{folder} has not been evaluated: there is no {candidates[0]}; "
            f"run python -m wae_jax.evaluate --workdir {folder}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CompareError(f"{path} cannot be read: {error}; evaluate the run again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CompareError(f"{path} is not an evaluation; evaluate the run again")
    if content["format_version"] != FORMAT_VERSION:
        raise CompareError(
            f"{path} has version {content['format_version']} of its format, and this program reads version "
            f"{FORMAT_VERSION}; evaluate the run again"
        )
    return content
