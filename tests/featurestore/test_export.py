"""Files that come back bit for bit, and a bundle that notices a single changed bit."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import CountingBackbone

from featurestore import FeatureStore, open_bundle
from featurestore.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import InputError, IntegrityError


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


def test_a_bundle_opens_with_its_lock(run, store: FeatureStore, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("--format", "bundle", "--label", "Genre1", "-o", tmp_path / "bundle")
    assert code == 0
    lock = out.split("lock ")[1].strip()
    features = store.refresh().features("counting", label="Genre1")
    bundle = open_bundle(tmp_path / "bundle", lock=lock)
    assert bundle.X.tobytes() == features.X.tobytes()
    assert bundle.table.equals(features.table)
    assert bundle.classes == features.classes
    np.testing.assert_array_equal(bundle.groups, features.groups)
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["backbones"][0]["weights"] == "blocks-1"
    assert manifest["state"] == store.state.id
    with pytest.raises(IntegrityError, match="pinned is sha256:0"):
        open_bundle(tmp_path / "bundle", lock="sha256:0")


@pytest.mark.parametrize("name", ["features.parquet", "manifest.json"])
def test_a_changed_bit_is_named(run, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    run("--format", "bundle", "-o", tmp_path / "bundle")
    path = tmp_path / "bundle" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        open_bundle(tmp_path / "bundle")
    path.unlink()
    with pytest.raises((IntegrityError, InputError)):
        open_bundle(tmp_path / "bundle")


def test_reading_a_bundle_loads_nothing_beyond_the_core(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run("--format", "bundle", "-o", tmp_path / "bundle")
    probe = (
        "import sys, featurestore; f = featurestore.open_bundle(sys.argv[1]); print(f.X.shape);"
        "print([m for m in ('PIL', 'sklearn', 'torch', 'tensorflow', 'pickle5') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", probe, str(tmp_path / "bundle")], capture_output=True, text=True)
    assert result.stdout.splitlines() == ["(20, 16)", "[]"], result.stderr
