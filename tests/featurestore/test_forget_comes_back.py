"""What could bring a forgotten image back: its file, shards, staged vectors, results that wait, another machine."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from forgetting import GONE, NAME, NAMES, needles, traces
from support import Collection, CountingBackbone, jpeg

from benchmarks.results.pending import FOLDER, Pending
from benchmarks.results.schemas import CELLS, PREDICTIONS, SCORES
from featurestore import FeatureStore
from featurestore.embedding.publish import without_forgotten
from featurestore.errors import IntegrityError, StoreLocked
from featurestore.storage.lock import LOCK_FILE

pytestmark = pytest.mark.shell_file


def test_a_file_that_is_still_there_comes_back_under_a_new_number(everywhere: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(everywhere, tmp_path / "made"))
    store = FeatureStore(folder / "store")
    store.ingest(images=folder / "images")
    report = store.forget([GONE, 4])
    assert report.still_there == [str(folder / "images" / NAMES[number]) for number in (GONE, 4)]
    (folder / "images" / NAME).unlink()
    assert store.embed(CountingBackbone()).computed == 1
    names = {row["ImgName"]: row["ImgId"] for row in store.sql("FROM images_usable").to_pylist()}
    assert (names[NAMES[4]], NAME in names, len(names)) == (12, False, 11)
    assert traces(store.path, needles(FeatureStore(everywhere / "store"))) == []


def test_films_keep_no_number_and_one_with_the_same_bytes_stays(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    before = store.features("counting", view="images_usable", ids=[103]).X
    (collection.images / "102.jpg").unlink()
    (collection.images / "777.jpg").write_bytes((collection.images / "103.jpg").read_bytes())
    store.embed(CountingBackbone())  # the vector of the film that is gone is only hidden
    report = store.forget([102, 103])
    assert report.rows == {"embeddings_counting": 2, "images": 1, "movies": 2}
    assert report.same_bytes == [777]
    assert (before == store.features("counting", view="images_usable", ids=[777]).X).all()
    ids = [store.sql(f"SELECT ImgId FROM {table}")["ImgId"].to_pylist() for table in ("images", "movies", "embeddings")]
    assert [len(found) for found in ids] == [23, 22, 23]
    assert all(not {102, 103} & set(found) for found in ids)
    store.embed(CountingBackbone())
    assert store.sql("SELECT ImgId FROM images_usable WHERE ImgId < 105")["ImgId"].to_pylist() == [101, 103, 104]
    assert store.sql("SELECT ImgId FROM collection WHERE ImgId < 105")["ImgId"].to_pylist() == [101, 104]


def test_a_shard_from_before_does_not_bring_a_vector_back(collection: Collection, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(8):
        (images / f"{number}.jpg").write_bytes(jpeg(number))
    store = FeatureStore(tmp_path / "general")
    store.ingest(images=images)
    store.embed(CountingBackbone(), shard="1/1", out=tmp_path / "shards")
    (images / "3.jpg").unlink()
    store.forget(3)
    (report,) = store.publish(tmp_path / "shards")
    assert (report.added, report.skipped, report.missing) == (7, 1, 0)
    assert store.sql("SELECT ImgId FROM embeddings ORDER BY 1")["ImgId"].to_pylist() == [0, 1, 2, 4, 5, 6, 7]
    assert np.isfinite(store.features("counting", view="images_usable").X).all()


def test_an_embed_elsewhere_does_not_bring_a_vector_back(embedded: FeatureStore) -> None:
    """On an object store nobody holds a lock: the run publishes what it planned before."""
    planned = embedded.state
    (part,) = embedded.layout.embedding_parts("counting")
    content = (embedded.path / part.path).read_bytes()
    assert without_forgotten(embedded.layout, planned, [part]) == [part]
    embedded.forget(range(101, 104))
    (embedded.path / part.path).write_bytes(content)
    (left,) = without_forgotten(embedded.layout, planned, [part])
    assert (left.rows, left.first_id) == (21, 104)
    embedded.forget(range(104, 125))
    (embedded.path / part.path).parent.mkdir(parents=True)
    (embedded.path / part.path).write_bytes(content)
    assert without_forgotten(embedded.layout, planned, [part]) == []


def test_results_that_wait_are_kept_without_the_image(filled: FeatureStore) -> None:
    tables = {name: filled.query(f"FROM {name}") for name in ("bench_cells", "bench_predictions")}
    cells, predictions = tables["bench_cells"].cast(CELLS), tables["bench_predictions"].cast(PREDICTIONS)
    waiting = cells.set_column(0, CELLS.field("cell"), [["waiting"]])
    waiting = waiting.set_column(3, CELLS.field("finished_at"), [[datetime.now(UTC)]])
    with Pending(filled) as pending, FileLock(filled.path / LOCK_FILE):
        pending.add({"bench_cells": waiting, "bench_scores": SCORES.empty_table(), "bench_predictions": predictions})
        with pytest.raises(StoreLocked, match="kept in"):
            pending.store_all(wait_seconds=0)
    assert filled.forget(GONE).caches == 3
    with Pending(filled) as pending:
        pending.adopt()
        assert len(pending) == 1
        pending.store_all(wait_seconds=0)
    rows = filled.refresh().sql("SELECT ImgId, count(*) AS n FROM bench_predictions GROUP BY 1 ORDER BY 1").to_pylist()
    assert rows == [{"ImgId": number, "n": 2} for number in range(12) if number != GONE]
    (filled.path / FOLDER).mkdir()
    (filled.path / FOLDER / "0-000000-0.arrow").write_bytes(b"no arrow")
    with pytest.raises(IntegrityError, match=r"can't be read.*nothing was forgotten: remove the file"):
        filled.forget(4)
