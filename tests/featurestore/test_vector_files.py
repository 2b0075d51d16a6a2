"""Files of vectors as other tools write them: what names the images, where the vectors are, and what is refused."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.collections.movies.keys import number_in_key
from featurestore.embedding.vector_files.id_list import read_ids_file
from featurestore.embedding.vector_files.imported import ImportedVectors
from featurestore.embedding.vector_files.reading import read_vectors_file, vectors_hash
from featurestore.errors import EmbeddingError, InputError

X = np.array([[1.0, 2.5, -3.0], [4.0, 0.5, 6.0]], np.float32)
LISTS = pa.array(X.tolist(), pa.list_(pa.float32()))
NAMES = ["a/1.jpg", "b 2.png"]
# float32 values that bfloat16 holds exactly, as its two bytes.
HALVES = (X.view(np.uint32) >> 16).astype("<u2")


def parquet(folder: Path, columns: dict[str, object]) -> Path:
    pq.write_table(pa.table(columns), folder / "f.parquet")
    return folder / "f.parquet"


def csv(folder: Path, text: str) -> Path:
    (folder / "f.csv").write_text(text, "utf-8")
    return folder / "f.csv"


def tensors(values: np.ndarray) -> pa.Array:
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))


KEYS = {
    "ImgName": ("ImgName", NAMES, NAMES, ""),
    "folders of Windows": ("ImgName", ["C:\\p\\1.jpg", "2.jpg"], ["C:\\p\\1.jpg", "2.jpg"], ""),
    "image_path": ("image_path", NAMES, NAMES, "`image_path`"),
    "any case": ("Filename", NAMES, NAMES, "`Filename`"),
    "key": ("key", ["000001", "000002"], ["000001", "000002"], "`key`"),
    "a whole number": ("id", [7, 8], ["7", "8"], "`id`"),
    "a whole float": ("id", [7.0, 8.0], ["7", "8"], "`id`"),
    "beyond 32 bits": ("id", [2**62, 1], [str(2**62), "1"], "`id`"),
    "bytes": ("ImgName", [b"1.jpg", "é.jpg".encode()], ["1.jpg", "é.jpg"], ""),
    "large text": ("path", pa.array(NAMES, pa.large_string()), NAMES, "`path`"),
    "a dictionary": ("path", pa.array(NAMES).dictionary_encode(), NAMES, "`path`"),
    "text in ImgId": ("ImgId", ["tt0000001", "tt0000002"], ["tt0000001", "tt0000002"], ""),
    "an index of pandas": ("__index_level_0__", NAMES, NAMES, "`__index_level_0__`"),
}


@pytest.mark.parametrize(("name", "values", "keys", "note"), KEYS.values(), ids=KEYS)
def test_what_names_the_images(tmp_path: Path, name: str, values: object, keys: list[str], note: str) -> None:
    found = read_vectors_file(parquet(tmp_path, {name: values, "embedding": LISTS}))
    assert (found.keys, found.numbers) == (keys, None)
    assert len(found.notes) == bool(note)
    assert not note or note in found.notes[0]


@pytest.mark.parametrize("values", [[7, 8], [7.0, 8.0], ["7", "8"], ["007", "8.0"], pa.array([7, 8], pa.uint8())])
def test_whole_numbers_in_a_column_imgid(tmp_path: Path, values: object) -> None:
    found = read_vectors_file(parquet(tmp_path, {"ImgId": values, "embedding": LISTS}))
    assert found.numbers is not None
    assert (found.keys, found.numbers.tolist(), found.listed) == (None, [7, 8], False)


def test_the_first_name_that_is_there_and_fits(tmp_path: Path) -> None:
    """A column `image` of bytes is the images themselves, not their names."""
    columns = {"id": [1, 2], "image": [b"\xff\xd8", b"\xff\xd8"], "caption": ["x", "y"], "url": NAMES, "emb": LISTS}
    found = read_vectors_file(parquet(tmp_path, columns))
    assert found.keys == ["1", "2"]
    assert found.notes == ("the images are named by the column `id`", "the vectors are in the column `emb`")


VECTORS: dict[str, dict[str, object]] = {
    "embedding": {"embedding": LISTS},
    "vector": {"vector": LISTS},
    "Embeddings": {"Embeddings": LISTS},
    "another name, the only lists": {"clip_b32": LISTS, "n": [1, 2]},
    "a text called features beside lists": {"features": ["a", "b"], "vector": LISTS},
    "float16": {"embedding": pa.array(list(X.astype(np.float16)), pa.list_(pa.float16()))},
    "large lists": {"embedding": pa.array(X.tolist(), pa.large_list(pa.float64()))},
    "lists of one list": {"embedding": [[row] for row in X.tolist()]},
    "tensors": {"embedding": tensors(X)},
    "tensors (1, d)": {"embedding": tensors(X[:, None])},
    "bfloat16": {"embedding": pa.array([[h.tobytes() for h in row] for row in HALVES], pa.list_(pa.binary(2)))},
    "lists as text": {"embedding": [str(row) for row in X.tolist()]},
    "numbers": {str(i): X[:, i] for i in range(3)},
    "numbers beside genres": {"Genre1": ["a", "b"], "Genre2": ["c", "d"], **{str(i): X[:, i] for i in range(3)}},
    "f0": {f"f{i}": X[:, i] for i in range(3)},
    "dim_1": {f"dim_{i + 1}": X[:, i] for i in range(3)},
    "feature_000, in another order": {f"feature_{i:03}": X[:, i] for i in (2, 0, 1)},
    "f0 beside a shorter row": {"part1": [1, 2], "part2": [1, 2], **{f"f{i}": X[:, i] for i in range(3)}},
}


@pytest.mark.parametrize("columns", VECTORS.values(), ids=VECTORS)
def test_where_the_vectors_are(tmp_path: Path, columns: dict[str, object]) -> None:
    found = read_vectors_file(parquet(tmp_path, {"ImgName": NAMES, **columns}))
    assert found.X.dtype == np.float32
    np.testing.assert_array_equal(found.X, X)
    assert bool(found.notes) == (next(iter(columns)) not in ("embedding", "0", "Genre1"))


CSV = {
    "f0": "path,f0,f1,f2\na/1.jpg,1,2.5,-3\nb 2.png,4,0.5,6\n",
    "quoted names": '"ImgName","0","1","2"\na/1.jpg,1,2.5,-3\nb 2.png,4,0.5,6\n',
    "lists as JSON": 'ImgName,embedding\na/1.jpg,"[1.0, 2.5, -3]"\nb 2.png,"[4,0.5,6e0]"\n',
    "lists as NumPy prints them": "file_name,vector\na/1.jpg,[ 1.   2.5 -3. ]\nb 2.png,[4.  0.5\n 6. ]\n".replace(
        "[4.  0.5\n 6. ]", '"[4.  0.5\n 6. ]"'
    ),
    "a name with a comma": 'ImgName,"a, b",0,1,2\na/1.jpg,x,1,2.5,-3\nb 2.png,y,4,0.5,6\n',
}


@pytest.mark.parametrize("text", CSV.values(), ids=CSV)
def test_csv(tmp_path: Path, text: str) -> None:
    found = read_vectors_file(csv(tmp_path, text))
    assert found.keys == NAMES
    np.testing.assert_array_equal(found.X, X)


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("ids", "keys", "numbers"),
    [
        (np.array(NAMES), NAMES, None),
        (np.array([name.encode() for name in NAMES]), NAMES, None),
        (np.array([7, 8], np.uint16), None, [7, 8]),
        (np.array([7.0, 8.0]), None, [7, 8]),
        (np.array([[7], [8]]), None, [7, 8]),
        ("7 8\n", None, [7, 8]),
        ("7\r\n8\r\n\r\n", None, [7, 8]),
        ("a/1.jpg\nb 2.png\n", NAMES, None),
    ],
    ids=str,
)
def test_lists_of_ids(tmp_path: Path, ids: object, keys: list[str] | None, numbers: list[int] | None) -> None:
    listed = tmp_path / ("ids.txt" if isinstance(ids, str) else "ids.npy")
    listed.write_text(ids) if isinstance(ids, str) else np.save(listed, ids)  # type: ignore[arg-type]
    found = read_vectors_file(save(tmp_path / "X.npy", X[:, None]), listed)
    np.testing.assert_array_equal(found.X, X)
    assert found.keys == keys
    assert (None if found.numbers is None else found.numbers.tolist()) == numbers
    assert found.listed == (numbers is not None)


def test_bfloat16_as_numpy_holds_it(tmp_path: Path) -> None:
    """Where NumPy does not know the type, it is two bytes without a name."""
    found = read_vectors_file(save(tmp_path / "X.npy", HALVES.view("V2")), save(tmp_path / "i.npy", np.array(NAMES)))
    np.testing.assert_array_equal(found.X, X)
    assert found.notes == ("values of 2 bytes are read as bfloat16",)


@pytest.mark.parametrize(
    ("arrays", "listed"),
    [
        ({"X": X, "ids": np.array([7, 8]), "about": np.array("{}"), "y": np.array([0, 1])}, False),
        ({"X": X, "ids": np.array([7, 8])}, True),
        ({"embeddings": X[:, None], "names": np.array(NAMES)}, None),
        ({"features": X.astype(np.float16), "filenames": np.array([name.encode() for name in NAMES])}, None),
    ],
    ids=["written by export", "X and ids", "embeddings and names", "features and filenames"],
)
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, arrays: dict[str, np.ndarray], listed: bool | None, write: Callable[..., None]) -> None:
    write(tmp_path / "f.npz", **arrays)
    found = read_vectors_file(tmp_path / "f.npz")
    np.testing.assert_array_equal(found.X, X)
    assert found.keys == (NAMES if listed is None else None)
    assert found.listed == bool(listed)


def test_npz_without_ids_takes_a_list(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", embeddings=X)
    with pytest.raises(InputError, match="name them with --ids"):
        read_vectors_file(tmp_path / "f.npz")
    (tmp_path / "ids.txt").write_text("\n".join(NAMES))
    assert read_vectors_file(tmp_path / "f.npz", tmp_path / "ids.txt").keys == NAMES


def clip_retrieval(folder: Path, *, flat: bool) -> list[Path]:
    """Eleven shards of two rows, the tenth after the ninth."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    place = "." if flat else "metadata"
    files = []
    for shard in range(11):
        files.append(save(folder / ("." if flat else "img_emb") / f"img_emb_{shard}.npy", (X + shard).astype("f2")))
        names = [f"/data/{shard}-{row}.jpg" for row in range(2)]
        table = pa.table({"caption": ["", ""], "image_path": names})
        pq.write_table(table, folder / place / f"metadata_{shard}.parquet")
    return files


@pytest.mark.parametrize("flat", [True, False])
def test_shards_of_clip_retrieval(tmp_path: Path, flat: bool) -> None:
    files = clip_retrieval(tmp_path / "out", flat=flat)
    found = read_vectors_file(tmp_path / "out")
    assert found.keys == [f"/data/{shard}-{row}.jpg" for shard in range(11) for row in range(2)]
    np.testing.assert_array_equal(found.X, np.concatenate([X + shard for shard in range(11)]))
    assert found.notes == ("the images are named by the column `image_path`",)
    assert read_vectors_file(files[10]).keys == ["/data/10-0.jpg", "/data/10-1.jpg"]
    before = vectors_hash(tmp_path / "out")
    np.save(files[3], X)
    assert vectors_hash(tmp_path / "out") != before


def test_a_shard_without_its_metadata(tmp_path: Path) -> None:
    files = clip_retrieval(tmp_path / "out", flat=True)
    (tmp_path / "out" / "metadata_4.parquet").unlink()
    with pytest.raises(InputError, match=r"no metadata_4\.parquet beside it"):
        read_vectors_file(tmp_path / "out")
    with pytest.raises(InputError, match="name them with --ids"):
        read_vectors_file(files[4])
    np.save(files[5], X[:1])
    with pytest.raises(InputError, match=r"has the shape \(1, 3\) and .*metadata_5\.parquet 2 rows"):
        read_vectors_file(files[5])


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no column names images": (
        lambda folder: parquet(folder, {"title": NAMES, "embedding": LISTS}),
        r"got the columns title, embedding; expected ImgName or ImgId \(or image_path, .*embedding, vector",
    ),
    "images themselves": (
        lambda folder: parquet(folder, {"image": [b"\xff\xd8", b"\xff"], "embedding": LISTS}),
        "row 1 of image holds the bytes .*expected text in UTF-8",
    ),
    "two columns of lists": (
        lambda folder: parquet(folder, {"id": [1, 2], "u": LISTS, "v": LISTS}),
        "got the columns id, u, v; expected 0 … d-1",
    ),
    "a gap": (
        lambda folder: parquet(folder, {"id": [1, 2], "f0": [1.0, 2.0], "f2": [1.0, 3.0]}),
        "without gaps",
    ),
    "0 is missing": (lambda folder: csv(folder, "id,1,2\na,1,2\n"), "without gaps"),
    "a fraction": (
        lambda folder: parquet(folder, {"id": [1.0, 2.5], "embedding": LISTS}),
        "the column id as double with 2.5 in row 2, expected whole numbers",
    ),
    "a missing float": (
        lambda folder: parquet(folder, {"ImgId": [1.0, float("nan")], "embedding": LISTS}),
        "row 2 has no ImgId",
    ),
    "an empty name": (lambda folder: csv(folder, "path,0,1\na,1,2\n,1,2\n"), "row 2 has no path"),
    "ImgId that is text beside ImgName": (
        lambda folder: parquet(folder, {"ImgId": ["7", "x"], "ImgName": NAMES, "embedding": LISTS}),
        "row 2 has the ImgId 'x', expected a whole number",
    ),
    "maps of features": (
        lambda folder: parquet(folder, {"id": [1], "embedding": tensors(np.ones((1, 2, 2)))}),
        r"has the shape \(1, 2, 2\), expected \(n, d\)",
    ),
    "a missing list among fixed ones": (
        lambda folder: parquet(
            folder, {"id": [1, 2], "embedding": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))}
        ),
        "lengths",
    ),
    "a missing half": (
        lambda folder: parquet(folder, {"id": [1], "embedding": pa.array([[b"ab", None]], pa.list_(pa.binary(2)))}),
        "lacks 1 values",
    ),
    "text that NumPy has shortened": (lambda folder: csv(folder, "id,embedding\n1,[1. 2. ... 3.]\n"), "no list of"),
    "text of lists of other lengths": (
        lambda folder: csv(folder, 'id,embedding\n1,"[1,2]"\n2,"[1,2,3]"\n'),
        r"the lengths \[2, 3\], expected one length",
    ),
    "text of objects": (lambda folder: csv(folder, 'id,embedding\n1,"[1,{}]"\n'), "no list of numbers"),
    "text of truths": (lambda folder: csv(folder, 'id,embedding\n1,"[1,true]"\n'), "no list of numbers"),
    "text that nests without end": (
        lambda folder: csv(folder, f'id,embedding\n1,"{"[" * 90_000},{"]" * 90_000}"\n'),
        "no list of numbers",
    ),
    "a number of 5,000 digits": (
        lambda folder: csv(folder, f'id,embedding\n1,"[1,{"9" * 5000}]"\n'),
        "no list of numbers",
    ),
    "a name twice": (lambda folder: csv(folder, "id,f0,f1,f1\n1,1,2,3\n"), "'f1' occurs more than once"),
    "a folder of other files": (lambda folder: folder, "is a folder without img_emb_0.npy"),
}


@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_taken_is_said(tmp_path: Path, make: Callable[[Path], Path], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        read_vectors_file(make(tmp_path))
    assert len(str(caught.value)) < 700


def test_a_list_of_ids_is_for_arrays(tmp_path: Path) -> None:
    file = parquet(tmp_path, {"id": [1, 2], "embedding": LISTS})
    with pytest.raises(InputError, match="--ids is for"):
        read_vectors_file(file, tmp_path / "ids.txt")


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=True)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"a.npy": npy(X)}, "has the arrays a; expected X or embedding"),
        ({"X.npy": npy(np.zeros((4_000, 1_000)))}, "grows from .* bytes, expected at most 100 times"),
        ({"X.npy": npy(X).replace(b"(2, 3)", b"(2, 300000000000)")}, "can't be read"),
        ({"X.npy": npy(X)[:-3]}, "can't be read"),
        ({"X.npy": npy(np.array([{}], object))}, "can't be read"),
        ({"X": b"no array"}, "X is no array"),
        ({"X.npy": npy(X), "ids.npy": npy(np.array([1]))}, "has the shape .* and there are 1 ids"),
        ({"X.npy": npy(X), "ids.npy": npy(np.array([1.5, 2.0]))}, "expected whole numbers or file names"),
        ({"X.npy": npy(X), "ids.npy": npy(np.array([b"\xff", b"a"]))}, "row 1 holds the bytes"),
    ],
)
def test_an_archive_that_cannot_be_taken(tmp_path: Path, members: dict[str, bytes], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_vectors_file(archive(tmp_path / "f.npz", members))


def test_other_files_named_npz(tmp_path: Path) -> None:
    (tmp_path / "f.npz").write_bytes(npy(X))
    with pytest.raises(InputError, match="is one array"):
        read_vectors_file(tmp_path / "f.npz")
    (tmp_path / "f.npz").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(InputError, match="can't be read"):
        read_vectors_file(tmp_path / "f.npz")


def test_a_vector_is_refused_by_its_name(tmp_path: Path) -> None:
    file = csv(tmp_path, "path,0,1\na/1.jpg,1,2\nb.jpg,nan,2\n")
    with pytest.raises(EmbeddingError, match=r"1 of 2 vectors can't be stored, first b\.jpg: .*NaN"):
        read_vectors_file(file)


def test_only_the_needed_columns_are_read(tmp_path: Path) -> None:
    """A damaged column that nothing asks for does no harm, and images in the table take no memory."""
    file, columns = tmp_path / "f.parquet", {"blob": [b"x" * 5000, b"y" * 5000], "id": [1, 2], "vector": LISTS}
    pq.write_table(pa.table(columns), file, compression="none", use_dictionary=False)
    content = bytearray(file.read_bytes())
    content[4:24] = bytes(20)  # where the first column begins
    file.write_bytes(content)
    with pytest.raises((pa.ArrowException, OSError)):
        pq.read_table(file)
    found: ImportedVectors = read_vectors_file(file)
    assert found.keys == ["1", "2"]


@pytest.mark.parametrize("values", [["7", "8"], [7.0, 8.0], ["posters/7.jpg", "tt0000008"]])
def test_lists_of_ids_to_select_rows(tmp_path: Path, values: list[object]) -> None:
    file = parquet(tmp_path, {"ImgId": values})
    found = read_ids_file(file, lambda names: np.array([number_in_key(name) for name in names], np.int64))
    assert found.tolist() == [7, 8]
