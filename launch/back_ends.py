"""Where `launch/sweep.py` has its runs made, other than one after another in one process of this host.

    processes     one after another, each in several processes of this host (`local_processes.py`)
    tpu           one after another, each on a slice of TPUs (`tpu_pod.sh`); trained only
    slurm         all at once, as an array of SLURM jobs (`slurm.sbatch`)
    kubernetes    all at once, each as a JobSet (`kubernetes.yaml`); trained only

What `--launcher` says goes to the launcher, as in --launcher="--num=4" for processes,
"--name=wae --zone=us-central2-b --type=v4-32" for tpu, "--partition=gpu --time=8:00:00" for slurm,
"--namespace=music" for kubernetes. For tpu and kubernetes, `--remote` is where the hosts have the folder of all runs,
such as gs://music/sweeps, while --output takes what is said here; --data is a folder of theirs, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import pathlib
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

LAUNCH = pathlib.Path(__file__).resolve().parent
# One process is enough for an arm; what --launcher says comes after it and counts.
_ARRAY = ("--nodes=1", "--ntasks-per-node=1", "--gpus-per-node=1")
# Of main's flags in the manifest, those that are of the launch and not of the run.
_OF_THE_LAUNCH = ("--coordinator=", "--num_processes=", "--process_id=", "--join_seconds=", "--status_when_stopped=")
# Of 63 letters that a name may have, JobSet needs some for those of pods.
_LONGEST_NAME = 40

# Those of `sweep.py`: a run with its commands, of which the first trains, and what runs them here.
Task = Any
RunHere = Callable[[Sequence[Task], argparse.Namespace], int]


def _flags(task: Task, options: argparse.Namespace) -> list[str]:
    """Main's flags for a run, with its work folder as the launcher's hosts see it."""
    here = f"--workdir={options.output}"
    flags = task.commands[0].words[3:]  # after python -m MODULE
    return [flag.replace(here, f"--workdir={options.remote}", 1) if options.remote else flag for flag in flags]


def in_processes(tasks: Sequence[Task], options: argparse.Namespace, run_here: RunHere) -> int:
    """Trains each run in several processes of this host; the exit status of the sweep."""
    for task in tasks:
        train = task.commands[0]
        launcher = (train.words[0], str(LAUNCH / "local_processes.py"), *options.launcher)
        words = (*launcher, f"--trainer={options.trainer}", "--", *_flags(task, options))
        task.commands[0] = dataclasses.replace(train, words=words)
    return run_here(tasks, options)


def on_a_slice(tasks: Sequence[Task], options: argparse.Namespace, run_here: RunHere) -> int:
    """Trains each run on a slice of TPUs; the exit status of the sweep."""
    for task in tasks:
        # The work folder cannot be looked into from here.
        mark = task.workdir.with_name(f"{task.workdir.name}.finished")
        launcher = (str(LAUNCH / "tpu_pod.sh"), "run", *options.launcher, f"--mark={mark}")
        words = (*launcher, "--", *_flags(task, options))
        task.commands = [dataclasses.replace(task.commands[0], words=words, is_done=mark.exists)]
    return run_here(tasks, options)


def as_an_array(tasks: Sequence[Task], options: argparse.Namespace, run_here: RunHere) -> int:
    """Submits an array of jobs, one for each run that is not finished; sbatch's exit status."""
    left = [str(i) for i, task in enumerate(tasks) if not all(command.is_done() for command in task.commands)]
    if not left:
        print("nothing left to submit")
        return 0
    words = ["sbatch", f"--array={','.join(left)}", *_ARRAY, *options.launcher, str(LAUNCH / "slurm.sbatch"), "sweep"]
    return subprocess.run([*words, *options.sweep], cwd=LAUNCH.parent, check=False).returncode


def as_jobsets(tasks: Sequence[Task], options: argparse.Namespace, run_here: RunHere) -> int:
    """Hands each run to the cluster; the first exit status of kubectl that is not 0."""
    for task in tasks:
        text = manifest(f"{task.arm}-seed-{task.seed}", _flags(task, options))
        applied = subprocess.run(("kubectl", "apply", *options.launcher, "-f", "-"), input=text.encode(), check=False)
        if applied.returncode:
            return applied.returncode
    return 0


def manifest(run: str, flags: Sequence[str]) -> str:
    """The JobSet of `kubernetes.yaml` for another run.

    Args:
      run: what it is; the JobSet's name is made of it.
      flags: main's, in the place of those that are of the run.
    """
    digest = hashlib.sha256(run.encode()).hexdigest()[:8]
    slug = re.sub("[^a-z0-9]+", "-", run.lower()).strip("-")[: _LONGEST_NAME - len("wae--") - len(digest)]
    name = f"wae-{slug.strip('-')}-{digest}"
    quoted = [flag.replace("'", "''") for flag in flags]
    lines: list[str] = []
    for line in (LAUNCH / "kubernetes.yaml").read_text(encoding="utf-8").splitlines():
        argument = re.fullmatch(r"( +- )(--\S+)", line)
        if argument is None or argument[2].startswith(_OF_THE_LAUNCH):
            lines.append(line.replace("wae-jax-worker-0-0.wae-jax", f"{name}-worker-0-0.{name}"))
        else:
            lines += [f"{argument[1]}'{flag}'" for flag in quoted]
            quoted = []
    return "\n".join(lines).replace("\n  name: wae-jax\n", f"\n  name: {name}\n") + "\n"


BACK_ENDS = {"processes": in_processes, "tpu": on_a_slice, "slurm": as_an_array, "kubernetes": as_jobsets}


def add_options(parser: argparse.ArgumentParser, others: Sequence[str]) -> None:
    """Adds the choice of a back end to the sweep's options; `others` are those that the sweep has itself."""
    choices = (*others, *BACK_ENDS)
    parser.add_argument("--back-end", choices=choices, default=choices[0], help="where the runs are made")
    parser.add_argument("--launcher", type=shlex.split, default=[], help="words for the back end's launcher")
    parser.add_argument("--remote", default="", help="the output folder as hosts of tpu and kubernetes see it")


def without_options(arguments: Sequence[str]) -> list[str]:
    """The sweep's arguments without those of the choice, for the jobs that make a run each."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--back-end", "--launcher", "--remote"):
        parser.add_argument(name)
    return parser.parse_known_args(arguments)[1]
