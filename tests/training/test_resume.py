"""Real processes killed at random moments and started again end, bit for bit, where an uninterrupted one ends."""

import dataclasses
import os
import pathlib
import random
import signal
import time

import jax
import numpy as np
import pytest

from tests.helpers import assert_same_run, finish, last_state, read_metrics, start_run
from wae_jax.training.checkpoint import Checkpointer

# The kinds of moments: any time since the start; while training; while a checkpoint is being written; SIGTERM while
# training.
START, TRAINING, WRITING, TERMINATED = "start", "training", "writing", "terminated"


def start(workdir, num_steps):
    """WAE-GAN with averages of the parameters, so that every part of the state is there; calls of one step or two."""
    flags = ("--config.ema_decay=0.9", "--config.steps_per_call=2", "--config.data.placement=device")
    return start_run(workdir, *flags, config="wae_gan", curves=False, num_steps=num_steps)


def identity(path):
    """Tells one file or folder from another that later has the same name; None where there is none."""
    try:
        return path.stat().st_ino, path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def unfinished(workdir):
    """The checkpoints that are being written, or were when their run was killed."""
    return {identity(path) for path in (workdir / "checkpoints").glob("*orbax-checkpoint-tmp*")} - {None}


@dataclasses.dataclass
class Interrupter:
    """Starts a run again and again, and ends it at moments that a seed decides, as far as it can decide them.

    Attributes:
      workdir: of the run.
      num_steps: of the whole of it.
      chance: the source of the moments.
      told: what has been done, to be printed.
      kills: how many processes SIGKILL ended.
      writes_hit: how many of these left a half-written checkpoint behind.
    """

    workdir: pathlib.Path
    num_steps: int
    chance: random.Random
    told: list[str] = dataclasses.field(default_factory=list)
    kills: int = 0
    writes_hit: int = 0
    seconds_to_train: float = 3.0

    def interrupt(self, kind: str, step: int) -> bool:
        """Starts the run and ends it at or after `step`; False where it was faster and ended by itself."""
        path = self.workdir / "metrics.jsonl"
        before, writes_before, started = identity(path), unfinished(self.workdir), time.monotonic()
        process = start(self.workdir, self.num_steps)

        def trained():
            # A run that goes on replaces the file.
            if not path.exists() or (before is not None and path.stat().st_ino == before[0]):
                return False
            return any(f'"step": {n},' in path.read_text() for n in range(step, self.num_steps + 1))

        if kind == START:
            time.sleep(self.chance.uniform(0, 1.05 * self.seconds_to_train))
        else:
            self._wait(process, trained, 0.02)
            self.seconds_to_train = time.monotonic() - started
            if kind == WRITING:
                self._wait(process, lambda: unfinished(self.workdir) - writes_before, 0.001)
            time.sleep(self.chance.uniform(0, 0.15))
        process.send_signal(signal.SIGTERM if kind == TERMINATED else signal.SIGKILL)
        status, output = finish(process)
        left = unfinished(self.workdir) - writes_before
        last = path.read_text()[-2000:].rpartition('{"step": ')[2].partition(",")[0] if path.exists() else "none"
        self.told.append(f"{kind} from step {step}: status {status}, {len(left)} writes cut, last line of step {last}")
        if kind == TERMINATED:
            assert status == 0, output
            return "SIGTERM: saved step" in output
        assert status in (0, -signal.SIGKILL), output
        self.kills += status != 0
        self.writes_hit += bool(left)
        return status != 0

    def _wait(self, process, condition, seconds):
        deadline = time.monotonic() + 200
        while process.poll() is None and not condition():
            assert time.monotonic() < deadline, self.told
            time.sleep(seconds)


def assert_state_is_complete(workdir, num_steps):
    """What is compared is all there: the comparison would be content with two empty states."""
    state, _ = last_state(workdir)
    assert int(state.step) == num_steps
    for part in (
        state.autoencoder.params,
        state.autoencoder.batch_stats,
        state.autoencoder.opt_state,
        state.discriminator.params,
        state.discriminator.opt_state,
        state.ema_params,
    ):
        assert sum(np.size(leaf) for leaf in jax.tree.leaves(part)) > 6
    steps = sorted({*range(3, num_steps + 1, 3), *range(20, num_steps + 1, 20), num_steps})
    assert [row["step"] for row in read_metrics(workdir)] == steps


def assert_ends_as_if_nothing_had_been(workdir, whole, num_steps):
    status, output = finish(start(workdir, num_steps))
    assert status == 0, output
    assert_same_run(whole, workdir)
    best = [Checkpointer(folder / "checkpoints", read_only=True).best_step() for folder in (whole, workdir)]
    assert best[0] == best[1] is not None
    assert not unfinished(workdir)
    assert not list(workdir.glob("**/.*.part"))


def test_a_kill_amid_a_write_and_a_sigterm_leave_no_trace(tmp_path):
    num_steps = 24
    seed = int(os.environ.get("WAE_JAX_TEST_SEED", "0"))
    interrupter = Interrupter(tmp_path / "broken", num_steps, random.Random(seed))
    whole = None
    try:
        assert interrupter.interrupt(WRITING, interrupter.chance.randrange(1, 6)), interrupter.told
        whole = start(tmp_path / "whole", num_steps)  # beside the others, with the programs that the first has compiled
        assert interrupter.interrupt(TERMINATED, num_steps // 2 + interrupter.chance.randrange(1, 6)), interrupter.told
    finally:
        print(f"seed {seed} (set WAE_JAX_TEST_SEED for another)", *interrupter.told, sep="\n")
        if whole is not None:
            status, output = finish(whole)
    assert status == 0, output
    assert "processes 1, devices 2 local / 2 global" in output
    assert interrupter.kills == 1
    assert_state_is_complete(tmp_path / "whole", num_steps)
    assert_ends_as_if_nothing_had_been(tmp_path / "broken", tmp_path / "whole", num_steps)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_and_some_sigterms_leave_no_trace(tmp_path):
    num_steps = 48
    status, output = finish(start(tmp_path / "whole", num_steps))
    assert status == 0, output
    assert_state_is_complete(tmp_path / "whole", num_steps)
    kills = writes_hit = 0
    for seed in range(100):
        interrupter = Interrupter(tmp_path / f"broken_{seed}", num_steps, random.Random(seed))
        try:
            for place in range(7):
                kind = interrupter.chance.choice([START, TRAINING, TRAINING, WRITING, WRITING, TERMINATED])
                if not interrupter.interrupt(kind, place * num_steps // 8 + interrupter.chance.randrange(1, 7)):
                    break
        finally:
            print(f"seed {seed}", *interrupter.told, sep="\n")
        assert_ends_as_if_nothing_had_been(interrupter.workdir, tmp_path / "whole", num_steps)
        kills, writes_hit = kills + interrupter.kills, writes_hit + interrupter.writes_hit
        if kills >= 20 and writes_hit >= 5:
            break
    print(f"{kills} kills, {writes_hit} of them while a checkpoint was being written")
    assert kills >= 20
    assert writes_hit >= 5
