"""Features: rows of a view with their embeddings, and conversions to the types of other libraries."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import arrow
from featurestore._optional import import_extra
from featurestore.errors import InputError
from featurestore.features.labels import class_codes, class_names
from featurestore.features.summary import features_html, features_text
from featurestore.storage.schemas import embedding_type

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from featurestore.features.batches import FeatureBatches

BATCH_ROWS = 65_536


class Arrays(NamedTuple):
    """Inputs for training: vectors ``(n, d)`` float32, label codes ``(n,)`` int64 or None, ids ``(n,)`` int32."""

    X: NDArray[np.float32]
    y: NDArray[np.int64] | None
    ids: NDArray[np.int32]


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """Rows of a view with their embeddings, by ascending `ImgId`, or in the order of the requested ids.

    Libraries take it as it is: as a table those that read the Arrow C stream (Polars, DuckDB, pandas, narwhals,
    pyarrow), as the matrix `X` NumPy, scikit-learn and those that read DLPack (torch, JAX).

    Parameters
    ----------
    X
        ``(n, d)`` float32, C-contiguous; the vectors of several backbones are concatenated in order.
    ids
        ``(n,)`` int32, the `ImgId` of each row.
    table
        The view's columns without the embedding, ``n`` rows in the same order.
    groups
        ``(n,)`` int64; rows of byte-identical images have the same group.
    missing
        Number of rows of the view without an embedding of each backbone; they are left out, never filled in.
    dims
        Length of the embedding of each backbone, in the order of the columns of `X`.
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
    def shape(self) -> tuple[int, int]:
        """The shape of `X`, ``(n, d)``; scikit-learn asks what it is given for it."""
        return self.X.shape[0], self.X.shape[1]

    def __repr__(self) -> str:
        """A few lines: size, origin, labels, columns."""
        return features_text(self)

    def _repr_html_(self) -> str:
        return features_html(self)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        """The table of `to_arrow` by the PyCapsule interface of Arrow; no vector of a single backbone is copied."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __array__(self, dtype: "DTypeLike | None" = None, copy: bool | None = None) -> NDArray[Any]:
        """`X`, ``(n, d)`` float32, not copied unless ``copy`` or another ``dtype`` asks for it."""
        return np.array(self.X, dtype=dtype, copy=copy)

    def __dlpack__(
        self,
        *,
        stream: None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        """`X` by DLPack, not copied unless ``copy`` asks for it; the arguments are those of the array API standard."""
        return self.X.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where `X` lies: in the memory of the CPU."""
        return self.X.__dlpack_device__()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class labels in the order of their codes; empty without a label column."""
        if self.label is None:
            return ()
        return class_names(self.table[self.label].to_pylist())

    @property
    def y(self) -> NDArray[np.int64] | None:
        """``(n,)`` int64, indices into `classes`; -1 for rows without a label (`has_label`); None without a column."""
        if self.label is None:
            return None
        return class_codes(self.table[self.label].to_pylist(), self.classes)

    @property
    def vector_columns(self) -> tuple[str, ...]:
        """The column name of each backbone's vectors: ``embedding``, or the backbone's name if there are several."""
        return vector_columns(self.dims)

    @property
    def about(self) -> dict[str, Any]:
        """Where the values came from; stored in the schema metadata of every Arrow table and Parquet file."""
        return about_of(self)

    def to_numpy(self) -> Arrays:
        """``X``, ``y`` and ``ids``, not copied."""
        return Arrays(self.X, self.y, self.ids)

    def to_arrow(self) -> pa.Table:
        """The view's columns and one fixed-size list column for each backbone, see `vector_columns`.

        Raises
        ------
        InputError
            When the view has a column with the name of a vector column.
        """
        ends = np.cumsum([dim for _, dim in self.dims])[:-1]
        table = with_vectors(self.table, self.vector_columns, np.split(self.X, ends, axis=1))
        return table.replace_schema_metadata(schema_metadata(self.about))

    def to_reader(self, *, batch_rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """The table of `to_arrow` in batches of ``batch_rows`` rows; `FeatureStore.feature_batches` holds only one.

        Raises
        ------
        InputError
            When ``batch_rows`` is not 1 or more, and as `to_arrow`.
        """
        size = check_rows(batch_rows)
        return self.to_arrow().combine_chunks().to_reader(size)

    def to_pandas(self) -> Any:
        """A pandas DataFrame indexed by `ImgId`: the view's columns, then the numbered columns of `X`."""
        pandas = import_extra("pandas", "export", needed_by="to_pandas")
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
        """A torch TensorDataset of ``(vector, label)``, or of vectors alone; the matrix is not copied."""
        torch = import_extra("torch", "torch", needed_by="to_torch")
        tensors = [torch.from_numpy(array) for array in (self.X, self.y) if array is not None]
        return torch.utils.data.TensorDataset(*tensors)

    def to_tf(self) -> Any:
        """A tf.data.Dataset of ``(vector, label)``, or of vectors alone."""
        tensorflow = import_extra("tensorflow", "tensorflow", needed_by="to_tf", instead="to_torch, or the matrix X")
        return tensorflow.data.Dataset.from_tensor_slices(self.X if self.y is None else (self.X, self.y))

    def to_huggingface(self) -> Any:
        """A Hugging Face Dataset over the Arrow table; the label becomes a ClassLabel with the codes of `y`."""
        datasets = import_extra("datasets", "export", needed_by="to_huggingface")
        table = self.to_arrow() if len(self) else self.to_arrow().schema.empty_table()  # it needs one chunk per column
        if self.label is None or self.y is None:
            return datasets.Dataset(table)
        # Cast to codes, because a ClassLabel would interpret numeric labels as codes.
        codes = pa.array(self.y, mask=self.y < 0)
        table = table.set_column(table.column_names.index(self.label), self.label, codes)
        kinds = datasets.Features.from_arrow_schema(table.schema)
        kinds[self.label] = datasets.ClassLabel(names=list(self.classes))
        return datasets.Dataset(table, info=datasets.DatasetInfo(features=kinds))


def about_of(rows: "Features | FeatureBatches") -> dict[str, Any]:
    """Where the values of ``rows`` came from, as JSON holds it."""
    return {
        "backbones": [name for name, _ in rows.dims],
        "revision": rows.revision,
        "state": rows.state_id,
        "synthetic": rows.synthetic,
        "missing": rows.missing,
        "label": rows.label,
        "classes": list(rows.classes),
    }


def vector_columns(dims: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """The column names of the vectors of backbones, of which ``dims`` has the name and the length of the vectors."""
    return ("embedding",) if len(dims) == 1 else tuple(name for name, _ in dims)


def with_vectors(table: pa.Table, names: Sequence[str], matrices: Sequence[NDArray[np.float32]]) -> pa.Table:
    """``table`` and one fixed-size list column for each of ``matrices`` ``(len(table), d)`` float32.

    Raises
    ------
    InputError
        When ``table`` has a column with one of the ``names``.
    """
    check_names(table, names)
    for name, X in zip(names, matrices, strict=True):
        kind = embedding_type(X.shape[1])
        column = pa.FixedSizeListArray.from_arrays(arrow.from_numpy(np.ascontiguousarray(X).reshape(-1)), type=kind)
        table = table.append_column(pa.field(name, kind, nullable=False), column)
    return table


def schema_metadata(about: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of an Arrow schema that say where the values came from."""
    return {"featurestore": json.dumps(about)}


def check_names(table: pa.Table, vectors: Sequence[str]) -> None:
    """Refuse columns of a view that have the name of a vector column.

    Raises
    ------
    InputError
        When there is such a column.
    """
    taken = set(vectors).intersection(table.column_names)
    if taken:
        raise InputError(
            f"the view has the column {min(taken)!r}, which is the name of the vectors' column: "
            "leave it out with columns=…, --columns"
        )


def check_rows(batch_rows: Any) -> int:
    """The number of rows of a batch.

    Raises
    ------
    InputError
        When it is not a whole number, 1 or more.
    """
    try:
        number = 0 if isinstance(batch_rows, (bool, np.bool_)) else index(batch_rows)
    except TypeError:
        number = 0
    if number < 1:
        raise InputError(f"got {batch_rows!r} as batch_rows, expected a whole number of rows, 1 or more")
    return number
