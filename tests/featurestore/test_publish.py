"""Parts of vectors are checked, and named in a manifest of the store that was planned, each key once."""

from dataclasses import replace

import numpy as np
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.catalog import maintenance
from featurestore.catalog.writer import open_writer
from featurestore.embedding.assembly import assemble, write_vectors
from featurestore.embedding.plan import make_plan
from featurestore.embedding.publish import Publisher, publish
from featurestore.embedding.staging import open_run
from featurestore.errors import EmbeddingError, IntegrityError, StoreError
from featurestore.storage.layout import Layout


def test_what_a_batch_says_of_who_computed_it_goes_with_its_vectors(store: FeatureStore) -> None:
    """Of a run with other versions of its libraries, which ended; the revision is the same."""
    older = replace(CountingBackbone().spec, libraries={"blocks": "1.0"})
    hashes = store.sql("SELECT content_hash FROM images WHERE ImgId = 105")["content_hash"].to_pylist()
    with open_run(store.path, older) as run:
        run.add(hashes, vector(5))
    assert store.embed(CountingBackbone()).reused == 1
    query = "SELECT ImgId FROM embeddings AS e JOIN extractions AS x USING (extraction) WHERE x.libraries LIKE '%1.0%'"
    assert store.sql(query)["ImgId"].to_pylist() == [105]
    assert store.lineage(105)["embeddings"][0]["libraries"] == {"blocks": "1.0"}
    assert store.sql("SELECT count(*) AS n FROM extractions")["n"][0].as_py() == 2


def vector(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 16)).astype(np.float32)


def test_batches_that_overlap_give_each_image_one_vector(store: FeatureStore) -> None:
    spec = CountingBackbone().spec
    rows = store.sql("SELECT ImgId, content_hash FROM images ORDER BY ImgId LIMIT 3")
    hashes = rows["content_hash"].to_pylist()
    with open_run(store.path, spec) as run:
        plan = make_plan(Layout(store.path, store.state), spec)
        run.add(hashes[:2], np.vstack([vector(0), vector(1)]))
        run.add([hashes[1], "0" * 64, hashes[2]], np.vstack([vector(7), vector(8), vector(2)]))
        shard = assemble(run, plan)
        (part,) = shard.parts
        with open_writer(store.path) as writer:
            publish(writer, plan, shard.parts, complete=True)
        run.discard(shard.batches)
    assert part.rows == 3
    found = store.refresh().sql("SELECT * FROM embeddings ORDER BY ImgId")
    assert found["ImgId"].to_pylist() == rows["ImgId"].to_pylist()
    expected = np.vstack([vector(seed) for seed in range(3)])
    np.testing.assert_array_equal(np.array(found["embedding"].to_pylist(), np.float32), expected)
    assert store.embed(CountingBackbone()).computed == 21


def test_a_key_that_is_there_already_is_not_stored_twice(store: FeatureStore) -> None:
    """Of two plans that were made before either was carried out, as shards that are computed elsewhere can be."""
    spec = CountingBackbone().spec
    plan = make_plan(Layout(store.path, store.state), spec)
    todo = plan.todo
    with open_run(store.path, spec) as run, open_writer(store.path) as writer:
        some = [(0, 12), (6, 12), (0, 6), (20, 4)]  # new, half of it new, nothing new, new
        for seed, (start, length) in enumerate(some):
            images = todo.slice(start, length)
            part = write_vectors(run, images, np.random.default_rng(seed).normal(size=(length, 16)))
            publish(writer, plan, [part], complete=False)
        assert [part.rows for part in writer.layout.embedding_parts("counting")] == [12, 6, 4]
    features = store.refresh().features("counting", view="images_usable")
    assert len(features.ids) == 22
    first = np.random.default_rng(0).normal(size=(12, 16)).astype(np.float32)
    np.testing.assert_array_equal(features.X[:12], first)
    assert maintenance.verify(store.path).damaged == {}


def test_nothing_is_published_into_another_store_than_the_one_planned(
    store: FeatureStore, collection: Collection
) -> None:
    other = FeatureStore(store.path.with_name("other"))
    other.ingest(metadata=collection.metadata, images=collection.images)
    spec = CountingBackbone().spec
    plan = make_plan(Layout(other.path, other.state), spec)
    before = store.state.id
    with open_run(store.path, spec) as run, open_writer(store.path) as writer:
        part = write_vectors(run, plan.todo.slice(0, 1), vector(0))
        with pytest.raises(StoreError, match="removed or replaced"):
            publish(writer, plan, [part], complete=True)
    assert store.refresh().state.id == before


@pytest.mark.parametrize("how", ["deleted", "truncated", "one bit flipped"])
def test_what_happens_to_a_part_before_it_is_published_is_noticed(store: FeatureStore, how: str) -> None:
    spec, before = CountingBackbone().spec, store.state.id
    plan = make_plan(Layout(store.path, store.state), spec)
    with open_run(store.path, spec) as run:
        run.add(plan.hashes.to_pylist()[:4], np.vstack([vector(seed) for seed in range(4)]))
        shard = assemble(run, plan)
        path = store.path / shard.parts[0].path
        content = path.read_bytes()
        path.write_bytes(
            {"truncated": content[:-9], "one bit flipped": content[:99] + bytes([content[99] ^ 4]) + content[100:]}.get(
                how, b""
            )
        )
        if how == "deleted":
            path.unlink()
        with pytest.raises(IntegrityError, match="computed vectors were lost"):
            Publisher(run, "", 0.0).publish(plan, shard, complete=True)
    assert store.refresh().state.id == before
    assert store.embed(CountingBackbone()).reused == 4, "of the batch that the part was made of"


def unusable(kind: str) -> np.ndarray:
    X = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    if kind == "nan":
        X[1, 2] = np.nan
    elif kind == "too large for float32":
        X = X.astype(np.float64)
        X[1, 2] = 1e300
    elif kind == "constant":
        X[1] = 0
    elif kind == "short":
        X = X[:, :7]
    else:
        X = X[:2]
    return X


@pytest.mark.parametrize("kind", ["nan", "too large for float32", "constant", "short", "one too few"])
def test_every_part_of_vectors_is_checked_and_counted(store: FeatureStore, kind: str) -> None:
    spec, before = BackboneSpec("given", 8, Preprocessing(), "x"), store.state.id
    images = store.sql("SELECT ImgId, content_hash FROM images ORDER BY ImgId LIMIT 3")
    with open_run(store.path, spec) as run:
        with pytest.raises(EmbeddingError, match="stored"):
            write_vectors(run, images, unusable(kind))
        assert not list(run.folder.rglob("part-*"))
    assert store.refresh().state.id == before
