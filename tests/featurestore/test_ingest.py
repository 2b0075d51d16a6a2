"""The funnel from files to the labelled view, and what bad files do to it."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Collection, CountingBackbone, jpeg, movie, write_metadata

from featurestore import FeatureStore
from featurestore.errors import InputError, MetadataError, StoreNotFound

NINE = ["ImgId", "ImgName", "Title", "Genre1", "Genre2", "Genre3", "IMDBScore", "ImdbLink", "Poster"]
STUDY_GENRES = """Drama 357 35.81 35.81|Comedy 317 31.8 67.6|Crime 84 8.43 76.03|Adventure 53 5.32 81.34
Action 38 3.81 85.16|Animation 23 2.31 87.46|Biography 20 2.01 89.47|Documentary 17 1.71 91.17|Romance 16 1.6 92.78
Fantasy 14 1.4 94.18|Horror 13 1.3 95.49|Mystery 12 1.2 96.69|Western 11 1.1 97.79|Musical 8 0.8 98.6
Family 3 0.3 98.9|War 3 0.3 99.2|History 2 0.2 99.4|Music 2 0.2 99.6"""


@pytest.mark.real
def test_the_real_collection_ends_at_811(real_data: Path, tmp_path: Path) -> None:
    images = tmp_path / "posters"
    images.mkdir()
    names = (real_data / "sample_image_names.txt").read_text().split()
    for name in names:
        (images / name).write_bytes(jpeg(int(name[:-4]), size=(16, 24)))
    store = FeatureStore(tmp_path / "store")
    report = store.ingest(metadata=real_data / "MovieGenre.csv.gz", images=images)
    assert (report.steps["movies kept"], report.images_found, report.joined) == (39_515, 997, 997)
    assert (report.problems.get("without genre", 0), report.labeled) == (4, 811)
    labeled = store.sql("FROM labeled")
    assert labeled.column_names == NINE
    assert labeled.num_rows == 811
    ids = labeled["ImgId"].to_pylist()
    assert ids == sorted(ids)
    rows = ["{} {} {:g} {:g}".format(*row.values()) for row in store.sql("FROM genre_counts").to_pylist()]
    assert rows == STUDY_GENRES.replace("\n", "|").split("|")


def test_short_gives_way_to_the_next_genre(tmp_path: Path) -> None:
    images = tmp_path / "posters"
    images.mkdir()
    genres = {1: "Short|Drama|Romance", 2: "Short", 3: "Comedy|Short", 4: "", 5: "A|B|C|D"}
    for img_id in genres:
        (images / f"{img_id}.jpg").write_bytes(jpeg(img_id))
    metadata = write_metadata(tmp_path / "m.csv", [movie(i, genre) for i, genre in genres.items()])
    store = FeatureStore(tmp_path / "store")
    report = store.ingest(metadata=metadata, images=images, top_genres=99)
    rows = store.sql("SELECT Genre1, Genre2, Genre3 FROM collection ORDER BY ImgId").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("Drama", "Drama", "Romance"),
        (None, None, None),
        ("Comedy", "Short", None),
        (None, None, None),
        ("A", "B", "C"),
    ]
    assert (report.problems.get("without genre", 0), report.labeled) == (2, 3)


def test_the_number_of_genres_is_a_parameter(collection: Collection, store: FeatureStore) -> None:
    assert set(store.sql("SELECT DISTINCT Genre1 AS g FROM labeled_top(1)")["g"].to_pylist()) == {"Drama"}
    report = store.ingest(metadata=collection.metadata, images=collection.images, top_genres=2)
    assert report.labeled == store.sql("SELECT count(*) AS n FROM labeled_top(2)")["n"][0].as_py() == 12
    again = store.ingest(metadata=collection.metadata, images=collection.images)
    assert again.labeled == 12, "the setting stays until it is changed"


def test_a_second_run_changes_nothing(collection: Collection, store: FeatureStore) -> None:
    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in store.path.rglob("*") if path.is_file()}

    before, state = files(), store.state.id
    report = store.ingest(metadata=collection.metadata, images=collection.images)
    assert not report.changed
    assert store.state.id == state
    after = files()
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {Path(path).parent.name for path in changed} <= {"cache"}, "only the disposable cache may differ"


def _broken_images(folder: Path) -> dict[str, str]:
    """Files that can't be used, and a piece of the reason that each must be given."""
    good = jpeg(1, size=(182, 268))
    files = {
        "9001.jpg": (good[: len(good) // 2], "can't be decoded"),
        "9002.jpg": (b"<html>not found</html>", "no image format is known"),
        "9003.jpg": (b"", "the file is empty"),
        "poster.jpg": (good, "not a number"),
        "99999999999.jpg": (good, "not a number from 0 to 2147483647"),
        "101.png": (good, "already used by 101.jpg"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    outside = folder.parent / "outside.jpg"
    outside.write_bytes(good)
    (folder / "9004.jpg").symlink_to(outside)
    (folder / "9005.jpg").symlink_to(folder / "nowhere.jpg")
    reasons = {name: reason for name, (_, reason) in files.items()}
    return reasons | {"9004.jpg": "leads out of the folder", "9005.jpg": "can't be read"}


def test_unusable_images_are_quarantined_with_the_reason(collection: Collection, store: FeatureStore) -> None:
    expected = _broken_images(collection.images)
    (collection.images / "notes.txt").write_text("no image")
    report = store.ingest(metadata=collection.metadata, images=collection.images)
    assert set(report.broken) == set(expected)
    for name, reason in expected.items():
        assert reason in report.broken[name]
    assert report.files_ignored == 1
    assert report.joined == 24, "the rest is untouched"
    rows = store.sql("SELECT ImgName, reason FROM images WHERE status = 'broken'").to_pylist()
    assert {row["ImgName"]: row["reason"] for row in rows} == report.broken


def test_a_bomb_is_refused(collection: Collection, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.collections.images.MAX_PIXELS", 300 * 300)
    (collection.images / "777.jpg").write_bytes(jpeg(1, size=(301, 300)))
    report = store.ingest(metadata=collection.metadata, images=collection.images)
    assert list(report.broken) == ["777.jpg"]
    assert "over the limit" in report.broken["777.jpg"]


def test_an_image_without_metadata_is_counted_and_left_out(collection: Collection, store: FeatureStore) -> None:
    (collection.images / "5000.jpg").write_bytes(jpeg(5000))
    report = store.ingest(metadata=collection.metadata, images=collection.images)
    assert (report.images_found, report.problems["without metadata"], report.joined) == (25, 1, 24)


@pytest.mark.parametrize("what", ["metadata", "folder", "empty", "else", "file", "unnumbered"])
def test_bad_input_leaves_the_store_as_it_was(
    collection: Collection, store: FeatureStore, tmp_path: Path, what: str
) -> None:
    metadata, images = collection.metadata, tmp_path / "other"
    images.mkdir()
    if what == "metadata":
        metadata, images = tmp_path / "none.csv", collection.images
    elif what == "folder":
        images = tmp_path / "none"
    elif what == "else":
        (images / "song.mp3").write_bytes(b"x")
    elif what == "file":
        images = collection.metadata
    elif what == "unnumbered":
        (images / "a.jpg").write_bytes(jpeg(1))
    before = store.state.id
    with pytest.raises(InputError) as caught:
        store.ingest(metadata=metadata, images=images)
    assert "\n" not in str(caught.value)
    assert store.refresh().state.id == before
    assert store.sql("SELECT count(*) AS n FROM collection")["n"][0].as_py() == 24


def test_bad_input_leaves_no_empty_store_behind(collection: Collection, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "fresh")
    with pytest.raises(MetadataError):
        store.ingest(metadata=tmp_path / "none.csv", images=collection.images)
    assert not (tmp_path / "fresh").exists()
    with pytest.raises(StoreNotFound, match="there is no store"):
        _ = store.state


def test_no_folder_at_all_means_those_of_the_last_ingest(
    collection: Collection, store: FeatureStore, tmp_path: Path
) -> None:
    report = store.ingest(metadata=collection.metadata, images=[])
    assert (report.images_found, report.changed) == (24, False)
    with pytest.raises(InputError, match="got no folder of images"):
        FeatureStore(tmp_path / "new").ingest(metadata=collection.metadata)


def test_a_folder_that_is_named_twice_is_one(collection: Collection, store: FeatureStore) -> None:
    twice = [collection.images, collection.images / ".." / collection.images.name]
    report = store.ingest(metadata=collection.metadata, images=twice)
    assert (report.images_found, report.broken, report.changed) == (24, {}, False)


def test_a_folder_of_other_things_is_not_made_a_store(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a store and holds other files"):
        FeatureStore(tmp_path).ingest(metadata=collection.metadata, images=collection.images)


def test_byte_identical_images_share_a_group(collection: Collection, store: FeatureStore) -> None:
    (collection.images / "110.jpg").write_bytes((collection.images / "103.jpg").read_bytes())
    store.ingest(metadata=collection.metadata, images=collection.images)
    groups = dict(
        zip(
            *(c.to_pylist() for c in store.sql("SELECT ImgId, duplicate_group FROM duplicate_groups").columns),
            strict=True,
        )
    )
    assert groups[110] == groups[103] == 103
    assert len(set(groups.values())) == 23


def test_a_changed_file_is_noticed_and_an_unchanged_one_not_read_again(
    collection: Collection, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurestore.collections.scan.RACY_NS", 0)
    store.ingest(metadata=collection.metadata, images=collection.images)
    (collection.images / "105.jpg").write_bytes(jpeg(4242))
    # The same size and modification time as before must not hide a change.
    stat = (collection.images / "105.jpg").stat()
    os.utime(collection.images / "105.jpg", ns=(stat.st_atime_ns, 1))
    read: list[int] = []
    from featurestore.collections import inspection

    inspect = inspection.inspect
    monkeypatch.setattr(inspection, "inspect", lambda content: read.append(len(content)) or inspect(content))
    report = store.ingest(metadata=collection.metadata, images=collection.images)
    assert report.changed
    assert len(read) == 1


def test_synthetic_posters_are_known_by_their_comment(collection: Collection, store: FeatureStore) -> None:
    assert not store.synthetic
    buffer = io.BytesIO()
    Image.fromarray(np.full((67, 46, 3), 90, np.uint8)).save(buffer, "JPEG", comment=b"synthetic featurestore sample")
    (collection.images / "101.jpg").write_bytes(buffer.getvalue())
    assert store.ingest(metadata=collection.metadata, images=collection.images).synthetic
    assert store.synthetic


def test_a_link_whose_target_changes_is_a_changed_image(collection: Collection, store: FeatureStore) -> None:
    (collection.images / "originals").mkdir()
    target, link = collection.images / "originals" / "a.jpg", collection.images / "101.jpg"
    target.write_bytes(link.read_bytes())
    link.unlink()
    link.symlink_to("originals/a.jpg")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    target.write_bytes(jpeg(999, size=(50, 70)))  # the link itself stays as it is
    assert store.embed(CountingBackbone()).computed == 1
    assert store.sql("SELECT width FROM images WHERE ImgId = 101")["width"].to_pylist() == [50]


def test_many_files_are_read_in_pieces_and_stored_in_order(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a text order (10.jpg before 9.jpg), in more than one table of rows, with one file that comes late."""
    whole = FeatureStore(tmp_path / "whole")
    whole.ingest(metadata=collection.metadata, images=collection.images)
    monkeypatch.setattr("featurestore.collections.inspection.TABLE_ROWS", 2)
    monkeypatch.setattr("featurestore.collections.inspection.TASK_FILES", 1)
    pieces = FeatureStore(tmp_path / "pieces")
    pieces.ingest(metadata=collection.metadata, images=collection.images)
    query = "SELECT * FROM images"
    assert pieces.sql(query).equals(whole.sql(query))
    (collection.images / "9.jpg").write_bytes(jpeg(9))
    for store in (whole, pieces):
        store.ingest(metadata=collection.metadata, images=collection.images)
    ids = pieces.sql(query)["ImgId"].drop_null().to_pylist()
    assert 9 in ids
    assert ids == sorted(ids)
    assert pieces.sql(query).equals(whole.sql(query))
