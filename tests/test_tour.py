"""The notebook of the documentation: as it is committed, and run."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"


def test_the_committed_notebook_has_no_outputs():
    cells = nbformat.read(TOUR, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert len(code) > 10
    assert all(not cell.outputs and cell.execution_count is None and not cell.metadata for cell in code)
    assert TOUR.stat().st_size < 20_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tour_runs(tmp_path, monkeypatch):
    # As for a reader: not with the tests' own flags, by which programs are compiled quickly and run slowly.
    monkeypatch.delenv("XLA_FLAGS")
    for name, value in {"JAX_PLATFORMS": "cpu", "PYTHONPATH": ROOT, "TMPDIR": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    tour = nbformat.read(TOUR, as_version=4)
    # Any error of a cell is raised. All takes less than three minutes on two cores that have nothing else to do.
    NotebookClient(tour, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in tour.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/png") == 3
    assert sum("<audio" in output.get("data", {}).get("text/html", "") for output in outputs) == 2
    told = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    # A song of the built-in corpus, by a model of other music.
    (decoded,) = re.findall(r"F1 of each phrase: \[(.*)\]", told)
    assert len(decoded.split()) == 3
    assert min(map(float, decoded.split())) > 0.3
    # Noise on a code changes the music, and more of it more so.
    near = [float(line.split()[-1]) for line in told.splitlines() if line.startswith("noise of")]
    assert len(near) == 3
    assert 1 > near[0] > near[1] > near[2]
    (f1,) = [float(line.split()[1]) for line in told.splitlines() if line.startswith("eval/f1")]
    assert f1 > 0.5
    assert "reconstruction f1" in told
    assert "Traceback" not in told
