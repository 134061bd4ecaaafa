from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import resource
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from tensorboardX.proto.event_pb2 import SessionLog

from tests.helpers import read_events
from wae_jax.training.metric_writer import MetricWriter


@contextlib.contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def values_of(logdir: pathlib.Path) -> list:
    return [(event.step, value) for events in read_events(logdir) for event in events for value in event.summary.value]


def lines_of(logdir: pathlib.Path) -> list[str]:
    return (logdir / "metrics.jsonl").read_text().splitlines()


def test_metrics_are_one_object_a_line_and_in_the_event_file(tmp_path):
    with MetricWriter(tmp_path / "run") as writer:
        scalars = {"train/x": -0.25, "n": np.int64(3), "f": jnp.float32(0.5), "b": jnp.ones((1,), jnp.bfloat16)}
        writer.write_scalars(10, scalars)
        writer.write_scalars(20, {"nan": float("nan"), "inf": jnp.float32("-inf"), "t": True, "a": np.array([[1.5]])})
        # Before it is closed: no line waits in a buffer.
        assert lines_of(tmp_path / "run") == [
            '{"step": 10, "train/x": -0.25, "n": 3, "f": 0.5, "b": 1.0}',
            '{"step": 20, "nan": null, "inf": null, "t": 1, "a": 1.5}',
        ]
    values = {value.tag: (step, value.simple_value) for step, value in values_of(tmp_path / "run")}
    assert values["train/x"] == (10, -0.25)
    assert values["a"] == (20, 1.5)
    assert np.isnan(values["nan"][1])


def test_values_that_are_no_number_are_refused(tmp_path):
    with MetricWriter(tmp_path) as writer:
        for value in (np.ones(2), "1.5", None, 1j, np.zeros(0)):
            with pytest.raises(ValueError, match=r"metric train/x is .*expected one real number"):
                writer.write_scalars(1, {"train/x": value})
    assert lines_of(tmp_path) == []


def write_steps(workdir: pathlib.Path, resume_step: int, last_step: int) -> None:
    """Metrics of each step, and of every fifth an evaluation on a line of its own."""
    with MetricWriter(workdir, resume_step) as writer:
        for step in range(resume_step + 1, last_step + 1):
            writer.write_scalars(step, {"train/x": step / 3})
            if step % 5 == 0:
                writer.write_scalars(step, {"eval/x": step / 7})


def test_a_run_killed_anywhere_leaves_neither_gaps_nor_duplicates(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(tmp_path, 0, 20)
    whole = path.read_bytes()
    first_ten = b"".join(line for line in whole.splitlines(keepends=True) if json.loads(line)["step"] <= 10)
    for killed_at in range(len(first_ten), len(whole), 17):
        path.write_bytes(whole[:killed_at])
        write_steps(tmp_path, 10, 20)
        assert path.read_bytes() == whole
    write_steps(tmp_path, 0, 20)
    assert path.read_bytes() == whole


def test_damaged_lines_are_removed(tmp_path):
    content = b'{"step": 1}\n\x00\x00\xff\n[2]\n{"x": 1}\n{"step": "2"}\n\n{"step": 2}\n{"step": 3}\n{"step": 2}'
    (tmp_path / "metrics.jsonl").write_bytes(content)
    MetricWriter(tmp_path, 2).close()
    assert lines_of(tmp_path) == ['{"step": 1}', '{"step": 2}']


def test_on_a_full_disk_the_file_ends_with_a_complete_line(tmp_path):
    with MetricWriter(tmp_path) as writer:
        with disk_full_at(100):
            writer.write_scalars(1, {"train/reconstruction": 400.25})
            writer.write_scalars(2, {"train/reconstruction": 400.25})
            with pytest.raises(OSError, match=r"the metrics of step 3 could not be written.*metrics\.jsonl"):
                writer.write_scalars(3, {"train/reconstruction": 400.25})
        assert [json.loads(line)["step"] for line in lines_of(tmp_path)] == [1, 2]
        writer.write_scalars(3, {})
    assert json.loads(lines_of(tmp_path)[-1]) == {"step": 3}


def test_a_full_disk_ends_tensorboard_with_an_error_instead_of_waiting(tmp_path):
    writer = MetricWriter(tmp_path)
    with disk_full_at(2000):
        for step in range(20):
            writer.write_text(step, {"note": "x" * 100})
        with pytest.raises(OSError, match=f"TensorBoard event file could not be written.*{tmp_path}"):
            writer.flush()
    writer.close()


def test_images_histograms_and_text(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    with MetricWriter(tmp_path) as writer:
        writer.write_images(4, {"rolls": picture, "grey": picture[..., :1]})
        histograms = {"z": np.array([[0.0, 1.0], [np.nan, 64.0]]), "none": np.array([np.inf]), "same": jnp.ones(7)}
        writer.write_histograms(5, histograms)
        writer.write_text(6, {"note": "**bold**"})
    values = {value.tag.split("/text")[0]: (step, value) for step, value in values_of(tmp_path)}
    assert {tag: step for tag, (step, _) in values.items()} == {"rolls": 4, "grey": 4, "z": 5, "same": 5, "note": 6}
    for tag, expected in (("rolls", picture), ("grey", picture[..., [0, 0, 0]])):
        image = PIL.Image.open(io.BytesIO(values[tag][1].image.encoded_image_string))
        np.testing.assert_array_equal(np.asarray(image), expected)
    histogram = values["z"][1].histo
    assert (histogram.num, histogram.sum, histogram.min, histogram.max) == (3, 65, 0, 64)
    assert sum(histogram.bucket) == 3
    assert sum(values["same"][1].histo.bucket) == 7
    assert values["note"][1].tensor.string_val == [b"**bold**"]


def test_each_start_has_an_event_file_and_purges_later_steps(tmp_path):
    for resume_step in (0, 10):
        with MetricWriter(tmp_path, resume_step) as writer:
            writer.write_scalars(resume_step + 1, {"x": 1.0})
    starts = [
        [event.step for event in events if event.session_log.status == SessionLog.START]
        for events in read_events(tmp_path)
    ]
    # TensorBoard drops the steps from this one on: after step 10 is restored, step 10 itself stays.
    assert starts == [[0], [11]]


def test_a_disabled_writer_writes_nothing(tmp_path):
    with MetricWriter(tmp_path / "run", enabled=False) as writer:
        writer.write_scalars(1, {"train/x": 2.0})
        writer.write_images(1, {"i": np.zeros((2, 2, 1), np.uint8)})
        writer.write_histograms(1, {"h": np.arange(3)})
        writer.write_text(1, {"t": "text"})
        writer.flush()
    assert os.listdir(tmp_path) == []
