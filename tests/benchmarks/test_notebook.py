"""The notebook of the examples runs from its first cell to its last in a kernel, and shows what it says it shows."""

import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "tests" / "notebooks" / "compare.ipynb"


def shown(cells: list[Any], kind: str) -> list[str]:
    """Everything that the cells show in one form."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shutil.copy(NOTEBOOK, tmp_path)
    notebook = nbformat.read(tmp_path / NOTEBOOK.name, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "it is stored without outputs"
    ran = client.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in ran.cells if cell.cell_type == "code"]
    errors = [output for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert not [output["text"] for output in errors if "bench" in output["text"]], "progress is no error"
    assert sum("<iframe" in page and "sandbox" in page for page in shown(code, "text/html")) == 2
    assert len(shown(code, "image/svg+xml")) == 1
    tables = "\n".join(shown(code, "text/plain"))
    assert "tree" in tables, "a head of the notebook itself has a row"
    assert "failed" not in tables
