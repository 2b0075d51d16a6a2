"""The notebook of the bench runs from its first cell to its last in a kernel, and shows what it says it shows."""

from pathlib import Path

import pytest
from notebooks import QUIET, printed, run_notebook, shown


@pytest.mark.slow
@pytest.mark.filterwarnings(*QUIET)
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = run_notebook("compare.ipynb", tmp_path, monkeypatch)
    assert "bench" not in printed(code, "stderr"), "progress is no error"
    pages = [page for page in shown(code, "text/html") if "cross-validation" in page]
    assert len(pages) == 2
    assert all(">ridge<" in page and "SYNTHETIC" in pages[0] and len(page) < 20_000 for page in pages)
    assert len(shown(code, "image/svg+xml")) == 1
    tables = "\n".join(shown(code, "text/plain"))
    assert "tree" in tables, "a head of the notebook itself has a row"
    assert "failed" not in tables
    assert (tmp_path / "report.html").is_file()
