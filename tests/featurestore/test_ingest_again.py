"""What a further ingest of any collection keeps: labels, settings, vectors; and what it says of the rest."""

import os
from pathlib import Path

import pytest
from support import CountingBackbone, jpeg

from featurestore import FeatureStore
from featurestore.errors import InputError, MetadataError, StoreError

TABLE = "file,genre,title\n1.jpg,x,One\n2.jpg,y,Two\n3.jpg,x,Three\n4.jpg,y,Four\n"


def put(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(seed, size=(16, 16)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(1, 5):
        put(tmp_path / "images" / "ab"[number % 2] / f"{number}.jpg", number)
    return tmp_path / "images"


@pytest.fixture
def store(images: Path, tmp_path: Path) -> FeatureStore:
    """A store with the table `TABLE`."""
    (tmp_path / "t.csv").write_text(TABLE)
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=images, metadata=tmp_path / "t.csv", label="genre")
    return store


def test_without_a_table_the_last_one_is_kept_and_that_is_said(images: Path, store: FeatureStore) -> None:
    put(images / "a" / "new.jpg", 9)
    for arguments in ({"images": images}, {}, {"dry_run": True}):
        report = store.ingest(**arguments)  # type: ignore[arg-type]
        assert report.labels == {"x": 2, "y": 2}
        assert report.problems == {"image without a label": 1, "image without a row": 1}
        assert any("the table of the last ingest is kept, 4 rows" in note for note in report.notes)
    assert (store.label, store.refresh().title) == ("genre", "title")


def test_folders_replace_a_table_only_when_asked(images: Path, store: FeatureStore) -> None:
    with pytest.raises(InputError, match="without a table: name the table with --metadata, or folder:N"):
        store.ingest(images=images, label="title")
    assert store.ingest(images=images, label="folder:1").labels == {"a": 2, "b": 2}
    assert (store.label, store.refresh().title) == ("label", "ImgName"), "no setting of the table stays"
    assert store.ingest(images=images).labels == {"a": 2, "b": 2}


def test_the_level_of_an_earlier_ingest_does_not_come_back(tmp_path: Path) -> None:
    store, images = FeatureStore(tmp_path / "store"), tmp_path / "images"
    put(images / "a/b/1.jpg", 1)
    put(images / "c/d/2.jpg", 2)
    assert store.ingest(images=images, label="folder:1").labels == {"a": 1, "c": 1}
    assert store.ingest(images=images).labels == {"b": 1, "d": 1}
    put(images / "c/d/3.jpg", 3)
    store.embed(CountingBackbone())
    assert store.refresh().query("SELECT DISTINCT label FROM labeled ORDER BY 1")["label"].to_pylist() == ["b", "d"]


def test_a_view_that_a_new_table_breaks_is_named(store: FeatureStore, tmp_path: Path) -> None:
    store.create_view("mine", "SELECT ImgId, genre FROM labeled")
    (tmp_path / "u.csv").write_text("file,kind\n1.jpg,p\n2.jpg,q\n")
    report = store.ingest(metadata=tmp_path / "u.csv", label="kind")
    assert any("the view 'mine' can't be used" in note for note in report.notes)
    assert report.labels == {"p": 1, "q": 1}


def test_metadata_that_another_program_replaced_is_not_overwritten(
    images: Path, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurestore.collections import ingest

    (tmp_path / "u.csv").write_text("file,kind\n1.jpg,p\n2.jpg,q\n")
    scan = ingest.scan_images

    def slow(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(ingest, "scan_images", scan)
        FeatureStore(store.path).ingest(metadata=tmp_path / "u.csv", label="kind")
        return scan(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ingest, "scan_images", slow)
    with pytest.raises(StoreError, match="run the command again"):
        store.ingest(images=images)
    assert store.refresh().label == "kind"


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("file,label\n", {}, "has no rows: expected one for each image"),
        ("file,label\nx.jpg,a\ny.jpg,b\n", {"key": "file"}, "none of the 2 rows names an image: the first in 'file'"),
        ("file,label\n,a\n,b\n", {"key": "file"}, "the first in 'file' is empty"),
    ],
)
def test_a_table_that_names_no_image_leaves_the_labels(
    text: str, arguments: dict[str, str], words: str, store: FeatureStore, tmp_path: Path
) -> None:
    before = store.state.id
    (tmp_path / "u.csv").write_text(text)
    with pytest.raises((InputError, MetadataError), match=words):
        store.ingest(metadata=tmp_path / "u.csv", **arguments)  # type: ignore[arg-type]
    assert store.refresh().state.id == before


def test_a_replaced_image_and_swapped_names_have_the_vectors_of_their_bytes(tmp_path: Path) -> None:
    store, images = FeatureStore(tmp_path / "store"), tmp_path / "images"
    for number in range(4):
        put(images / f"a/{number}.jpg", number)
    store.ingest(images=images)
    store.embed(CountingBackbone())

    def vectors() -> dict[int, list[float]]:
        rows = store.refresh().query("FROM embeddings_counting").to_pylist()
        return {row["ImgId"]: row["embedding"] for row in rows}

    before = vectors()
    put(images / "a/0.jpg", 9)
    for old, new in (("1", "t"), ("2", "1"), ("t", "2")):
        (images / f"a/{old}.jpg").rename(images / f"a/{new}.jpg")
    assert store.ingest(images=images).renamed == {}
    assert set(vectors()) == {3}, "those of other bytes are hidden"
    report = store.embed(CountingBackbone())
    assert (report.computed, report.reused) == (1, 2)
    after = vectors()
    assert (after[1], after[2], after[3]) == (before[2], before[1], before[3])
    assert after[0] != before[0]


def test_a_renamed_folder_keeps_its_numbers(tmp_path: Path) -> None:
    store, images = FeatureStore(tmp_path / "store"), tmp_path / "images"
    for number, name in enumerate(("a/1", "a/2", "b/same1", "b/same2")):
        put(images / f"{name}.jpg", min(number, 2))
    store.ingest(images=images)
    os.rename(images / "a", images / "new")
    (images / "b/same2.jpg").rename(images / "b/other.jpg")
    report = store.ingest(images=images)
    assert report.renamed == {
        "a/1.jpg": "new/1.jpg",
        "a/2.jpg": "new/2.jpg",
        "b/same2.jpg": "b/other.jpg",
    }
    found = store.refresh().query("SELECT ImgName FROM images ORDER BY ImgId")["ImgName"].to_pylist()
    assert found == ["new/1.jpg", "new/2.jpg", "b/same1.jpg", "b/other.jpg"]


def test_equal_states_do_not_differ(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text(f"{TABLE}nowhere.jpg,x,No\n")
    store.ingest(metadata=tmp_path / "u.csv", label="genre")
    store.create_snapshot("one")
    changes = store.diff_snapshots("one")
    assert all(not (change.added or change.removed or change.changed) for change in changes.values())
