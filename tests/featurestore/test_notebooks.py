"""The notebooks of a store's tour and of features in another project run in a kernel, and show what they say."""

from pathlib import Path

import pytest
from notebooks import QUIET, printed, run_notebook, shown
from support import needs


@pytest.mark.slow
@pytest.mark.filterwarnings(*QUIET)
def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = run_notebook("tour.ipynb", tmp_path, monkeypatch)
    pages = shown(code, "text/html")
    store, backbones, counts, vectors, neighbours, snapshots, features = pages
    assert all("SYNTHETIC" in page for page in (store, neighbours, features))
    assert (store.count("<img"), neighbours.count("<img")) == (8, 16)
    assert "1,332" in store
    assert "descriptors" in backbones
    assert "<td>Drama</td>" in counts
    assert "… 1,332 values]" in vectors
    assert "before" in snapshots
    assert "Drama 357" in features
    assert max(map(len, pages)) < 120_000
    assert printed(code).splitlines()[-1] == "  backbone descriptors: 1,332 values, 997 of 997 images"
    assert "Traceback" not in printed(code, "stderr")


@pytest.mark.slow
@pytest.mark.filterwarnings(*QUIET)
def test_features_are_pulled_into_another_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("torch", "sklearn", "polars", "narwhals", "datasets")
    code = run_notebook("reuse.ipynb", tmp_path, monkeypatch)
    first, *_, bundle = [page for page in shown(code, "text/html") if "featurestore" in page]
    assert "811 rows × 1,332 values of descriptors" in first
    assert bundle == first
    texts = "\n".join(shown(code, "text/plain"))
    assert "torch.Size([811, 1332])" in texts
    assert "num_rows: 811" in texts
    assert "1332" in texts
    assert "# posters.bundle" in printed(code)
    assert "SYNTHETIC" in printed(code)
