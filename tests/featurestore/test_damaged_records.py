"""A damaged record of each kind: `verify` names it, the others stay readable, `repair` says what it can bring back."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from support import Collection, CountingBackbone, jpeg, manifest_of

from featurestore import FeatureStore
from featurestore.catalog import maintenance, snapshots
from featurestore.catalog.repair import RepairReport, repair
from featurestore.catalog.writer import open_writer
from featurestore.errors import FeatureStoreError, InputError, IntegrityError, StoreNotFound
from featurestore.storage.names import embeddings_key
from featurestore.storage.parts import read_part

pytestmark = pytest.mark.shell_file

NO_AGE = timedelta(0)
OTHER = {"name": "other", "weights": "blocks-2"}


@pytest.fixture(scope="module")
def two_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backbones, an older revision of one, a table of the user's, and a snapshot."""
    root = tmp_path_factory.mktemp("two")
    collection, store = Collection(root, 24), FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone(weights="blocks-0"))
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(**OTHER))
    store.append({"notes": pa.table({"x": [1]})})
    store.create_snapshot("kept")
    return store.path


@pytest.fixture
def two(two_once: Path, tmp_path: Path) -> FeatureStore:
    return FeatureStore(shutil.copytree(two_once, tmp_path / "store"))


QUESTIONS: dict[str, Callable[[FeatureStore], object]] = {
    "movies": lambda store: store.sql("FROM movies ORDER BY ALL"),
    "images": lambda store: store.sql("FROM images ORDER BY ALL"),
    "backbones": lambda store: store.sql("FROM backbones ORDER BY ALL"),
    "extractions": lambda store: store.sql("FROM extractions ORDER BY ALL"),
    "notes": lambda store: store.sql("FROM notes"),
    "every vector": lambda store: store.sql("SELECT * EXCLUDE (part) FROM embeddings ORDER BY ALL"),
    "vectors": lambda store: store.sql("FROM embeddings_counting ORDER BY ALL"),
    "other vectors": lambda store: store.sql("FROM embeddings_other ORDER BY ALL"),
    "labels": lambda store: store.sql("FROM labeled ORDER BY ALL"),
    "features": lambda store: store.features("counting", view="images_usable").X.tobytes(),
    "other features": lambda store: store.features("other", view="images_usable").X.tobytes(),
    "a bench's append": lambda store: store.append({"more": pa.table({"x": [1]})}),
    "the snapshot": lambda store: FeatureStore(store.path, snapshot="kept").sql("FROM notes"),
}
# What needs each record: all else must answer as before.
NEEDED_BY: dict[str, set[str]] = {
    "notes": {"notes"},
    "movies": {"movies", "labels"},
    "images": {"images", "labels", "vectors", "other vectors", "features", "other features"},
    "backbones": {"backbones", "features", "other features"},
    "extractions": {"extractions"},
    "other": {"every vector", "other vectors", "other features"},
    "an older revision": {"every vector"},
    "a snapshot": set(),
}


def record(store: FeatureStore, kind: str) -> Path:
    if kind == "a snapshot":
        return store.path / "snapshots" / "kept.json"
    if kind == "an older revision":
        older = CountingBackbone(weights="blocks-0").spec.revision
        return store.path / "manifests" / f"{store.state.tables[f'embeddings/backbone=counting/revision={older}']}.json"
    return manifest_of(store.path, kind)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how == "one bit":
        path.write_bytes(content[:30] + bytes([content[30] ^ 1]) + content[31:])


@pytest.fixture(scope="module")
def whole(two_once: Path) -> dict[str, object]:
    """Each answer of the undamaged store."""
    with FeatureStore(two_once) as store:
        return {question: ask(store) for question, ask in QUESTIONS.items() if question != "a bench's append"}


@pytest.mark.parametrize(
    ("kind", "how"), [*((kind, "one bit") for kind in NEEDED_BY), ("notes", "missing"), ("other", "missing")]
)
def test_a_damaged_record_stops_what_needs_it_and_nothing_else(
    two: FeatureStore, whole: dict[str, object], kind: str, how: str
) -> None:
    path = record(two, kind)
    damage(path, how)
    needing = NEEDED_BY[kind] | ({"the snapshot"} if kind in ("notes", "a snapshot") else set())
    assert list(maintenance.verify(two.path).damaged) == [str(path.relative_to(two.path))]
    with two.refresh():
        for question, ask in QUESTIONS.items():
            if question in needing:
                with pytest.raises(FeatureStoreError, match=path.name) as caught:
                    ask(two)
                assert len(str(caught.value).splitlines()) == 1
            else:
                assert ask(two) == whole.get(question), question
    with pytest.raises(IntegrityError, match=path.name):
        maintenance.gc(two.path, older_than=NO_AGE)


def everything(store: FeatureStore) -> dict[str, object]:
    left_out = ("a bench's append", "every vector", "extractions")  # which part and which run: it may be another
    with store:
        return {question: ask(store) for question, ask in QUESTIONS.items() if question not in left_out}


def forget_snapshot(store: FeatureStore) -> None:
    """So that no other record refers to what is damaged."""
    snapshots.remove(store.path, "kept")


@pytest.mark.parametrize("kind", ["counting", "other", "an older revision", "backbones", "extractions"])
def test_a_manifest_is_made_anew_of_parts_that_tell_all(two: FeatureStore, kind: str) -> None:
    whole = everything(two)
    damage(record(two, kind), "one bit")
    report = repair(two.path)
    name, count = {"an older revision": ("counting", 24), "backbones": (kind, 3), "extractions": (kind, 3)}.get(
        kind, (kind, 24)
    )
    assert report.rebuilt == {name: count}
    assert not report.vectors
    assert not report.rows
    two.refresh()
    assert everything(two) == whole or report.left, "the same manifest has the same name: the snapshot's is whole too"
    for spec in ({}, OTHER, {"weights": "blocks-0"}):
        assert two.embed(CountingBackbone(**spec)).computed == 0


def test_a_rebuilt_revision_lacks_only_what_its_damaged_parts_held(two: FeatureStore, tmp_path: Path) -> None:
    collection = Path(two.sql("SELECT any_value(source) AS f FROM images")["f"][0].as_py())
    posters = shutil.copytree(collection, tmp_path / "posters")
    (posters / "777.jpg").write_bytes(jpeg(777))
    two.ingest(metadata=collection.parent / "MovieGenre.csv", images=posters)
    assert two.embed(CountingBackbone()).computed == 1
    large, small = sorted(map(Path, two.parts("counting")), key=lambda path: path.stat().st_size, reverse=True)
    small.write_bytes(small.read_bytes()[:-1])
    damage(manifest_of(two.path, "counting"), "missing")
    forget_snapshot(two)
    assert repair(two.path) == RepairReport(rebuilt={"counting": 24})
    assert [Path(path).name for path in two.refresh().parts("counting")] == [large.name]
    assert two.embed(CountingBackbone()).computed == 1


def test_a_merged_part_is_taken_before_those_it_was_merged_from(two: FeatureStore) -> None:
    """Where `gc` has not yet removed what `compact` has replaced, no vector comes back twice."""
    two.import_embeddings(_vectors(two, [101, 102]), backbone="third")
    revision = two.state.revisions["third"]
    key = embeddings_key("third", revision)
    (part,) = two.layout.revision_parts("third", revision)
    rows = read_part(two.path / part.path)
    with open_writer(two.path) as writer, writer.commit() as commit:
        commit.drop(key, [part])
        for place in range(2):
            commit.append(key, rows.slice(place, 1))
    assert maintenance.compact(two.path)[key] == (2, 1)
    damage(manifest_of(two.path, "third"), "missing")
    assert repair(two.path).rebuilt == {"third": 2}
    assert two.refresh().sql("SELECT count(*) AS n FROM embeddings_third").to_pylist() == [{"n": 2}]


def _vectors(store: FeatureStore, ids: list[int]) -> Path:
    path = store.path.parent / "third.csv"
    path.write_text("ImgId,0,1\n" + "".join(f"{img_id},{img_id},1\n" for img_id in ids))
    return path


def test_a_revision_without_a_whole_part_is_no_longer_shown(two: FeatureStore) -> None:
    damage(manifest_of(two.path, "other"), "one bit")
    shutil.rmtree(two.path / "embeddings" / "backbone=other")
    forget_snapshot(two)
    assert repair(two.path) == RepairReport(vectors={"other": 0})
    assert list(two.refresh().state.revisions) == ["counting"]
    assert maintenance.verify(two.path).damaged == {}
    assert two.embed(CountingBackbone(**OTHER)).computed == 24


@pytest.mark.parametrize("table", ["images", "movies"])
def test_tables_that_an_ingest_makes_again(two: FeatureStore, table: str) -> None:
    whole = everything(two)
    images = Path(two.sql("SELECT any_value(source) AS f FROM images")["f"][0].as_py())
    damage(manifest_of(two.path, table), "one bit")
    forget_snapshot(two)
    assert repair(two.path) == RepairReport(rows={table: 0})
    assert two.refresh().sql(f"SELECT count(*) AS n FROM {table}").to_pylist() == [{"n": 0}]
    two.ingest(metadata=images.parent / "MovieGenre.csv", images=images)
    assert two.embed(CountingBackbone()).computed == 0, "the vectors were there all the while"
    two.create_snapshot("kept")
    assert everything(two) == whole
    assert maintenance.gc(two.path, older_than=NO_AGE).removed, "the damaged manifest"


def test_what_no_command_makes_again_is_named(two: FeatureStore) -> None:
    forget_snapshot(two)
    path = manifest_of(two.path, "notes")
    content = path.read_bytes()
    damage(path, "one bit")
    state = two.refresh().state
    report = repair(two.path)
    assert list(report.left) == [f"manifests/{path.name}"]
    assert "restore it from a copy" in report.left[f"manifests/{path.name}"]
    assert two.refresh().state == state
    path.write_bytes(content)  # from the copy
    assert repair(two.path) == RepairReport()
    assert two.sql("FROM notes").to_pylist() == [{"x": 1}]


def test_a_damaged_snapshot_is_named_until_it_is_removed(two: FeatureStore) -> None:
    damage(two.path / "snapshots" / "kept.json", "one bit")
    assert list(repair(two.path).left) == ["snapshots/kept.json"]
    forget_snapshot(two)
    assert repair(two.path) == RepairReport()


@pytest.mark.parametrize("how", ["one bit", "missing"])
def test_a_snapshot_takes_the_place_of_a_damaged_state(two: FeatureStore, how: str) -> None:
    whole = everything(two)
    two.create_snapshot("newer")
    two.append({"notes": pa.table({"x": [2]})})
    two.create_snapshot("newest")
    state = two.path / "state.json"
    content = state.read_bytes()
    damage(state, how)
    damage(two.path / "snapshots" / "newest.json", "one bit")
    words = r"the newest undamaged snapshot, 'newer' of .*, with `featurestore repair --from-snapshot newer`: later"
    with pytest.raises(IntegrityError, match=words):
        repair(two.path)
    with pytest.raises(IntegrityError, match=r"newest\.json is damaged"):
        repair(two.path, from_snapshot="newest")
    with pytest.raises(InputError, match="no snapshot 'none'"):
        repair(two.path, from_snapshot="none")
    assert state.exists() == (how == "one bit")
    assert list(repair(two.path, from_snapshot="newer").left) == ["snapshots/newest.json"]
    assert everything(two.refresh()) == whole
    assert (two.path / "state.json.damaged").exists() == (how == "one bit")
    with pytest.raises(InputError, match="is undamaged: leave out --from-snapshot"):
        repair(two.path, from_snapshot="newer")
    two.append({"notes": pa.table({"x": [3]})})
    assert two.sql("FROM notes ORDER BY x")["x"].to_pylist() == [1, 3]
    state.write_bytes(content)  # from a copy after all: what was lost is there still
    assert two.refresh().sql("FROM notes ORDER BY x")["x"].to_pylist() == [1, 2]


def test_a_damaged_state_without_a_snapshot_is_one_sentence(two: FeatureStore) -> None:
    forget_snapshot(two)
    damage(two.path / "state.json", "one bit")
    with pytest.raises(IntegrityError, match=r"state\.json is damaged: .*; restore it from a copy of the store$"):
        repair(two.path)
    with pytest.raises(StoreNotFound, match="there is no store"):
        repair(two.path / "nowhere")
