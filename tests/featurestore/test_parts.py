"""The files of a table or backbone, for libraries that read Parquet themselves."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from support import Collection, CountingBackbone, jpeg

import featurestore
from featurestore import FeatureStore
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import InputError


def test_every_table_and_backbone_has_its_files(store: FeatureStore, collection: Collection) -> None:
    store.append({"notes": pa.table({"ImgId": [101, 102], "note": ["a", "b"]})})
    store.append({"notes": pa.table({"ImgId": [103], "note": ["c"]})})
    assert store.parts("embeddings") == [], "a table without rows has no files"
    store.embed(CountingBackbone())
    for name, rows in {"movies": 24, "images": 24, "notes": 3, "counting": 24, "embeddings_counting": 24}.items():
        paths = store.parts(name)
        assert all(Path(path).is_absolute() and Path(path).is_file() for path in paths)
        assert duckdb.read_parquet(paths).count("*").fetchall() == [(rows,)]
    polars = pytest.importorskip("polars")
    frame = polars.scan_parquet(store.parts("counting")).select("ImgId", "embedding").sort("ImgId").collect()
    assert frame["embedding"].to_numpy().tobytes() == store.features("counting", view="images_usable").X.tobytes()


def test_a_backbone_has_the_files_of_its_revision(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    before = store.parts("counting")
    store.create_snapshot("first")
    store.embed(CountingBackbone(weights="blocks-2"))
    assert not set(before) & set(store.parts("counting"))
    assert set(store.parts("embeddings")) == {*before, *store.parts("counting")}
    assert featurestore.open(store.path, snapshot="first").parts("counting") == before


def test_what_the_views_hide_is_left_out_by_the_join(
    store: FeatureStore, collection: Collection, tmp_path: Path
) -> None:
    """Replaced, removed and broken images, and an imported vector: the join that the docstring names."""
    store.embed(CountingBackbone())
    store.import_embeddings(_import(tmp_path), backbone="counting_too")
    (collection.images / "101.jpg").write_bytes(jpeg(1))
    (collection.images / "102.jpg").write_bytes(b"no image")
    (collection.images / "103.jpg").unlink()
    store.ingest(metadata=collection.metadata, images=collection.images)
    for name in ("counting", "counting_too"):
        rows = duckdb.sql(
            "SELECT e.ImgId FROM read_parquet(?) AS e JOIN read_parquet(?) AS i USING (ImgId) "
            "WHERE e.content_hash IN (i.content_hash, '') AND i.status <> 'broken' ORDER BY ImgId",
            params=[store.parts(name), store.parts("images")],
        ).fetchall()
        shown = store.features(name, view="images_usable").ids.tolist()
        assert [row[0] for row in rows] == shown
        assert len(shown) < duckdb.read_parquet(store.parts(name)).count("*").fetchall()[0][0]


def _import(folder: Path) -> Path:
    path = folder / "theirs.csv"
    path.write_text("ImgId,0,1\n101,1,2\n102,3,4\n900,5,6\n")
    return path


def test_a_table_goes_before_a_backbone_of_its_name(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    store.append({"counting": pa.table({"ImgId": [1], "x": [2]})})
    assert "/counting/" in store.parts("counting")[0]
    assert "/backbone=counting/" in store.parts("embeddings_counting")[0]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("countin", "did you mean 'counting'"),
        ("image", "did you mean 'images'"),
        ("labeled", "it has: backbones, corrections, counting, embeddings, extractions, images, movies"),
        ("../images", "did you mean 'images'"),
        ("", "it has: "),
    ],
)
def test_an_unknown_name_is_one_sentence(store: FeatureStore, name: str, hint: str) -> None:
    store.embed(CountingBackbone())
    with pytest.raises(InputError, match=f"has no table or backbone '{name}' .{hint}"):
        store.parts(name)


def test_the_command_prints_the_paths(
    store: FeatureStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["featurestore", "parts", "--store", str(store.path), *arguments])
        return run_command(cli, "featurestore"), capsys.readouterr().out

    paths = store.parts("images")
    assert run("images") == (0, "".join(f"{path}\n" for path in paths))
    assert json.loads(run("images", "--json")[1]) == paths
    assert run("embeddings") == (0, "")
    assert run("embeddings", "--json") == (0, "[]\n")
    assert run("imagse")[0] == 1
