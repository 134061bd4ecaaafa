"""Makes one packed data set of any mix of inputs: `python -m wae_jax.build_dataset --help`."""

from __future__ import annotations

import argparse
import collections
import errno
import gc
import json
import pathlib
import re
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import wae_jax
from wae_jax import dataset, dataset_folder, gathering, pianoroll, sources, splits
from wae_jax.dataset_folder import escape

DEFAULT_FRACTION = 0.1
_DEFAULT_OPTIONS = sources.Options()

_EPILOG = """
examples:
  Songs are split by the sha256 of their name and --seed; songs that share a phrase stay together.
    build_dataset --input free.npz more.npz --output data/free
  The first 8,192 phrases train and the last 2,048 test, as in the original code:
    build_dataset --train lpd.npz --rows 0:8192 --test lpd.npz --rows=-2048: --output data/original

inputs are told apart by their first bytes:
  .npz  MuseGAN's phrases: nonzero (5, cells) and shape = (N, 4, 48, 84, 5)
  .npy  (N, 4, 48, 84, 5) or (N, 192, 84, 5): bool, integers 0 and 1, or floats with --threshold
Beside music.npz or music.npy a file music.tsv with the columns phrase, song, first_bar names the songs.
Without it an input is cut into contiguous blocks: train, then valid, then test.

Silent phrases are dropped, and of equal phrases all but the first, where train comes before valid and
valid before test. Inputs that give no phrase are listed in skipped.tsv; the others are used.
In the .tsv files written here \\t, \\n, \\\\ and the like stand for characters that would break a line.
"""


def build(
    inputs: Sequence[gathering.Input],
    output: str,
    *,
    overwrite: bool = False,
    options: sources.Options = _DEFAULT_OPTIONS,
    seed: int = 0,
    valid_fraction: float = DEFAULT_FRACTION,
    test_fraction: float = DEFAULT_FRACTION,
) -> None:
    """Makes a data set and tells about it on the terminal.

    Args:
      inputs: what to read; either all of them name a split or none does.
      output: the folder to make.
      overwrite: whether a data set that is there may be replaced.
      options: how inputs are read.
      seed: of the split by song.
      valid_fraction: share of the songs, or of a block, to validate on.
      test_fraction: share to test on.

    Raises:
      DatasetError: if no input gives a phrase or `output` may not be written.
      OSError: if writing fails. Either way nothing is left behind.
    """
    start = time.monotonic()
    # Of equal phrases the first stays, and training has the first choice.
    inputs = sorted(inputs, key=lambda item: splits.SPLITS.index(item.split) if item.split else 0)
    with dataset_folder.new_dataset_folder(pathlib.Path(output), overwrite=overwrite) as workshop:
        scratch = workshop.scratch / "rows"
        with scratch.open("wb") as file:
            gathered = gathering.gather(inputs, file, options=options)
        plan = gathering.plan_rows(
            gathered.phrases,
            [item.split for item in inputs],
            seed=seed,
            valid_fraction=valid_fraction,
            test_fraction=test_fraction,
        )
        kept = [gathered.phrases[row] for row in plan.rows.tolist()]
        skipped = gathered.skipped | _all_dropped(inputs, gathered, kept)
        if not kept:
            raise dataset.DatasetError(f"none of the {len(inputs)} inputs gives a phrase; the reasons are above")
        description = _describe(inputs, gathered, plan, kept)
        description["phrases_sha256"] = dataset_folder.write_phrases(
            workshop.folder / dataset.PHRASES_FILE, scratch, plan.rows
        )
        _write_index(workshop.folder / dataset.INDEX_FILE, plan, kept)
        dataset_folder.write_tsv(
            workshop.folder / dataset.SKIPPED_FILE,
            [("path", "reason"), *((inputs[i].path, reason) for i, reason in sorted(skipped.items()))],
        )
        text = json.dumps(description, indent=2) + "\n"
        (workshop.folder / dataset.DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    _report_splits(inputs, plan, kept, held_out={"valid": valid_fraction > 0, "test": test_fraction > 0})
    _report(description, len(skipped), len(inputs), output, time.monotonic() - start)


def _all_dropped(
    inputs: Sequence[gathering.Input], gathered: gathering.Gathered, kept: Iterable[gathering.Staged]
) -> dict[int, str]:
    """The inputs that were read but gave nothing, with the reason."""
    useful = {phrase.source for phrase in kept}
    reasons = {i: "every phrase is silent or equals one read before" for i in gathered.opened if i not in useful}
    for i, reason in reasons.items():
        _tell(f"skipped {escape(inputs[i].path)}: {reason}")
    return reasons


def _describe(
    inputs: Sequence[gathering.Input],
    gathered: gathering.Gathered,
    plan: gathering.Plan,
    kept: Sequence[gathering.Staged],
) -> dict[str, Any]:
    """The fields of dataset.json, but for the checksum of rows that are not written yet."""
    count = collections.Counter(phrase.source for phrase in kept)
    songs = collections.defaultdict(set)
    for phrase in kept:
        songs[phrase.source].add(phrase.song)
    described = []
    for i in sorted(count):
        source = gathered.opened[i]
        entry: dict[str, Any] = {"path": inputs[i].path, "sha256": source.sha256, "phrases": count[i]}
        entry["songs"] = len(songs[i] - {None}) or None
        if source.rows:
            entry["rows"] = list(source.rows)
        described.append(entry)
    return {
        "format": dataset.FORMAT,
        "format_version": dataset.FORMAT_VERSION,
        "wae_jax_version": wae_jax.__version__,
        "num_phrases": len(kept),
        "tracks": list(pianoroll.TRACK_NAMES),
        "splits": {name: list(rows) for name, rows in dataset.split_rows(plan.codes).items()},
        "split_rule": plan.rule,
        "songs": len({phrase.song for phrase in kept} - {None}) or None,
        "duplicates_dropped": plan.num_duplicates,
        "duplicates_across_splits": plan.num_across,
        "silent_dropped": gathered.num_silent,
        "sources": described,
    }


def _write_index(path: pathlib.Path, plan: gathering.Plan, kept: Sequence[gathering.Staged]) -> None:
    """Writes index.tsv: where each row comes from; sources are numbered as in dataset.json."""
    number = {source: n for n, source in enumerate(sorted({phrase.source for phrase in kept}))}
    lines: list[tuple[str, ...]] = [("row", "split", "source", "song", "first_bar")]
    for row, (code, phrase) in enumerate(zip(plan.codes.tolist(), kept, strict=True)):
        first_bar = "" if phrase.first_bar is None else str(phrase.first_bar)
        lines.append((str(row), splits.SPLITS[code], str(number[phrase.source]), phrase.song or "", first_bar))
    dataset_folder.write_tsv(path, lines)


def _report_splits(
    inputs: Sequence[gathering.Input],
    plan: gathering.Plan,
    kept: Sequence[gathering.Staged],
    *,
    held_out: Mapping[str, bool],
) -> None:
    """Tells what one should know of the splits before trusting a number measured on them."""
    explicit = any(item.split for item in inputs)
    unknown = sorted({phrase.source for phrase in kept if phrase.song is None})
    if unknown and not explicit:
        names = ", ".join(escape(inputs[i].path) for i in unknown)
        _tell(f"note: no songs known for {names}: split into contiguous blocks, so a song may lie across a border")
    present = {splits.SPLITS[code] for code in set(plan.codes.tolist())}
    wanted = {item.split for item in inputs} if explicit else {"train"} | {name for name in held_out if held_out[name]}
    for name in splits.SPLITS:
        if name in wanted - present:
            _tell(f"note: {name} is empty")
    splits_of = collections.defaultdict(set)
    for code, phrase in zip(plan.codes.tolist(), kept, strict=True):
        if phrase.song is not None:
            splits_of[phrase.song].add(code)
    num_shared = sum(len(codes) > 1 for codes in splits_of.values())
    if num_shared:
        _tell(f"note: {num_shared} song names stand in more than one split")


def _report(description: Mapping[str, Any], num_skipped: int, num_inputs: int, output: str, seconds: float) -> None:
    """The last lines of a run."""
    counts = ", ".join(f"{name} {stop - start}" for name, (start, stop) in description["splits"].items())
    print(f"phrases: {description['num_phrases']} ({counts})")
    print(f"songs: {description['songs'] or 'unknown'}")
    print(
        f"dropped: {description['duplicates_dropped']} duplicates "
        f"({description['duplicates_across_splits']} of a phrase in another split), "
        f"{description['silent_dropped']} silent"
    )
    print(f"skipped: {num_skipped} of {num_inputs} inputs")
    print(f"split: {description['split_rule']}")
    print(f"written: {escape(output)} in {seconds:.1f} s")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _parse_rows(text: str) -> slice:
    """Reads `a:b` as Python reads the bounds of a slice."""
    match = re.fullmatch(r"(-?\d+)?:(-?\d+)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a:b, where either may be left out or negative")
    return slice(*(int(bound) if bound else None for bound in match.groups()))


class _AddInputs(argparse.Action):
    """Appends the paths of one --input, --train, --valid or --test, as one group."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        split = None if self.const == "input" else self.const
        namespace.groups = [*namespace.groups, [gathering.Input(path, split) for path in values]]


class _SetRows(argparse.Action):
    """Restricts the input named just before."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if not namespace.groups:
            raise argparse.ArgumentError(self, "stands before any input; expected after the one it belongs to")
        group = namespace.groups[-1]
        if len(group) > 1:
            raise argparse.ArgumentError(self, f"follows {len(group)} inputs; expected one: repeat the option for each")
        if group[0].rows is not None:
            raise argparse.ArgumentError(self, f"stands twice after {group[0].path}; expected once")
        namespace.groups = [*namespace.groups[:-1], [group[0]._replace(rows=values)]]


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `inputs` is a list of `Input`. Exits with status 2 where it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m wae_jax.build_dataset",
        description="Makes one packed data set of piano-roll phrases.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(groups=[])
    parser.add_argument(
        "--input", nargs="+", metavar="PATH", dest="groups", action=_AddInputs, const="input",
        help="what to read; the split is made by rule",
    )  # fmt: skip
    for split in splits.SPLITS:
        parser.add_argument(
            f"--{split}", nargs="+", metavar="PATH", dest="groups", action=_AddInputs, const=split,
            help=f"what to read for {split}, in place of --input",
        )  # fmt: skip
    parser.add_argument(
        "--rows", metavar="A:B", type=_parse_rows, dest="groups", action=_SetRows,
        help="take only these phrases of the one input named just before, as Python slices do; "
        "with a minus sign write --rows=-2048:",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the data set that is at DIR")
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="a cell of a float array is on where it is above X"
    )
    by_rule = parser.add_argument_group("split by rule")
    by_rule.add_argument("--seed", type=int, help="another seed, another split by song (default: 0)")
    for split in ("valid", "test"):
        by_rule.add_argument(
            f"--{split}-fraction", type=float, metavar="F",
            help=f"share of the songs, or of the phrases of a block, for {split} (default: {DEFAULT_FRACTION})",
        )  # fmt: skip
    arguments = parser.parse_args(argv)

    arguments.inputs = [item for group in arguments.groups for item in group]
    given = {item.split is not None for item in arguments.inputs}
    if len(given) != 1:
        parser.error("expected either --input, or --train, --valid and --test")
    options = {"seed": 0, "valid_fraction": DEFAULT_FRACTION, "test_fraction": DEFAULT_FRACTION}
    for name, default in options.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
        elif given == {True}:
            parser.error(f"--{name.replace('_', '-')} has no say where --train, --valid and --test give the split")
    try:
        splits.check_fractions(arguments.valid_fraction, arguments.test_fraction)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status is 0, 1 for an error, 2 for a wrong command line, 130 for Ctrl-C."""
    arguments = parse_arguments(argv)
    try:
        build(
            arguments.inputs,
            arguments.output,
            overwrite=arguments.overwrite,
            options=sources.Options(threshold=arguments.threshold),
            seed=arguments.seed,
            valid_fraction=arguments.valid_fraction,
            test_fraction=arguments.test_fraction,
        )
    except KeyboardInterrupt:
        _tell("interrupted: no data set was written")
        return 130
    except dataset.DatasetError as error:
        _tell(f"error: {escape(str(error))}")
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        need = f"needed are {2 * pianoroll.BYTES_PER_PHRASE} bytes a phrase, half of them only while it is made"
        what = f"the disk is full, {need}" if full else escape(str(error))
        _tell(f"error: cannot write {escape(arguments.output)}: {what}; nothing was left behind")
        return 1
    return 0


def _terminate(signal_number: int, frame: object) -> None:
    """Ends the run by an exception, so that it cleans up as after Ctrl-C."""
    raise SystemExit(128 + signal_number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    # jax has a callback in the garbage collector, and an exception that a signal raises in there is lost.
    gc.disable()
    sys.exit(main())
