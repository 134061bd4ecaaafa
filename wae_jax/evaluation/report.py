"""The report of an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from matplotlib.figure import Figure as Picture

from wae_jax.evaluation import measure, table
from wae_jax.evaluation.measure import SETS, PhraseSet
from wae_jax.pianoroll import PackedPhrases, unpack
from wae_jax.render import latent_plots, metric_plots, phrase_plots
from wae_jax.render.curves import plot_curves, read_history

_PHRASES_SHOWN = 8
_PAIRS_SHOWN = 6
_METRICS_SHOWN = (
    ("qualified_note_rate", "Pitched"),
    ("one_step_share", "Pitched"),
    ("note_length", "Pitched"),
    ("notes_per_bar", "Pitched"),
    ("notes_per_bar", "Drums"),
    ("polyphony_rate", "Pitched"),
    ("empty_bar_rate", "Pitched"),
    ("cells", "all"),
    ("drum_pattern", "all"),
    ("in_scale_share", "Pitched"),
    ("used_pitch_classes", "Pitched"),
    ("reonset_gap_share", "Pitched"),
)
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #1d2330;
       background: #fff; }
h2 { margin-top: 2.5rem; } figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #566; max-width: 70ch; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #e3e5ea; text-align: right; }
th:first-child, td:first-child { text-align: left; } td.far { background: #fdeaea; } small { color: #566; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; overflow-wrap: anywhere; }
"""


def make_report(content: Mapping[str, Any], sets: Mapping[str, PhraseSet], *, workdir: pathlib.Path | None) -> str:
    """The page.

    Args:
      content: of evaluation.json.
      sets: the phrases that were measured.
      workdir: of the run, for its training curves; None where phrases have none.
    """
    title = f"Evaluation of {workdir if workdir else content['provenance'].get('phrases', 'phrases')}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        "<p>Everything is compared with held-out music, which no training saw. A cell is marked where a set differs "
        f"from it by more than {table.SMALL:g} floors; the floor is the median difference between random "
        "halves of the held-out music itself, divided by song. Intervals are of 95 %, over songs where songs are "
        "known.</p>",
        _table(content),
        *_pictures(content, sets, workdir),
        "<h2>Where these figures come from</h2>",
        _provenance(content),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _table(content: Mapping[str, Any]) -> str:
    names = [name for name in SETS if name in content["sets"]]
    head = "".join(f"<th>{name.replace('_', '-')}</th>" for name in names)
    rows = []
    for label, of_sets in table.figures(content).items():
        real = of_sets.get("held_out")
        cells = "".join(_cell(of_sets.get(name), real) for name in names)
        floor = next(iter(of_sets.values())).floor
        rows.append(f"<tr><td>{html.escape(label)}</td>{cells}<td>{_short(floor)}</td></tr>")
    return f"<table><thead><tr><th></th>{head}<th>floor</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(figure: table.Figure | None, real: table.Figure | None) -> str:
    if figure is None or np.isnan(figure.value):
        return "<td></td>"
    interval = "" if np.isnan(figure.low) else f" <small>{_short(figure.low)} to {_short(figure.high)}</small>"
    mark = ' class="far"' if table.is_far(figure, real) else ""
    return f"<td{mark}>{_short(figure.value)}{interval}</td>"


def _short(value: float) -> str:
    return "" if np.isnan(value) else table.short(value)


def _pictures(content: Mapping[str, Any], sets: Mapping[str, PhraseSet], workdir: pathlib.Path | None) -> Iterator[str]:
    """The pictures with their headings, in the order of reading."""
    yield "<h2>Metrics</h2>"
    bars, floors = _bars(content)
    yield _figure(
        metric_plots.plot_metric_bars(bars, floors=floors),
        "Means and intervals; the grey band is held-out music and the floor around it.",
    )
    lengths = content["note_lengths"]
    pitched = lengths["columns"].index(measure.PITCHED)
    yield _figure(
        metric_plots.plot_note_lengths(
            {_name(name): _array(each[pitched]) for name, each in lengths["sets"].items()},
            _length_labels(lengths["bins"]),
        ),
        "Shares of the notes of pitched tracks by length, in steps of a twelfth of a quarter note.",
    )
    yield "<h2>Phrases</h2>"
    yield _figure(_grid(sets["generated"], "generated"), "The first phrases of those that were drawn, unselected.")
    yield _figure(_grid(sets["held_out"], "held out"), "Held-out phrases, chosen at random by the seed.")
    if "reconstructed" in sets:
        rows = np.arange(min(_PAIRS_SHOWN, len(sets["held_out"].packed)))
        yield _figure(
            phrase_plots.plot_pairs(
                _dense(sets["held_out"].packed, rows),
                _dense(sets["reconstructed"].packed, rows),
                names=("held out", "reconstructed"),
            ),
            "Held-out phrases, and what the decoder makes of their codes.",
        )
    yield from _memorisation(content, sets)
    if codes := content.get("codes"):
        yield from _latent(content, codes)
    if workdir is not None and (history := read_history(workdir)):
        yield "<h2>Training</h2>"
        yield _figure(plot_curves(history), "Training and evaluation as the run went.")


def _memorisation(content: Mapping[str, Any], sets: Mapping[str, PhraseSet]) -> Iterator[str]:
    copies = content["copies"]
    found = copies["sets"]["generated"]
    yield "<h2>Memorisation</h2>"
    yield _figure(
        metric_plots.plot_nearest_distances(
            {_name(name): _array(each["distance"]) for name, each in copies["sets"].items()},
            unit="share of cells that only one of the two has",
            threshold=copies["threshold"],
        ),
        "How far phrases are from the nearest training phrase, in whichever transposition is nearest.",
    )
    rows = np.argsort(_array(found["distance"]), kind="stable")[:_PAIRS_SHOWN]
    yield _figure(
        phrase_plots.plot_pairs(
            _dense(sets["generated"].packed, rows),
            _dense(sets["training"].packed, np.array(found["row"])[rows]),
            names=("generated", "nearest in training"),
            captions=[
                f"distance {found['distance'][i]:.2f}, moved by {found['semitones'][i]:+d}" for i in rows.tolist()
            ],
        ),
        "The generated phrases that are nearest to a training phrase, and that phrase in its own key.",
    )
    yield (
        f"<p>{len(found['copies'])} generated phrases ({found['copy_share']:.1%}) are nearer to a training phrase than "
        f"the nearest {copies['percentile']:g} % of held-out phrases are: near copies.</p>"
    )
    if found["copies"]:
        items = "".join(
            f"<li>phrase {i}: training row {found['row'][i]}, moved by {found['semitones'][i]:+d} semitones, "
            f"distance {found['distance'][i]:.3f}</li>"
            for i in found["copies"]
        )
        yield f"<details><summary>Which</summary><ul>{items}</ul></details>"


def _latent(content: Mapping[str, Any], codes: Mapping[str, Any]) -> Iterator[str]:
    test = codes["mmd"]
    yield "<h2>Latent space</h2>"
    yield (
        f"<p>MMD² between the prior and {test['codes']} held-out codes, one a song where songs are known, is "
        f"{test['statistic']:.4f}, where samples of one distribution give {test['null_mean']:.4f} ± "
        f"{test['null_sd']:.4f} (permutation p = {test['p_value']:.3g}). "
        f"{codes['active']['number']} of {codes['dimensions']} dimensions are active.</p>"
    )
    densities = codes["log_density"]
    drawn = content["provenance"]["latent"]
    yield (
        f"<p>The draws are from the {drawn}. Log-density of held-out codes, in nats a dimension: "
        + ", ".join(f"{value:.3f} under the {name}" for name, value in densities.items())
        + ".</p>"
    )
    yield _figure(
        latent_plots.plot_moments(
            **{name: _array(each) for name, each in codes["moments"].items()},
            num_codes=content["sets"]["held_out"]["phrases"],
        ),
        "Moments of held-out codes by dimension, in units of the prior.",
    )
    norms = codes["norms"]
    yield _figure(
        latent_plots.plot_norms(
            *(_array(norms[name]) for name in ("edges", "share", "expected")), distance=norms["distance"]
        ),
        "Norms of held-out codes beside those of the prior.",
    )
    if plane := codes["projection"]:
        yield _figure(
            latent_plots.plot_projection(
                *(_array(plane[name]) for name in ("points", "negentropy", "null_negentropy"))
            ),
            "The plane in which held-out codes look least Gaussian.",
        )
    if blame := content.get("blame"):
        yield (
            "<h3>Decoder or regulariser?</h3><p>The share of the distance from held-out music (Wasserstein-1, less "
            "what halves of held-out music differ by) that is there already when the codes of held-out phrases are "
            "decoded; the rest comes with the step from codes to draws of the prior.</p>"
        )
        labels = [label for metric, column in table.HEADLINE if (label := f"{metric}, {column}") in blame]
        rows = "".join(
            f"<tr><td>{html.escape(label)}</td><td>{_share(blame[label]['decoder_share'])}</td>"
            f"<td>{_share(blame[label]['regulariser_share'])}</td></tr>"
            for label in labels
        )
        yield f"<table><tr><th></th><th>decoder</th><th>regulariser</th></tr>{rows}</table>"


def _share(value: float | None) -> str:
    return "neither" if value is None else f"{value:.0%}"


def _bars(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """What `plot_metric_bars` draws: by title, each set's mean and interval, and the floor."""
    bars, floors = {}, {}
    for metric, column in _METRICS_SHOWN:
        entry = content["music"][metric]
        i = entry["columns"].index(column)
        title = metric.replace("_", " ") + ("" if column == "all" else f", {column.lower()}")
        bars[title] = {
            _name(name): tuple(_array([each[key][i] for key in ("mean", "low", "high")]).tolist())
            for name, each in entry["sets"].items()
        }
        floors[title] = entry["floor"]["median"][i]
    return bars, floors


def _name(name: str) -> str:
    """What pictures call a set."""
    return name.replace("_", "-")


def _array(values: Any) -> Float64[np.ndarray, ...]:
    """Numbers as JSON has them, None for NaN."""
    return np.array(values, np.float64)


def _length_labels(bins: Sequence[int]) -> list[str]:
    """The classes of lengths in words: "3-5", "48 or more"."""
    ends = [*(following - 1 for following in bins[1:]), None]
    return [
        f"{first} or more" if last is None else str(first) if first == last else f"{first}-{last}"
        for first, last in zip(bins, ends, strict=True)
    ]


def _dense(packed: PackedPhrases, rows: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, "n T P K"]:
    """Some phrases, to be drawn."""
    return unpack(np.asarray(packed[rows]))


def _grid(phrases: PhraseSet, name: str) -> Picture:
    rows = np.arange(min(_PHRASES_SHOWN, len(phrases.packed)))
    return phrase_plots.plot_grid(_dense(phrases.packed, rows), titles=[f"{name} {i + 1}" for i in rows])


def _provenance(content: Mapping[str, Any]) -> str:
    items = {name: value for name, value in content["provenance"].items() if name != "config"}
    items |= {
        f"{name} phrases": f"{each['phrases']} of {each['songs'] or 'unknown'} songs"
        for name, each in content["sets"].items()
    }
    return (
        "<dl>"
        + "".join(
            f"<dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd>" for name, value in items.items()
        )
        + "</dl>"
    )


def _figure(picture: Picture, caption: str) -> str:
    stream = io.BytesIO()
    picture.savefig(stream, format="png")
    data = base64.b64encode(stream.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
