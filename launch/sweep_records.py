"""Records of the evaluated runs of sweeps, one JSON object a line: what the tables of results are made of.

A sweep's folder takes gigabytes and stays where it was made; its records take a kilobyte a run, and are kept with the
project, so that anyone can make the tables again.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sweep_runs import FINISHED, SweepError

_OF_RECONSTRUCTIONS = ("precision", "recall", "coverage", "frechet_distance")


@dataclasses.dataclass(frozen=True)
class Record:
    """One evaluation of one run.

    Attributes:
      protocol: of `configs/ablations.py`.
      data: name of the data that it was evaluated on.
      data_digest: of the same data.
      arm: as its run is called.
      seed: of its training.
      evaluation: flags of the evaluation, sorted, such as "prior=normal,split=test".
      metrics: by set and metric, such as "generated/coverage"; None where it is not defined.
      intervals: lower and upper end over songs, of some of the metrics.
      facts: number of parameters, steps, seconds of training and of the evaluation, commit, processor and version.
    """

    protocol: str
    data: str
    data_digest: str
    arm: str
    seed: int
    evaluation: str
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, list[float]]
    facts: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What no two records have in common."""
        return (self.protocol, self.data_digest, self.arm, self.evaluation, self.seed)


def collect(sweep: pathlib.Path) -> list[Record]:
    """The records of the finished evaluations in a sweep's folder.

    Raises:
      SweepError: if it is not the folder of a sweep.
    """
    try:
        protocol = json.loads((sweep / "sweep.json").read_text(encoding="utf-8"))["protocol"]
        lines = (sweep / "sweep.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, KeyError) as error:
        raise SweepError(
            f"{sweep} is not the folder of a sweep: {error}; name the --output of launch/sweep.py"
        ) from None
    commands: dict[tuple[str, int, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for line in map(json.loads, lines):
        commands[line["arm"], line["seed"], line["what"]].append(line)
    records = []
    for (arm, seed, what), runs in commands.items():
        file = sweep / arm / f"seed_{seed}" / what / "evaluation.json"
        if runs[-1]["state"] == FINISHED and file.is_file():
            training = commands.get((arm, seed, "train"), [])
            seconds = {"train_seconds": _seconds(training), "evaluation_seconds": _seconds(runs)}
            of_run = {name: (training or runs)[-1][name] for name in ("commit", "processor")}
            records.append(_record(protocol, arm, seed, what, file, {**seconds, **of_run}))
    return records


def _seconds(commands: Iterable[Mapping[str, Any]]) -> float:
    """Seconds that commands took together, interrupted ones too."""
    return round(sum(each["seconds"] for each in commands), 1)


def _record(protocol: str, arm: str, seed: int, what: str, file: pathlib.Path, facts: Mapping[str, Any]) -> Record:
    from wae_jax.evaluation.table import headline, read_evaluation

    content = read_evaluation(file.parent)
    provenance = content["provenance"]
    values = {
        f"{name}/{label}": _rounded(of_set.mean)
        for label, sets in headline(content).items()
        for name, of_set in sets.items()
        if _is_kept(name, label, arm)
    }
    intervals = {
        f"{name}/{metric}": [round(low, 4), round(high, 4)]
        for name, of_set in content["distribution"].get("intervals", {}).items()
        for metric, (low, high) in of_set.items()
        if low is not None
    }
    about = {"steps": provenance["checkpoint_step"], "num_parameters": provenance.get("num_parameters")}
    # An underscore comes before each flag, and may be in a value: "evaluation_split=test_prior=kernel_density".
    flags = re.split(r"_(?=[a-z-]+=)", what)[1:]
    return Record(
        protocol=protocol,
        data=pathlib.PurePath(provenance["data"]).name if "/" in provenance["data"] else provenance["data"],
        data_digest=provenance["data_digest"],
        arm=arm,
        seed=seed,
        evaluation=evaluation_name(flags),
        metrics=values,
        intervals=intervals,
        facts={**about, **facts, "wae_jax": provenance["versions"]["wae_jax"]},
    )


def _is_kept(of_set: str, label: str, arm: str) -> bool:
    """Whether a metric is part of a record; real music is the same for all arms, and kept with the baseline's."""
    if of_set == "training":
        return arm == "baseline"
    if of_set == "held_out":
        return "codes" in label or label == "active dimensions"
    return of_set == "generated" or label in _OF_RECONSTRUCTIONS or label.startswith("reconstruction ")


def evaluation_name(flags: Iterable[str]) -> str:
    """The name of an evaluation by its flags without hyphens, in any order."""
    return ",".join(sorted(flags))


def _rounded(value: float) -> float | None:
    """Four digits, which is more than seeds have in common; None for NaN."""
    return None if math.isnan(value) else float(f"{value:.4g}")


def read_records(path: pathlib.Path) -> list[Record]:
    """The records of a file; none where there is no file.

    Raises:
      SweepError: if a line is not a record.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            records.append(Record(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise SweepError(f"line {number} of {path} is not a record: {error}; restore the file") from None
    return records


def merge(*of_sources: Iterable[Record]) -> list[Record]:
    """The records of all sources, in a fixed order; a later one replaces an earlier one of the same evaluation."""
    found = {record.key: record for records in of_sources for record in records}
    return [found[key] for key in sorted(found)]


def write_records(path: pathlib.Path, records: Iterable[Record]) -> None:
    """Writes records as `read_records` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text("".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in records), encoding="utf-8")
    part.replace(path)
