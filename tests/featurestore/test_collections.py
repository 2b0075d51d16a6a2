"""Any collection of images: what is read from folders and tables, what is said of it, what a second ingest keeps."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import CountingBackbone, jpeg

from featurestore import FeatureStore
from featurestore.commands.cli import cli
from featurestore.errors import InputError, MetadataError


def write(folder: Path, *names: str) -> Path:
    """Different images with these names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(abs(hash_of(str(path.relative_to(folder))))))
    return folder


def hash_of(text: str) -> int:
    """A small number for a text, the same in every process."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(text))


def rows(store: FeatureStore, query: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in store.refresh().sql(query).to_pylist()]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write(tmp_path / "images", "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/b.png", "fish/deep/er/3.jpg")


@pytest.fixture
def fresh(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def test_a_folder_for_each_class(images: Path, fresh: FeatureStore) -> None:
    report = fresh.ingest(images=images)
    assert report.collection == "general"
    assert (report.images_found, report.joined, report.labeled) == (5, 5, 5)
    assert report.labels == {"cat": 2, "dog": 2, "er": 1}
    assert rows(fresh, "FROM labeled") == [
        (0, "cat/1.jpg", "cat"),
        (1, "cat/2.jpg", "cat"),
        (2, "dog/1.jpg", "dog"),
        (3, "dog/b.png", "dog"),
        (4, "fish/deep/er/3.jpg", "er"),
    ]
    again = fresh.ingest(images=images)
    assert not again.changed
    by_first = fresh.ingest(images=images, label="folder:1")
    assert by_first.labels == {"cat": 2, "dog": 2, "fish": 1}


def test_top_folders_that_are_a_split_become_a_column(tmp_path: Path, fresh: FeatureStore) -> None:
    write(tmp_path / "data", "train/a/1.jpg", "train/b/2.jpg", "test/a/3.jpg")
    report = fresh.ingest(images=tmp_path / "data")
    assert any("split" in note for note in report.notes)
    assert rows(fresh, "SELECT ImgName, label, split FROM labeled") == [
        ("test/a/3.jpg", "a", "test"),
        ("train/a/1.jpg", "a", "train"),
        ("train/b/2.jpg", "b", "train"),
    ]


def test_several_folders_have_their_names_in_front(tmp_path: Path, fresh: FeatureStore) -> None:
    folders = [write(tmp_path / name, "1.jpg", "2.jpg") for name in ("cats", "dogs")]
    report = fresh.ingest(images=folders)
    assert report.labels == {"cats": 2, "dogs": 2}
    names = [name for _, name, _ in rows(fresh, "FROM labeled")]
    assert names == ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg"]


TABLES = {
    "comma": ("labels.csv", "file,species\ncat/1.jpg,cat\ndog/1.jpg,dog\ncat/2.jpg,cat\ndog/b.png,dog\n"),
    "tab": ("labels.tsv", "file\tspecies\ncat/1.jpg\tcat\ndog/1.jpg\tdog\ncat/2.jpg\tcat\ndog/b.png\tdog\n"),
    "semicolon": ("labels.csv", "species;file\ncat;cat/1.jpg\ndog;dog/1.jpg\ncat;cat/2.jpg\ndog;dog/b.png\n"),
    "JSON lines": (
        "labels.jsonl",
        "".join(
            json.dumps({"species": name[:3], "file": name}) + "\n"
            for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/b.png")
        ),
    ),
    "JSON": ("labels.json", json.dumps([{"file": f"{n}/1.jpg", "species": n} for n in ("cat", "dog")] * 1)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_names_images_and_labels(kind: str, images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    name, text = TABLES[kind]
    (tmp_path / name).write_text(text)
    report = fresh.ingest(images=images, metadata=tmp_path / name, key="file", label="species")
    expected = 2 if kind == "JSON" else 4
    assert report.labeled == expected
    assert fresh.label == "species"
    assert report.problems["image without a row"] == 5 - expected
    assert {label for _, label in rows(fresh, "SELECT ImgId, species FROM labeled")} == {"cat", "dog"}
    assert rows(fresh, "SELECT count(*) FROM collection") == [(5,)]


def test_key_and_label_are_guessed_and_said(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n,which,label\n9,cat/1.jpg,x\n8,cat/2.jpg,y\n7,dog/1.jpg,x\n6,dog/b.png,y\n")
    report = fresh.ingest(images=images, metadata=tmp_path / "t.csv")
    assert report.labels == {"x": 2, "y": 2}
    assert any("'which' names the images" in note for note in report.notes)
    assert any("label" in note for note in report.notes)


def test_a_sidecar_of_an_imagefolder_is_found(tmp_path: Path, fresh: FeatureStore) -> None:
    write(tmp_path / "data", "train/1.jpg", "train/2.jpg", "test/1.jpg")
    (tmp_path / "data/train/metadata.csv").write_text("file_name,label\n1.jpg,a\n2.jpg,b\n")
    (tmp_path / "data/test/metadata.csv").write_text("file_name,label\n1.jpg,a\n")
    report = fresh.ingest(images=tmp_path / "data")
    assert (report.labeled, report.labels) == (3, {"a": 2, "b": 1})
    assert rows(fresh, "SELECT split FROM labeled ORDER BY ImgName") == [("test",), ("train",), ("train",)]


def test_what_does_not_fit_is_counted_and_listed(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    table = "file,label\ncat/1.jpg,a\ncat/1.jpg,b\ncat/2.jpg,a\ncat/2.jpg,a\nnowhere.jpg,a\ndog/1.jpg,N/A\n"
    (tmp_path / "t.csv").write_text(table)
    report = fresh.ingest(images=images, metadata=tmp_path / "t.csv", key="file", label="label")
    assert report.labels == {"a": 1}
    assert report.problems == {
        "contradicting labels": 2,
        "image without a label": 4,
        "image without a row": 2,
        "row without an image": 1,
        "second row for one image": 1,
    }
    assert any("'N/A'" in note for note in report.notes)
    found = fresh.info(problems=True)["problems"]
    assert {"kind": "row without an image", "name": "nowhere.jpg", "detail": None, "ImgId": None} in found
    assert {"kind": "contradicting labels", "name": "cat/1.jpg", "detail": "a, b", "ImgId": 0} in found


def test_several_labels_make_it_multi_label(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,is_red,is_big\ncat/1.jpg,1,1\ncat/2.jpg,0,1\ndog/1.jpg,1,0\ndog/b.png,0,0\n")
    report = fresh.ingest(images=images, metadata=tmp_path / "t.csv", key="file", label="is_*")
    assert report.labels == {"big": 2, "red": 2}
    assert report.labeled == 3
    assert fresh.label == "labels"


def test_numbers_are_kept(images: Path, fresh: FeatureStore) -> None:
    fresh.ingest(images=images)
    fresh.embed(CountingBackbone())
    before = dict(rows(fresh, "SELECT ImgName, ImgId FROM images"))
    write(images, "ant/0.jpg")
    (images / "dog/b.png").rename(images / "dog/renamed.png")
    gone = (images / "cat/2.jpg").read_bytes()
    (images / "cat/2.jpg").unlink()
    report = fresh.ingest(images=images)
    assert report.renamed == {"dog/b.png": "dog/renamed.png"}
    after = dict(rows(fresh, "SELECT ImgName, ImgId FROM images"))
    assert after["ant/0.jpg"] == 5
    assert after["dog/renamed.png"] == before["dog/b.png"]
    assert after["cat/2.jpg"] == before["cat/2.jpg"], "the row of a gone image stays"
    assert rows(fresh, "SELECT status FROM images WHERE ImgName = 'cat/2.jpg'") == [("gone",)]
    assert (1,) not in rows(fresh, "SELECT ImgId FROM collection")
    assert fresh.embed(CountingBackbone()).computed == 1
    (images / "cat/2.jpg").write_bytes(gone)
    assert fresh.embed(CountingBackbone()).computed == 0, "its vector was kept"
    assert dict(rows(fresh, "SELECT ImgName, ImgId FROM collection"))["cat/2.jpg"] == 1


def test_changed_labels_change_only_the_table(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,label\ncat/1.jpg,a\ncat/2.jpg,b\n")
    fresh.ingest(images=images, metadata=table)
    tables = dict(fresh.state.tables)
    table.write_text("file,label\ncat/1.jpg,a\ncat/2.jpg,a\n")
    fresh.ingest(images=images, metadata=table)
    changed = {name for name in tables if fresh.state.tables[name] != tables[name]}
    assert changed == {"metadata"}


def test_embed_scans_again_and_gives_new_images_their_label(images: Path, fresh: FeatureStore) -> None:
    fresh.ingest(images=images)
    write(images, "fish/new.jpg")
    assert fresh.embed(CountingBackbone()).computed == 6
    assert rows(fresh, "SELECT label FROM labeled WHERE ImgName = 'fish/new.jpg'") == [("fish",)]


def test_a_row_gets_its_image_when_it_comes(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,label\ncat/1.jpg,a\nlater.jpg,b\n")
    fresh.ingest(images=images, metadata=tmp_path / "t.csv")
    write(images, "later.jpg")
    fresh.embed(CountingBackbone())
    assert rows(fresh, "SELECT label FROM labeled WHERE ImgName = 'later.jpg'") == [("b",)]


def test_the_same_folder_gives_the_same_numbers_elsewhere(images: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(images, tmp_path / "elsewhere" / "images")
    found = []
    for number, folder in enumerate((images, copy)):
        store = FeatureStore(tmp_path / f"store{number}")
        store.ingest(images=folder)
        found.append(rows(store, "SELECT ImgId, ImgName, content_hash FROM images ORDER BY ImgId"))
    assert found[0] == found[1]


def test_links_that_leave_the_folder_need_leave(tmp_path: Path, fresh: FeatureStore) -> None:
    blobs = write(tmp_path / "blobs", "x.jpg", "y.jpg")
    folder = tmp_path / "hub"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat/1.jpg").symlink_to(blobs / "x.jpg")
    (folder / "dog").symlink_to(blobs)
    with pytest.raises(InputError, match="--follow-links"):
        fresh.ingest(images=folder)
    report = fresh.ingest(images=folder, follow_links=True)
    assert report.broken == {}
    assert report.labels == {"dog": 2, "cat": 1}
    fresh.embed(CountingBackbone())
    assert rows(fresh, "SELECT count(*) FROM embeddings_counting") == [(3,)]
    write(folder, "cat/2.jpg")
    assert "--follow-links" in fresh.ingest(images=folder).broken["cat/1.jpg"], "each ingest says it again"


def test_a_table_alone_makes_a_store(fresh: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,label\nb,x\na,y\nb,x\n")
    report = fresh.ingest(metadata=tmp_path / "t.csv", key="id", label="label")
    assert (report.images_found, report.labeled) == (0, 2)
    assert rows(fresh, "FROM labeled") == [(0, "a", "a", "y"), (1, "b", "b", "x")]


def test_a_dry_run_writes_nothing(images: Path, fresh: FeatureStore) -> None:
    report = fresh.ingest(images=images, dry_run=True)
    assert (report.labeled, report.changed, len(report.first)) == (5, False, 3)
    assert not fresh.path.exists()
    fresh.ingest(images=images)
    state = fresh.state.id
    write(images, "cat/9.jpg")
    assert fresh.ingest(images=images, dry_run=True).joined == 6
    assert fresh.refresh().state.id == state


def test_bad_input_is_refused_before_a_store_is_made(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\nx,y\n")
    (tmp_path / "none").mkdir()
    (tmp_path / "none/readme.txt").write_text("nothing")
    cases = {
        "name a folder with --images": {},
        "no column of the table names the images": {"images": images, "metadata": tmp_path / "t.csv"},
        "no column 'c'": {"images": images, "metadata": tmp_path / "t.csv", "key": "c"},
        "holds no image": {"images": tmp_path / "none"},
        "there is no folder": {"images": tmp_path / "nowhere"},
        "there is no collection type 'moves'": {"images": images, "recipe": "moves"},
        "only a collection of movies has": {"images": images, "top_genres": 2},
    }
    for words, arguments in cases.items():
        with pytest.raises((InputError, MetadataError), match=words):
            fresh.ingest(**arguments)  # type: ignore[arg-type]
        assert not fresh.path.exists(), words


def test_a_store_keeps_its_collection_type(images: Path, fresh: FeatureStore) -> None:
    fresh.ingest(images=images)
    with pytest.raises(InputError, match="holds a collection of the type 'general', got 'movies'"):
        fresh.ingest(images=images, recipe="movies")


def test_movies_are_recognised_by_their_columns(tmp_path: Path) -> None:
    """And nothing else is: another table with an id and a genre is a table of labels."""
    write(tmp_path / "images", "0000001.jpg", "tt0000002.jpg", "3.jpg")
    tables = {
        "imdbId,Genre\n1,Drama\n2,Comedy\n": "movies",
        "Id,Genre,Comedy,Drama\ntt0000001,\"['Comedy', 'Drama']\",1,1\ntt0000002,['Drama'],0,1\n": "movies",
        "ImgId,ImgName,Title,Genre1\n1,1.jpg,A,Drama\n": "movies",
        "Id,Genre\n0000001,Drama\ntt0000002,Comedy\n": "general",
        "image,genre\n3.jpg,Drama\n": "general",
    }
    for number, (text, expected) in enumerate(tables.items()):
        (tmp_path / "t.csv").write_text(text)
        report = FeatureStore(tmp_path / f"s{number}").ingest(images=tmp_path / "images", metadata=tmp_path / "t.csv")
        assert report.collection == expected, text
        assert report.labeled > 0, text


def test_columns_that_mark_labels_name_no_image(tmp_path: Path, fresh: FeatureStore) -> None:
    write(tmp_path / "images", "0.jpg", "1.jpg", "7.jpg")
    (tmp_path / "t.csv").write_text("red,number,label\n1,7,a\n0,1,b\n")
    report = fresh.ingest(images=tmp_path / "images", metadata=tmp_path / "t.csv")
    assert any("'number' names the images" in note for note in report.notes)


def test_a_view_says_how_many_rows_have_no_label(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,label\ncat/1.jpg,a\ncat/2.jpg,\ndog/1.jpg,b\n")
    fresh.ingest(images=images, metadata=tmp_path / "t.csv")
    queries = {
        "mine": "SELECT ImgId, label FROM collection",
        "blank": "SELECT ImgId, CASE WHEN ImgId = 0 THEN ' ' ELSE label END AS label FROM collection",
        "other": "SELECT ImgId, ImgName FROM collection",
    }
    said = []
    for name, query in queries.items():
        (tmp_path / "view.sql").write_text(query)
        arguments = ["view", "create", "--store", str(fresh.path), name, "--sql", str(tmp_path / "view.sql")]
        said.append(CliRunner().invoke(cli, [*arguments, "--quiet"]).stdout)
    assert said == [
        "view mine: 5 rows, 3 of them without a label\n",
        "view blank: 5 rows, 4 of them without a label\n",
        "view other: 5 rows\n",
    ]


def test_a_collection_without_a_usable_image_is_refused(tmp_path: Path, fresh: FeatureStore) -> None:
    blobs = write(tmp_path / "blobs", "x.jpg")
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "1.jpg").symlink_to(blobs / "x.jpg")
    (folder / "2.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"none of the 2 images can be used, the first is '1\.jpg': .*--follow-links"):
        fresh.ingest(images=folder)
    assert not fresh.path.exists()
    assert fresh.ingest(images=folder, follow_links=True).joined == 1
