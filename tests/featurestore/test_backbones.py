"""Removing and renaming a backbone: its vectors, rows and revisions go with it, snapshots keep theirs."""

from datetime import timedelta
from pathlib import Path

import pytest
from support import Collection, CountingBackbone, manifest_of

from featurestore import FeatureStore
from featurestore.catalog import backbones, maintenance, snapshots, views
from featurestore.errors import InputError, IntegrityError

NO_AGE = timedelta(0)


@pytest.fixture
def two(store: FeatureStore) -> FeatureStore:
    """Two revisions of `counting`, one of `other`, and a snapshot of all."""
    store.embed(CountingBackbone(weights="blocks-0"))
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(name="other", weights="blocks-2"))
    store.create_snapshot("kept")
    return store


def named(store: FeatureStore, table: str) -> list[str]:
    return store.sql(f"SELECT backbone FROM {table} ORDER BY ALL")["backbone"].to_pylist()


def pulled(store: FeatureStore, backbone: str) -> bytes:
    return bytes(store.features(backbone, view="collection").X.tobytes())


def test_a_removed_backbone_is_gone_with_all_its_revisions(two: FeatureStore) -> None:
    other, counting = pulled(two, "other"), pulled(two, "counting")
    assert backbones.remove(two.path, "counting") == 48
    two.refresh()
    assert list(two.state.revisions) == ["other"]
    assert two.layout.revisions() == [("other", two.state.revisions["other"])]
    assert set(named(two, "embeddings")) == {"other"}
    assert named(two, "backbones") == named(two, "extractions") == ["other"]
    assert "embeddings_counting" not in two.sql("SHOW TABLES")["name"].to_pylist()
    assert pulled(two, "other") == other
    assert maintenance.gc(two.path, older_than=NO_AGE).removed, "of `backbones` before; the snapshot has the vectors"
    assert pulled(FeatureStore(two.path, snapshot="kept"), "counting") == counting
    snapshots.remove(two.path, "kept")
    maintenance.gc(two.path, older_than=NO_AGE)
    assert not (two.path / "embeddings" / "backbone=counting").exists()
    assert maintenance.verify(two.path).damaged == {}
    assert two.refresh().embed(CountingBackbone()).computed == 24
    assert pulled(two, "counting") == counting


def test_a_renamed_backbone_computes_nothing_under_its_new_name(two: FeatureStore) -> None:
    counting, files = pulled(two, "counting"), sorted((two.path / "embeddings").rglob("*.parquet"))
    revisions = [revision for name, revision in two.layout.revisions() if name == "counting"]
    backbones.rename(two.path, "counting", "renamed")
    two.refresh()
    assert sorted((two.path / "embeddings").rglob("*.parquet")) == files, "no vector is written anew"
    assert two.layout.revisions() == sorted(
        [*(("renamed", revision) for revision in revisions), ("other", two.state.revisions["other"])]
    )
    assert pulled(two, "renamed") == counting
    assert named(two, "backbones") == named(two, "extractions") == ["other", "renamed", "renamed"]
    assert two.embed(CountingBackbone(name="renamed")).computed == 0
    assert two.embed(CountingBackbone(name="renamed", weights="blocks-0")).computed == 0, "nor of its older revision"
    assert two.lineage(101)["embeddings"][0]["machine"]
    assert maintenance.verify(two.path).damaged == {}
    maintenance.gc(two.path, older_than=NO_AGE)
    assert pulled(FeatureStore(two.path, snapshot="kept"), "counting") == counting
    backbones.rename(two.path, "renamed", "counting")
    assert two.refresh().embed(CountingBackbone()).computed == 0


def test_vectors_added_under_the_new_name_join_those_of_the_old(two: FeatureStore, collection: Collection) -> None:
    backbones.rename(two.path, "counting", "renamed")
    (collection.images / "105.jpg").write_bytes((collection.images / "106.jpg").read_bytes())
    (collection.images / "107.jpg").write_bytes(Path(collection.images / "108.jpg").read_bytes() + b"\0")
    report = two.embed(CountingBackbone(name="renamed"))
    assert (report.present, report.reused, report.computed) == (22, 1, 1)
    assert len(two.features("renamed", view="collection")) == 24
    assert maintenance.compact(two.path)
    assert len(two.refresh().features("renamed", view="collection")) == 24


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("countin", "x", "has no backbone 'countin' .did you mean 'counting'"),
        ("counting", "other", "there is a backbone 'other' already"),
        ("counting", "counting", "there is a backbone 'counting' already"),
        ("counting", "Bad-Name", "expected lower-case"),
        ("counting", "x" * 64, "expected lower-case"),
        ("counting", "", "expected lower-case"),
        ("counting", "taken", "the name 'embeddings_taken' can't be that of"),
    ],
)
def test_names_that_cannot_be(two: FeatureStore, old: str, new: str, sentence: str) -> None:
    views.create(two.path, "embeddings_taken", "SELECT ImgId FROM images")
    before = (two.path / "state.json").read_bytes()
    with pytest.raises(InputError, match=sentence):
        backbones.rename(two.path, old, new)
    assert (two.path / "state.json").read_bytes() == before


def test_a_backbone_that_a_view_stands_on_stays(two: FeatureStore) -> None:
    views.create(two.path, "norms", "SELECT ImgId, embedding[1] AS first FROM embeddings_counting")
    views.create(two.path, "plain", "SELECT ImgId FROM images_usable")
    before = (two.path / "state.json").read_bytes()
    with pytest.raises(InputError, match="can't be removed, the view 'norms' depends on it"):
        backbones.remove(two.path, "counting")
    with pytest.raises(InputError, match="can't be renamed, the view 'norms' depends on it"):
        backbones.rename(two.path, "counting", "x")
    assert (two.path / "state.json").read_bytes() == before
    assert backbones.remove(two.path, "other") == 24
    views.remove(two.path, "norms")
    assert backbones.remove(two.path, "counting") == 48
    with pytest.raises(InputError, match=r"has no backbone 'counting' \(it has: none\)"):
        backbones.remove(two.path, "counting")


def test_a_damaged_part_gets_no_checksum_of_its_own(two: FeatureStore) -> None:
    part = Path(two.parts("backbones")[0])
    part.write_bytes(part.read_bytes()[:-1])
    state = two.state
    for change in (lambda: backbones.remove(two.path, "other"), lambda: backbones.rename(two.path, "other", "x")):
        with pytest.raises(IntegrityError, match=part.name):
            change()
    assert two.refresh().state == state


def test_a_backbone_whose_manifest_is_damaged_can_be_removed(two: FeatureStore) -> None:
    path = manifest_of(two.path, "other")
    path.write_bytes(b"")
    assert backbones.remove(two.path, "other") == 0
    snapshots.remove(two.path, "kept")
    assert maintenance.verify(two.path).damaged == {}
    assert len(two.refresh().features("counting", view="collection")) == 24
