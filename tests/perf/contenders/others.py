"""The rivals, each used as its own documentation shows; run by the rivals' Python, so only that has their libraries."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]


def digest(X: Any) -> list[float]:
    """As that of `ours`."""
    return [*X.shape, round(float(np.asarray(X[::997, ::131], np.float64).sum()), 3)]


def _column(table: Any, name: str) -> Any:
    """A fixed-size list column as a matrix; shared where Arrow has it in one chunk."""
    column = table[name].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)


def _blocks(options: Options) -> Any:
    import pyarrow as pa

    X = np.load(options["matrix"], mmap_mode="r")
    for start in range(0, len(X), 4096):
        block = np.array(X[start : start + 4096])
        ids = pa.array(np.arange(start + 1, start + len(block) + 1, dtype=np.int32))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), X.shape[1])
        yield pa.record_batch([ids, vectors], names=["ImgId", "vector"])


def lance_build(options: Options) -> Callable[[], Any]:
    """A LanceDB table of the vectors."""
    import lancedb
    import pyarrow as pa

    def once() -> Any:
        dim = np.load(options["matrix"], mmap_mode="r").shape[1]
        schema = pa.schema([("ImgId", pa.int32()), ("vector", pa.list_(pa.float32(), dim))])
        lancedb.connect(options["lance"]).create_table("vectors", _blocks(options), schema=schema, mode="overwrite")

    return once


def lance_pull(options: Options) -> Callable[[], Any]:
    """The whole table as Arrow, then NumPy."""
    import lancedb

    def once() -> Any:
        X = _column(lancedb.connect(options["lance"]).open_table("vectors").to_arrow(), "vector")
        return lambda: digest(X)

    return once


def lance_subset(options: Options) -> Callable[[], Any]:
    """``take`` by row number: its fastest way; the rows lie in the order of the ids, so nothing must be looked up."""
    import lancedb

    rows = (np.load(options["ids"]) - 1).tolist()

    def once() -> Any:
        table = lancedb.connect(options["lance"]).open_table("vectors")
        X = _column(table.to_lance().take(rows, columns=["ImgId", "vector"]), "vector")
        return lambda: digest(X)

    return once


def lance_subset_again(options: Options) -> Callable[[], Any]:
    """``take`` from a table that is open, and that the same rows were taken from before."""
    import lancedb

    rows = (np.load(options["ids"]) - 1).tolist()
    table = lancedb.connect(options["lance"]).open_table("vectors").to_lance()
    table.take(rows, columns=["ImgId", "vector"])

    def once() -> Any:
        X = _column(table.take(rows, columns=["ImgId", "vector"]), "vector")
        return lambda: digest(X)

    return once


def lance_subset_by_id(options: Options) -> Callable[[], Any]:
    """A filter on the ids of a table that is open; its rows come in the order of the table."""
    import lancedb

    ids = np.load(options["ids"])
    listed = f"ImgId IN ({', '.join(map(str, ids.tolist()))})"
    table = lancedb.connect(options["lance"]).open_table("vectors").to_lance()

    def once() -> Any:
        found = table.to_table(columns=["ImgId", "vector"], filter=listed)
        order = np.argsort(found["ImgId"].to_numpy())
        X = _column(found, "vector")[order[np.argsort(np.argsort(ids))]]
        return lambda: digest(X)

    once()
    return once


def lance_search(options: Options) -> Callable[[], Any]:
    """Flat search: the table has no index."""
    import lancedb

    table = lancedb.connect(options["lance"]).open_table("vectors")
    queries = np.load(options["queries"])

    def once() -> Any:
        found = [table.search(q).distance_type("cosine").select(["ImgId"]).limit(10).to_arrow() for q in queries]
        return lambda: found[0]["ImgId"].to_pylist()

    once()
    return once


def hf_build(options: Options) -> Callable[[], Any]:
    """A Hugging Face data set on disk."""
    import datasets
    import pyarrow as pa

    def once() -> Any:
        table = pa.Table.from_batches(_blocks(options))
        datasets.Dataset(table).save_to_disk(options["hf"])

    return once


def hf_pull(options: Options) -> Callable[[], Any]:
    """The column in NumPy format."""
    import datasets

    def once() -> Any:
        X = datasets.load_from_disk(options["hf"]).with_format("numpy")[:]["vector"]
        return lambda: digest(X)

    return once


def duckdb_build(options: Options) -> Callable[[], Any]:
    """A DuckDB database file with a ``FLOAT[dim]`` column."""
    import duckdb
    import pyarrow as pa

    def once() -> Any:
        Path(options["duckdb"]).unlink(missing_ok=True)
        with duckdb.connect(options["duckdb"]) as connection:
            batches = _blocks(options)
            first = next(batches)
            dim = first["vector"].type.list_size
            connection.execute(f"CREATE TABLE vectors (ImgId INTEGER, vector FLOAT[{dim}])")
            reader = pa.RecordBatchReader.from_batches(first.schema, _chain(first, batches))
            connection.register("reader", reader)
            connection.execute("INSERT INTO vectors SELECT * FROM reader")

    return once


def _chain(first: Any, rest: Any) -> Any:
    yield first
    yield from rest


def duckdb_pull(options: Options) -> Callable[[], Any]:
    """``SELECT`` ordered by id, fetched as Arrow, then NumPy."""
    import duckdb

    def once() -> Any:
        with duckdb.connect(options["duckdb"], read_only=True) as connection:
            table = connection.sql("SELECT ImgId, vector FROM vectors ORDER BY ImgId").to_arrow_table()
        X = _column(table, "vector")
        return lambda: digest(X)

    return once


def duckdb_search(options: Options) -> Callable[[], Any]:
    """``array_cosine_similarity`` over a table in memory."""
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute(f"ATTACH '{options['duckdb']}' AS disk (READ_ONLY)")
    connection.execute("CREATE TABLE vectors AS SELECT * FROM disk.vectors")
    queries = np.load(options["queries"])
    dim = queries.shape[1]
    query = f"SELECT ImgId FROM vectors ORDER BY array_cosine_similarity(vector, ?::FLOAT[{dim}]) DESC, ImgId LIMIT 10"

    def once() -> Any:
        found = [connection.execute(query, [q.tolist()]).fetchall() for q in queries]
        return lambda: [row[0] for row in found[0]]

    once()
    return once


def faiss_search(options: Options) -> Callable[[], Any]:
    """``IndexFlatIP`` over vectors of length 1."""
    import faiss

    X, queries = np.load(options["matrix"]), np.load(options["queries"])
    faiss.normalize_L2(X)
    index = faiss.IndexFlatIP(X.shape[1])
    index.add(X)
    del X
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)

    def once() -> Any:
        _, found = index.search(queries, 10)
        return lambda: (found[0] + 1).tolist()

    once()
    return once


def faiss_quantised(options: Options) -> Callable[[], Any]:
    """Eight bits a value, the 100 best of which are ranked again by float32: not exact, though nearly."""
    import faiss

    X, queries = np.load(options["matrix"]), np.load(options["queries"])
    faiss.normalize_L2(X)
    codes = faiss.IndexScalarQuantizer(X.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexRefineFlat(codes)
    index.train(X)
    index.add(X)
    index.k_factor = 10
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)

    def once() -> Any:
        _, found = index.search(queries, 10)
        return lambda: (found[0] + 1).tolist()

    once()
    return once


def faiss_pairs(options: Options) -> Callable[[], Any]:
    """Range search of all vectors among all; bringing them to length 1 and adding them is part of it."""
    import faiss

    original = np.load(options["matrix"])

    def once() -> Any:
        X = original.copy()
        faiss.normalize_L2(X)
        index = faiss.IndexFlatIP(X.shape[1])
        index.add(X)
        limits, _, found = index.range_search(X, options["cosine"])
        rows = np.repeat(np.arange(len(X)), np.diff(limits.astype(np.int64)))
        return int((rows < found).sum())

    return once


def lazypredict(options: Options) -> Callable[[], Any]:
    """LazyPredict's models on one split."""
    import warnings

    from lazypredict.Supervised import LazyClassifier

    warnings.simplefilter("ignore")
    data = np.load(options["sample"])
    train, test = data["train_0"], data["test_0"]

    def once() -> Any:
        model = LazyClassifier(verbose=0, ignore_warnings=True, predictions=False)
        scores, _ = model.fit(data["X"][train], data["X"][test], data["y"][train], data["y"][test])
        return json.loads(json.dumps({"models": len(scores)}))

    return once
