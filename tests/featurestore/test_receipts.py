"""Receipts and parts of shards come from strangers: all of them is checked, and nothing of a wrong one is stored."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.embedding.receipt import receipts_in
from featurestore.errors import InputError, IntegrityError, StoreError
from featurestore.storage.parts import read_part, write_part

Record = dict[str, Any]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store and of ``out``, with one shard of one part."""
    folder = tmp_path_factory.mktemp("template")
    collection, store = Collection(folder, 24), FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone(), shard="1/2", out=folder / "out")
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> FeatureStore:
    return FeatureStore(shutil.copytree(template / "store", tmp_path / "store"))


@pytest.fixture
def out(template: Path, tmp_path: Path) -> Path:
    """The folder of the shard."""
    (folder,) = shutil.copytree(template / "out", tmp_path / "out").iterdir()
    return folder


def edit(folder: Path, change: Callable[[Record], object]) -> None:
    """Let ``change`` edit the receipt, and give it the name of its bytes."""
    (path,) = folder.glob("receipt-*.json")
    record = json.loads(path.read_text())
    path.unlink()
    changed = change(record)
    content = json.dumps(changed if changed is not None else record).encode()
    (folder / f"receipt-{hashlib.sha256(content).hexdigest()[:32]}.json").write_bytes(content)


def setting(*place: str | int, to: object) -> Callable[[Record], None]:
    """Sets one field of a record, however deep."""

    def change(record: Any) -> None:
        for name in place[:-1]:
            record = record[name]
        record[place[-1]] = to

    return change


HOSTILE: dict[str, Callable[[Record], object]] = {
    "not an object": lambda record: [record],
    "no format": lambda record: record.pop("format"),
    "a field less": lambda record: (record.pop("refused"), None)[1],
    "no number as the format": setting("format", to="1"),
    "no store": setting("store", to="x"),
    "no manifest": setting("images", to="../state"),
    "a name that leads out": setting("backbone", "name", to="../../x"),
    "another revision": setting("backbone", "revision", to="0" * 16),
    "other weights": setting("backbone", "weights", to="blocks-2"),
    "no preprocessing": setting("backbone", "preprocessing", to={"height": "x"}),
    "a preprocessing that there is not": setting("backbone", "preprocessing", "nothing", to=1),
    "a vector of a million numbers": setting("backbone", "embed_dim", to=10**6),
    "a text that no table holds": setting("backbone", "source", to="\ud800"),
    "a number for a text": setting("backbone", "licence", to=3),
    "an option that is a list": setting("backbone", "options", to={"a": [1]}),
    "an extraction of another revision": setting("extractions", 0, "revision", to="0" * 16),
    "an extraction with a field more": setting("extractions", 0, "more", to="x"),
    "a share out of range": setting("share", to="3/2"),
    "a part that leads out": setting("parts", 0, 0, to="../part-00000000000000000000000000000000.parquet"),
    "a part of another name": setting("parts", 0, 0, to=f"part-{'0' * 32}.parquet"),
    "a part without rows": setting("parts", 0, 1, to=0),
    "a part of many rows": setting("parts", 0, 1, to=10**9),
    "a part of many bytes": setting("parts", 0, 2, to=10**12),
    "a part of a hash that is none": setting("parts", 0, 3, to="x" * 64),
    "a part with a range the wrong way round": setting("parts", 0, 4, to=10**6),
    "a part with text as ids": setting("parts", 0, 4, to="1"),
    "a part with a field less": setting("parts", 0, to=["part"]),
    "a refused image without a hash": setting("refused", to={"x": ["a", "b"]}),
    "a refused image without a reason": setting("refused", to={"0" * 64: ["a"]}),
    "a count that is none": setting("computed", to=-1),
    "true as a count": setting("reused", to=True),
    "a time that is none": setting("seconds", to="soon"),
    "fewer rows than it has": setting("parts", 0, 1, to=11),
    "fewer bytes than it has": setting("parts", 0, 2, to=1700),
    "ids that it has not": setting("parts", 0, 4, to=100),
    "an extraction less": setting("extractions", to=[]),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_receipt_is_one_sentence(store: FeatureStore, out: Path, how: str) -> None:
    edit(out, HOSTILE[how])
    before = store.state.id
    with pytest.raises(IntegrityError, match=r"is damaged: "):
        store.publish(out)
    assert store.refresh().state.id == before


def test_a_receipt_of_a_later_version(store: FeatureStore, out: Path) -> None:
    edit(out, setting("format", to=2))
    with pytest.raises(StoreError, match="has format 2, this version reads 1: upgrade the package"):
        store.publish(out)


def flipped(folder: Path, name: str) -> None:
    (path,) = folder.glob(name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["receipt-*.json", "parts/part-*.parquet"])
def test_a_flipped_bit_is_noticed(store: FeatureStore, out: Path, name: str) -> None:
    flipped(out, name)
    with pytest.raises(IntegrityError, match="copy the shard again, or compute it again into an empty folder"):
        store.publish(out)
    assert not store.backbones()


def replaced(folder: Path, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    """Replace the part by one with other rows, and let the receipt name it."""
    (path,) = folder.glob("parts/part-*.parquet")
    rows = change(read_part(path).replace_schema_metadata(None))
    path.unlink()
    if options:
        pq.write_table(rows, path, **options)
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        path.rename(path.with_name(f"part-{sha256[:32]}.parquet"))
        ids = rows["ImgId"].to_pylist()
        fields = [f"part-{sha256[:32]}.parquet", len(rows), len(content), sha256, min(ids), max(ids)]
    else:
        part = write_part(rows, folder, "parts")
        fields = [Path(part.path).name, part.rows, part.size_bytes, part.sha256, part.first_id, part.last_id]
    edit(folder, setting("parts", to=[fields]))


def column(name: str, values: list[object]) -> Callable[[pa.Table], pa.Table]:
    def change(rows: pa.Table) -> pa.Table:
        field = rows.schema.field(name)
        kept = rows[name].to_pylist()[len(values) :]
        return rows.set_column(rows.schema.get_field_index(name), field, pa.array([*values, *kept], field.type))

    return change


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (column("embedding", [[float("nan")] * 16]), {}, "vectors that can't be stored"),
        (column("embedding", [[1.0] * 16]), {}, "vectors that can't be stored"),
        (column("extraction", ["0" * 16]), {}, "does not say what computed"),
        (lambda rows: rows.select(["ImgId", "content_hash", "embedding"]), {}, "its columns or its number"),
        (lambda rows: rows, {"compression": "zstd", "use_dictionary": False}, "its values are compressed"),
        (lambda rows: rows, {"compression": "none", "use_dictionary": True}, "its values are compressed"),
    ],
)
def test_rows_that_no_part_may_hold(
    store: FeatureStore, out: Path, change: Callable[[pa.Table], pa.Table], options: dict[str, Any], told: str
) -> None:
    replaced(out, change, **options)
    with pytest.raises(IntegrityError, match=told):
        store.publish(out)
    assert not store.backbones()


def test_rows_of_images_that_the_store_has_not_are_left_out(store: FeatureStore, out: Path) -> None:
    """Another id, another content, a key twice: the first vector of it counts."""

    def change(rows: pa.Table) -> pa.Table:
        rows = column("content_hash", ["0" * 64])(column("ImgId", [101, 2])(rows))
        return pa.concat_tables([rows, rows.slice(5, 1)])

    replaced(out, change)
    (report,) = store.publish(out)
    assert (report.added, report.skipped, report.missing) == (10, 3, 14)
    assert len(store.sql("FROM embeddings")) == 10


def test_what_is_stored_is_written_by_the_store(store: FeatureStore, out: Path) -> None:
    """Not the bytes of a stranger, whose footer could say anything; and it outlives the folder."""
    replaced(out, lambda rows: rows, compression="none", use_dictionary=False, write_page_checksum=True)
    store.publish(out)
    (part,) = store.layout.embedding_parts("counting")
    (theirs,) = out.glob("parts/*")
    assert Path(part.path).name != theirs.name
    found = store.features("counting", view="images_usable")
    np.testing.assert_array_equal(found.X, read_matrix(theirs))


def read_matrix(path: Path) -> np.ndarray:
    return np.array(read_part(path)["embedding"].to_pylist(), np.float32)


def test_a_receipt_that_goes_while_it_is_read(out: Path) -> None:
    """A dangling link has a name and no content, for good; then it ends with a sentence."""
    (path,) = out.glob("receipt-*.json")
    path.rename(out / "elsewhere")
    path.symlink_to(out / "nowhere")
    with pytest.raises(InputError, match="can't be read"):
        receipts_in(out)
