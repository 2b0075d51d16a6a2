"""Files that come back bit for bit, appear whole or not at all, and never take the place of another unasked."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import InputError
from featurestore.features.export import write


@pytest.fixture
def run(store: FeatureStore, capfd, monkeypatch):  # type: ignore[no-untyped-def]
    """`featurestore export --store …` over an embedded store."""
    store.embed(CountingBackbone())

    def call(*arguments: object) -> tuple[int, str, str]:
        base = ["featurestore", "export", "--store", str(store.path), "--backbone", "counting"]
        monkeypatch.setattr("sys.argv", [*base, *map(str, arguments)])
        code = run_command(cli, "featurestore")
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_parquet_and_numpy(run, store: FeatureStore, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    features = store.refresh().features("counting", label="Genre1")
    assert run("-o", tmp_path / "f.parquet")[0] == 0
    table = pq.read_table(tmp_path / "f.parquet")
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), features.X)
    for form in ("npz", "npy"):
        code, _, err = run("--format", form, "--label", "Genre1", "-o", tmp_path / f"f.{form}")
        assert code == 0, err
    with np.load(tmp_path / "f.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["X"], features.X)
        np.testing.assert_array_equal(arrays["y"], features.y)
        assert tuple(arrays["classes"]) == features.classes
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy", allow_pickle=False), features.X)
    np.testing.assert_array_equal(np.load(tmp_path / "f.ids.npy", allow_pickle=False), features.ids)


@pytest.mark.parametrize("form", ["study-embeddings", "study-labeled", "csv.gz", "parquet"])
def test_what_goes_out_comes_back_bit_for_bit(run, store: FeatureStore, tmp_path: Path, form: str) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / ("f.parquet" if form == "parquet" else "f.csv.gz")
    code, _, err = run("--format", form, "-o", file)
    assert code == 0, err
    store.import_embeddings(file, backbone="back")
    view = "images_usable" if form == "study-embeddings" else "labeled"
    there, back = (store.refresh().features(name, view=view) for name in ("counting", "back"))
    assert back.missing == 0
    assert back.X.tobytes() == there.X.tobytes()
    if form.startswith("study"):
        import gzip

        with gzip.open(file, "rt") as text:
            header = text.readline().strip().replace('"', "").split(",")
        nine = ["ImgId", "ImgName", "Title", "Genre1", "Genre2", "Genre3", "IMDBScore", "ImdbLink", "Poster"]
        assert header == (["ImgName"] if form == "study-embeddings" else nine) + [str(i) for i in range(16)]


def test_nothing_is_overwritten_unasked(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "thesis.parquet").write_bytes(b"years of work")
    code, _, err = run("-o", tmp_path / "thesis.parquet")
    assert code == 1
    assert "exists: name another file" in err
    assert (tmp_path / "thesis.parquet").read_bytes() == b"years of work"
    assert run("-o", tmp_path / "thesis.parquet", "--force")[0] == 0
    code, _, err = run("-o", tmp_path / "no" / "folder.parquet")
    assert code == 1
    assert "there is no folder" in err
    assert not list(tmp_path.glob(".*.tmp"))


def test_npy_leaves_nothing_of_an_earlier_export(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("--format", "npy", "--label", "Genre1", "-o", tmp_path / "f.npy")[0] == 0
    assert (tmp_path / "f.y.npy").exists()
    assert run("--format", "npy", "-o", tmp_path / "f.npy")[0] == 1
    assert run("--format", "npy", "-o", tmp_path / "f.npy", "--force")[0] == 0
    assert sorted(path.name for path in tmp_path.glob("f*")) == ["f.ids.npy", "f.npy"]


def test_a_failed_export_leaves_the_old_file(store: FeatureStore, tmp_path: Path) -> None:
    """The view has a list column, which CSV can't hold; and a disk that fills up."""
    store.embed(CountingBackbone())
    views.create(store.path, "lists", "SELECT ImgId, [ImgId, 1] AS pair FROM collection")
    features = store.refresh().features("counting", view="lists")
    file = tmp_path / "f.csv.gz"
    file.write_bytes(b"old")
    with pytest.raises(InputError, match=r"csv.gz can't hold these columns.*--columns"):
        write(features, file, "csv.gz", force=True)

    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        write(features, tmp_path / "f.parquet", "parquet", on_progress=full)
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "f."))] == ["f.csv.gz"]


def test_wrong_options_are_one_sentence(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for option in ("--view", "--columns", "--label"):
        code, _, err = run("--format", "study-labeled", option, "Genre1", "-o", tmp_path / "f.csv.gz")
        assert code == 1
        assert f"leave out {option}" in err
    code, _, err = run("--format", "study-labeled", "--backbone", "counting", "-o", tmp_path / "f.csv.gz")
    assert (code, "study-labeled holds one backbone, got 2" in err) == (1, True)
    (tmp_path / "folder.npz").mkdir()
    code, _, err = run("--format", "npz", "-o", tmp_path / "folder.npz", "--force")
    assert code == 1
    assert "is a folder: name a file" in err


def test_json_report(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("--json", "-o", tmp_path / "f.parquet")
    assert code == 0
    report = json.loads(out)
    assert report.pop("output") == str(tmp_path / "f.parquet")
    assert report == {"rows": 20, "embed_dim": 16, "missing": 0, "synthetic": False, "lock": None}
