"""Back ends of `launch/sweep.py`, which make its runs otherwise than one after another in one process of this host.

    processes     one after another, each in several processes of this host (`local_processes.py`)
    tpu           one after another, each on a slice of TPUs (`tpu_pod.sh`); trained only
    slurm         all at once, as an array of SLURM jobs (`slurm.sbatch`)
    kubernetes    all at once, each as a JobSet (`kubernetes.yaml`); trained only

`--launcher` has words for the launcher, such as --launcher="--num=4" for processes,
"--name=wae --zone=us-central2-b --type=v4-32" for tpu, "--partition=gpu --time=8:00:00" for slurm,
"--namespace=music" for kubernetes. For tpu and kubernetes, `--remote` is the folder of all runs as their hosts see it,
such as gs://music/sweeps, while --output is a folder of this host for logs; --data is a folder or URL of theirs, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import pathlib
import re
import shlex
import subprocess
from collections.abc import Sequence

from sweep_runs import Task, run_here

LAUNCH = pathlib.Path(__file__).resolve().parent
# Options of sbatch for one arm in one process; --launcher comes after them and overrides them.
_ARRAY = ("--nodes=1", "--ntasks-per-node=1", "--gpus-per-node=1")
# Flags of main in the manifest that concern the launch and not the run.
_LAUNCH_FLAGS = ("--coordinator=", "--num_processes=", "--process_id=", "--join_seconds=", "--status_when_stopped=")
# A name may have 63 letters, of which JobSet needs some for the names of pods.
_LONGEST_NAME = 40


def _flags(task: Task, options: argparse.Namespace) -> list[str]:
    """Main's flags for a run, with its workdir as the launcher's hosts see it."""
    here = f"--workdir={options.output}"
    flags = task.commands[0].words[3:]  # after python -m MODULE
    return [flag.replace(here, f"--workdir={options.remote}", 1) if options.remote else flag for flag in flags]


def in_processes(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """Trains each run in several processes of this host; returns the exit status of the sweep."""
    for task in tasks:
        train = task.commands[0]
        launcher = (train.words[0], str(LAUNCH / "local_processes.py"), *options.launcher)
        words = (*launcher, f"--trainer={options.trainer}", "--", *_flags(task, options))
        task.commands[0] = dataclasses.replace(train, words=words)
    return run_here(tasks, options)


def on_a_slice(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """Trains each run on a slice of TPUs; returns the exit status of the sweep."""
    for task in tasks:
        # A file of this host marks what is finished: the workdir is not here.
        mark = task.workdir.with_name(f"{task.workdir.name}.finished")
        launcher = (str(LAUNCH / "tpu_pod.sh"), "run", *options.launcher, f"--mark={mark}")
        words = (*launcher, "--", *_flags(task, options))
        task.commands = [dataclasses.replace(task.commands[0], words=words, is_done=mark.exists)]
    return run_here(tasks, options)


def as_an_array(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """Submits an array with a job for each unfinished run; returns sbatch's exit status."""
    left = [str(i) for i, task in enumerate(tasks) if not all(command.is_done() for command in task.commands)]
    if not left:
        print("nothing left to submit")
        return 0
    words = ["sbatch", f"--array={','.join(left)}", *_ARRAY, *options.launcher, str(LAUNCH / "slurm.sbatch"), "sweep"]
    return subprocess.run([*words, *options.sweep], cwd=LAUNCH.parent, check=False).returncode


def as_jobsets(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """Submits a JobSet for each run; returns the first exit status of kubectl that is not 0."""
    for task in tasks:
        text = manifest(f"{task.arm}-seed-{task.seed}", _flags(task, options))
        applied = subprocess.run(("kubectl", "apply", *options.launcher, "-f", "-"), input=text.encode(), check=False)
        if applied.returncode:
            return applied.returncode
    return 0


def manifest(run: str, flags: Sequence[str]) -> str:
    """The JobSet of `kubernetes.yaml` with the name and the flags of another run.

    Args:
      run: a description of the run, from which the JobSet's name is derived.
      flags: main's flags for it.
    """
    digest = hashlib.sha256(run.encode()).hexdigest()[:8]
    slug = re.sub("[^a-z0-9]+", "-", run.lower()).strip("-")[: _LONGEST_NAME - len("wae--") - len(digest)]
    name = f"wae-{slug.strip('-')}-{digest}"
    quoted = [flag.replace("'", "''") for flag in flags]
    lines: list[str] = []
    for line in (LAUNCH / "kubernetes.yaml").read_text(encoding="utf-8").splitlines():
        argument = re.fullmatch(r"( +- )(--\S+)", line)
        if argument is None or argument[2].startswith(_LAUNCH_FLAGS):
            lines.append(line.replace("wae-jax-worker-0-0.wae-jax", f"{name}-worker-0-0.{name}"))
        else:
            lines += [f"{argument[1]}'{flag}'" for flag in quoted]
            quoted = []
    return "\n".join(lines).replace("\n  name: wae-jax\n", f"\n  name: {name}\n") + "\n"


BACK_ENDS = {"processes": in_processes, "tpu": on_a_slice, "slurm": as_an_array, "kubernetes": as_jobsets}


def add_options(parser: argparse.ArgumentParser, others: Sequence[str]) -> None:
    """Adds the back ends' options to the sweep's parser; `others` are the sweep's own back ends, default first."""
    choices = (*others, *BACK_ENDS)
    parser.add_argument("--back-end", choices=choices, default=choices[0], help="where the runs are made")
    parser.add_argument("--launcher", type=shlex.split, default=[], help="words for the back end's launcher")
    parser.add_argument("--remote", default="", help="the output folder as hosts of tpu and kubernetes see it")


def without_options(arguments: Sequence[str]) -> list[str]:
    """The sweep's arguments without those of the back ends, for jobs that make one run each."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--back-end", "--launcher", "--remote"):
        parser.add_argument(name)
    return parser.parse_known_args(arguments)[1]
