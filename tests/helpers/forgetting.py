"""Stores with an image everywhere it can be, and a search of all their bytes for what is left of it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import CountingBackbone, jpeg
from torture.content import Content

from benchmarks.results.schemas import ACROSS, CELLS, PREDICTIONS
from featurestore import FeatureStore
from featurestore.collections import scan
from featurestore.files import make_folder
from featurestore.storage.parts import write_part

NAMES = [f"{kind}/{kind}-{number}.jpg" for kind in ("cat", "dog") for number in range(6)]
# The image that is forgotten, and what tells it from the others.
GONE, NAME = 3, "cat/cat-3.jpg"


def fill(folder: Path) -> FeatureStore:
    """A store of any collection, with the image `GONE` in each of its tables, caches and older files."""
    for number, name in enumerate(NAMES):
        make_folder((folder / "images" / name).parent)
        (folder / "images" / name).write_bytes(jpeg(number))
    table = folder / "labels.csv"
    extra = f"{NAME},second,again\ncat/unknown.jpg,no image,none\n"
    table.write_text("file,title,label\n" + "".join(f"{n},Title of {n},{n[:3]}\n" for n in NAMES) + extra)
    store = FeatureStore(folder / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "RACY_NS", -1)  # files of this moment are kept in the cache of the scan
        store.ingest(images=folder / "images", metadata=table, key="file", label="label")
    store.embed(CountingBackbone())
    store.create_snapshot("before")
    store.correct_labels([GONE, 4], "dog")
    store.append(tables())
    store.append({"notes": tables()["notes"]})
    store.compact()  # leaves parts that nothing refers to
    store.create_view("mine", f"SELECT * FROM labeled WHERE ImgId <> {GONE}")
    store.create_snapshot("after")
    leave_staged(store)
    return store.refresh()


def tables() -> dict[str, pa.Table]:
    """Rows of other programs: ids, names, lists of ids; the image is in all of these tables but one."""
    ids = np.arange(len(NAMES))
    across = {"run_id": "r", "ids": ids.tolist(), "domain": [0, 1] * 6, "domains": ["a", "b"]}
    return {
        "bench_cells": pa.Table.from_pylist([{"cell": "c", "status": "ok"}], schema=CELLS),
        "bench_predictions": pa.Table.from_pylist(
            [{"cell": "c", "ImgId": i, "y": 0, "proba": [0.5, 0.5]} for i in ids.tolist()], schema=PREDICTIONS
        ),
        "bench_across": pa.Table.from_pylist([across], schema=ACROSS),
        "notes": pa.table({"imgid": ids.astype(np.int64), "note": [f"look at {name}" for name in NAMES]}),
        "named": pa.table({"ImgName": NAMES, "x": ids}),
    }


def leave_staged(store: FeatureStore) -> None:
    """A batch of vectors, and one of other images, as an `embed` leaves them that was killed."""
    hashes = store.query("SELECT content_hash FROM images ORDER BY ImgId")["content_hash"].to_pylist()
    for some in (hashes[:6], hashes[6:]):
        rows = pa.table({"content_hash": some, "embedding": [[float(len(some))] * 4] * len(some)})
        write_part(rows, store.path, "staging/third-0123456789abcdef-1")
    (store.path / "staging" / "third-0123456789abcdef-1" / ".lock").touch()


def needles(store: FeatureStore, number: int = GONE) -> list[bytes]:
    """The name, the checksum and the vectors of an image, as they stand in files."""
    (row,) = store.query("SELECT ImgName, content_hash FROM images WHERE ImgId = ?", [number]).to_pylist()
    vectors = store.query("SELECT embedding FROM embeddings WHERE ImgId = ?", [number])["embedding"].to_pylist()
    texts = [row["ImgName"], Path(row["ImgName"]).name, f"Title of {row['ImgName']}", row["content_hash"]]
    return [text.encode() for text in texts] + [np.array(vector, "<f4").tobytes() for vector in vectors]


def traces(root: Path, wanted: list[bytes]) -> list[str]:
    """Each file below ``root`` that holds one of ``wanted``, in its bytes or, of a Parquet file, in its values."""
    found = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                content += decoded(file.read()) + str(file.metadata.to_dict()).encode()
        found += [f"{path.relative_to(root)}: {one[:40]!r}" for one in wanted if one in content]
    return found


def decoded(table: pa.Table) -> bytes:
    """All values of a table without compression."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def without(rows: Content, number: int = GONE) -> dict[str, dict[str, int]]:
    """A content as of `torture.content` without the rows that name an image in a column of its own."""

    def is_of(text: str) -> bool:
        row = json.loads(text)
        ids = {str(value).removesuffix(".0") for name, value in row.items() if name.lower() == "imgid"}
        again = row.get("RowKey") == NAMES[number]
        return str(number) in ids or row.get("ImgName") in (NAMES[number], f"forgotten image {number}") or again

    kept = {table: {row: n for row, n in found.items() if not is_of(row)} for table, found in rows.items()}
    return {table: found for table, found in kept.items() if table not in ("bench_across", ".state")}
