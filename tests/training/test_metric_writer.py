from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

import wae_jax
from tests.checking import unchecked
from wae_jax.training.metric_writer import MetricsFile, MetricWriter, Progress, TensorBoardWriter, format_duration


@contextlib.contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: stands in for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def read_events(logdir: pathlib.Path) -> list[list[Event]]:
    """The events of each file, by the record format: length, its checksum, the event, its checksum."""
    files = []
    for path in sorted(logdir.glob("events.out.tfevents.*")):
        content, events = path.read_bytes(), []
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            events.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
        files.append(events)
    return files


def values_of(logdir: pathlib.Path) -> list:
    return [(event.step, value) for events in read_events(logdir) for event in events for value in event.summary.value]


def test_metrics_file_holds_one_object_a_line(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl", 0)
    file.write(10, {"train/penalty": -0.25, "n": np.int64(3), "f": jnp.float32(0.5), "b": jnp.ones((1,), jnp.bfloat16)})
    file.write(np.int64(20), {"x": np.array([[1.5]]), "nan": float("nan"), "inf": jnp.float32("-inf"), "t": True})
    # Read before it is closed: each line is handed over as it comes.
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == [
        '{"step": 10, "train/penalty": -0.25, "n": 3, "f": 0.5, "b": 1.0}',
        '{"step": 20, "x": 1.5, "nan": null, "inf": null, "t": 1}',
    ]
    file.close()


def test_metrics_file_refuses_what_is_not_a_number(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl", 0)
    for value in (np.ones(2), "1.5", None, 1j, np.zeros(0)):
        with pytest.raises(ValueError, match=r"metric train/x is .*expected one real number"):
            file.write(1, {"train/x": value})
    with pytest.raises(ValueError, match="called 'step'"):
        file.write(1, {"step": 3})
    file.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def write_steps(path: pathlib.Path, resume_step: int, last_step: int) -> None:
    """Metrics of each step, and of every fifth an evaluation on a line of its own."""
    file = MetricsFile(path, resume_step)
    for step in range(resume_step + 1, last_step + 1):
        file.write(step, {"train/x": step / 3})
        if step % 5 == 0:
            file.write(step, {"eval/x": step / 7})
    file.close()


def test_a_run_killed_anywhere_leaves_neither_gaps_nor_doubles(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(path, 0, 20)
    whole = path.read_bytes()
    first_ten = b"".join(line for line in whole.splitlines(keepends=True) if json.loads(line)["step"] <= 10)
    for killed_at in range(len(first_ten), len(whole), 7):
        path.write_bytes(whole[:killed_at])
        write_steps(path, 10, 20)
        assert path.read_bytes() == whole
    write_steps(path, 0, 20)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_lines_that_are_none_are_taken_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"step": 1}\n\x00\x00\xff\n[2]\n{"x": 1}\n{"step": "2"}\n\n{"step": 2}\n{"step": 3}\n{"step": 2}'
    )
    MetricsFile(path, 2).close()
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_metrics_file_on_a_full_disk_ends_with_a_whole_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, 0)
    with disk_full_at(100):
        file.write(1, {"train/reconstruction": 400.25})
        file.write(2, {"train/reconstruction": 400.25})
        with pytest.raises(OSError, match=r"the metrics of step 3 could not be written.*metrics\.jsonl"):
            file.write(3, {"train/reconstruction": 400.25})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]
    file.write(3, {})
    file.close()
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 3}


def test_tensorboard_scalars_images_histograms_and_text(tmp_path):
    board = TensorBoardWriter(tmp_path / "logs", 0)
    board.scalars(3, {"train/x": jnp.float32(0.5), "train/nan": float("nan")})
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    board.images(4, {"rolls": picture, "grey": picture[..., :1]})
    board.histograms(5, {"z": np.array([[0.0, 1.0], [np.nan, 64.0]]), "none": np.array([np.inf]), "same": jnp.ones(7)})
    board.text(6, {"note": "**bold**"})
    board.close()
    values = {value.tag: (step, value) for step, value in values_of(tmp_path / "logs")}
    assert {tag.split("/text")[0]: step for tag, (step, _) in values.items()} == {
        "train/x": 3,
        "train/nan": 3,
        "rolls": 4,
        "grey": 4,
        "z": 5,
        "same": 5,
        "note": 6,
    }
    assert values["train/x"][1].simple_value == 0.5
    assert np.isnan(values["train/nan"][1].simple_value)
    for tag, expected in (("rolls", picture), ("grey", picture[..., [0, 0, 0]])):
        image = PIL.Image.open(io.BytesIO(values[tag][1].image.encoded_image_string))
        np.testing.assert_array_equal(np.asarray(image), expected)
    histogram = values["z"][1].histo
    assert (histogram.num, histogram.sum, histogram.min, histogram.max) == (3, 65, 0, 64)
    assert sum(histogram.bucket) == 3
    assert sum(values["same"][1].histo.bucket) == 7
    text = next(value for tag, (_, value) in values.items() if tag.startswith("note"))
    assert text.tensor.string_val == [b"**bold**"]


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 5), np.uint8)])
def test_tensorboard_refuses_other_images(tmp_path, image):
    board = TensorBoardWriter(tmp_path, 0)
    with unchecked(), pytest.raises(ValueError, match="image rolls has shape"):
        board.images(1, {"rolls": image})
    board.close()


def test_each_start_has_its_event_file_and_voids_what_came_later(tmp_path):
    for resume_step in (0, 10):
        board = TensorBoardWriter(tmp_path, resume_step)
        board.scalars(resume_step + 1, {"x": 1.0})
        board.flush()
        board.close()
    starts = [
        [event.step for event in events if event.session_log.status == SessionLog.START]
        for events in read_events(tmp_path)
    ]
    # TensorBoard drops the steps from this one on: with step 10 restored, step 10 itself stays.
    assert starts == [[0], [11]]


def test_tensorboard_on_a_full_disk_raises_instead_of_waiting(tmp_path):
    board = TensorBoardWriter(tmp_path, 0)
    with disk_full_at(2000):
        for step in range(100):
            board.scalars(step, {"x": 1.0})
        with pytest.raises(OSError, match=f"TensorBoard event file could not be written.*{tmp_path}"):
            board.flush()
    board.close()


def test_metric_writer_writes_both_and_only_where_enabled(tmp_path):
    for enabled in (False, True):
        with MetricWriter(tmp_path / "run", 0, enabled=enabled) as writer:
            writer.write_scalars(1, {"train/x": 2.0})
            writer.write_images(1, {"i": np.zeros((2, 2, 1), np.uint8)})
            writer.write_histograms(1, {"h": np.arange(3)})
            writer.write_text(1, {"t": "text"})
            writer.flush()
        assert (tmp_path / "run").exists() == enabled
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == '{"step": 1, "train/x": 2.0}\n'
    assert [value.tag.split("/text")[0] for _, value in values_of(tmp_path / "run")] == ["train/x", "i", "h", "t"]
    with MetricWriter(tmp_path / "run", 1) as writer:
        writer.write_scalars(2, {"train/x": 1.0})
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (725, "12 min 05 s"),
        (3599.7, "1 h 00 min"),
        (11_220, "3 h 07 min"),
        (86_399, "1 d 00 h"),
        (187_200, "2 d 04 h"),
        (-1, "?"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_format_duration(seconds, expected):
    assert format_duration(seconds) == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress_lines(times_and_steps, stream: io.StringIO, **arguments) -> str:
    times = iter([time for time, _ in times_and_steps])
    with Progress(1000, 64, stream=stream, clock=lambda: next(times), **arguments) as progress:
        for _, step in times_and_steps:
            progress.update(step, {"train/x": step * 1.5, "n": 12_345.6, "c": 1, "d": 2} if step == 100 else None)
    return stream.getvalue()


def test_progress_in_a_log_is_a_plain_line_now_and_then():
    told = progress_lines([(0, 0), (5, 50), (10, 100), (15, 150), (22, 220), (24, 240)], io.StringIO(), max_metrics=2)
    assert told.splitlines() == [
        "step 0/1,000",
        "step 100/1,000, 640 phrases/s, 1 min 30 s left, train/x 150, n 12,346",
        "step 220/1,000, 640 phrases/s, 1 min 18 s left, train/x 150, n 12,346",
        "step 240/1,000, 640 phrases/s, 1 min 16 s left, train/x 150, n 12,346",
    ]


def test_progress_on_a_terminal_is_one_line_written_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    told = progress_lines([(0, 0), (0.1, 1), (1, 10), (1.1, 11)], Terminal())
    assert told == ("\rstep 0/1,000\x1b[K\rstep 10/1,000, 640 phrases/s,\x1b[K\rstep 11/1,000, 640 phrases/s,\x1b[K\n")


def test_progress_tells_the_speed_of_late():
    slow_then_fast = [(0, 0), (100, 10), (150, 60), (170, 80), (200, 110)]
    last = progress_lines(slow_then_fast, io.StringIO(), window_seconds=50).splitlines()[-1]
    assert last == "step 110/1,000, 64 phrases/s, 14 min 50 s left"
    # Two points are kept, however long ago the first one was.
    last = progress_lines([(0, 0), (100, 10)], io.StringIO(), window_seconds=5).splitlines()[-1]
    assert last == "step 10/1,000, 6.4 phrases/s, 2 h 45 min left"


def test_progress_of_a_silent_process_and_of_no_steps():
    stream = io.StringIO()
    with Progress(10, 1, stream=stream, enabled=False) as progress:
        progress.update(1)
    with Progress(10, 1, stream=stream):
        pass
    assert stream.getvalue() == ""


def test_progress_outlives_a_closed_stream():
    stream = io.StringIO()
    with Progress(10, 1, stream=stream, plain_seconds=0) as progress:
        progress.update(1)
        assert stream.getvalue() == "step 1/10\n"
        stream.close()
        progress.update(2)
        progress.update(3)


BROKEN = """
import os, sys
from wae_jax.writers import Progress
with Progress(10, 1, plain_seconds=0) as progress:
    for step in range(10):
        progress.update(step)
        if step == 0:
            sys.stdin.read()  # until the reader of stderr is gone
print("finished")
"""


def test_progress_outlives_a_broken_pipe():
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(wae_jax.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", BROKEN],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "step 0/10\n"
    process.stderr.close()
    process.stdin.close()
    assert process.stdout.read() == "finished\n"
    assert process.wait(timeout=30) == 0
    process.stdout.close()
