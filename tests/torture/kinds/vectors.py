"""Files of vectors with values, ids, types and layouts that can't be stored."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from torture.inputs import Accepted, Kind, Refused, Work, noise

X = noise(2, 4)
VALUES = [tuple(row) for row in X.tolist()]
LISTS = pa.array(X.tolist(), pa.list_(pa.float32()))
STORED = "SELECT ImgId, embedding::FLOAT[] AS v FROM embeddings_mine ORDER BY ImgId"
ONE = "101.jpg,1,2"


def _both(values: np.ndarray | None = None) -> Accepted:
    rows = X if values is None else values
    return Accepted(STORED, [(101, rows[0].tolist()), (102, rows[1].tolist())])


def _kind(name: str, make: Callable[[Path], list[Path]], expect: Accepted | Refused) -> Kind:
    """``make`` writes the file, and for an npy its ids, below a folder."""

    def command(work: Work) -> list[str]:
        file, *ids = make(work.folder)
        named = ["--ids", str(ids[0])] if ids else []
        return ["featurestore", "import-embeddings", str(file), "--backbone", "mine", *named]

    return Kind("vectors", name, command, expect)


def _csv(name: str, text: str | bytes, expect: Accepted | Refused, *, file: str = "f.csv") -> Kind:
    def make(folder: Path) -> list[Path]:
        (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())
        return [folder / file]

    return _kind(f"CSV: {name}", make, expect)


def _parquet(name: str, columns: dict[str, object] | list[tuple[str, object]], expect: Accepted | Refused) -> Kind:
    pairs = list(columns.items()) if isinstance(columns, dict) else columns

    def make(folder: Path) -> list[Path]:
        arrays = [value if isinstance(value, pa.Array) else pa.array(value) for _, value in pairs]
        pq.write_table(pa.Table.from_arrays(arrays, names=[name for name, _ in pairs]), folder / "f.parquet")
        return [folder / "f.parquet"]

    return _kind(f"Parquet: {name}", make, expect)


def _npy(name: str, matrix: np.ndarray | bytes, ids: np.ndarray | str | None, expect: Accepted | Refused) -> Kind:
    def make(folder: Path) -> list[Path]:
        file = folder / "f.npy"
        file.write_bytes(matrix if isinstance(matrix, bytes) else saved(matrix))
        if ids is None:
            return [file]
        listed = folder / ("ids.txt" if isinstance(ids, str) else "ids.npy")
        listed.write_bytes(ids.encode() if isinstance(ids, str) else saved(ids))
        return [file, listed]

    return _kind(f"npy: {name}", make, expect)


def saved(array: np.ndarray) -> bytes:
    """``array`` as np.save writes it, objects included."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _wide(value: str) -> str:
    return f"ImgName,0,1\n{ONE}\n102.jpg,{value},3\n"


def _csv_kinds() -> list[Kind]:
    study = 'ImgId,ImgName,Title,0,1\n101,101.jpg,"A, ""B""\nC",1,2\n'
    one = Accepted(STORED, [(101, [1.0, 2.0])])
    plain = f"ImgName,0,1\n{ONE}\n"
    kinds = [
        _csv("the study's layout with a title of two lines", study, one),
        _csv("gzip", gzip.compress(plain.encode()), one, file="f.csv.gz"),
        _csv("with a byte-order mark", b"\xef\xbb\xbf" + plain.encode(), one),
        _csv("line ends of Windows", plain.replace("\n", "\r\n"), one),
        _csv("line ends of the old Macintosh", plain.replace("\n", "\r"), Refused("can't be read|expected ImgName")),
        _csv("a .gz that is none", plain, Refused("can't be read"), file="f.csv.gz"),
        _csv("gzip named .csv", gzip.compress(plain.encode()), Refused("can't be read")),
        _csv("gzip cut short", gzip.compress(plain.encode() * 99)[:-15], Refused("can't be read"), file="f.csv.gz"),
        _csv(
            "gzip that is no gzip after its first bytes",
            b"\x1f\x8b\x08\0" + bytes(6) + b"\xff" * 50,
            Refused("can't be read"),
            file="f.csv.gz",
        ),
        _csv("UTF-16", plain.encode("utf-16"), Refused("can't be read")),
        _csv("empty", "", Refused("expected ImgName or ImgId|can't be read")),
        _csv("a header only", "ImgName,0,1\n", Refused("holds no embeddings")),
        _csv("ids only", "ImgName\n101.jpg\n", Refused("expected 0 … d-1")),
        _csv("no ids", "a,0,1\n1,1,2\n", Refused("expected ImgName or ImgId")),
        _csv("a gap in the numbers", "ImgName,0,2\n101.jpg,1,2\n", Refused("without gaps")),
        _csv("numbers from 1", "ImgName,1,2\n101.jpg,1,2\n", Refused("without gaps")),
        _csv("a number twice", "ImgName,0,0\n101.jpg,1,2\n", Refused("'0' occurs more than once")),
        _csv(
            "ImgName twice",
            "ImgName,ImgName,0,1\n101.jpg,102.jpg,1,2\n",
            Refused("'ImgName' occurs more than once"),
        ),
        _csv(
            "ImgId and ImgName that differ",
            "ImgId,ImgName,0,1\n101,102.jpg,1,2\n",
            Refused("row 1 has the ImgId 101 and the ImgName '102.jpg'"),
        ),
        _csv("columns in another order", "1,ImgName,0\n2,101.jpg,1\n", one),
        _csv("semicolons", plain.replace(",", ";"), Refused("expected ImgName or ImgId")),
        _csv("too few fields", plain + "102.jpg,1\n", Refused("can't be read")),
        _csv("a quote that never ends", plain + '"102.jpg,1,2\n', Refused("can't be read")),
        _csv("one image twice", plain + ONE + "\n", Refused("ImgId 101 has 2 vectors")),
        _csv("7.jpg and 007.jpg", "ImgName,0,1\n7.jpg,1,2\n007.jpg,3,4\n", Refused("ImgId 7 has 2 vectors")),
        _csv(
            "an id that is unknown to the metadata",
            "ImgName,0,1\n9999.jpg,1,2\n",
            Accepted(
                "SELECT ImgId, status FROM images WHERE ImgId = 9999",
                [(9999, "external")],
                printed="1 for images that no folder has",
            ),
        ),
    ]
    for value, reason in (
        ("nan", "NaN or infinity"),
        ("inf", "NaN or infinity"),
        ("-inf", "NaN or infinity"),
        ("", "NaN or infinity"),
        ("1e39", "NaN or infinity"),
        ("3", "constant"),
        ("red", "can't be read"),
        ("1_0", "can't be read"),
        ('"1,5"', "can't be read"),
        ("0x10", "can't be read"),
    ):
        kinds.append(_csv(f"the value {value or 'that is missing'}", _wide(value), Refused(reason)))
    for name in (
        "poster.jpg",
        "-5.jpg",
        "1.5.jpg",
        "../x.jpg",
        "7/..",
        "2147483648.jpg",
        "9" * 30 + ".jpg",
        "٧.jpg",
    ):
        kinds.append(_csv(f"the ImgName {name}", f"ImgName,0,1\n{name},1,2\n", Refused("got the image name")))
    for value in ("abc", "1.5", "2020-01-01", "99999999999999999999", "true"):
        kinds.append(_csv(f"the ImgId {value}", f"ImgId,0,1\n{value},1,2\n", Refused("expected a number to")))
    kinds.append(_csv("the ImgName that is empty", 'ImgName,0,1\n"",1,2\n', Refused("row 1 has no ImgName")))
    for value, sentence in (
        ("", "row 1 has no ImgId"),
        ("-1", "got ids from -1"),
        ("2147483648", "to 2147483648, expected"),
    ):
        kinds.append(_csv(f"the ImgId {value or 'that is missing'}", f"ImgId,0,1\n{value},1,2\n", Refused(sentence)))
    return kinds


def _parquet_kinds() -> list[Kind]:
    ids = [101, 102]
    half = X.astype(np.float16)
    whole = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    return [
        _parquet("lists", {"ImgId": ids, "embedding": LISTS}, _both()),
        _parquet("lists of float64", {"ImgId": ids, "embedding": X.astype(float).tolist()}, _both()),
        _parquet(
            "lists of float16",
            {"ImgId": ids, "embedding": pa.array(list(half), pa.list_(pa.float16()))},
            _both(half.astype(np.float32)),
        ),
        _parquet(
            "lists of whole numbers", {"ImgId": ids, "embedding": whole.tolist()}, _both(whole.astype(np.float32))
        ),
        _parquet(
            "fixed-size lists", {"ImgId": ids, "embedding": pa.array(X.tolist(), pa.list_(pa.float32(), 4))}, _both()
        ),
        _parquet(
            "names of a dictionary",
            {"ImgName": pa.array(["101.jpg", "102.jpg"]).dictionary_encode(), "embedding": LISTS},
            _both(),
        ),
        _parquet("without ImgId", {"a": ids, "embedding": LISTS}, Refused("expected ImgName or ImgId")),
        _parquet(
            "ragged lists", {"ImgId": ids, "embedding": [[1.0, 2.0], [1.0]]}, Refused("the embeddings have the lengths")
        ),
        _parquet(
            "lists of no values",
            {"ImgId": ids, "embedding": pa.array([[], []], pa.list_(pa.float32()))},
            Refused("holds no embeddings"),
        ),
        _parquet(
            "a list that is missing",
            {"ImgId": ids, "embedding": [[1.0, 2.0], None]},
            Refused("the embeddings have the lengths"),
        ),
        _parquet("a value that is missing", {"ImgId": ids, "embedding": [[1.0, 2.0], [1.0, None]]}, Refused("NaN")),
        _parquet(
            "lists of lists",
            {"ImgId": ids, "embedding": [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]},
            Refused("has the shape .2, 2, 2., expected .n, d."),
        ),
        _parquet("lists of text", {"ImgId": ids, "embedding": [["a"], ["b"]]}, Refused("expected lists of numbers")),
        _parquet(
            "lists of true and false",
            {"ImgId": ids, "embedding": [[True, False], [False, True]]},
            Refused("expected lists of numbers"),
        ),
        _parquet("texts as embeddings", {"ImgId": ids, "embedding": ["a", "b"]}, Refused("embedding holds string")),
        _parquet(
            "structs as embeddings",
            {"ImgId": ids, "embedding": [{"a": 1}, {"a": 2}]},
            Refused("embedding holds struct"),
        ),
        _parquet(
            "columns of dates",
            {"ImgId": ids, "0": pa.array([1, 2], pa.date32()), "1": pa.array([3, 5], pa.date32())},
            Refused("expected numbers"),
        ),
        _parquet(
            "columns of whole numbers and of dates",
            {"ImgId": ids, "0": [1, 2], "1": pa.array([3, 5], pa.date32())},
            Refused("the column '1' holds date32"),
        ),
        _parquet("columns of text", {"ImgId": ids, "0": ["a", "b"], "1": ["c", "d"]}, Refused("expected numbers")),
        _parquet(
            "no rows",
            {"ImgId": pa.array([], pa.int32()), "embedding": pa.array([], pa.list_(pa.float32()))},
            Refused("holds no embeddings|lengths"),
        ),
        _parquet("ImgId of text", {"ImgId": ["101", "102.0"], "embedding": LISTS}, _both()),
        _parquet("ImgId of float", {"ImgId": [101.0, 102.5], "embedding": LISTS}, Refused("ImgId as double")),
        _parquet("ImgId of lists", {"ImgId": [[101], [102, 103]], "embedding": LISTS}, Refused("ImgId as list")),
        _parquet(
            "ImgId that is missing", {"ImgId": pa.array([101, None]), "embedding": LISTS}, Refused("row 2 has no ImgId")
        ),
        _parquet(
            "ImgId beyond 63 bits",
            {"ImgId": pa.array([101, 2**64 - 1], pa.uint64()), "embedding": LISTS},
            Refused("to 18446744073709551615, expected"),
        ),
        _parquet(
            "ImgId twice",
            [("ImgId", ids), ("ImgId", ids), ("embedding", LISTS)],
            Refused("'ImgId' occurs more than once"),
        ),
        _parquet(
            "ImgName that is missing",
            {"ImgName": ["101.jpg", None], "embedding": LISTS},
            Refused("row 2 has no ImgName"),
        ),
        _csv("named .parquet", f"ImgName,0,1\n{ONE}\n", Refused("can't be read"), file="f.parquet"),
        _csv(
            "Parquet's first and last bytes with nothing between",
            b"PAR1" + bytes(40) + b"\x10\0\0\0PAR1",
            Refused("can't be read"),
            file="f.parquet",
        ),
    ]


def _npy_kinds() -> list[Kind]:
    ids = np.array([101, 102])
    archive = io.BytesIO()
    np.savez(archive, X=X)
    huge = saved(X).replace(b"(2, 4)", b"(2, 400000000000)")
    return [
        _npy("float64", X.astype(np.float64), ids, _both()),
        _npy("float16", X.astype(np.float16), ids, _both(X.astype(np.float16).astype(np.float32))),
        _npy("big-endian", X.astype(">f4"), ids, _both()),
        _npy("columns first", np.asfortranarray(X), ids, _both()),
        _npy("ids of text", X, np.array(["101.jpg", "102"]), _both()),
        _npy("ids with a byte-order mark", X, "\ufeff101\n102.jpg\n", _both()),
        _npy("without ids", X, None, Refused("name them with --ids")),
        _npy("too few ids", X, ids[:1], Refused("expected .n, d. and n ids")),
        _npy("too many ids", X, "101 102 103", Refused("expected .n, d. and n ids")),
        _npy("one id", X, np.array(101), Refused("expected whole numbers or file names")),
        _npy("a table of ids", X, ids[None], Refused("expected whole numbers or file names")),
        _npy("ids that are fractions", X, np.array([101.0, 102.5]), Refused("expected whole numbers or file names")),
        _npy("ids that are objects", X, np.array([101, "x"], object), Refused("can't be read")),
        _npy("an id below zero", X, np.array([-1, 101]), Refused("got the image name '-1'")),
        _npy(
            "an id beyond 63 bits",
            X,
            np.array([2**63, 1], np.uint64),
            Refused("got the image name '9223372036854775808'"),
        ),
        _npy("one dimension", X[0], ids, Refused("expected .n, d. and n ids")),
        _npy("three dimensions", X[None], ids, Refused("expected .n, d. and n ids")),
        _npy("no dimension", np.array(1.0), ids, Refused("expected .n, d. and n ids")),
        _npy("no values", X[:, :0], ids, Refused("holds no embeddings")),
        _npy("no rows", X[:0], ids[:0], Refused("holds no embeddings")),
        _npy("complex numbers", X + 1j, ids, Refused("got complex128 values|got complex64 values")),
        _npy("true and false", X > 0, ids, Refused("got bool values")),
        _npy("text", X.astype(str), ids, Refused("expected numbers")),
        _npy("dates", X.astype("M8[s]"), ids, Refused("expected numbers")),
        _npy("objects, which are a pickle", X.astype(object), ids, Refused("can't be read")),
        _npy("a pickle without a header", b"\x80\x04K\x01.", ids, Refused("can't be read")),
        _npy("an archive of arrays", archive.getvalue(), ids, Refused("npz")),
        _npy("a header that claims 3 TB", huge, ids, Refused("can't be read")),
        _npy("cut short", saved(X)[:-5], ids, Refused("can't be read")),
        _npy("empty", b"", ids, Refused("can't be read")),
        _npy("a header that is no Python", saved(X).replace(b"}", b"("), ids, Refused("can't be read")),
        _csv("another suffix", "x", Refused("expected .csv"), file="f.xlsx"),
        _kind("a file that is not there", lambda folder: [folder / "none.csv"], Refused("there is no file")),
        _kind("a folder", lambda folder: [folder], Refused("is a folder")),
    ]


KINDS = [*_csv_kinds(), *_parquet_kinds(), *_npy_kinds()]
