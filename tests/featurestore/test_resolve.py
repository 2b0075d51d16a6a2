"""Which image each imported vector belongs to, in a store of movies and in one of any images."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import jpeg

from featurestore import FeatureStore
from featurestore.collections.movies.keys import name_of, number_in_key
from featurestore.embedding.resolve import Resolved, resolve
from featurestore.embedding.vector_files.imported import ImportedVectors
from featurestore.errors import EmbeddingError, InputError
from featurestore.storage.schemas import IMAGES, MAX_ID


def images(*rows: tuple[int | None, str] | tuple[int | None, str, str]) -> pa.Table:
    """A table `images` with ids, names and, if it is not ``ok``, the status."""
    blank = dict.fromkeys(IMAGES.names) | {"content_hash": "", "size_bytes": 0, "synthetic": False}
    blank |= dict.fromkeys(("source", "file", "member"), "")
    made = [blank | {"ImgId": row[0], "ImgName": row[1], "status": (*row, "ok")[2]} for row in rows]
    return pa.Table.from_pylist(made, schema=IMAGES)


STORE = images(
    (0, "a/1.jpg"), (1, "b/1.jpg"), (2, "b/Two.JPG"), (3, "é 3.png"), (4, "old.jpg", "gone"), (5, "far", "external")
)


def vectors(keys: list[str] | None, numbers: list[int] | None = None, *, listed: bool = False) -> ImportedVectors:
    n = len(keys if keys is not None else numbers or ())
    X = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return ImportedVectors(X, keys, None if numbers is None else np.array(numbers, np.int64), listed)


def general(*keys: str) -> Resolved:
    return resolve(STORE, "general", vectors(list(keys)))


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("1.jpg", 1),
        ("007.png", 7),
        ("7", 7),
        ("7.0", 7),
        ("7.000", 7),
        ("tt0084058", 84058),
        ("tt0084058.jpg", 84058),
        ("posters/1.jpg", 1),
        ("/data/x y/1.jpg ", 1),
        ("C:\\posters\\1.jpg", 1),
        ("..\\a/tt1.webp", 1),
        (f"{MAX_ID}.jpg", MAX_ID),
        (f"{MAX_ID + 1}.jpg", None),
        ("9" * 5000, None),
        ("1.5", None),
        ("1.5.jpg", None),
        ("1.jpg.png", None),
        ("-1", None),
        ("x1.jpg", None),
        ("1/", None),
        ("tt", None),
        (".jpg", None),
        ("", None),
        ("٧.jpg", None),
    ],
)
def test_the_number_in_the_name_of_a_poster(key: str, number: int | None) -> None:
    assert number_in_key(key) == number


def test_the_name_of_a_poster() -> None:
    keys = ["p/007.png", "tt7", "7.0", "7", "C:\\a\\7.jpg", ""]
    assert [name_of(key, 7) for key in keys] == ["007.png", "7.jpg", "7.jpg", "7.jpg", "7.jpg", "7.jpg"]


def test_movies_by_number() -> None:
    found = resolve(images((7, "7.jpg")), "movies", vectors(["a/7.jpg", "tt0000009"]))
    assert (found.ids.tolist(), list(found.names), found.notes) == ([7, 9], ["7.jpg", "9.jpg"], ())
    found = resolve(images(), "movies", vectors(None, [9, 7]))
    assert (found.ids.tolist(), list(found.names)) == ([9, 7], ["9.jpg", "7.jpg"])
    with pytest.raises(EmbeddingError, match=r"got the image name 'x\.jpg', expected a number to"):
        resolve(images(), "movies", vectors(["x.jpg"]))


@pytest.mark.parametrize(
    ("key", "img_id", "note"),
    [
        ("a/1.jpg", 0, ""),
        ("a\\1.jpg", 0, "slash"),
        ("/data/set/a/1.jpg", 0, "folders in front"),
        ("Two.jpg", 2, "case"),
        ("e\u0301 3.png", 3, "Unicode"),
        ("é 3", 3, "extension"),
        ("far", 5, ""),
    ],
)
def test_names_are_matched_as_people_expect(key: str, img_id: int, note: str) -> None:
    found = general(key)
    assert found.ids.tolist() == [img_id]
    assert len(found.notes) == bool(note)
    assert not note or (note in found.notes[0] and found.notes[0].startswith("1 names were matched "))


def test_a_name_that_fits_no_image_gets_a_new_number() -> None:
    """In the order of the names, whatever the order of the rows; a gone image keeps its own."""
    found = general("z.jpg", "a/1.jpg", "new\\y.jpg", "old.jpg")
    assert found.ids.tolist() == [7, 0, 6, 4]
    assert [found.names[row] for row in (0, 2, 3)] == ["z.jpg", "new/y.jpg", "old.jpg"]
    assert found.notes[-1] == "3 names fit no image in the store, first 'z.jpg'"


def test_vectors_alone_are_numbered_from_0() -> None:
    found = resolve(images(), "general", vectors(["b", "c", "a"]))
    assert (found.ids.tolist(), found.notes) == ([1, 2, 0], ())
    assert resolve(images(), "general", vectors(None, [9, 4])).ids.tolist() == [9, 4]


def test_a_name_that_fits_several_images_is_refused() -> None:
    with pytest.raises(EmbeddingError, match=r"first '1\.jpg' in row 2 \(a/1\.jpg, b/1\.jpg\): write the names"):
        general("é 3.png", "1.jpg")


@pytest.mark.parametrize("keys", [["a/1.jpg", "a/1.jpg"], ["new", "new"], ["n\\w", "n/w"]])
def test_an_image_has_one_vector(keys: list[str]) -> None:
    with pytest.raises(EmbeddingError, match=r"has 2 vectors \('.*' in the rows 1 and 2\)"):
        general(*keys)


def test_numbers_are_ids_of_the_store() -> None:
    found = resolve(STORE, "general", vectors(None, [3, 5, 0]))
    assert (found.ids.tolist(), found.notes) == ([3, 5, 0], ())
    with pytest.raises(EmbeddingError, match="2 numbers are no ImgId of this store, first 9 in row 2"):
        resolve(STORE, "general", vectors(None, [0, 9, 4]))


def test_bare_numbers_have_one_meaning_or_none() -> None:
    """1 is the ImgId of b/1.jpg, and may as well be a/1.jpg; 3 can only be an ImgId."""
    found = resolve(STORE, "general", vectors(None, [3, 2], listed=True))
    assert (found.ids.tolist(), found.notes) == ([3, 2], ("the whole numbers are taken as ImgIds",))
    with pytest.raises(EmbeddingError, match=r"1 may be the image 'a/1\.jpg' or the ImgId 1"):
        resolve(STORE, "general", vectors(None, [3, 1], listed=True))


def test_names_and_numbers_must_agree() -> None:
    assert resolve(STORE, "general", vectors(["b/1.jpg"], [1])).ids.tolist() == [1]
    with pytest.raises(EmbeddingError, match=r"row 1 has the ImgId 0 and the ImgName 'b/1\.jpg', whose ImgId is 1"):
        resolve(STORE, "general", vectors(["b/1.jpg"], [0]))


def test_a_name_without_end_is_refused() -> None:
    with pytest.raises(EmbeddingError, match="a name of 5,000 characters"):
        general("x" * 5000)


def test_there_must_be_room_for_the_numbers() -> None:
    with pytest.raises(InputError, match="no ImgId may exceed"):
        resolve(images((MAX_ID, "a")), "general", vectors(["b"]))


@pytest.fixture
def animals(tmp_path: Path) -> FeatureStore:
    """Four images in two folders, in a store of any images."""
    for number, name in enumerate(("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/b c.jpg")):
        file = tmp_path / "animals" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(number))
    store = FeatureStore(tmp_path / "animals-store")
    store.ingest(images=tmp_path / "animals")
    return store.refresh()


def test_vectors_of_any_collection(animals: FeatureStore, tmp_path: Path) -> None:
    """Imported by names of another machine; a second import of the same file adds nothing."""
    X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    paths = ["/mnt/x/dogs/b c.jpg", "/mnt/x/cats/1.jpg", "/mnt/x/birds/7.jpg"]
    pq.write_table(pa.table({"image_path": paths, "vector": X.tolist()}), tmp_path / "v.parquet")
    report = animals.import_embeddings(tmp_path / "v.parquet", backbone="theirs")
    assert (report.rows, report.added, report.external) == (3, 3, 1)
    assert any("folders in front" in note for note in report.notes)
    animals.refresh()
    rows = animals.sql(
        "SELECT ImgName, status, embedding FROM images JOIN embeddings_theirs USING (ImgId) ORDER BY ImgId"
    )
    assert rows["ImgName"].to_pylist() == ["cats/1.jpg", "dogs/b c.jpg", "/mnt/x/birds/7.jpg"]
    assert rows["status"].to_pylist() == ["ok", "ok", "external"]
    np.testing.assert_array_equal(np.array(rows["embedding"].to_pylist(), np.float32), X[[1, 0, 2]])
    again = animals.import_embeddings(tmp_path / "v.parquet", backbone="theirs")
    assert (again.added, again.external) == (0, 0)


@pytest.mark.parametrize("form", ["npz", "parquet", "csv.gz"])
def test_what_any_collection_exports_comes_back(animals: FeatureStore, tmp_path: Path, form: str) -> None:
    names = animals.sql("SELECT ImgName FROM images ORDER BY ImgId")["ImgName"].to_pylist()
    X = np.random.default_rng(1).normal(size=(len(names), 4)).astype(np.float32)
    pq.write_table(pa.table({"ImgName": names, "embedding": X.tolist()}), tmp_path / "v.parquet")
    animals.import_embeddings(tmp_path / "v.parquet", backbone="first")
    animals.refresh().export("first", tmp_path / f"out.{form}", view="collection")
    animals.import_embeddings(tmp_path / f"out.{form}", backbone="second")
    np.testing.assert_array_equal(animals.refresh().features("second", view="collection").X, X)


def test_an_image_that_was_removed_is_known_from_its_vector(animals: FeatureStore, tmp_path: Path) -> None:
    """It keeps its number, and has its file again when that comes back."""
    file = tmp_path / "animals" / "cats" / "2.jpg"
    content = file.read_bytes()
    file.unlink()
    animals.ingest(images=tmp_path / "animals")
    pq.write_table(pa.table({"ImgName": ["cats/2.jpg"], "embedding": [[1.0, 2.0]]}), tmp_path / "v.parquet")
    assert animals.refresh().import_embeddings(tmp_path / "v.parquet", backbone="theirs").external == 1
    query = "SELECT ImgId, status FROM images WHERE ImgName = 'cats/2.jpg'"
    assert animals.refresh().sql(query).to_pylist() == [{"ImgId": 1, "status": "external"}]
    file.write_bytes(content)
    animals.ingest(images=tmp_path / "animals")
    assert animals.refresh().sql(query).to_pylist() == [{"ImgId": 1, "status": "ok"}]
    assert animals.sql("SELECT ImgId FROM embeddings_theirs")["ImgId"].to_pylist() == [1]
