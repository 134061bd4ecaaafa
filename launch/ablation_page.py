"""Writes the page of the ablations from the records of sweeps; no number of the page is typed by hand.

    python launch/ablation_page.py --sweeps sweeps/corpus sweeps/songs
    python launch/ablation_page.py

Evaluations in the sweeps' folders are added to docs/ablations/records.jsonl, and replace those of the same arm, seed,
data and flags. docs/ablations.md is then docs/ablations/page.md.jinja with the tables and values that it asks for, and
docs/images has its figure, if the page shows it.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import runpy
import sys
from collections.abc import Sequence
from typing import Any

import ablation_tables
import jinja2
from ablation_tables import BASELINE, Arm
from sweep_records import Record, collect, merge, read_records, write_records
from sweep_runs import ROOT, SweepError

_DOCS = ROOT / "docs"
RECORDS = _DOCS / "ablations" / "records.jsonl"
TEMPLATE = _DOCS / "ablations" / "page.md.jinja"
PAGE = _DOCS / "ablations.md"
FIGURE = _DOCS / "images" / "latent_dimensions.png"
_ENCODERS = {
    "deterministic": "",
    "additive noise": "encoder=additive_noise,encoder_noise=0.3",
    "Gaussian, penalty on log variances": "encoder=gaussian,log_variance_weight=1",
}
# What the figure has: its rows and columns.
_PLOTTED_PROTOCOLS = {"cpu": "Built-in corpus", "songs": "Real songs"}
_PANELS = {"f1": "F1 of other songs", "coverage": "Coverage of samples", "frechet": "Fréchet distance of samples"}
_ABLATIONS = runpy.run_path(str(ROOT / "configs" / "ablations.py"))


def make_page(template: str, records: Sequence[Record]) -> str:
    """The page in Markdown.

    The template's functions take the protocol as their first argument: `table(protocol, name, columns, evaluation)`,
    `has(protocol, name, evaluation)`, whether an arm besides the baseline has been run, `value(protocol, arm, column,
    evaluation)`, `songs(protocol, arm, metric, evaluation)` and `about(protocol)`. A table is named as in
    `configs/ablations.py`, or a list of arms.

    Raises:
      SweepError: if a table or value has no runs.
    """

    def of_protocol(protocol: str) -> list[Record]:
        found = [record for record in records if record.protocol == protocol]
        if not found:
            raise SweepError(f"there is no record of the protocol {protocol}; run a sweep with it")
        if len({record.data_digest for record in found}) > 1:
            raise SweepError(f"records of the protocol {protocol} are of different data; keep those of one dataset")
        return found

    def arm(protocol: str, name: str) -> Arm:
        if any(record.arm == name for record in records if record.protocol == protocol):
            return Arm(name, name)  # perhaps of a setting that is gone
        in_protocol = f"{name},protocol={protocol}"
        return Arm(name, _ABLATIONS["training_arm"](in_protocol), _ABLATIONS["evaluation_flags"](in_protocol))

    def table(protocol: str, name: str | Sequence[str], columns: Sequence[str], evaluation: str = "split=test") -> str:
        arms = [arm(protocol, each) for each in (_ABLATIONS["TABLES"][name] if isinstance(name, str) else name)]
        return ablation_tables.table(arms, of_protocol(protocol), columns=columns, evaluation=evaluation)

    def has(protocol: str, name: str, evaluation: str = "split=test") -> bool:
        arms = [arm(protocol, each) for each in _ABLATIONS["TABLES"][name]]
        found = [record for record in records if record.protocol == protocol]
        return any(
            ablation_tables.has_runs(each, found, evaluation) for each in arms if each != Arm(each.name, BASELINE)
        )

    def value(protocol: str, name: str, column: str, evaluation: str = "split=test") -> str:
        found = of_protocol(protocol)
        return ablation_tables.cell(arm(protocol, name), found, column=column, evaluation=evaluation)

    def songs(protocol: str, name: str, metric: str, evaluation: str = "split=test") -> str:
        found = of_protocol(protocol)
        return ablation_tables.songs_interval(arm(protocol, name), found, metric=metric, evaluation=evaluation)

    def about(protocol: str) -> dict[str, Any]:
        return ablation_tables.describe_runs(of_protocol(protocol))

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(template).render(table=table, has=has, value=value, songs=songs, about=about)


def plot_latent_dimensions(records: Sequence[Record], path: pathlib.Path) -> None:
    """Draws reconstruction and samples over the number of latent dimensions: a row of panels for each protocol."""
    from wae_jax.render import style

    figure = style.new_figure(10, 6)
    panels = figure.subplots(len(_PLOTTED_PROTOCOLS), len(_PANELS))
    for row, (protocol, data) in zip(panels, _PLOTTED_PROTOCOLS.items(), strict=True):
        found = [record for record in records if record.protocol == protocol]
        for axes, (column, title) in zip(row, _PANELS.items(), strict=True):
            _draw_lines(axes, found, protocol, column)
            style.style_axes(axes, title)
            style.set_labels(axes, x="latent dimensions", y=data if axes is row[0] else None)
    if figure.axes[0].lines:
        figure.axes[0].legend(frameon=False, fontsize=8, labelcolor=style.INK)
    style.save_figure(figure, path)


def _draw_lines(axes: Any, records: Sequence[Record], protocol: str, column: str) -> None:
    """A line for each kind of encoder, with the means of those arms that have runs."""
    from wae_jax.render import style

    named = _ABLATIONS["TABLES"]["latent_dim"]
    sizes = sorted({int(arm.partition("latent_dim=")[2].partition(",")[0]) for arm in named})
    for (label, settings), color in zip(_ENCODERS.items(), style.TRACK_COLORS[1:], strict=False):
        names = [",".join(filter(None, (f"latent_dim={size}", settings, f"protocol={protocol}"))) for size in sizes]
        arms = [Arm(name, _ABLATIONS["training_arm"](name)) for name in names]
        means = [ablation_tables.mean(each, records, column=column, evaluation="split=test") for each in arms]
        points = [(size, mean) for size, mean in zip(sizes, means, strict=True) if not math.isnan(mean)]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=color, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Writes docs/ablations.md from the records of sweeps.")
    parser.add_argument("--sweeps", nargs="+", default=[], type=pathlib.Path, help="folders of sweeps to add")
    options = parser.parse_args(arguments)
    try:
        records = merge(read_records(RECORDS), *map(collect, options.sweeps))
        page = make_page(TEMPLATE.read_text(encoding="utf-8"), records)
        if options.sweeps:
            write_records(RECORDS, records)
        PAGE.write_text(page, encoding="utf-8")
        if FIGURE.name in page:
            plot_latent_dimensions(records, FIGURE)
    except (OSError, ValueError, jinja2.TemplateError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {PAGE.relative_to(ROOT)} from {len(records)} records")
    return 0


if __name__ == "__main__":
    sys.exit(main())
