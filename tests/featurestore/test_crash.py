"""What a killed or starved writer leaves must neither stop the next one nor stay for good; one test a fault found."""

import errno
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import commit, maintenance, swap, writer
from featurestore.catalog.repair import RepairReport, repair
from featurestore.catalog.writer import open_writer
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.embedding.staging import to_arrow
from featurestore.errors import FeatureStoreError, IntegrityError, QueryError, StoreError
from featurestore.features.places import Places, find_vectors
from featurestore.features.pull import read_vectors
from featurestore.storage.names import embeddings_key
from featurestore.storage.schemas import embeddings_schema

pytestmark = pytest.mark.shell_file


def flipped(content: bytes, place: int, bit: int = 0x10) -> bytes:
    """One bit changed."""
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "name",
    [
        "cache/.images.parquet.77.tmp",
        "snapshots/.kept.json.77.tmp",
        "manifests/.0.json.77.tmp",
        "movies/.77.tmp",
        ".state.json.77.tmp",
        ".store.duckdb.77.tmp.wal",
        f"manifests/{'0' * 64}.json",
        f"movies/part-{'0' * 32}.parquet",
    ],
)
def test_gc_removes_what_a_killed_writer_left_once_it_is_a_day_old(store: FeatureStore, name: str) -> None:
    path = store.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half")
    assert maintenance.gc(store.path).removed == [], "it may be a living writer's"
    os.utime(path, (time.time() - 86_500,) * 2)
    assert maintenance.gc(store.path, dry_run=True).removed == [name]
    assert maintenance.gc(store.path).removed == [name]
    assert not path.exists()


def test_a_half_written_batch_does_not_stop_the_next_embed(store: FeatureStore) -> None:
    backbone = CountingBackbone()
    folder = store.path / "staging" / f"{backbone.spec.name}-{backbone.spec.revision}"
    folder.mkdir(parents=True)
    (folder / ".77.tmp").write_bytes(b"half")
    assert store.embed(backbone).computed == 24
    assert not folder.exists()


def test_the_next_writer_brings_the_shells_database_up_to_date(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(writer, "renew_shell_file", lambda *_: None)  # as if killed right behind the state swap
        store.append({"notes": pa.table({"x": [1]})})
    with writer.open_writer(store.path):
        pass
    with duckdb.connect(str(store.path / "store.duckdb"), read_only=True) as shell:
        views = {row[0] for row in shell.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    assert "notes" in views


def test_a_commit_stands_though_the_shells_database_cannot_be_written(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_shell_file", full_disk)
        with pytest.warns(UserWarning, match=r"store\.duckdb shows an older state.*No space left"):
            store.append({"notes": pa.table({"x": [1]})})
    assert store.sql("SELECT x FROM notes")["x"].to_pylist() == [1]


@pytest.mark.parametrize("step", ["write_part", "write_manifests", "write_atomic"])
def test_a_full_disk_is_one_sentence_and_the_state_stays(
    store: FeatureStore, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.state.id
    with monkeypatch.context() as patch:
        patch.setattr(swap if step == "write_atomic" else commit, step, full_disk)
        with pytest.raises(StoreError, match=r"can't be written \(No space left on device\)"):
            store.append({"notes": pa.table({"x": [1]})})
    assert store.refresh().state.id == before
    store.append({"notes": pa.table({"x": [1]})})
    assert store.sql("SELECT x FROM notes")["x"].to_pylist() == [1]


def test_a_command_says_in_one_line_what_the_system_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("featurestore.collections.movies.sample.write_sample", full_disk)
    monkeypatch.setattr("sys.argv", ["featurestore", "sample", str(tmp_path / "sample")])
    assert run_command(cli, "featurestore") == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "No space left on device" in line


def test_a_state_that_may_not_be_read_is_one_sentence(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("featurestore.storage.objects.open_file", refuse)
    with pytest.raises(StoreError, match=r"state\.json can't be read \(Permission denied\)"):
        _ = FeatureStore(store.path).state


@pytest.mark.parametrize("content", [None, b"", b"PAR1 no more PAR1"])
@pytest.mark.parametrize("table", ["notes", "backbones"])
def test_a_damaged_part_of_one_table_leaves_the_others_readable(
    store: FeatureStore, table: str, content: bytes | None
) -> None:
    store.append({"notes": pa.table({"step": [1], "at": ["x"]})})
    store.embed(CountingBackbone())
    (part,) = (store.path / table).glob("part-*.parquet")
    part.unlink() if content is None else part.write_bytes(content)
    store.refresh()
    assert store.sql("SELECT count(*) AS n FROM labeled_counting")["n"][0].as_py() == 20
    assert store.query("SELECT count(*) AS n FROM movies")["n"][0].as_py() == 24
    column = {"notes": "step", "backbones": "embed_dim"}[table]
    with pytest.raises(FeatureStoreError, match=f"a part of {table} is damaged, see `featurestore verify`"):
        store.sql(f"SELECT sum({column}) FROM {table}")


@pytest.mark.parametrize("table", ["movies", "images", "embeddings"])
def test_one_bit_of_a_part_is_noticed_before_sql_reads_it(store: FeatureStore, table: str) -> None:
    store.embed(CountingBackbone())
    (part,) = (store.path / table).rglob("part-*.parquet")
    content = part.read_bytes()
    view = "labeled_counting" if table == "embeddings" else table
    for place in np.linspace(0, len(content) - 1, 20).astype(int):
        part.write_bytes(flipped(content, place))
        with pytest.raises(QueryError, match=f"a part of {table} is damaged, see `featurestore verify`"):
            store.refresh().sql(f"FROM {view}")
    part.write_bytes(content)
    assert len(store.refresh().sql(f"FROM {view}")) >= 20


def test_one_bit_of_a_vector_is_noticed_by_whatever_reads_vectors(
    store: FeatureStore, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a store that is too large to be checked whole: the vectors have checksums of their own."""
    monkeypatch.setattr("featurestore.catalog.scans.CHECKED_BYTES", 0)
    store.embed(CountingBackbone())
    (part,) = (store.path / "embeddings").rglob("part-*.parquet")
    content = part.read_bytes()
    vectors = store.features("counting", view="collection").X
    start = content.index(vectors[0].tobytes())
    places = [start, start + vectors[0].nbytes - 1, content.index(vectors[-1].tobytes()) + 2]
    for place in places:
        part.write_bytes(flipped(content, place))
        store.refresh()
        with pytest.raises(IntegrityError, match=f"{part.name}.* checksums.*see `featurestore verify`"):
            store.features("counting", view="collection")
        with pytest.raises(IntegrityError, match=part.name):
            store.similar(101, backbone="counting")
    # A copy of an image, under another id, would take over its vector.
    (collection.images / "777.jpg").write_bytes((collection.images / "101.jpg").read_bytes())
    with pytest.raises(IntegrityError, match=part.name):
        store.embed(CountingBackbone())
    part.write_bytes(content)
    assert store.embed(CountingBackbone()).reused == 1


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_no_bit_of_a_part_gives_other_vectors(store: FeatureStore, step: int) -> None:
    """Wherever it flips, in the footer too: pyarrow ends the process when asked for damaged metadata of a column."""
    store.embed(CountingBackbone())
    rows = store.query("SELECT ImgId, content_hash FROM images_usable ORDER BY ImgId")
    ids, hashes = rows["ImgId"].to_numpy(), rows["content_hash"].combine_chunks()
    parts = store.layout.embedding_parts("counting")

    def pulled() -> bytes:
        found = find_vectors(Places.unknown(store.path, parts, len(ids)), range(len(parts)), ids, hashes)
        assert (found.file >= 0).all()
        return read_vectors(found, np.arange(len(ids)), 16).tobytes()

    before, noticed = pulled(), 0
    path = store.path / parts[0].path
    content = path.read_bytes()
    # Where the part does not say where its vectors lie they are decoded; that must not be believed blindly either.
    places = [(place, 0x10) for place in range(0, len(content), step)] + [(content.rindex(b"\x1c\x15\x08"), 4)]
    for place, bit in places:
        path.write_bytes(flipped(content, place, bit))
        try:
            assert pulled() == before, place
        except IntegrityError:
            noticed += 1
    assert noticed > len(places) / 2, "the rest is what a pull needs not"


def test_a_vector_in_two_parts_is_that_of_the_first(store: FeatureStore) -> None:
    """No command stores one twice. Two threads that read into one row would mix them, and take it for damage."""
    store.embed(CountingBackbone())
    (part,) = store.layout.embedding_parts("counting")
    rows = pq.read_table(store.path / part.path, partitioning=None)
    other = rows.set_column(3, "embedding", to_arrow(np.full((len(rows), 16), 7, np.float32)))
    with open_writer(store.path) as opened, opened.commit() as changes:
        changes.append(embeddings_key("counting", store.state.revisions["counting"]), other.cast(embeddings_schema(16)))
    first = store.refresh().layout.embedding_parts("counting")[0]
    expected = rows if first.path == part.path else other
    vectors = expected.sort_by("ImgId")["embedding"].combine_chunks().flatten().to_numpy()
    for _ in range(50):
        assert (store.features("counting", view="images_usable").X.ravel() == vectors).all()


def test_compact_gives_no_damaged_part_a_checksum_of_its_own(store: FeatureStore) -> None:
    for step in range(3):
        store.append({"notes": pa.table({"step": [step]})})
    part = min((store.path / "notes").glob("part-*.parquet"))
    content = part.read_bytes()
    part.write_bytes(flipped(content, len(content) // 3))
    with pytest.raises(IntegrityError, match=part.name):
        maintenance.compact(store.path)
    assert [Path(name).name for name in maintenance.verify(store.path).damaged] == [part.name]
    part.write_bytes(content)
    assert maintenance.compact(store.path)["notes"] == (3, 1)


def test_ingest_writes_nothing_anew_but_what_is_damaged(store: FeatureStore, collection: Collection) -> None:
    images, movies = (next((store.path / table).glob("part-*.parquet")) for table in ("images", "movies"))
    content, state = movies.read_bytes(), store.state.id

    def inodes_behind_ingest() -> tuple[int, int]:
        store.ingest(metadata=collection.metadata, images=collection.images)
        return images.stat().st_ino, movies.stat().st_ino

    written = images.stat().st_ino, movies.stat().st_ino
    assert inodes_behind_ingest() == written
    for place in (8, len(content) // 2, len(content) - 20):
        movies.write_bytes(flipped(content, place))
        assert inodes_behind_ingest() != written
        assert movies.read_bytes() == content
        written = images.stat().st_ino, movies.stat().st_ino
    assert store.refresh().state.id == state


def test_repair_takes_out_what_embed_and_ingest_make_again(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(name="other"))
    query = "SELECT * EXCLUDE (part, extraction) FROM embeddings ORDER BY ALL"
    before = store.query(query)
    parts = [next((store.path / "embeddings" / "backbone=counting").rglob("part-*.parquet"))]
    parts += [next((store.path / table).glob("part-*.parquet")) for table in ("images", "movies")]
    for part in parts:
        part.write_bytes(flipped(part.read_bytes(), 1000))
    report = repair(store.path)
    assert (report.vectors, report.left) == ({"counting": len(before) // 2}, {})
    assert report.rows == {"images": 24, "movies": 24}
    assert maintenance.verify(store.path).damaged == {}
    store.refresh().ingest(metadata=collection.metadata, images=collection.images)
    again = store.embed(CountingBackbone())
    assert (again.computed, again.present) == (24, 0)
    assert store.embed(CountingBackbone(name="other")).computed == 0
    assert store.query(query).equals(before)
    assert repair(store.path) == RepairReport({}, {}, {})


def test_repair_names_what_only_a_copy_can_restore(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    store.append({"notes": pa.table({"step": [1]})})
    store.create_snapshot("kept")
    (notes,) = (store.path / "notes").glob("part-*.parquet")
    (vectors,) = (store.path / "embeddings").rglob("part-*.parquet")
    for part in (notes, vectors):
        part.write_bytes(flipped(part.read_bytes(), 100))
    report = repair(store.path)
    assert report.vectors == {"counting": 24}
    assert {Path(name).name for name in report.left} == {notes.name, vectors.name}, "the snapshot has them still"
    assert store.refresh().embed(CountingBackbone()).computed == 24
    assert len(store.refresh().features("counting", view="collection")) == 24
    assert repair(store.path).vectors == {}


@pytest.mark.parametrize("folder", ["staging", "cache", "manifests", "snapshots", "movies"])
def test_a_folder_of_the_store_that_is_a_link_leads_nobody_to_other_files(
    store: FeatureStore, collection: Collection, tmp_path: Path, folder: str
) -> None:
    """A stranger's store may have one: what lies there must not be removed, and nothing be written there."""
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    shutil.copytree(store.path / folder, home, dirs_exist_ok=True) if (store.path / folder).exists() else None
    for name in ("run/thesis.txt", "images-2020.parquet", "kept.json"):
        (home / name).write_text("precious")
    for path in home.rglob("*.*"):
        os.utime(path, (1, 1))
    shutil.rmtree(store.path / folder, ignore_errors=True)
    (store.path / folder).symlink_to(home)
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    (collection.images / "777.jpg").write_bytes((collection.images / "101.jpg").read_bytes())
    for change in (
        lambda: store.gc(older_than="0"),
        lambda: store.ingest(metadata=collection.metadata, images=collection.images),
        lambda: store.create_snapshot("new"),
        lambda: store.remove_snapshot("kept"),
        lambda: store.forget(101),
        lambda: store.gc(older_than="0"),
    ):
        with suppress(FeatureStoreError):
            change()
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
