"""Runs arms of the ablations, or whole configurations; run again, it resumes where it was stopped.

    python launch/sweep.py --table regularizer --output sweeps/corpus --seeds 0 1 2
    python launch/sweep.py --table latent_dim --protocol songs --data data/free --output sweeps/free
    python launch/sweep.py --arms baseline regularizer=gan,penalty_weight=1 --output sweeps/corpus
    python launch/sweep.py --configs wae_gan wae_gan:songs --output sweeps/all --evaluate-with prior=normal
    python launch/sweep.py --table all --output sweeps/corpus --list
    python launch/sweep.py --table all --output sweeps/corpus --task env      # in a SLURM array
    python launch/sweep.py --table all --output sweeps/corpus --back-end slurm

The arms are those of `configs/ablations.py`; a configuration, by its name or file, is an arm too, with a variant after
a colon. Each run is trained and then evaluated, or evaluated once for each setting of `--evaluate-with`; a run that
several arms need is made once. The same command again skips what is finished, resumes what was interrupted and repeats
what failed; several sweeps on one folder share the work. Ctrl-C and SIGTERM let the current run save. Flags after `--`
go to every training run, as in `-- --config.num_train_steps=100`. `launch/back_ends.py` describes the
other back ends.

    OUTPUT/sweep.json             protocol, data and further flags, the same for all runs of the folder
    OUTPUT/sweep.jsonl            one line a command: arm, seed, what, state, exit status, times, commit, processor
    OUTPUT/ARM/seed_SEED          the workdir, with evaluation*/evaluation.json
    OUTPUT/ARM/seed_SEED.log      the output of training and evaluation
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import pathlib
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import back_ends
from sweep_runs import ROOT, Command, SweepError, Task, is_evaluated, is_trained, read_description, run_here

ARMS_FILE = pathlib.Path("configs", "ablations.py")
_EVALUATOR = "wae_jax.evaluate"


def make_tasks(options: argparse.Namespace) -> list[Task]:
    """The runs that the chosen arms need, each once, all arms of a seed before the next seed.

    Raises:
      ValueError: if no arms are chosen, one is unknown, or two have one name.
    """
    arms = [*_arms_of_ablations(options), *_arms_of_configs(options)]
    if not arms:
        raise SweepError("nothing to run; name tables with --table, arms with --arms, or configurations with --configs")
    tasks: dict[pathlib.Path, Task] = {}
    for seed in options.seeds:
        for arm in arms:
            workdir = options.output / arm.name / f"seed_{seed}"
            training = _training(options, arm.config, seed, workdir)
            task = tasks.setdefault(workdir, Task(arm.name, seed, workdir, [training]))
            if task.commands[0].words != training.words:
                raise SweepError(
                    f"two arms would be trained in {workdir}: {shlex.join(training.words)} is not "
                    f"{shlex.join(task.commands[0].words)}; expected configuration files of different names, or one of "
                    "them in a sweep of its own"
                )
            for settings in dict.fromkeys(options.evaluate_with or [()]):
                evaluation = _evaluation(options, workdir, (*arm.evaluation_flags, *settings))
                if options.evaluate and all(command.what != evaluation.what for command in task.commands):
                    task.commands.append(evaluation)
    return list(tasks.values())


class Arm(NamedTuple):
    """What is trained, by the name of its folder, and how it is evaluated."""

    name: str
    config: str  # for --config
    evaluation_flags: tuple[str, ...] = ()


def _arms_of_ablations(options: argparse.Namespace) -> Iterator[Arm]:
    ablations = runpy.run_path(str(ROOT / ARMS_FILE))
    tables = ablations["TABLES"]
    if unknown := [name for name in options.table if name not in [*tables, "all"]]:
        raise SweepError(f"there is no table {', '.join(unknown)}; expected all, or some of {', '.join(tables)}")
    chosen = tables if "all" in options.table else options.table
    for arm in dict.fromkeys([*options.arms, *(arm for name in chosen for arm in tables[name])]):
        in_protocol = f"{arm},protocol={options.protocol}"
        trained = ablations["training_arm"](in_protocol)
        config = f"{ARMS_FILE}:{trained},protocol={options.protocol}"
        yield Arm(trained, config, ablations["evaluation_flags"](in_protocol))


def _arms_of_configs(options: argparse.Namespace) -> Iterator[Arm]:
    for config in options.configs:
        config = _find_config(config)
        file, _, variant = config.partition(":")
        yield Arm("_".join(filter(None, (pathlib.Path(file).stem, variant))), config)


def _find_config(text: str) -> str:
    """The file of a configuration as the commands find it, which run in the project's folder, and its variant."""
    if (ROOT / text.partition(":")[0]).is_file():
        return text
    # Only here, so that a host that submits files alone needs no package.
    from wae_jax.command_line.config_files import find_config

    file, colon, variant = find_config(text).partition(":")
    path = pathlib.Path(file).absolute()
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}{colon}{variant}"


def check_evaluations(options: argparse.Namespace) -> None:
    """Raises SweepError if evaluate would refuse settings of --evaluate-with, before anything is trained."""
    if not options.evaluate or options.evaluator != _EVALUATOR or not options.evaluate_with:
        return
    try:
        parse = importlib.import_module(_EVALUATOR).parse_arguments
    except ImportError:  # a host that only submits
        return
    splits = read_description(options.data)["splits"] if options.data and not options.remote else {}
    for settings in dict.fromkeys(options.evaluate_with):
        given = f"--evaluate-with {','.join(each.removeprefix('--') for each in settings)}"
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                split = parse(["--workdir=.", *settings]).split
        except SystemExit:
            raise SweepError(f"{given}: {said.getvalue().rpartition('error: ')[2].strip()}") from None
        if splits and split not in splits:
            raise SweepError(f"{given}: there is no split {split!r} in {options.data}; it has {', '.join(splits)}")


def _training(options: argparse.Namespace, config: str, seed: int, workdir: pathlib.Path) -> Command:
    # Without --data, a configuration keeps the data that it names itself.
    data = (f"--config.data.path={options.data}",) if options.data else ()
    flags = (f"--config.seed={seed}", *data, f"--workdir={workdir}", *options.flags)
    words = (sys.executable, "-m", options.trainer, f"--config={config}", *flags)
    return Command("train", words, lambda: is_trained(workdir, options.data))


def _evaluation(options: argparse.Namespace, workdir: pathlib.Path, flags: Sequence[str]) -> Command:
    folder = workdir / "_".join(["evaluation", *(flag.removeprefix("--") for flag in flags)])
    data = (f"--data={options.data}",) if options.data else ()
    # Pictures would take a third of the time; whoever looks at a run evaluates it once more.
    sizes = (f"--num={options.num}", "--report=none")
    words = (sys.executable, "-m", options.evaluator, f"--workdir={workdir}", *data, *sizes)
    done = folder / "evaluation.json"
    return Command(folder.name, (*words, f"--output={folder}", *flags), lambda: is_evaluated(workdir, done))


def print_tasks(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """Prints a line for each task: index, arm and seed, workdir and the command that trains it."""
    for index, task in enumerate(tasks):
        print(index, f"{task.arm} seed {task.seed}", task.workdir, shlex.join(task.commands[0].words), sep="\t")
    return 0


# Functions of the tasks and the command's options that return the exit status.
BACK_ENDS: dict[str, Callable[[Sequence[Task], argparse.Namespace], int]] = {
    "local": run_here,
    "list": print_tasks,
    **back_ends.BACK_ENDS,
}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    ours = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        description="Runs arms of the ablations, or whole configurations; run again, it resumes."
    )
    parser.add_argument("--table", nargs="+", default=[], help="tables whose arms to run, or all")
    parser.add_argument("--arms", nargs="+", default=[], help="single arms to run")
    parser.add_argument(
        "--configs",
        nargs="+",
        default=[],
        metavar="NAME[:VARIANT]",
        help="configurations, or their files, to run as they are",
    )
    parser.add_argument("--data", default="", help="folder made by build_dataset (default: that of the configuration)")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="folder of all the runs")
    parser.add_argument("--protocol", choices=("cpu", "songs", "full"), default="cpu")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--no-evaluate", dest="evaluate", action="store_false", help="train only")
    parser.add_argument("--num", type=int, default=1024, help="phrases of each set in an evaluation (default 1024)")
    parser.add_argument(
        "--evaluate-with",
        nargs="+",
        default=[],
        type=_evaluation_settings,
        metavar="NAME=VALUE[,…]",
        help="evaluate with these flags of wae_jax.evaluate, such as split=test,prior=normal; once for each",
    )
    back_ends.add_options(parser, others=("local", "list"))
    parser.add_argument("--list", action="store_const", const="list", dest="back_end", help="print the runs instead")
    parser.add_argument("--task", metavar="I", help="only the run with this index; env: SLURM_ARRAY_TASK_ID")
    parser.add_argument("--trainer", default="wae_jax.main", help="the module that trains")
    parser.add_argument("--evaluator", default=_EVALUATOR, help="the module that evaluates")
    options = parser.parse_args(arguments[:ours])
    options.flags = arguments[ours + 1 :]
    # Absolute, because the commands are run in the project's folder.
    options.output = options.output.absolute()
    if options.data and not options.remote:
        options.data = os.path.abspath(options.data)
    options.sweep = [*back_ends.without_options(arguments[:ours]), f"--output={options.output}"]
    options.sweep += [*([f"--data={options.data}"] if options.data else []), *arguments[ours:]]
    return options


def _evaluation_settings(text: str) -> tuple[str, ...]:
    settings = text.split(",")
    if wrong := [each for each in settings if not all(each.partition("="))]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not NAME=VALUE")
    return tuple(f"--{each}" for each in settings)


def _choose(tasks: list[Task], index: str | None) -> list[Task]:
    if index is None:
        return tasks
    index = os.environ.get("SLURM_ARRAY_TASK_ID", "") if index == "env" else index
    if not index.isdecimal() or int(index) >= len(tasks):
        raise SweepError(f"there is no task {index!r}; expected 0 to {len(tasks) - 1}")
    return [tasks[int(index)]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = parse_arguments(arguments)
    try:
        if options.data and not options.remote and not (pathlib.Path(options.data) / "dataset.json").is_file():
            raise SweepError(f"{options.data} holds no dataset.json; expected a folder made by build_dataset")
        if options.task and options.back_end == "slurm":
            raise SweepError("--task is for the jobs of an array, which --back-end=slurm submits")
        if options.protocol != "cpu" and not (options.data or options.configs):
            raise SweepError(f"the protocol {options.protocol} is for a dataset of one's own; name it with --data")
        tasks = _choose(make_tasks(options), options.task)
        check_evaluations(options)
        return BACK_ENDS[options.back_end](tasks, options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
