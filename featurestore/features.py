"""Features for other projects: rows of a view with their embeddings, turned into what each library wants."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import arrow
from featurestore._optional import import_extra
from featurestore.catalog import quote_name
from featurestore.errors import InputError
from featurestore.pull import read_vectors

if TYPE_CHECKING:
    from featurestore.store import FeatureStore

# The column that `_view_rows` adds to those of the view.
HASH = "_content_hash"
# Rows moved at a time where some are left out: a second matrix would double the memory.
MOVE_ROWS = 4096


class Arrays(NamedTuple):
    """What learning needs: vectors ``(n, d)`` float32, coded labels ``(n,)`` int64 or None, ids ``(n,)`` int32."""

    X: NDArray[np.float32]
    y: NDArray[np.int64] | None
    ids: NDArray[np.int32]


class _Rows(NamedTuple):
    """The rows of a view with their content hashes, and the `ids` and `groups` of `Features`."""

    table: pa.Table
    ids: NDArray[np.int32]
    groups: NDArray[np.int64]


# What each open store was asked for last: asked for again, as bench and search do, the query costs as much as the read.
_LAST: "WeakKeyDictionary[FeatureStore, tuple[object, _Rows]]" = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of a view with their embeddings, ascending `ImgId`.

    Parameters
    ----------
    X
        ``(n, d)`` float32, C-contiguous; of several backbones side by side, in their order.
    ids
        ``(n,)`` int32, the `ImgId` of each row.
    table
        The view's columns without the embedding, same order.
    groups
        ``(n,)`` int64; rows of byte-identical images share one.
    missing
        How many rows of the view lack an embedding of a backbone; they are left out, never filled.
    dims
        Length of the embedding of each backbone: where `X` is to be cut.
    label
        The column that is the label, or None.
    """

    X: NDArray[np.float32]
    ids: NDArray[np.int32]
    table: pa.Table
    groups: NDArray[np.int64]
    missing: int
    backbone: str
    revision: str
    state_id: str
    synthetic: bool
    dims: tuple[tuple[str, int], ...] = ()
    label: str | None = None

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ids)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in the order of their codes; empty without a label."""
        if self.label is None:
            return ()
        return tuple(sorted({str(value) for value in self.table[self.label].to_pylist() if value is not None}))

    @property
    def y(self) -> NDArray[np.int64] | None:
        """``(n,)`` int64, places in `classes`; -1 where the label is missing; None without a label."""
        if self.label is None:
            return None
        code = {name: number for number, name in enumerate(self.classes)}
        values = self.table[self.label].to_pylist()
        return np.array([-1 if value is None else code[str(value)] for value in values], np.int64)

    @property
    def vector_columns(self) -> tuple[str, ...]:
        """What the vectors of each backbone are called in a table: ``embedding``, or of several the backbone's name."""
        return ("embedding",) if len(self.dims) == 1 else tuple(name for name, _ in self.dims)

    @property
    def about(self) -> dict[str, Any]:
        """Where the values came from; it travels in the schema of every Arrow table and Parquet file."""
        return {
            "backbones": [name for name, _ in self.dims],
            "revision": self.revision,
            "state": self.state_id,
            "synthetic": self.synthetic,
            "missing": self.missing,
            "label": self.label,
            "classes": list(self.classes),
        }

    def to_numpy(self) -> Arrays:
        """``X, y, ids``; nothing is copied."""
        return Arrays(self.X, self.y, self.ids)

    def to_arrow(self) -> pa.Table:
        """The view's columns and one fixed-size list column for each backbone, see `vector_columns`.

        Raises
        ------
        InputError
            When the view has a column of that name.
        """
        check_names(self.table, self.vector_columns)
        table = self.table
        start = 0
        for name, (_, dim) in zip(self.vector_columns, self.dims, strict=True):
            kind = pa.list_(pa.field("element", pa.float32(), nullable=False), dim)
            values = np.ascontiguousarray(self.X[:, start : start + dim]).reshape(-1)
            column = pa.FixedSizeListArray.from_arrays(arrow.from_numpy(values), type=kind)
            table = table.append_column(pa.field(name, kind, nullable=False), column)
            start += dim
        return table.replace_schema_metadata({"featurestore": json.dumps(self.about)})

    def to_pandas(self) -> Any:
        """A pandas DataFrame indexed by `ImgId`: the view's columns, then the numbered columns of `X`."""
        pandas = import_extra("pandas", "embed", needed_by="to_pandas")
        numbers = [str(number) for number in range(self.X.shape[1])]
        check_names(self.table, numbers)
        meta = self.table.drop_columns(["ImgId"]).to_pandas()
        frame = pandas.concat([meta, pandas.DataFrame(self.X, columns=numbers, copy=False)], axis=1)
        frame.index = pandas.Index(self.ids, name="ImgId")
        return frame

    def to_polars(self) -> Any:
        """A Polars DataFrame; embeddings are Array columns."""
        polars = import_extra("polars", "export", needed_by="to_polars")
        return polars.from_arrow(self.to_arrow())

    def to_torch(self) -> Any:
        """A torch TensorDataset of ``(vector, label)``, or of vectors alone; the matrix is shared, not copied."""
        torch = import_extra("torch", "bench", needed_by="to_torch")
        tensors = [torch.from_numpy(array) for array in (self.X, self.y) if array is not None]
        return torch.utils.data.TensorDataset(*tensors)

    def to_tf(self) -> Any:
        """A tf.data.Dataset of ``(vector, label)``, or of vectors alone."""
        tensorflow = import_extra("tensorflow", "embed", needed_by="to_tf")
        return tensorflow.data.Dataset.from_tensor_slices(self.X if self.y is None else (self.X, self.y))

    def to_huggingface(self) -> Any:
        """A Hugging Face Dataset over the Arrow table; the label becomes a ClassLabel with the codes of `y`."""
        datasets = import_extra("datasets", "export", needed_by="to_huggingface")
        table = self.to_arrow() if len(self) else self.to_arrow().schema.empty_table()  # it needs a chunk a column
        if self.label is None or self.y is None:
            return datasets.Dataset(table)
        # Codes, because a ClassLabel would take labels that are numbers for codes.
        codes = pa.array(self.y, mask=self.y < 0)
        table = table.set_column(table.column_names.index(self.label), self.label, codes)
        kinds = datasets.Features.from_arrow_schema(table.schema)
        kinds[self.label] = datasets.ClassLabel(names=list(self.classes))
        return datasets.Dataset(table, info=datasets.DatasetInfo(features=kinds))


def check_names(table: pa.Table, vectors: Sequence[str]) -> None:
    """Refuse columns of a view that are called what the vectors are called.

    Raises
    ------
    InputError
        When there is one.
    """
    taken = set(vectors).intersection(table.column_names)
    if taken:
        raise InputError(
            f"the view has the column {min(taken)!r}, which is what the vectors are called here: "
            "leave it out with columns=…, --columns"
        )


def read(
    store: "FeatureStore",
    backbones: str | Sequence[str],
    *,
    view: str,
    columns: Sequence[str] | None = None,
    label: str | None = None,
) -> Features:
    """See `FeatureStore.features`."""
    names = [backbones] if isinstance(backbones, str) else list(dict.fromkeys(backbones))
    columns = [columns] if isinstance(columns, str) else columns
    _check_backbones(store, names)
    rows, ids, groups = _rows(store, view, columns, label)
    hashes = rows[HASH].combine_chunks()
    matrices, found = [], np.ones(len(ids), bool)
    for name in names:
        parts = store.layout.embedding_parts(name)
        X, there = read_vectors(store.path / "embeddings", parts, ids, hashes, store.layout.dims[name])
        matrices.append(X)
        found &= there
    if not found.all():
        matrices = [_kept(X, found) for X in matrices]
        rows, ids = rows.filter(arrow.from_numpy(found)), ids[found]
        groups = _groups(ids, rows[HASH])
    return Features(
        X=matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1),
        ids=ids,
        table=rows.drop_columns([HASH]),
        groups=groups.copy(),  # the caller's own: what is kept for the next call must not change
        missing=int((~found).sum()),
        backbone="+".join(names),
        revision="+".join(store.state.revisions[name] for name in names),
        state_id=store.state.id,
        synthetic=store.synthetic or _made_up(store, names),
        dims=tuple((name, store.layout.dims[name]) for name in names),
        label=label,
    )


def _kept(X: NDArray[np.float32], found: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The rows of ``X`` that were found, moved up in place: a row never moves down, so none is overwritten unread."""
    rows = np.flatnonzero(found)
    for start in range(0, len(rows), MOVE_ROWS):
        chunk = rows[start : start + MOVE_ROWS]
        X[start : start + len(chunk)] = X[chunk]
    return X[: len(rows)]


def _check_backbones(store: "FeatureStore", names: Sequence[str]) -> None:
    have = store.state.revisions
    if not names:
        raise InputError(f"got no backbone, expected one or more of {', '.join(sorted(have)) or 'none yet'}")
    for name in names:
        if name not in have:
            listed = ", ".join(sorted(have)) or "none yet"
            raise InputError(f"the store has no backbone {name!r} (it has: {listed}): run `featurestore embed` first")


def _made_up(store: "FeatureStore", names: Sequence[str]) -> bool:
    rows = store.query("SELECT backbone, revision FROM backbones WHERE synthetic").to_pylist()
    return any(store.state.revisions[row["backbone"]] == row["revision"] for row in rows if row["backbone"] in names)


def _rows(store: "FeatureStore", view: str, columns: Sequence[str] | None, label: str | None) -> _Rows:
    """The rows of `_view_rows`, those of the last call where it was the same on the same state."""
    key = (store.state.id, view, None if columns is None else tuple(columns), label)
    last = _LAST.get(store)
    if last is not None and last[0] == key:
        return last[1]
    table = _view_rows(store, view, columns, label)
    ids = arrow.to_numpy(table["ImgId"])
    ids.flags.writeable = False  # shared with every later answer
    rows = _Rows(table, ids, _groups(ids, table[HASH]))
    _LAST[store] = (key, rows)
    return rows


def _view_rows(
    store: "FeatureStore", view: str, columns: Sequence[str] | None = None, label: str | None = None
) -> pa.Table:
    """The rows of ``view``, one an id, ascending, with the content hash at the end."""
    listed = store.query(
        "SELECT table_name AS view, column_name AS name FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
    ).to_pylist()
    names = [column["name"] for column in listed if column["view"] == view]
    if not names:
        views = sorted({column["view"] for column in listed if not column["view"].startswith("_")})
        raise InputError(f"the store has no view {view!r} (it has: {', '.join(views)})")
    wanted = [
        *(columns if columns is not None else (n for n in names if n != "embedding")),
        *([label] if label else []),
    ]
    for name in ["ImgId", *wanted]:
        if name not in names:
            raise InputError(f"the view {view!r} has no column {name!r} (it has: {', '.join(names)})")
    kept = dict.fromkeys(["ImgId", *wanted])
    rows = store.query(
        f"SELECT {', '.join(f'v.{quote_name(name)}' for name in kept)}, i.content_hash AS {HASH} "
        f"FROM {quote_name(view)} AS v JOIN images_usable AS i ON i.ImgId = v.ImgId ORDER BY v.ImgId"
    )
    rows = rows.set_column(0, "ImgId", rows["ImgId"].cast(pa.int32()))
    ids = arrow.to_numpy(rows["ImgId"])
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise InputError(
            f"the view {view!r} yields ImgId {twice[0]} more than once: a feature view has one row an image"
        )
    return rows


def _groups(ids: NDArray[np.int32], hashes: pa.ChunkedArray) -> NDArray[np.int64]:
    """The smallest of the ``ids`` (ascending) that have the same content; without content each is its own."""
    encoded = hashes.combine_chunks().dictionary_encode()
    if len(encoded.dictionary) == len(ids):
        return ids.astype(np.int64)
    codes = arrow.to_numpy(encoded.indices)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    groups = ids[first][inverse].astype(np.int64)
    alone = arrow.to_numpy(pc.binary_length(hashes)) == 0
    groups[alone] = ids[alone]
    return groups
