"""Planning and resuming cost the same whatever the number of parts and batches; each image is found by id and hash."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.embedding import compute
from featurestore.embedding.plan import EmbedPlan, have_vectors, make_plan
from featurestore.embedding.staging import open_run


def keys(*rows: tuple[int, str]) -> pa.Table:
    columns = [pa.array([i for i, _ in rows], pa.int32()), pa.array([digest for _, digest in rows], pa.string())]
    return pa.table(columns, names=["ImgId", "content_hash"])


def test_a_vector_is_that_of_an_id_and_a_hash() -> None:
    images = keys((2, "a"), (5, "b"), (7, "b"), (9, "d"))
    stored = pa.concat_tables([keys((9, "x"), (9, "d"), (9, "y")), keys((1, "a"), (5, "a"), (11, "d")), keys((7, "b"))])
    assert have_vectors(images, stored).tolist() == [False, False, True, True]
    assert have_vectors(images, keys()).tolist() == [False] * 4
    assert have_vectors(keys(), stored).tolist() == []


def test_a_replaced_image_and_one_that_is_back_are_planned_by_their_hash(
    store: FeatureStore, collection: Collection
) -> None:
    backbone = CountingBackbone()
    store.embed(backbone)
    first = collection.images / "101.jpg"
    before = first.read_bytes()
    first.write_bytes((collection.images / "102.jpg").read_bytes())
    store.ingest(metadata=collection.metadata, images=collection.images)
    plan = make_plan(store.refresh().layout, backbone.spec)
    assert (plan.todo["ImgId"].to_pylist(), plan.present) == ([101], 23)
    report = store.embed(backbone)
    assert (report.reused, report.computed) == (1, 0), "the vector of 102"
    first.write_bytes(before)
    store.ingest(metadata=collection.metadata, images=collection.images)
    assert make_plan(store.refresh().layout, backbone.spec).present == 24


@pytest.mark.parametrize("size", [1, 12])
def test_hashes_of_all_staged_batches_are_looked_up_at_once(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    backbone = CountingBackbone()
    store.embed(CountingBackbone(name="other"))
    X = store.features("other", view="images_usable").X
    hashes = store.query("SELECT content_hash FROM images ORDER BY ImgId")["content_hash"].to_pylist()
    with open_run(store.path, backbone.spec) as run:  # what it leaves is adopted by the next run
        for start in range(0, 24, size):
            run.add(hashes[start : start + size], X[start : start + size])
    lookups, numbers = [], EmbedPlan.numbers
    monkeypatch.setattr(EmbedPlan, "numbers", lambda plan, some: lookups.append(len(some)) or numbers(plan, some))
    report = store.embed(backbone)
    assert (report.reused, report.computed) == (24, 0)
    assert lookups == [24, 24], "when they are adopted, and when they become parts"
    np.testing.assert_array_equal(store.features("counting", view="images_usable").X, X)


@pytest.mark.parametrize("rows", [1, 2**20], ids=["one-part-a-time", "all"])
def test_vectors_under_other_ids_are_found_in_many_parts(
    store: FeatureStore, collection: Collection, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(compute, "LOOKUP_ROWS", rows)
    backbone = CountingBackbone()
    away = collection.images.rename(collection.images.with_name("away"))
    collection.images.mkdir()
    for number in (101, 102, 103):
        shutil.copy(away / f"{number}.jpg", collection.images)
        store.ingest(metadata=collection.metadata, images=collection.images)
        store.embed(backbone)
    assert len(store.refresh().layout.embedding_parts("counting")) == 3
    for number in (101, 102, 103):
        shutil.copy(away / f"{number}.jpg", collection.images / f"{number + 20}.jpg")
    store.ingest(metadata=collection.metadata, images=collection.images)
    report = store.embed(backbone)
    assert (report.reused, report.computed) == (3, 0)
    found = store.features("counting", view="images_usable")
    assert found.ids.tolist() == [101, 102, 103, 121, 122, 123]
    np.testing.assert_array_equal(found.X[:3], found.X[3:])
