"""The selection of rows of a view by ids, an SQL condition and a limit, and its checks; it reads no vectors."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.catalog.duckdb_errors import within
from featurestore.catalog.guard import check_condition
from featurestore.catalog.sandbox import SECONDS_LIMIT
from featurestore.errors import InputError, QueryError
from featurestore.storage.names import quote_name
from featurestore.storage.schemas import MAX_ID

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader

# Number of ids in a message.
NAMED = 5


@dataclass(frozen=True)
class Selection:
    """Selected rows of a view: those of ``ids`` ``(m,)`` int32, in their order; for which ``where`` is true; the first
    ``limit`` of them. None means no restriction.
    """

    where: str | None = None
    ids: NDArray[np.int32] | None = None
    limit: int | None = None


def selection(where: object, ids: object, limit: object) -> Selection:
    """Check a caller's arguments.

    Parameters
    ----------
    ids
        A sequence, or an array of NumPy, Arrow, pandas or Polars, of integers from 0 to 2147483647.

    Raises
    ------
    InputError
        When an argument has the wrong type, shape or range.
    """
    if where is not None and not isinstance(where, str):
        raise InputError(f"got a {type(where).__name__} as where, expected a condition in SQL as text")
    return Selection(where, None if ids is None else check_ids(ids), None if limit is None else _check_limit(limit))


def check_ids(ids: Any) -> NDArray[np.int32]:
    """``ids`` as ``(m,)`` int32, in their order; raises as `selection`."""
    expected = f"expected a sequence of ImgIds, whole numbers from 0 to {MAX_ID}"
    if isinstance(ids, (str, bytes, set, frozenset, dict)):  # NumPy would treat these as one value
        raise InputError(f"got a {type(ids).__name__} as ids, {expected}, in an order")
    try:
        values = _from_arrow(ids) if isinstance(ids, (pa.Array, pa.ChunkedArray)) else np.asarray(ids)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of unequal length; a tensor on another device
        raise InputError(f"got ids that are not an array ({error}), {expected}") from error
    if values.ndim != 1:
        raise InputError(f"got ids of the shape {values.shape}, {expected}")
    if not len(values):
        return np.zeros(0, np.int32)
    whole = _whole(values)
    if not whole.all():
        raise InputError(f"got {str(values[~whole][0])[:80]!r} ({values.dtype}) among the ids, {expected}")
    return values.astype(np.int32)


def _from_arrow(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    kind = column.type
    if len(column) == 0 or column.null_count or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return np.array(column.to_pylist(), object)
    return arrow.to_numpy(column)


def _whole(values: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask of the values that are valid ImgIds."""
    if values.dtype.kind in "iuf":
        return (values >= 0) & (values <= MAX_ID) & (values == np.floor(values))
    return np.array([values.dtype.kind == "O" and _is_id(value) for value in values.tolist()], bool)


def _is_id(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= int(value) <= MAX_ID


def _check_limit(limit: Any) -> int:
    try:
        number = -1 if isinstance(limit, (bool, np.bool_)) else index(limit)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"got a limit of {limit!r}, expected a whole number of rows, 0 or more")
    return number


def matching(reader: "Reader", view: str, where: str, *, seconds: float = SECONDS_LIMIT) -> NDArray[np.int64]:
    """The ids ``(m,)`` of the rows of ``view`` for which ``where`` is true, ascending; the condition is untrusted SQL.

    Raises
    ------
    QueryError
        When ``where`` is refused or fails.
    """
    lead = f"SELECT ImgId FROM {quote_name(view)} WHERE ("
    try:
        check_condition(reader.database.cursor(), where, lead=lead)
        ids = reader.sql(f"{lead}{where}\n)", seconds=seconds)["ImgId"]
    except QueryError as error:
        why = within(str(error), where, prefix=lead)
        raise QueryError(f"the condition {where!r} can't be used: {why}") from error
    return np.unique(arrow.to_numpy(ids.drop_null().cast(pa.int64())))


def find_sorted(values: NDArray[np.integer], wanted: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each of ``wanted`` its index in the ascending ``values``, and whether it is there."""
    if not len(values):
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), bool)
    place = np.searchsorted(values, wanted).clip(max=len(values) - 1)
    return place, values[place] == wanted


def refuse_absent(ids: NDArray[np.int32], there: NDArray[np.bool_], *, what: str, remedy: str) -> None:
    """Raise an error that names some of the ``ids`` for which ``there`` is False.

    Raises
    ------
    InputError
        When there are any.
    """
    if not there.all():
        absent = list(dict.fromkeys(ids[~there].tolist()))
        raise InputError(f"{what} {len(absent):,} of the {len(ids):,} ids ({named(absent)}): {remedy}")


def named(values: Iterable[int]) -> str:
    """The first of ``values`` as text for a message."""
    listed = list(values)
    return ", ".join(map(str, listed[:NAMED])) + (", …" if len(listed) > NAMED else "")
