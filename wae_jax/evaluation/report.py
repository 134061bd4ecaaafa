"""The report of an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wae_jax.evaluation import table
from wae_jax.evaluation.measure import PITCHED, SETS, PhraseSet, Sets
from wae_jax.files import printable
from wae_jax.pianoroll import PackedPhrases, unpack
from wae_jax.render import latent_plots, metric_plots
from wae_jax.render.curves import plot_curves, read_history
from wae_jax.render.phrase_plots import plot_grid, plot_pairs
from wae_jax.render.style import figure_png

_GRID_PHRASES = 8
_PAIRS = 6
_PLOTTED_METRICS = (*table.HEADLINE, ("used_pitch_classes", PITCHED), ("reonset_gap_share", PITCHED))
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
_PRIORS = {"normal": "the normal prior", "kernel_density": "the density estimate of codes"}


def make_report(content: Mapping[str, Any], sets: Sets, *, name: str, workdir: pathlib.Path | None) -> str:
    """The HTML page, with training curves where there is a workdir; `name` is that of the model or of the phrases."""
    title = _text(f"Evaluation of {name}")
    body = [
        f"<h1>{title}</h1>",
        "<p>All sets are compared with held-out music, which was not trained on. A cell is marked where a set differs "
        f"from it by more than {table.SMALL:g} floors; the floor is the median difference between random halves of the "
        "held-out music itself, divided by song. Intervals are of 95 %, over songs where songs are known.</p>",
        _table(content),
        *_metrics(content),
        *_phrases(sets),
        *(_copies(content["copies"], sets) if "copies" in content else ()),
        *(_latent_space(content, content["codes"]) if "codes" in content else ()),
        *_quality_gap(content.get("quality_gap")),
        *_training(workdir),
        "<h2>Provenance</h2>",
        _provenance(content),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _table(content: Mapping[str, Any]) -> str:
    names = [name for name in SETS if name in content["sets"]]
    head = "".join(f"<th>{_name(name)}</th>" for name in names)
    rows = []
    for label, of_sets in table.headline(content).items():
        cells = "".join(_cell(of_sets.get(name), of_sets.get("held_out")) for name in names)
        floor = next(iter(of_sets.values())).floor
        rows.append(f"<tr><td>{_text(label)}</td>{cells}<td>{table.short(floor)}</td></tr>")
    return f"<table><thead><tr><th></th>{head}<th>floor</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(value: table.Value | None, real: table.Value | None) -> str:
    if value is None:
        return "<td></td>"
    low, high = table.short(value.low), table.short(value.high)
    interval = f" <small>{low} to {high}</small>" if low else ""
    mark = ' class="far"' if table.is_far(value, real) else ""
    return f"<td{mark}>{table.short(value.mean)}{interval}</td>"


def _metrics(content: Mapping[str, Any]) -> Iterator[str]:
    bars, floors = {}, {}
    for metric, column in _PLOTTED_METRICS:
        entry = content["music"][metric]
        i = entry["columns"].index(column)
        title = metric.replace("_", " ") + ("" if column == "all" else f", {column.lower()}")
        bars[title] = {
            _name(name): tuple(_array([each[key][i] for key in ("mean", "low", "high")]).tolist())
            for name, each in entry["sets"].items()
        }
        floors[title] = float(_array(entry["floor"]["median"][i]))
    yield "<h2>Metrics</h2>"
    yield _picture(
        metric_plots.plot_metric_bars(bars, floors=floors),
        "Means and intervals; the grey band is held-out music and the floor around it.",
    )
    lengths = content["note_lengths"]
    pitched = lengths["columns"].index(PITCHED)
    shares = {_name(name): _array(each[pitched]) for name, each in lengths["sets"].items()}
    yield _picture(
        metric_plots.plot_note_lengths(shares, _length_labels(lengths["bins"])),
        "Shares of the notes of pitched tracks by length, in steps of a twelfth of a quarter note.",
    )


def _phrases(sets: Sets) -> Iterator[str]:
    yield "<h2>Phrases</h2>"
    yield _grid(sets["generated"], "generated", "The first generated phrases, unselected.")
    yield _grid(sets["held_out"], "held out", "Held-out phrases, chosen at random by the seed.")
    if "reconstructed" in sets:
        originals, reconstructions = (
            _rolls(sets[name].packed, slice(_PAIRS)) for name in ("held_out", "reconstructed")
        )
        yield _picture(
            plot_pairs(originals, reconstructions, names=("held out", "reconstructed")),
            "Held-out phrases and their reconstructions.",
        )


def _copies(copies: Mapping[str, Any], sets: Sets) -> Iterator[str]:
    found = copies["sets"]["generated"]
    yield "<h2>Memorization</h2>"
    yield _picture(
        metric_plots.plot_nearest_distances(
            {_name(name): _array(each["distance"]) for name, each in copies["sets"].items()},
            unit="share of cells that only one of the two has",
            threshold=copies["threshold"],
        ),
        "Distances of phrases from the nearest training phrase, in whichever transposition is nearest.",
    )
    rows = np.argsort(_array(found["distance"]), kind="stable")[:_PAIRS]
    yield _picture(
        plot_pairs(
            _rolls(sets["generated"].packed, rows),
            _rolls(sets["training"].packed, np.array(found["row"])[rows]),
            names=("generated", "nearest in training"),
            captions=[f"distance {found['distance'][i]:.2f}, moved by {found['semitones'][i]:+d}" for i in rows],
        ),
        "The generated phrases that are nearest to a training phrase, and that phrase in its own key.",
    )
    yield (
        f"<p>{len(found['copies'])} generated phrases ({found['copy_share']:.1%}) are near copies: nearer to a "
        f"training phrase than the nearest {copies['percentile']:g} % of held-out phrases.</p>"
    )
    if found["copies"]:
        items = "".join(
            f"<li>phrase {i}: training row {found['row'][i]}, moved by {found['semitones'][i]:+d} semitones, "
            f"distance {found['distance'][i]:.3f}</li>"
            for i in found["copies"]
        )
        yield f"<details><summary>List</summary><ul>{items}</ul></details>"


def _latent_space(content: Mapping[str, Any], codes: Mapping[str, Any]) -> Iterator[str]:
    test = codes["mmd"]
    divergences = ", ".join(
        f"{_estimate(value, 3)} of {_PRIORS[name]}" for name, value in codes["jensen_shannon"].items()
    )
    densities = ", ".join(f"{value:.3f} under {_PRIORS[name]}" for name, value in codes["log_density"].items())
    yield (
        f"<h2>Latent space</h2><p>MMD² between the prior and {test['codes']} held-out codes, one a song where songs "
        f"are known, is {test['statistic']:.4f}; for two samples of one distribution it is {test['null_mean']:.4f} ± "
        f"{test['null_sd']:.4f} (permutation p = {test['p_value']:.3g}). "
        f"{codes['active']['number']} of {codes['dimensions']} dimensions are active. The manifold of these codes has "
        f"{_estimate(codes['intrinsic_dimension'], 1)} dimensions (estimated from two neighbors of each).</p>"
        f"<p>The samples are from {_PRIORS[content['provenance']['prior']]}. Log-density of held-out codes, in nats a "
        f"dimension: {densities}. Jensen-Shannon divergence from held-out codes, by a discriminator trained afresh: "
        f"{divergences}.</p>"
    )
    moments = {name: _array(each) for name, each in codes["moments"].items()}
    yield _picture(
        latent_plots.plot_moments(**moments, num_codes=content["sets"]["held_out"]["phrases"]),
        "Moments of held-out codes by dimension, in units of the prior.",
    )
    edges, share, expected = (_array(codes["norms"][name]) for name in ("edges", "share", "expected"))
    yield _picture(
        latent_plots.plot_norms(edges, share, expected, distance=codes["norms"]["distance"]),
        "Norms of held-out codes beside those of the prior.",
    )


def _estimate(value: float | None, digits: int) -> str:
    """The value in so many digits after the point; None where there are too few songs for it."""
    return "unknown" if value is None else f"{value:.{digits}f}"


def _quality_gap(gaps: Mapping[str, Any] | None) -> Iterator[str]:
    if not gaps:
        return
    yield (
        "<h3>Decoder or regularizer?</h3><p>Of the distance from held-out music (Wasserstein-1, less the floor), the "
        "share that codes of held-out phrases already have when they are decoded, and the share that sampling "
        "adds.</p>"
    )
    rows = ""
    for metric, column in table.HEADLINE:
        if gap := gaps.get(label := f"{metric}, {column}"):
            shares = (gap["decoder_share"], gap["regularizer_share"])
            cells = "".join(f"<td>{'neither' if share is None else f'{share:.0%}'}</td>" for share in shares)
            rows += f"<tr><td>{_text(label)}</td>{cells}</tr>"
    yield f"<table><tr><th></th><th>decoder</th><th>regularizer</th></tr>{rows}</table>"


def _training(workdir: pathlib.Path | None) -> Iterator[str]:
    if workdir is not None and (history := read_history(workdir)):
        yield "<h2>Training</h2>"
        yield _picture(plot_curves(history), "Training and evaluation over the course of the run.")


def _provenance(content: Mapping[str, Any]) -> str:
    items = {name: value for name, value in content["provenance"].items() if name != "config"}
    for name, each in content["sets"].items():
        items[f"{name} phrases"] = f"{each['phrases']} of {each['songs'] or 'unknown'} songs"
    return f"<dl>{''.join(f'<dt>{_text(name)}</dt><dd>{_text(value)}</dd>' for name, value in items.items())}</dl>"


def _text(value: object) -> str:
    return html.escape(printable(str(value)))


def _name(name: str) -> str:
    return name.replace("_", "-")


def _array(values: Any) -> Float64[np.ndarray, ...]:
    """Numbers from JSON, where None stands for NaN."""
    return np.array(values, np.float64)


def _length_labels(bins: Sequence[int]) -> list[str]:
    """Labels of classes of lengths: "3-5", "48 or more"."""
    ends = [*(following - 1 for following in bins[1:]), None]
    return [
        f"{first} or more" if last is None else str(first) if first == last else f"{first}-{last}"
        for first, last in zip(bins, ends, strict=True)
    ]


def _rolls(packed: PackedPhrases, rows: slice | Int64[np.ndarray, " n"]) -> Bool[np.ndarray, "n T P K"]:
    return unpack(np.asarray(packed[rows]))


def _grid(phrases: PhraseSet, name: str, caption: str) -> str:
    rolls = _rolls(phrases.packed, slice(_GRID_PHRASES))
    return _picture(plot_grid(rolls, titles=[f"{name} {i + 1}" for i in range(len(rolls))]), caption)


def _picture(figure: Any, caption: str) -> str:
    data, text = base64.b64encode(figure_png(figure)).decode(), html.escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
