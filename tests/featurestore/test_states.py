"""Snapshots, views, lineage, garbage, checksums, compaction: a state, once named, reads back bit for bit."""

import contextlib
import os
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest
from support import Collection, CountingBackbone, jpeg

from featurestore import FeatureStore
from featurestore import open as open_store
from featurestore.backbones.base import Preprocessing
from featurestore.catalog import maintenance, snapshots, views
from featurestore.commands.texts import lineage_text
from featurestore.errors import InputError, IntegrityError, QueryError, StoreError

NO_AGE = timedelta(0)


def everything(store: FeatureStore) -> list[object]:
    """All that a reader can see, for comparison."""
    tables = [store.sql(f"SELECT * FROM {name} ORDER BY ALL") for name in ("movies", "labeled", "genre_counts")]
    images = store.sql("SELECT * FROM images ORDER BY ImgName")
    features = store.features("counting", view="collection")
    return [*(t.to_pylist() for t in tables), images.to_pylist(), features.X.tobytes(), features.ids.tobytes()]


def disk_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*.parquet") if "cache" not in path.parts)


def churn(store: FeatureStore, collection: Collection) -> None:
    """New images, a replaced one, a removed one, a new revision, many small commits."""
    for step in range(3):
        (collection.images / f"{110 + step}.jpg").write_bytes(jpeg(5000 + step))
        store.embed(CountingBackbone(), batch_size=4)
        store.append({"notes": store.sql(f"SELECT {step} AS step")})
    (collection.images / "101.jpg").unlink()
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone(preprocessing=Preprocessing(16, 16, "signed")))


def test_a_snapshot_reads_back_bit_for_bit(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    before = everything(store)
    info = store.create_snapshot("first")
    churn(store, collection)
    now = everything(store)
    assert now != before
    maintenance.compact(store.path)
    report = maintenance.gc(store.path, older_than=NO_AGE)
    assert report.removed
    assert maintenance.verify(store.path).damaged == {}
    old = open_store(store.path, snapshot="first")
    assert everything(old) == before
    assert old.state.id == info.state_id
    assert everything(store.refresh()) == now
    assert store.embed(CountingBackbone()).computed == 0, "the old revision is still known"


def test_gc_leaves_what_is_referred_to_and_nothing_else(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    store.create_snapshot("keep")
    churn(store, collection)
    maintenance.compact(store.path)
    (store.path / "staging" / "x").mkdir(parents=True)
    (store.path / "staging" / "x" / "part-0.parquet").write_bytes(b"left by a killed run")
    (store.path / "movies" / ".77.tmp").write_bytes(b"half")
    plan = maintenance.gc(store.path, older_than=NO_AGE, dry_run=True)
    assert (store.path / plan.removed[0]).is_file(), "a dry run removes nothing"
    report = maintenance.gc(store.path, older_than=NO_AGE)
    assert report.removed == plan.removed
    assert disk_bytes(store.path) == report.referenced_bytes
    assert not (store.path / "staging").exists()
    assert maintenance.gc(store.path, older_than=NO_AGE).removed == []
    snapshots.remove(store.path, "keep")
    assert maintenance.gc(store.path, older_than=NO_AGE).removed, "what only the snapshot held goes with it"
    assert disk_bytes(store.path) == maintenance.gc(store.path, older_than=NO_AGE).referenced_bytes
    store.refresh().features("counting", view="collection")
    assert store.embed(CountingBackbone(name="other")).computed == 23, "and the store can be written again"


def test_compact_keeps_every_row(store: FeatureStore, collection: Collection) -> None:
    churn(store, collection)
    before = store.query("SELECT * EXCLUDE (part) FROM embeddings ORDER BY ALL").to_pylist()
    counts = maintenance.compact(store.path)
    vectors = [key for key in store.state.tables if key.startswith("embeddings/")]
    assert len(vectors) == 2, "one a revision"
    assert set(vectors) & set(counts)
    assert all(after < before for before, after in counts.values())
    assert counts["notes"] == (3, 1)
    assert store.refresh().query("SELECT * EXCLUDE (part) FROM embeddings ORDER BY ALL").to_pylist() == before
    assert maintenance.compact(store.path) == {}


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
def test_verify_names_the_damaged_part(store: FeatureStore, how: str) -> None:
    store.embed(CountingBackbone())
    part = next((store.path / "embeddings").rglob("part-*.parquet"))
    content = bytearray(part.read_bytes())
    if how == "missing":
        part.unlink()
    elif how == "truncated":
        part.write_bytes(content[:-100])
    else:
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    report = maintenance.verify(store.path)
    assert list(report.damaged) == [str(part.relative_to(store.path))]
    with pytest.raises(IntegrityError, match=r"part-"):
        store.refresh().features("counting", view="collection")
    assert store.sql("SELECT count(*) AS n FROM labeled")["n"][0].as_py() == 20, "the rest is readable"


@pytest.mark.parametrize("table", ["images", "movies", "embeddings"])
def test_no_query_over_a_damaged_part_gives_fewer_rows_instead(store: FeatureStore, table: str) -> None:
    store.embed(CountingBackbone())
    next((store.path / table).rglob("part-*.parquet")).unlink()
    for query in ("SELECT count(*) FROM {}", "SELECT ImgId FROM {} WHERE ImgId > 105", "SELECT * FROM {} LIMIT 1"):
        with pytest.raises(QueryError, match=f"a part of {table} is damaged, see `featurestore verify`"):
            store.refresh().sql(query.format("labeled_counting"))


def test_a_damaged_state_is_named(store: FeatureStore) -> None:
    (store.path / "state.json").write_text("{half")
    with pytest.raises(IntegrityError, match=r"state\.json is damaged"):
        open_store(store.path)
    (store.path / "state.json").unlink()
    with pytest.raises(StoreError, match="there is no store"):
        open_store(store.path)


def test_diff_counts_what_changed(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    store.create_snapshot("a")
    churn(store, collection)
    store.create_snapshot("b")
    changes = snapshots.diff(store.path, "a", "b")
    images = changes["images"]
    assert (images.added, images.removed, images.changed) == (0, 1, 3)
    assert (changes["movies"].added, changes["movies"].changed) == (0, 0)
    vectors = changes["embeddings_counting"]
    assert (vectors.added, vectors.removed, vectors.changed) == (0, 1, 23), "another revision, other vectors"
    assert snapshots.diff(store.path, "b") == {k: type(v)(0, 0, 0) for k, v in changes.items()}


@pytest.mark.parametrize("name", ["../x", "", "a b", ".hidden", "x" * 200])
def test_snapshot_names_are_file_names(store: FeatureStore, name: str) -> None:
    with pytest.raises(InputError, match="snapshot name"):
        store.create_snapshot(name)


def test_snapshots_never_change(store: FeatureStore, collection: Collection) -> None:
    store.create_snapshot("a")
    with pytest.raises(InputError, match="already"):
        store.create_snapshot("a")
    with pytest.raises(InputError, match=r"has no snapshot 'b' \(it has: a\)"):
        _ = open_store(store.path, snapshot="b")
    pinned = open_store(store.path, snapshot="a")
    with pytest.raises(StoreError, match="never changes"):
        pinned.embed(CountingBackbone())
    (info,) = snapshots.listing(store.path)
    assert info.name == "a"
    copy = store.path.with_name("copy")
    shutil.copytree(store.path, copy)
    os.utime(copy / "snapshots" / "a.json", (0, 0))
    assert snapshots.listing(copy) == [info], "a copy was made at the same time"
    (copy / "snapshots" / "a.json").write_bytes((copy / "state.json").read_bytes())
    with pytest.warns(UserWarning, match=r"a\.json is damaged"):
        assert snapshots.listing(copy) == []


def test_lineage_of_every_vector(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    (collection.images / "105.jpg").write_bytes(jpeg(4711))
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(preprocessing=Preprocessing(16, 16, "signed")))
    record = store.lineage(105)
    shown = [vector["current"] for vector in record["embeddings"]]
    assert sorted(shown) == [False, False, True]
    (current,) = [vector for vector in record["embeddings"] if vector["current"]]
    assert current["content_hash"] == record["image"]["content_hash"]
    assert current["preprocessing"]["scale"] == "signed"
    assert current["weights"] == "blocks-1"
    assert current["dtype"] == "float32"
    assert (store.path / "embeddings" / current["part"]).is_file()
    assert current["at"]
    assert current["machine"]
    with pytest.raises(InputError, match="no image with ImgId 999"):
        store.lineage(999)
    (collection.images / "105.jpg").unlink()
    store.ingest(metadata=collection.metadata, images=collection.images)
    gone = store.lineage(105)
    assert gone["image"]["status"] == "gone"
    assert [vector["current"] for vector in gone["embeddings"]] == [False] * 3, "told of, though no view shows them"
    assert lineage_text(gone).startswith("image       105  (gone)\n")


def test_views_of_the_user(store: FeatureStore, tmp_path: Path) -> None:
    store.embed(CountingBackbone())
    query = "SELECT ImgId, CASE WHEN ImgId < 110 THEN 'old' ELSE 'new' END AS decade FROM collection;"
    assert views.create(store.path, "decades", query) == 24
    views.create(store.path, "old_ones", "SELECT * FROM decades WHERE decade = 'old'")
    features = store.refresh().features("counting", view="old_ones")
    assert features.ids.tolist() == list(range(101, 110))
    assert features.table["decade"].to_pylist() == ["old"] * 9
    store.create_snapshot("with_views")
    with pytest.raises(InputError, match="another depends on it"):
        views.remove(store.path, "decades")
    views.remove(store.path, "old_ones")
    views.remove(store.path, "decades")
    assert "decades" not in store.refresh().state.views
    assert len(open_store(store.path, snapshot="with_views").sql("FROM old_ones")) == 9


@pytest.mark.parametrize(
    ("name", "query", "error", "sentence"),
    [
        ("Bad-Name", "SELECT ImgId FROM images", InputError, "expected lower-case"),
        ("labeled", "SELECT ImgId FROM images", InputError, "view of the store itself"),
        ("v", "SELECT Title FROM labeled", InputError, "no column ImgId"),
        ("v", "SELECT 1 AS ImgId FROM range(2)", InputError, "2 rows for 1 ids"),
        ("v", "SELECT * FROM read_text('/etc/passwd')", QueryError, "table function 'read_text'"),
        ("v", "DROP VIEW labeled", QueryError, "only SELECT"),
        ("v", "SELECT ImgId FROM nothing", QueryError, "only the store's own views"),
        ("v", "SELECT nothing FROM labeled", QueryError, "nothing"),
        ("v", "", QueryError, "statements"),
    ],
)
def test_views_that_cannot_be(
    store: FeatureStore, name: str, query: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        views.create(store.path, name, query)
    assert not store.refresh().state.views


def test_a_store_can_be_moved_and_mounted_read_only(store: FeatureStore, tmp_path: Path) -> None:
    store.embed(CountingBackbone())
    before = everything(store)
    moved = tmp_path / "elsewhere, with a comma 'and quotes'"
    shutil.move(store.path, moved)
    for path in [*moved.rglob("*"), moved]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert everything(FeatureStore(moved)) == before
        assert maintenance.verify(moved).damaged == {}
    finally:
        for path in [moved, *moved.rglob("*")]:
            path.chmod(0o755)
    assert FeatureStore(moved).embed(CountingBackbone()).computed == 0


@pytest.mark.shell_file
@pytest.mark.parametrize("name", ["backbone=other", "revision=1", "with, comma", "a[b]*", "100% of {x,y}"])
def test_the_name_of_the_folder_means_nothing(collection: Collection, tmp_path: Path, name: str) -> None:
    store = FeatureStore(tmp_path / name / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    rows = store.sql("SELECT DISTINCT backbone, revision FROM embeddings").to_pylist()
    assert rows == [{"backbone": "counting", "revision": CountingBackbone().spec.revision}]
    assert store.lineage(101)["embeddings"][0]["current"]
    moved = tmp_path / "moved"
    shutil.move(store.path, moved)
    with contextlib.chdir(moved), duckdb.connect("store.duckdb", read_only=True) as shell:
        assert shell.sql("SELECT count(*) FROM labeled_counting").fetchall() == [(20,)]
    with duckdb.connect(str(moved / "store.duckdb"), read_only=True) as shell:
        shell.execute(f"SET file_search_path = '{moved}'")
        assert shell.sql("SELECT count(*) FROM labeled_counting").fetchall() == [(20,)]


@pytest.mark.parametrize("name", ["what?", "back\\slash", "two\nlines"])
def test_folders_that_cannot_hold_a_store(collection: Collection, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name another folder"):
        FeatureStore(tmp_path / name).ingest(metadata=collection.metadata, images=collection.images)
    assert not (tmp_path / name).exists()


def test_rows_of_vectors_are_those_that_were_computed(store: FeatureStore) -> None:
    backbone = CountingBackbone()
    store.embed(backbone)
    X = store.features("counting", view="collection").X
    sql = store.sql("SELECT embedding FROM embeddings_counting ORDER BY ImgId")["embedding"].to_pylist()
    np.testing.assert_array_equal(np.array(sql, np.float32), X)
