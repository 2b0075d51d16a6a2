"""Fetching, against a stand-in for the hub: what came is checked and kept, what did not is said."""

import json
from pathlib import Path

import pytest
from savedmodels import hub_module
from support import jpeg, movie, write_metadata

from featurestore import fetch as module
from featurestore.errors import InputError
from featurestore.fetch import fetch


class Hub:
    """Serves local folders as kagglehub would; a missing one is a connection error."""

    def __init__(self, **folders: Path) -> None:
        self.folders = folders

    def dataset_download(self, handle: str) -> str:
        assert handle == "neha1703/movie-genre-from-its-poster"
        return self._serve("collection")

    def model_download(self, handle: str) -> str:
        return self._serve("inception_v3" if "inception" in handle else "resnet_v2_50")

    def _serve(self, part: str) -> str:
        if part not in self.folders:
            raise ConnectionError("no route to host\nand more lines")
        return str(self.folders[part])


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dataset"
    (folder / "posters").mkdir(parents=True)
    write_metadata(folder / "MovieGenre.csv", [movie(1), movie(2), movie(3)])
    (folder / "posters" / "1.jpg").write_bytes(jpeg(1))
    monkeypatch.setattr(module, "DATASET_ROWS", 3)
    return folder


def test_what_came_is_kept_and_the_rest_is_said(dataset: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    result = fetch(tmp_path / "data", report=lines.append, hub=Hub(collection=dataset))
    assert set(result.came) == {"collection"}
    assert set(result.missing) == {"inception_v3", "resnet_v2_50"}
    assert any(line == "inception_v3 can't be had: ConnectionError: no route to host" for line in lines)
    assert f"next: featurestore ingest --metadata {dataset}/MovieGenre.csv --images {dataset}/posters" in lines
    lineage = json.loads((tmp_path / "data" / "fetched.json").read_text())
    assert lineage["collection"]["rows"] == 3
    assert len(lineage["collection"]["metadata_sha256"]) == 64


def test_a_later_fetch_adds_to_the_lineage(dataset: Path, tmp_path: Path) -> None:
    weights = hub_module(tmp_path / "weights", embed_dim=8)
    fetch(tmp_path / "data", what=["collection"], report=lambda line: None, hub=Hub(collection=dataset))
    lines: list[str] = []
    fetch(tmp_path / "data", what=["inception_v3"], report=lines.append, hub=Hub(inception_v3=weights))
    assert set(json.loads((tmp_path / "data" / "fetched.json").read_text())) == {"collection", "inception_v3"}
    assert lines[-1] == f"then: featurestore embed --backbone inception_v3 --weights {weights}"


def test_something_else_than_the_dataset_is_not_taken(dataset: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "DATASET_ROWS", 40_108)
    empty = tmp_path / "empty"
    empty.mkdir()
    result = fetch(tmp_path / "data", report=lambda line: None, hub=Hub(collection=dataset, inception_v3=empty))
    assert "has 3 rows, the published file has 40108" in result.missing["collection"]
    assert "has no saved_model.pb" in result.missing["inception_v3"]
    assert not (tmp_path / "data").exists()


def test_unknown_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected collection"):
        fetch(tmp_path, what=["weights"], hub=Hub())
