"""The fuzz targets: what is done with the bytes, or the structures, that a fuzzer comes up with."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import FeatureStore
from fuzz import grammar, oracles, record_edits, view_grammar
from fuzz.oracles import HEADER, Sandbox, Scratch, packed
from fuzz.record_oracle import READS, WRITES, Edited
from fuzz.view_sandbox import ViewSandbox

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))


@cache
def scratch() -> Scratch:
    """One folder a process."""
    return Scratch()


@cache
def sandbox() -> Sandbox:
    """One store a process; no query can change it, which is what is tested."""
    return Sandbox(build)


@cache
def view_sandbox() -> ViewSandbox:
    """One store a process; the record of its views is written anew by each input."""
    from support import edit_record

    return ViewSandbox(build, edit_record)


@cache
def edited() -> Edited:
    """One store, bundle, shard and model a process; each input edits a copy."""
    from fuzz import record_bed

    return Edited(record_bed.build, record_bed)


def build(root: Path) -> FeatureStore:
    """A store of six posters, small enough that a cross product of everything ends."""
    from support import Collection, CountingBackbone

    collection = Collection(root, 6)
    store = FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    return store


def metadata(data: bytes) -> None:
    """The metadata reader: a file as it is, or rows under the right header, packed or not."""
    kind, rest = data[:1], data[1:]
    content = {b"h": HEADER + rest, b"z": packed(HEADER + rest)}.get(kind, rest)
    found = oracles.metadata(scratch().write("metadata.csv", content))
    if found is not None:
        oracles.metadata_again(found, scratch())


FILES: dict[bytes, Callable[[bytes], tuple[str, bytes]]] = {
    b"c": lambda rest: ("f.csv", rest),
    b"h": lambda rest: ("f.csv", b"ImgName,0,1,2\n" + rest),
    b"i": lambda rest: ("f.csv", b"ImgId,0,1,2\n" + rest),
    b"g": lambda rest: ("f.csv.gz", rest),
    b"z": lambda rest: ("f.csv.gz", packed(b"ImgName,0,1,2\n" + rest)),
    b"p": lambda rest: ("f.parquet", rest),
    b"n": lambda rest: ("f.npy", rest),
    b"a": lambda rest: ("f.npz", rest),
    b"l": lambda rest: ("f.csv", b"path,embedding\n" + rest),
}


def vectors(data: bytes) -> None:
    """The importers: a file of one of their formats; behind the last zero byte run, the ids of an npy."""
    name, content = FILES.get(data[:1], FILES[b"c"])(data[1:])
    ids = None
    if name == "f.npy":
        content, _, listed = content.partition(b"IDS:")
        ids = scratch().write("ids.npy" if listed.startswith(b"\x93NUMPY") else "ids.txt", listed)
    oracles.vectors(scratch().write(name, content), ids)


def sql(data: bytes) -> None:
    """The sandbox: text, or words of SQL."""
    _query(grammar.from_bytes(data))


def _query(text: str) -> None:
    found = sandbox().run(text)
    if found is not None:
        sandbox().show(found)
        sandbox().unharmed()


@settings(deadline=None, database=None)
@given(grammar.tables())
def tables(table: pa.Table) -> None:
    """The importers: a Parquet file of any types."""
    path = scratch().path / "table.parquet"
    try:
        pq.write_table(table, path)
    except pa.ArrowException:  # a type that Parquet has not
        return
    oracles.vectors(path)


@settings(deadline=None, database=None)
@given(grammar.queries())
def queries(text: str) -> None:
    """The sandbox: queries of every function that DuckDB has."""
    _query(text)


@settings(deadline=None, database=None)
@given(view_grammar.views())
def views(texts: dict[str, str]) -> None:
    """Views of a store from elsewhere: they show its rows and nothing else."""
    view_sandbox().run(texts)


@settings(deadline=None, database=None)
@given(
    st.sampled_from(("store", "store", "store", "bundle", "model", "shard")),
    record_edits.edits(),
    st.lists(st.sampled_from(sorted(READS)), min_size=1, max_size=4, unique=True),
    st.none() | st.sampled_from(sorted(WRITES)),
)
def records(what: str, found: list[record_edits.Edit], reads: list[str], write: str | None) -> None:
    """Records that somebody edited: of a store, a bundle, a model, or a shard that is published."""
    edited().run(what, found, reads, write)


BYTES: dict[str, Callable[[bytes], None]] = {"metadata": metadata, "vectors": vectors, "sql": sql}
STRUCTURED = {"tables": tables, "queries": queries, "views": views, "records": records}
