"""Where each target starts: honest inputs of every kind, and the small inputs that once broke something."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.oracles import HEADER, packed

# One file each, named after what it once broke: `TARGET-what`.
KEPT = Path(__file__).parent / "seeds"
ROW = b'1,http://x,"A, ""B"" (1999)",6.5,Drama|Comedy,http://p\n'


def write(target: str, folder: Path) -> None:
    """Put the seeds of ``target`` into ``folder``, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(of(target)):
        (folder / f"seed-{number}").write_bytes(content)


def of(target: str) -> Iterator[bytes]:
    """The seeds of ``target``."""
    yield from (path.read_bytes() for path in sorted(KEPT.glob(f"{target}-*")))
    yield from {"metadata": _metadata, "vectors": _vectors, "sql": _sql}.get(target, _noise)()


def _noise() -> Iterator[bytes]:
    """What structures are drawn from: too short a draw is no structure at all."""
    rng = np.random.default_rng(0)
    yield from (rng.bytes(size) for size in (64, 256, 1024, 4096))


def _metadata() -> Iterator[bytes]:
    yield b"h" + ROW
    yield b"z" + ROW * 2
    yield b"r" + HEADER + ROW + b"0002,,,,,\r\n3,l,\xe9,7,Short|Drama,p\n"
    yield b"r\xef\xbb\xbf" + b"Genre,extra,Poster,Title,imdbId,IMDB Score,Imdb Link\nDrama,x,p,T,12,7.5,l\n"
    yield b"rId,Genre,imdb_score\ntt0084058,\"['Comedy', 'Drama']\",6\n7.0,\"A, B\",\n"
    yield b"rImgId,ImgName,Title,Genre1,Genre2,Genre3,IMDBScore,ImdbLink,Poster\n1,1.jpg,T,Drama,Drama,,5.0,u,p\n"
    yield b"r" + packed(HEADER + ROW)
    yield b"r" + (HEADER + ROW).decode().encode("utf-16")


def _vectors() -> Iterator[bytes]:
    yield b"cImgName,0,1\n101.jpg,1,2\n102.jpg,3,4e-3\n"
    yield b"h101.jpg,1,2,3\n102.jpg,nan,,inf\n"
    yield b"i101,1,2,3\n102,4,5,6\n"
    yield b"z101.jpg,1,2,3\n"
    yield b"g" + packed(b'ImgId,ImgName,Title,0,1\n101,101.jpg,"A, ""B""",1,2\n')
    yield b'l101.jpg,"[1, 2.5]"\n102.jpg,[3. 4.]\n'
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.eye(2, 3, dtype=np.float32))
    for table in (
        pa.table({"ImgId": [101, 102], "embedding": [[1.0, 2.0], [3.0, 4.0]]}),
        pa.table({"image_path": ["a/101.jpg", "a/102.jpg"], "vector": tensors}),
        pa.table({"id": [101.0], "emb": pa.array([[b"\x80\x3f", b"\0\0"]], pa.list_(pa.binary(2)))}),
        pa.table({"ImgName": ["101.jpg"], "0": [1.0], "1": [2.0]}),
    ):
        sink = io.BytesIO()
        pq.write_table(table, sink)
        yield b"p" + sink.getvalue()
    sink = io.BytesIO()
    np.savez(sink, X=np.eye(2, 3), ids=np.array([101, 102]))
    yield b"a" + sink.getvalue()
    arrays = []
    for array in (np.eye(2, 3, dtype=np.float32), np.array([101, 102]), np.array(["101.jpg", "102.jpg"])):
        sink = io.BytesIO()
        np.save(sink, array)
        arrays.append(sink.getvalue())
    for ids in (b"101\n102.jpg\n", *arrays[1:]):
        yield b"n" + arrays[0] + b"IDS:" + ids


def _sql() -> Iterator[bytes]:
    for query in (
        "SELECT Genre1, count(*) FILTER (IMDBScore > 6) FROM labeled GROUP BY ALL ORDER BY ALL",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
        "SELECT l.Title, e.embedding FROM labeled AS l JOIN embeddings_counting AS e USING (ImgId)",
        "SELECT * FROM read_csv('SECRET')",
        "SELECT * FROM 'SECRET'",
        'WITH x AS (SELECT * FROM "secret.csv") SELECT * FROM x',
        "COPY labeled TO 'OUT'",
        "SELECT * FROM 'http://127.0.0.1:PORT/x.csv'",
        "SET enable_external_access = true",
        "SELECT 1; DROP VIEW labeled",
        "PIVOT labeled ON Genre1 USING count(*)",
        "SELECT getenv('FUZZ_CANARY')",
        "SELECT * FROM canary_table",
        "DESCRIBE SELECT * FROM 'SECRET'",
        "SELECT COLUMNS(c -> c LIKE 'T%') FROM labeled",
        "FROM labeled_top((SELECT count(*) FROM 'SECRET'))",
    ):
        yield b" " + query.encode()
    yield bytes([0x80, *range(40)])
