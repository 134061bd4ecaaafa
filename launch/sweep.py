"""Runs the arms of the ablations, and goes on where it was stopped.

    python launch/sweep.py --table regulariser --data data/free --output sweeps/free --seeds 0 1 2
    python launch/sweep.py --arms baseline regulariser=gan,penalty_weight=1 --data data/free --output sweeps/free
    python launch/sweep.py --table all --data data/free --output sweeps/free --list
    python launch/sweep.py --table all --data data/free --output sweeps/free --task env      # in a SLURM array
    python launch/sweep.py --table all --data data/free --output sweeps/free --back-end slurm

The arms are those of `configs/ablations.py`. Each run is trained and then evaluated; what arms share is run once. Given
again, the same command leaves out what is finished, goes on with what was interrupted and tries again what failed;
several sweeps on one folder share the work. Ctrl-C and SIGTERM let the run in progress save. What follows `--` goes to
every training run, as `-- --config.num_train_steps=100`. `launch/back_ends.py` says where else runs can be made.

    OUTPUT/sweep.json             protocol, data and further flags, the same for all runs of the folder
    OUTPUT/sweep.jsonl            one line for each command that was run: arm, seed, what, state, exit status, times
    OUTPUT/ARM/seed_SEED          the work folder, with evaluation*/evaluation.json
    OUTPUT/ARM/seed_SEED.log      what training and evaluation said
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import errno
import fcntl
import functools
import json
import os
import pathlib
import runpy
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
_ELSEWHERE = runpy.run_path(str(ROOT / "launch" / "back_ends.py"))
ARMS_FILE = pathlib.Path("configs", "ablations.py")

FINISHED, SKIPPED, FAILED, INTERRUPTED, ELSEWHERE = "finished", "skipped", "failed", "interrupted", "elsewhere"
# What main says when another run holds its work folder.
_HELD = "is in use by another run"


class SweepError(ValueError):
    """A sweep that makes no sense; the message says what would."""


@dataclasses.dataclass(frozen=True)
class Command:
    """One program to be run: what it is for, its words, and whether there is what it would make."""

    what: str
    words: tuple[str, ...]
    is_done: Callable[[], bool]


@dataclasses.dataclass
class Task:
    """A run: the name of its arm without what does not concern training, its seed and folder; how it is made."""

    arm: str
    seed: int
    workdir: pathlib.Path
    commands: list[Command]

    @property
    def log(self) -> pathlib.Path:
        """The file that takes what the commands say."""
        return self.workdir.with_name(self.workdir.name + ".log")


def make_tasks(options: argparse.Namespace) -> list[Task]:
    """The runs that the chosen arms need, each once, all arms of a seed before the next seed.

    Raises:
      ValueError: if no arms are chosen, or one is unknown.
    """
    ablations = runpy.run_path(str(ROOT / ARMS_FILE))
    tables = ablations["TABLES"]
    if unknown := [name for name in options.table if name not in [*tables, "all"]]:
        raise SweepError(f"there is no table {', '.join(unknown)}; expected all, or some of {', '.join(tables)}")
    chosen = tables if "all" in options.table else options.table
    arms = dict.fromkeys([*options.arms, *(arm for name in chosen for arm in tables[name])])
    if not arms:
        raise SweepError("nothing to run; name tables with --table, or arms with --arms")
    tasks: dict[pathlib.Path, Task] = {}
    for seed in options.seeds:
        for arm in arms:
            trained = ablations["training_arm"](f"{arm},protocol={options.protocol}")
            flags = ablations["evaluation_flags"](arm)
            workdir = options.output / trained / f"seed_{seed}"
            task = tasks.setdefault(workdir, Task(trained, seed, workdir, [_training(options, trained, seed, workdir)]))
            evaluation = _evaluation(options, workdir, flags)
            if options.evaluate and all(command.what != evaluation.what for command in task.commands):
                task.commands.append(evaluation)
    return list(tasks.values())


def _training(options: argparse.Namespace, arm: str, seed: int, workdir: pathlib.Path) -> Command:
    arm = f"--config={ARMS_FILE}:{arm},protocol={options.protocol}"
    flags = (f"--config.seed={seed}", f"--config.data.path={options.data}", f"--workdir={workdir}", *options.flags)
    words = (sys.executable, "-m", options.trainer, arm, *flags)
    return Command("train", words, lambda: is_trained(workdir, options.data))


def _evaluation(options: argparse.Namespace, workdir: pathlib.Path, flags: Sequence[str]) -> Command:
    folder = workdir / "_".join(["evaluation", *(flag.removeprefix("--") for flag in flags)])
    data = (f"--data={options.data}",) if options.data else ()
    words = (sys.executable, "-m", options.evaluator, f"--workdir={workdir}", *data, f"--num={options.num}")
    done = folder / "evaluation.json"
    return Command(folder.name, (*words, f"--output={folder}", *flags), lambda: is_evaluated(workdir, done))


def total_steps(workdir: pathlib.Path, data: str) -> int | None:
    """How many steps a run is to take, by `training.loop.num_train_steps`; None where that cannot be told."""
    try:
        config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
        if config["num_train_steps"]:
            return int(config["num_train_steps"])
        start, stop = _description(data)["splits"]["train"]
        epochs = config["num_epochs"] * (stop - start) / config["batch_size"]
        return int(config["pretrain_steps"] + max(1, round(epochs)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def last_checkpoint(workdir: pathlib.Path) -> pathlib.Path | None:
    """The newest checkpoint of a run; None if there is none. It has this name only when it is complete."""
    steps = [path for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()]
    return max(steps, key=lambda path: int(path.name), default=None)


def is_trained(workdir: pathlib.Path, data: str) -> bool:
    """Whether a run has saved its last step; what it measured there is written before that."""
    total, checkpoint = total_steps(workdir, data), last_checkpoint(workdir)
    return total is not None and checkpoint is not None and int(checkpoint.name) >= total


def is_evaluated(workdir: pathlib.Path, file: pathlib.Path) -> bool:
    """Whether there is an evaluation that is not older than the newest checkpoint."""
    checkpoint = last_checkpoint(workdir)
    return checkpoint is not None and file.is_file() and file.stat().st_mtime >= checkpoint.stat().st_mtime


def last_lines(log: pathlib.Path, num: int = 6) -> list[str]:
    """The end of what the newest command in a log has said."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    start = max((place for place, line in enumerate(lines) if line.startswith("$ ")), default=-1)
    return [line for line in lines[start + 1 :] if line.strip()][-num:]


class Runner:
    """Runs one command after another; SIGTERM and Ctrl-C end the one in progress with SIGTERM, and then the sweep.

    The command has a session of its own, so that Ctrl-C at a terminal does not reach it as well: two of them mean to
    main that it need not save. A second Ctrl-C here means just that.
    """

    def __init__(self) -> None:
        self.stopped_by: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the two signals for as long as the block lasts."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        again = number == signal.SIGINT == self.stopped_by
        self.stopped_by = number
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if again else signal.SIGTERM)

    def run(self, words: Sequence[str], log: pathlib.Path) -> int:
        """The exit status of a command whose output is added to the log."""
        with log.open("ab", buffering=0) as file:
            file.write(f"\n$ {shlex.join(words)}\n".encode())
            self._process = subprocess.Popen(
                words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
            if self.stopped_by is not None:  # while it was being started
                self._process.send_signal(signal.SIGTERM)
            status = self._process.wait()
            self._process = None
        return status


@contextlib.contextmanager
def _held(path: pathlib.Path) -> Iterator[bool]:
    """Whether this sweep has a run to itself, until the end of the block; the kernel's lock ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        ours = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems know no locks at all; main warns of it.
            ours = error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        yield ours


def run_task(task: Task, output: pathlib.Path, runner: Runner) -> str:
    """Runs those commands of a task that are not done yet; the state in which that leaves it."""
    state = SKIPPED
    with _held(task.workdir.with_name(f".{task.workdir.name}.lock")) as ours:
        if not ours:
            return ELSEWHERE
        for command in task.commands:
            if command.is_done():
                continue
            if runner.stopped_by is not None:
                return INTERRUPTED
            print(f"  {command.what}: see {task.log}", flush=True)
            started, clock = _now(), time.monotonic()
            status = runner.run(command.words, task.log)
            state = _state_after(command, status, task.log, runner)
            record = {"arm": task.arm, "seed": task.seed, "what": command.what, "state": state, "status": status}
            record |= {"seconds": round(time.monotonic() - clock, 1), "started": started, "ended": _now()}
            # One write, which the kernel does not mix with another sweep's.
            with (output / "sweep.jsonl").open("ab", buffering=0) as file:
                file.write(json.dumps(record).encode() + b"\n")
            if state != FINISHED:
                break
    return state


def _state_after(command: Command, status: int, log: pathlib.Path, runner: Runner) -> str:
    if status == 0 and command.is_done():
        return FINISHED
    if runner.stopped_by is not None:
        return INTERRUPTED
    return ELSEWHERE if any(_HELD in line for line in last_lines(log)) else FAILED


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def claim_output(options: argparse.Namespace) -> None:
    """Makes the folder this sweep's; raises SweepError if its runs have another protocol, data or flags."""
    data = options.data or "built-in corpus"
    if options.data and not options.remote:
        data = _description(options.data)["phrases_sha256"]
    present = {"protocol": options.protocol, "data": data, "flags": options.flags}
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "sweep.json"
    if not file.exists():
        part = file.with_name(f".sweep.json.{os.getpid()}")  # another sweep finds the file whole or not at all
        part.write_text(json.dumps(present, indent=2) + "\n", encoding="utf-8")
        part.replace(file)
    before = json.loads(file.read_text(encoding="utf-8"))
    if before != present:
        raise SweepError(f"{options.output} is a sweep of {before}, this one of {present}; choose another --output")


def _description(data: str) -> dict[str, Any]:
    return dict(json.loads((pathlib.Path(data) / "dataset.json").read_text(encoding="utf-8")))


def run_here(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """Runs the tasks one after another; the exit status of the sweep."""
    claim_output(options)
    runner, states = Runner(), []
    with runner.listening():
        for place, task in enumerate(tasks, 1):
            print(f"[{place}/{len(tasks)}] {task.arm} seed {task.seed}", flush=True)
            states.append(run_task(task, options.output, runner))
            print(f"  {states[-1]}", flush=True)
            if runner.stopped_by is not None:
                print(f"{signal.Signals(runner.stopped_by).name}: the same command goes on from here", flush=True)
                return 128 + runner.stopped_by
    print(", ".join(f"{count} {state}" for state, count in Counter(states).items()))
    failed = [task for task, state in zip(tasks, states, strict=True) if state == FAILED]
    for task in failed:
        print(f"\n{task.arm} seed {task.seed} failed; the end of {task.log}:")
        print(*(f"  {line}" for line in last_lines(task.log)), sep="\n")
    return 1 if failed else 0


def print_tasks(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """Prints index, arm and seed, work folder and the command of its training for each task, in a line of its own."""
    for index, task in enumerate(tasks):
        print(index, f"{task.arm} seed {task.seed}", task.workdir, shlex.join(task.commands[0].words), sep="\t")
    return 0


# Ways to have tasks done: from the tasks and the command's options to its exit status.
BACK_ENDS: dict[str, Callable[[Sequence[Task], argparse.Namespace], int]] = {
    "local": run_here,
    "list": print_tasks,
    **{name: functools.partial(back_end, run_here=run_here) for name, back_end in _ELSEWHERE["BACK_ENDS"].items()},
}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    ours = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description="Runs the arms of the ablations, and goes on where it was stopped.")
    parser.add_argument("--table", nargs="+", default=[], help="tables whose arms to run, or all")
    parser.add_argument("--arms", nargs="+", default=[], help="single arms to run")
    parser.add_argument("--data", default="", help="folder made by build_dataset (default: the built-in corpus)")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="folder of all the runs")
    parser.add_argument("--protocol", choices=("cpu", "full"), default="cpu")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--no-evaluate", dest="evaluate", action="store_false", help="train only")
    parser.add_argument("--num", type=int, default=1024, help="phrases of each set in an evaluation (default 1024)")
    _ELSEWHERE["add_options"](parser, others=("local", "list"))
    parser.add_argument("--list", action="store_const", const="list", dest="back_end", help="print them instead")
    parser.add_argument("--task", metavar="I", help="only the run of this index, or env: of SLURM_ARRAY_TASK_ID")
    parser.add_argument("--trainer", default="wae_jax.main", help="the module that trains")
    parser.add_argument("--evaluator", default="wae_jax.evaluate", help="the module that evaluates")
    options = parser.parse_args(arguments[:ours])
    options.flags = arguments[ours + 1 :]
    # Absolute, because the commands are run in the project's folder.
    options.output = options.output.absolute()
    if options.data and not options.remote:
        options.data = os.path.abspath(options.data)
    options.sweep = [*_ELSEWHERE["without_options"](arguments[:ours]), f"--output={options.output}"]
    options.sweep += [*([f"--data={options.data}"] if options.data else []), *arguments[ours:]]
    return options


def _choose(tasks: list[Task], index: str | None) -> list[Task]:
    if index is None:
        return tasks
    index = os.environ.get("SLURM_ARRAY_TASK_ID", "") if index == "env" else index
    if not index.isdecimal() or int(index) >= len(tasks):
        raise SweepError(f"there is no task {index!r}; expected 0 to {len(tasks) - 1}")
    return [tasks[int(index)]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    options = _parse(arguments)
    try:
        if options.data and not options.remote and not (pathlib.Path(options.data) / "dataset.json").is_file():
            raise SweepError(f"{options.data} holds no dataset.json; expected a folder made by build_dataset")
        if options.task and options.back_end == "slurm":
            raise SweepError("--task is for the jobs of an array, which --back-end=slurm submits")
        if options.protocol == "full" and not options.data:
            raise SweepError("the full protocol counts epochs of a data set; name one with --data")
        return BACK_ENDS[options.back_end](_choose(make_tasks(options), options.task), options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
