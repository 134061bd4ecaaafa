"""The model card of an exported model: README.md, with the metadata that the Hugging Face Hub reads in its head."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

import wae_jax
from wae_jax.config import Config
from wae_jax.evaluation import table
from wae_jax.evaluation.measure import SETS
from wae_jax.files import printable
from wae_jax.generation.model import Model
from wae_jax.pianoroll import NUM_PITCHES, NUM_STEPS, NUM_TRACKS, TRACK_NAMES

CARD_FILE = "README.md"
UNKNOWN_LICENSE = "unknown"
_TAGS = (
    "music",
    "music-generation",
    "symbolic-music",
    "midi",
    "piano-roll",
    "autoencoder",
    "wasserstein",
    "jax",
    "flax",
)
_WASSERSTEIN = "A Wasserstein autoencoder ([arXiv 1711.01558](https://arxiv.org/abs/1711.01558))"
_KINDS = {"kl": "A variational autoencoder", "none": "A plain autoencoder"}
_PENALTIES = {
    "gan": "a discriminator in latent space (WAE-GAN)",
    "mmd": "the maximum mean discrepancy (WAE-MMD)",
    "kl": "the Kullback-Leibler divergence of each phrase's code",
}
_CORPUS_DESCRIPTION = (
    "The built-in corpus of wae_jax: rock and pop phrases that the program makes by rule from a seed. "
    "Nobody composed or played them."
)
_METRICS = (
    'Cells are the active ones of a phrase; qualified notes last three steps or longer; "pitched" is the mean over the '
    "pitched tracks that play. Precision is the share of a set that lies within the neighborhoods of held-out phrases, "
    "recall the share of held-out phrases within the set's; density and coverage are the same with less weight on "
    "outliers. These and the Fréchet distance are of features of harmony, rhythm, density and note lengths. Near "
    "copies nearly equal a training phrase. What is said of codes compares those of held-out music with the prior; "
    "their intrinsic dimension is an estimate from two neighbors of each, one code a song."
)
_CORPUS_LICENSE = "part of the program, Apache-2.0"


@dataclasses.dataclass(frozen=True)
class CardFacts:
    """Facts of a model card that are in no file of the model.

    Attributes:
      name: of the model.
      source: how the model is opened: a folder, or hf://user/name.
      license: of the model, as the hub abbreviates it, such as "cc-by-4.0".
      data_license: of the training data, in words; empty where unknown.
      data_description: of the training data, in Markdown; empty where unknown.
      datasets: their names on the hub, such as "user/name".
    """

    name: str
    source: str
    license: str = UNKNOWN_LICENSE
    data_license: str = ""
    data_description: str = ""
    datasets: Sequence[str] = ()


def make_model_card(
    model: Model, description: Mapping[str, Any], evaluation: Mapping[str, Any] | None, facts: CardFacts
) -> str:
    """The card, in Markdown.

    Args:
      model: the model that is exported.
      description: of the exported model, as `generation.exported.to_exported` returns it.
      evaluation: the content of evaluation.json; None if the model has not been evaluated.
      facts: what only its author knows.
    """
    head = yaml.safe_dump(_metadata(evaluation, facts), sort_keys=False, allow_unicode=True, width=120)
    parts = [
        f"# {facts.name}",
        *_what_it_is(model, description),
        "## Training data",
        *_data(model.config, facts),
        "## Metrics",
        *_metrics(evaluation),
        "## How to use it",
        *_usage(facts.source),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(model, evaluation)),
    ]
    return f"---\n{head}---\n\n" + "\n\n".join(parts) + "\n"


def _metadata(evaluation: Mapping[str, Any] | None, facts: CardFacts) -> dict[str, Any]:
    metadata: dict[str, Any] = {"license": facts.license, "library_name": "wae_jax", "tags": list(_TAGS)}
    if facts.datasets:
        metadata["datasets"] = list(facts.datasets)
    if evaluation is not None and (metrics := list(_results(evaluation))):
        provenance = evaluation["provenance"]
        data = pathlib.PurePath(str(provenance.get("data", "unknown"))).name  # of a folder without those it is in
        is_training_data = provenance.get("data_digest") == provenance.get("training_data_digest")
        known = facts.datasets[0] if is_training_data and len(facts.datasets) == 1 else _slug(data)
        result = {
            "task": {"type": "music-generation", "name": "Unconditional music generation"},
            "dataset": {"type": known, "name": data, "split": str(provenance.get("split", "unknown"))},
            "metrics": metrics,
        }
        metadata["model-index"] = [{"name": facts.name, "results": [result]}]
    return metadata


def _results(evaluation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Metrics of samples, and of reconstructions where these alone have one, as the hub's model-index has them."""
    for label, of_sets in table.headline(evaluation).items():
        for name, what in (("generated", "samples"), ("reconstructed", "reconstructions")):
            if name in of_sets and math.isfinite(of_sets[name].mean):
                yield {"type": _slug(label), "name": f"{label} ({what})", "value": of_sets[name].mean}
                break


def _what_it_is(model: Model, description: Mapping[str, Any]) -> Iterator[str]:
    config = model.config
    penalty = _PENALTIES.get(config.objective.penalty, config.objective.penalty.replace("_", "-"))
    yield (
        f"{_KINDS.get(config.objective.penalty, _WASSERSTEIN)} of four-bar phrases for {NUM_TRACKS} tracks "
        f"({', '.join(TRACK_NAMES)}): {NUM_STEPS} time steps, 12 a beat, by {NUM_PITCHES} pitches. "
        "It samples new phrases, reconstructs and varies given ones, and interpolates between them. Trained with "
        "wae_jax."
    )
    samples = "the normal prior" if model.prior == "normal" else "a density estimated from codes of training phrases"
    rows = {
        "penalty of the codes": penalty,
        "network": f"`{config.model.network}`, h = {config.model.h_dim}, z = {config.model.z_dim}",
        "samples are decoded from": samples,
        "training steps": f"{model.step:,}",
        "files": "`model.safetensors`, kernels as float16; `config.json`, with the whole configuration",
        "digest": f"`{description['digest']}`",
        "exported by": f"wae_jax {wae_jax.__version__}",
    }
    yield _markdown_table(["", ""], [[name, value] for name, value in rows.items()])


def _data(config: Config, facts: CardFacts) -> Iterator[str]:
    is_built_in = not config.data.path
    known = _CORPUS_DESCRIPTION if is_built_in else "Unknown: the author of this model has not described them."
    yield facts.data_description or known
    names = ", ".join(f"[{name}](https://huggingface.co/datasets/{name})" for name in facts.datasets)
    if names:
        yield f"On the hub: {names}."
    license_of_data = facts.data_license or (_CORPUS_LICENSE if is_built_in else "unknown")
    license_of_model = facts.license if facts.license != UNKNOWN_LICENSE else "unknown"
    yield f"License of the data: {license_of_data}. License of the model: {license_of_model}."


def _metrics(evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    if evaluation is None:
        yield "This model has not been evaluated: `python -m wae_jax.evaluate` does so."
        return
    provenance = evaluation["provenance"]
    rows = table.headline(evaluation)
    names = [name for name in SETS if name in evaluation["sets"]]
    lines = []
    for label, of_sets in rows.items():
        cells = [table.short(of_sets[name].mean) if name in of_sets else "" for name in names]
        lines.append([label, *cells, table.short(next(iter(of_sets.values())).floor)])
    training = ", and training music is what a perfect model could reach" if "training" in names else ""
    yield (
        "Measured by `python -m wae_jax.evaluate`, on the model whose kernels are rounded to 16 bits here, with up to "
        f"{provenance.get('num')} phrases a set; held-out music is the split `{provenance.get('split')}` of the data. "
        f"Generated phrases are samples of the prior `{provenance.get('prior')}`, reconstructed ones held-out music "
        f"that was encoded and decoded{training}. The floor is the median difference between random halves of held-out "
        "music: what differs by less is as good as equal."
    )
    yield _markdown_table(["", *(name.replace("_", "-") for name in names), "floor"], lines)
    yield _METRICS


def _usage(source: str) -> Iterator[str]:
    yield (
        "```python\n"
        "import wae_jax\n"
        "\n"
        f"model = wae_jax.load({json.dumps(source, ensure_ascii=False)})\n"
        "phrases = model.binarize(model.sample(8, seed=1))  # [8, 192, 84, 5]\n"
        'wae_jax.to_midi(phrases, "eight.mid")\n'
        "```"
    )
    yield f"```bash\npython -m wae_jax.generate --workdir={shlex.quote(source)} --output=music --num=16\n```"
    if source.startswith("hf://"):
        yield f"Both need wae_jax {wae_jax.__version__} with its extra `hub`: `pip install 'wae_jax[hub]'`."
    else:
        yield f"Both need wae_jax {wae_jax.__version__}, and this folder, by the path from where they run."
    yield "The files hold numbers and text alone; nothing in them is run."


def _limits(model: Model, evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    yield (
        "A phrase is four bars of 4/4, in steps of a twelfth of a beat; longer music is made of phrases, and has no "
        "form beyond them."
    )
    yield (
        "Notes are on or off: there is no loudness, no tempo, and no pause shorter than a step between equal notes. "
        "Pitches outside MIDI numbers 24 to 107 do not exist, nor do instruments beside the tracks."
    )
    yield "It knows no text: samples are not conditioned on a prompt, a genre or an artist."
    if not model.config.data.path:
        yield "It knows the built-in corpus alone, and reproduces real songs poorly."
    if model.config.data.is_in_one_tonality:
        yield "It was trained on music in C major and A minor alone; other keys are reached by transposition."
    yield "Reconstructions are not exact, least of all of music that is unlike the training data."
    if model.kernel_density is not None:
        yield (
            "The files contain codes of training phrases, from which those can be reconstructed as well as the model "
            "reconstructs anything."
        )
    if evaluation is None or "copies" not in evaluation:
        yield "How often samples are near copies of training phrases has not been measured."


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(printable(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _slug(text: str) -> str:
    """Letters, digits and underscores of a text, as identifiers of metrics and datasets have them."""
    return re.sub(r"\W+", "_", text.replace("²", "2").lower(), flags=re.ASCII).strip("_") or "unknown"
