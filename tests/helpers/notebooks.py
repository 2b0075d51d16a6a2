"""Runs the notebooks of the examples in a kernel, from the first cell to the last, and collects what they show."""

import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Warnings of the kernel's client, which are not ours.
QUIET = ("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")


def run_notebook(name: str, folder: Path, patch: pytest.MonkeyPatch) -> list[Any]:
    """The code cells of the notebook ``name`` after it ran in ``folder``; skips where nothing can run one."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setenv("IPYTHONDIR", str(folder / "ipython"))
    path = shutil.copy(ROOT / "tests" / "notebooks" / name, folder)
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "it is stored without outputs"
    ran = client.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    nbformat.write(ran, folder / f"ran-{name}")
    return [cell for cell in ran.cells if cell.cell_type == "code"]


def shown(cells: list[Any], kind: str) -> list[str]:
    """Everything that the cells show in one form."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def printed(cells: list[Any], stream: str = "stdout") -> str:
    """Everything that the cells print to a stream."""
    return "".join(
        output["text"] for cell in cells for output in cell.get("outputs", ()) if output.get("name") == stream
    )
