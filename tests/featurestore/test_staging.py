"""Nothing that was not computed is stored, whatever happens to staged batches or to the store while `embed` runs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

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
from featurestore.errors import EmbeddingError, FeatureStoreError, IntegrityError, StoreError
from featurestore.storage.layout import Layout


def batches(store: FeatureStore) -> list[Path]:
    return sorted((store.path / "staging").rglob("part-*.parquet"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARM: dict[str, Callable[[list[Path]], object]] = {
    "one deleted": lambda found: found[0].unlink(),
    "all deleted": lambda found: [path.unlink() for path in found],
    "one truncated": lambda found: found[0].write_bytes(found[0].read_bytes()[:-9]),
    "one emptied": lambda found: found[1].write_bytes(b""),
    "one bit flipped": lambda found: flip(found[0]),
    "one replaced by another": lambda found: shutil.copy(found[1], found[0]),
    "one became a folder": lambda found: to_folder(found[0]),
    "the run's folder removed": lambda found: shutil.rmtree(found[0].parent),
    "the folder of all runs removed": lambda found: shutil.rmtree(found[0].parents[1]),
}


def harmed(store: FeatureStore, harm: Callable[[], object], at_batch: int = 3) -> FeatureStoreError:
    """The error of an `embed` during which ``harm`` happens."""
    backbone = CountingBackbone()
    backbone.before_batch = lambda batch: harm() if batch == at_batch else None
    with pytest.raises(FeatureStoreError) as caught:
        store.embed(backbone, batch_size=4)
    return caught.value


@pytest.fixture
def expected(store: FeatureStore) -> bytes:
    """The vectors of an embed that nobody disturbs."""
    copy = store.path.with_name("undisturbed")
    shutil.copytree(store.path, copy)
    undisturbed = FeatureStore(copy)
    undisturbed.embed(CountingBackbone(), batch_size=4)
    return undisturbed.features("counting", view="collection").X.tobytes()


@pytest.mark.parametrize("how", HARM)
def test_what_happens_to_staged_batches_is_noticed_before_the_commit(
    store: FeatureStore, expected: bytes, how: str
) -> None:
    before = store.state.id
    error = harmed(store, lambda: HARM[how](batches(store)))
    assert isinstance(error, IntegrityError)
    assert "run the command again, it computes what is missing" in str(error)
    assert store.refresh().state.id == before, "nothing of it is committed"
    report = store.embed(CountingBackbone(), batch_size=4)
    assert report.reused + report.computed == 24
    assert store.features("counting", view="collection").X.tobytes() == expected
    assert not (store.path / "staging").exists() or not list((store.path / "staging").iterdir())
    assert maintenance.verify(store.path).damaged == {}


def killed(store: FeatureStore) -> list[Path]:
    """What a run leaves that is killed before its fourth batch."""
    script = (
        "import os, signal, sys\nsys.path.insert(0, sys.argv[2])\nfrom support import CountingBackbone\n"
        "from featurestore import FeatureStore\nbackbone = CountingBackbone()\n"
        "backbone.before_batch = lambda batch: os.kill(os.getpid(), signal.SIGKILL) if batch == 3 else None\n"
        "FeatureStore(sys.argv[1]).embed(backbone, batch_size=4)\n"
    )
    helpers = str(Path(__file__).parents[1] / "helpers")
    subprocess.run([sys.executable, "-c", script, str(store.path), helpers], capture_output=True, timeout=120)
    found = batches(store)
    assert len(found) == 3
    return found


@pytest.mark.parametrize(("how", "kept"), [("one bit flipped", 2), ("one replaced by another", 2), ("all deleted", 0)])
def test_of_a_killed_run_only_whole_batches_are_adopted(
    store: FeatureStore, expected: bytes, how: str, kept: int
) -> None:
    HARM[how](killed(store))
    report = store.embed(CountingBackbone(), batch_size=4)
    assert report.reused == 4 * kept
    assert store.features("counting", view="collection").X.tobytes() == expected


def test_batches_of_another_revision_are_not_adopted(store: FeatureStore) -> None:
    (run,) = {path.parent for path in killed(store)}
    other = CountingBackbone(weights="blocks-2")
    run.rename(run.with_name(f"{other.spec.name}-{other.spec.revision}-left"))
    assert store.embed(other).computed == 24


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
        HARM[how if how == "one bit flipped" else f"one {how}"]([store.path / shard.parts[0].path])
        with pytest.raises(IntegrityError, match="computed vectors were lost"):
            Publisher(run, "", 0.0).publish(plan, shard, complete=True)
    assert store.refresh().state.id == before
    assert store.embed(CountingBackbone()).reused == 4, "of the batch that the part was made of"


def remade(store: FeatureStore, collection: Collection) -> None:
    shutil.rmtree(store.path)
    FeatureStore(store.path).ingest(metadata=collection.metadata, images=collection.images)


def another_in_its_place(store: FeatureStore, collection: Collection) -> None:
    other = store.path.with_name("other")
    FeatureStore(other).ingest(metadata=collection.metadata, images=collection.images)
    store.path.rename(store.path.with_name("away"))
    other.rename(store.path)


def a_copy_in_its_place(store: FeatureStore, collection: Collection) -> None:
    """Of the same state, byte by byte: only the files are others."""
    store.path.rename(store.path.with_name("away"))
    shutil.copytree(store.path.with_name("away"), store.path)


def a_link_in_its_place(store: FeatureStore, collection: Collection) -> None:
    another_in_its_place(store, collection)
    store.path.rename(store.path.with_name("elsewhere"))
    store.path.symlink_to(store.path.with_name("elsewhere"))


def another_state(store: FeatureStore, collection: Collection) -> None:
    """In the same folder under the same lock, as a backup that is played back would put it there."""
    other = store.path.with_name("other")
    FeatureStore(other).ingest(metadata=collection.metadata, images=collection.images, top_genres=2)
    shutil.copytree(other, store.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock*"))


REPLACED = [remade, another_in_its_place, a_copy_in_its_place, a_link_in_its_place, another_state]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("at_batch", [0, 5])
@pytest.mark.parametrize("how", REPLACED, ids=lambda how: how.__name__)
def test_nothing_is_written_to_another_store_than_the_one_opened(
    store: FeatureStore,
    collection: Collection,
    expected: bytes,
    how: Callable[[FeatureStore, Collection], None],
    at_batch: int,
) -> None:
    seen: list[dict[str, bytes]] = []

    def replace() -> None:
        how(store, collection)
        seen.append(contents(store.path))

    error = harmed(store, replace, at_batch)
    assert "was removed or replaced while this command ran" in str(error)
    assert contents(store.path) == seen[0] or how is another_state, "the store that is there is left alone"
    store.refresh().embed(CountingBackbone(), batch_size=4)
    assert store.features("counting", view="collection").X.tobytes() == expected
    assert maintenance.verify(store.path).damaged == {}


@pytest.mark.parametrize("what", ["the folder", "the state"])
def test_a_store_that_is_gone_is_not_made_again(store: FeatureStore, what: str) -> None:
    def remove() -> None:
        if what == "the folder":
            shutil.rmtree(store.path)
        else:
            (store.path / "state.json").unlink()

    assert "was removed or replaced while this command ran" in str(harmed(store, remove))
    assert store.path.exists() == (what != "the folder")


def test_a_batch_that_a_link_would_put_elsewhere_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store.path / "staging").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="leads out of"):
        store.embed(CountingBackbone())
    assert not list((tmp_path / "elsewhere").iterdir())


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
        with pytest.raises(EmbeddingError, match="is stored"):
            write_vectors(run, images, unusable(kind))
        assert not list(run.folder.rglob("part-*"))
    assert store.refresh().state.id == before


def test_gc_removes_what_a_killed_run_staged(store: FeatureStore) -> None:
    killed(store)
    maintenance.gc(store.path)
    assert len(batches(store)) == 3, "they are too young"
    maintenance.gc(store.path, older_than=timedelta(0))
    assert not (store.path / "staging").exists()


@pytest.mark.parametrize("when", ["before the commit", "in the commit"])
def test_no_command_that_writes_goes_on_in_another_store(
    store: FeatureStore, collection: Collection, when: str
) -> None:
    def write() -> None:
        with open_writer(store.path) as writer:
            if when == "before the commit":
                remade(store, collection)
            with writer.commit() as commit:
                commit.set_setting("top_genres", 2)
                remade(store, collection)

    with pytest.raises(StoreError, match="removed or replaced"):
        write()
    assert store.refresh().state.settings["top_genres"] == 4
