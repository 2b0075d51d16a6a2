"""Vectors from elsewhere: the study's files, Parquet, NumPy; and the ones that can't be stored."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support import Collection, movie, write_metadata

from featurestore import FeatureStore
from featurestore.catalog import writer
from featurestore.collections.ingest import images_of
from featurestore.errors import EmbeddingError, InputError
from featurestore.storage.layout import Layout

NINE = "ImgId,ImgName,Title,Genre1,Genre2,Genre3,IMDBScore,ImdbLink,Poster"


def matrix(n: int, d: int = 8) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)


def write_study_csv(path: Path, ids: list[int], X: np.ndarray, *, nine: bool = False) -> Path:
    """One of the study's two layouts: ``ImgName, 0 … d-1``, or the nine columns first."""
    columns = ",".join(str(i) for i in range(X.shape[1]))
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        file.write(f"{NINE if nine else 'ImgName'},{columns}\n")
        for img_id, row in zip(ids, X, strict=True):
            first = f'{img_id},{img_id}.jpg,"A, ""B""",Drama,,,6.5,l,p' if nine else f"{img_id}.jpg"
            file.write(first + "," + ",".join(repr(float(value)) for value in row) + "\n")
    return path


@pytest.mark.parametrize("nine", [False, True])
def test_both_layouts_of_the_study(store: FeatureStore, collection: Collection, tmp_path: Path, nine: bool) -> None:
    X = matrix(24)
    ids = collection.ids[::-1]
    file = write_study_csv(tmp_path / "inception_v3.csv.gz", ids, X, nine=nine)
    report = store.import_embeddings(file, backbone="inception_v3")
    assert (report.rows, report.added, report.external, report.embed_dim) == (24, 24, 0, 8)
    features = store.features("inception_v3", view="collection")
    np.testing.assert_array_equal(features.X, X[::-1])
    joined = store.sql("SELECT Title, embedding FROM labeled_inception_v3")
    assert joined.num_rows == store.sql("FROM labeled").num_rows
    assert store.import_embeddings(file, backbone="inception_v3").added == 0


def test_without_posters_the_labelled_view_still_joins(tmp_path: Path, collection: Collection) -> None:
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    metadata = write_metadata(tmp_path / "more.csv", [movie(i) for i in (*collection.ids, 901, 902)])
    store.ingest(metadata=metadata, images=collection.images)
    file = write_study_csv(tmp_path / "f.csv.gz", [901, 902], matrix(2))
    assert store.import_embeddings(file, backbone="there").external == 2
    assert store.features("there").ids.tolist() == [901, 902]
    assert not store.ingest(metadata=metadata, images=collection.images).changed, "ingest keeps what was imported"


def test_parquet_and_npy_give_the_same(store: FeatureStore, collection: Collection, tmp_path: Path) -> None:
    X = matrix(24)
    names = [f"{i}.jpg" for i in collection.ids]
    pq.write_table(pa.table({"ImgId": collection.ids, "embedding": list(X)}), tmp_path / "list.parquet")
    pq.write_table(pa.table({"ImgName": names, **{str(i): X[:, i] for i in range(8)}}), tmp_path / "wide.parquet")
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "ids.npy", np.array(collection.ids))
    (tmp_path / "ids.txt").write_text("\n".join(names))
    store.import_embeddings(tmp_path / "list.parquet", backbone="a")
    store.import_embeddings(tmp_path / "wide.parquet", backbone="b")
    store.import_embeddings(tmp_path / "X.npy", backbone="c", ids=tmp_path / "ids.npy")
    store.import_embeddings(tmp_path / "X.npy", backbone="d", ids=tmp_path / "ids.txt")
    for name in "abcd":
        np.testing.assert_array_equal(store.features(name, view="collection").X, X)


@pytest.mark.parametrize(
    ("kind", "error", "sentence"),
    [
        ("nan", EmbeddingError, "NaN"),
        ("infinite", EmbeddingError, "infinity"),
        ("overflow", EmbeddingError, "infinity"),
        ("zero", EmbeddingError, "constant"),
        ("twice", EmbeddingError, "has 2 vectors"),
        ("name", InputError, "expected a number"),
        ("gap", InputError, "without gaps"),
        ("no-id", InputError, "expected ImgName or ImgId"),
        ("ragged", InputError, "can't be read"),
        ("text", InputError, "can't be read"),
        ("suffix", InputError, "expected .csv"),
        ("missing", InputError, "there is no file"),
        ("pickle", InputError, "can't be read"),
        ("no-ids", InputError, "name them with --ids"),
        ("fractions", InputError, "expected whole numbers or file names"),
    ],
)
def test_what_cannot_be_stored_is_refused_whole(
    store: FeatureStore, tmp_path: Path, kind: str, error: type[Exception], sentence: str
) -> None:
    file, ids = tmp_path / "f.csv", None
    rows = {
        "nan": "ImgName,0,1\n101.jpg,1,2\n102.jpg,nan,1",
        "infinite": "ImgName,0,1\n101.jpg,inf,2",
        "overflow": "ImgName,0,1\n101.jpg,1e300,2",
        "zero": "ImgName,0,1\n101.jpg,0,0",
        "twice": "ImgName,0,1\n101.jpg,1,2\n101.jpg,3,4",
        "name": "ImgName,0,1\nposter.jpg,1,2",
        "gap": "ImgName,0,2\n101.jpg,1,2",
        "no-id": "a,0,1\n1,1,2",
        "ragged": "ImgName,0,1\n101.jpg,1,2\n102.jpg,1",
        "text": "ImgName,0,1\n101.jpg,red,2",
    }
    if kind in rows:
        file.write_text(rows[kind] + "\n")
    elif kind == "suffix":
        file = tmp_path / "f.xlsx"
        file.write_bytes(b"x")
    elif kind in ("pickle", "no-ids"):
        file, ids = tmp_path / "f.npy", tmp_path / "ids.txt" if kind == "pickle" else None
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        (tmp_path / "ids.txt").write_text("101")
    elif kind == "fractions":
        file, ids = tmp_path / "f.npy", tmp_path / "ids.npy"
        np.save(file, np.array([[1.0, 2.0]]))
        np.save(ids, np.array([101.5]))
    before = store.state.id
    with pytest.raises(error) as caught:
        store.import_embeddings(file, backbone="x", ids=ids)
    assert sentence in str(caught.value)
    assert store.refresh().state.id == before


def test_the_name_must_be_an_identifier(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="backbone name 'Inception-v3'"):
        store.import_embeddings(tmp_path / "x.csv", backbone="Inception-v3")


@pytest.mark.shell_file
def test_the_shells_database_is_written_once(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the publication, even if only rows of `images` are new, as after a repair that lost them."""
    written: list[int] = []
    write = writer.write_shell_file

    def counted(layout: Layout, root: Path) -> None:
        written.append(layout.state.number)
        write(layout, root)

    monkeypatch.setattr(writer, "write_shell_file", counted)
    file = write_study_csv(tmp_path / "f.csv.gz", [901, 902], matrix(2))
    store.import_embeddings(file, backbone="there")
    assert written == [store.refresh().state.number]
    with writer.open_writer(store.path) as opened, opened.commit() as commit:
        images = images_of(opened.layout)
        commit.replace("images", images.filter(pc.not_equal(images["status"], "external")))
    report = store.import_embeddings(file, backbone="there")
    assert (report.added, report.external) == (0, 2)
    assert written[2:] == [store.refresh().state.number]
    store.import_embeddings(file, backbone="there")
    assert len(written) == 3, "nothing changed"


@pytest.mark.parametrize("form", ["{}.jpg", "posters/{}.jpg", "/data/{}.jpg", "C:\\posters\\{}.jpg", "tt{:07}", "{}.0"])
def test_names_of_other_tools(store: FeatureStore, collection: Collection, tmp_path: Path, form: str) -> None:
    X = matrix(24)
    names = [form.format(i) for i in collection.ids]
    pq.write_table(pa.table({"image_path": names, "vector": list(X)}), tmp_path / "f.parquet")
    report = store.import_embeddings(tmp_path / "f.parquet", backbone="theirs")
    assert (report.added, report.external) == (24, 0)
    np.testing.assert_array_equal(store.features("theirs", view="collection").X, X)


def test_what_was_guessed_is_said(
    invoke: Callable[..., tuple[int, str, str]], store: FeatureStore, tmp_path: Path
) -> None:
    (tmp_path / "f.csv").write_text("id,f0,f1\na/101.jpg,1,2\n")
    code, out, _ = invoke("import-embeddings", "--store", str(store.path), str(tmp_path / "f.csv"), "--backbone", "x")
    assert code == 0
    assert out.splitlines()[1:-1] == [
        "note: the images are named by the column `id`",
        "note: the vectors are in 2 columns `f0` … `f1`",
    ]
