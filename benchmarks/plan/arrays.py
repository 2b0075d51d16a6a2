"""Data sets from arrays that somebody has in memory: matrices and labels are checked and coded, no store is read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan.across import Domains, domains_of
from benchmarks.plan.coding import MIN_LABEL_ROWS, coded
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.groups import with_equal_vectors
from benchmarks.plan.reading import refuse_useless
from featurestore import has_label
from featurestore.errors import InputError, reason

# What the records of a run say instead of a view, a label column and a state.
VIEW, LABEL, STATE = "arrays", "y", "none"
# What sentences call the values that the protocol across compares.
DOMAIN = "domain"
LONGEST_NAME = 100


def from_arrays(
    matrices: Mapping[str, Any],
    y: Any,
    *,
    groups: Any = None,
    split: Any = None,
    by: Any = None,
    label: str = LABEL,
) -> list[EmbeddingDataset]:
    """One data set for each matrix, over the rows that have a label; ``ImgId`` is the number of the row.

    Parameters
    ----------
    matrices
        By name, ``(n, d)`` of finite numbers each, the same rows in all: NumPy, pandas, torch or anything else that
        NumPy can read.
    y
        ``(n,)`` strings or integers; or, for several labels a row, ``(n, n_labels)`` of 0 and 1, or a list of labels
        for each row. Rows without a label (see `featurestore.has_label`) are left out and counted.
    groups
        ``(n,)``: rows of one group are never on both sides of a split. When None, rows with equal vectors are a group.
    split, by
        ``(n,)`` words such as ``train``, for the protocol ``given``; numbers, dates or texts, for ``across``.

    Raises
    ------
    InputError
        When a matrix, the labels or the groups can't be used.
    """
    if not matrices:
        raise InputError('got no matrix, expected X of the shape (n, d), or several by name, as in {"clip": X}')
    found = {_name(name): _matrix(name, X) for name, X in matrices.items()}
    first, n = next((name, len(X)) for name, X in found.items())
    for name, X in found.items():
        if len(X) != n:
            raise InputError(f"{first} has {n:,} rows and {name} has {len(X):,}, expected the same rows in each matrix")
    labelled, kept, codes, classes = _coded(labels_of(y, n), label)
    group = (_of_equal_vectors(list(found.values())) if groups is None else _groups(groups, n))[kept]
    parts = None if split is None else _words(split, kept)
    domains = None if by is None else _domains(by, kept)
    return [
        EmbeddingDataset(
            X=X if kept.all() else X[kept],
            y=codes,
            ids=np.flatnonzero(kept).astype(np.int32),
            groups=group,
            classes=classes,
            backbone=name,
            revision="",
            view=VIEW,
            label=label,
            state_id=STATE,
            synthetic=False,
            unlabelled=int((~labelled).sum()),
            rare=int((labelled & ~kept).sum()),
            split=parts,
            domains=domains,
        )
        for name, X in found.items()
    ]


def _coded(
    labels: list[Any], name: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64], tuple[str, ...]]:
    """Which rows have a label, ``(n,)``, and which are kept; the codes of those, and the classes."""
    labelled = np.array([has_label(value) for value in labels], bool)
    if not labelled.any():
        raise InputError(f"none of the {len(labels):,} rows has a label in {name} (all are None, NaN or blank)")
    kept, codes, classes = coded(labels, labelled)
    if not kept.any():
        raise InputError(f"each label in {name} has fewer than {MIN_LABEL_ROWS} rows, expected more of some")
    codes, classes = _in_numeric_order(codes, classes)
    refuse_useless(classes, codes, label=name, where="", instead="give the classes of the rows")
    return labelled, kept, codes, classes


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InputError(f"got {str(name)[:LONGEST_NAME]!r} as the name of a matrix, expected a short text")
    return name


def _matrix(name: str, X: Any) -> NDArray[np.float32]:
    """``X`` as ``(n, d)`` float32 in C order, a copy unless it is that already."""
    try:
        raw = np.asarray(X)
    except Exception as error:  # `__array__` is anybody's code: torch refuses a tensor on a GPU, or one with gradients
        raise InputError(f"{name} can't be read as an array ({reason(error)[:200]}): give a NumPy array") from error
    if raw.ndim != 2 or not raw.shape[0] or not raw.shape[1]:
        hint = "give X.toarray() of a sparse matrix" if raw.ndim == 0 else "one row of numbers for each image"
        raise InputError(f"{name} has the shape {raw.shape}, expected (n, d): {hint}")
    if raw.dtype.kind not in "biuf" and raw.dtype != object:
        raise InputError(f"{name} holds {raw.dtype}, expected numbers")
    try:
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(raw, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds what is no number ({reason(error)[:120]}), expected numbers only") from error
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        rows = f"{len(bad):,} rows of {name}, the first is row {bad[0]}, have"
        one = f"row {bad[0]} of {name} has"
        raise InputError(
            f"{one if len(bad) == 1 else rows} a value that is NaN, infinite or too large for float32: leave such rows "
            "out of X and y"
        )
    return found


def labels_of(y: Any, n: int) -> list[Any]:
    """The label of each of ``n`` rows: a text or a number, or for several labels a list; None where there is none."""
    if y is None:
        raise InputError("got X without labels: give y, one label a row")
    names = [str(name) for name in getattr(y, "columns", ())]
    try:
        raw = _as_array(y)
    except Exception as error:  # as for X
        raise InputError(f"y can't be read as an array ({reason(error)[:200]}): give a list of labels") from error
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim not in (1, 2) or len(raw) != n:
        raise InputError(f"y has the shape {raw.shape}, expected a label for each of the {n:,} rows of X")
    if raw.ndim == 1:
        values = raw.tolist()
        several = any(isinstance(value, list | tuple | set | frozenset | np.ndarray) for value in values)
        return [_several(value) for value in values] if several else [_plain(value) for value in values]
    if raw.dtype.kind not in "biuf" or not np.isin(raw, (0, 1)).all():
        raise InputError(
            f"y has the shape {raw.shape} and holds other values than 0 and 1: expected one label a row, a matrix of "
            "0 and 1, or a list of labels for each row"
        )
    names = names if len(names) == raw.shape[1] else [str(number) for number in range(raw.shape[1])]
    return [[names[place] for place in np.flatnonzero(row)] for row in raw]


def _as_array(y: Any) -> NDArray[Any]:
    """Like `numpy.asarray`, but lists of several labels a row stay lists, also those of equal length."""
    if isinstance(y, Sequence) and not isinstance(y, str | bytes):
        nested = any(isinstance(value, list | tuple | set | frozenset) for value in y)
        flags = nested and all(
            isinstance(value, list | tuple) and all(flag in (0, 1) for flag in value) and len(value) == len(y[0])
            for value in y
        )
        if not flags:
            raw = np.empty(len(y), object)
            raw[:] = list(y)
            return raw
    return np.asarray(y)


def _several(value: Any) -> list[Any]:
    members = list(value) if isinstance(value, list | tuple | set | frozenset | np.ndarray) else [value]
    return [_plain(member) for member in members]


def _plain(value: Any) -> Any:
    """A label as the bench names it: numbers without a fraction as whole numbers, a missing value as None."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None if type(value).__name__ in ("NAType", "NaTType") else value  # pandas', which has no truth value


def _in_numeric_order(codes: NDArray[np.int64], classes: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Classes that are whole numbers in the order of the numbers; as text 10 would come before 2."""
    if not all(name.removeprefix("-").isdecimal() for name in classes):
        return codes, classes
    order = sorted(range(len(classes)), key=lambda place: int(classes[place]))
    named = tuple(classes[place] for place in order)
    return (codes[:, order] if codes.ndim == 2 else np.argsort(order)[codes]), named


def _groups(groups: Any, n: int) -> NDArray[np.int64]:
    values = _column(groups, n, name="groups")
    bare = [row for row, value in enumerate(values) if not has_label(value)]
    if bare:
        raise InputError(
            f"groups has no value in row {bare[0]}: give each row a group, one of its own where it is alone"
        )
    kept = values if len({isinstance(value, str) for value in values}) == 1 else list(map(str, values))
    # Ascending, as the numbers of a store's groups are: equal groups, equal folds.
    return np.unique(np.array(kept), return_inverse=True)[1].ravel().astype(np.int64)


def _words(split: Any, kept: NDArray[np.bool_]) -> tuple[str, ...]:
    words = [str(value) if has_label(value) else "" for value in _column(split, len(kept), name="split")]
    return tuple(words[row] for row in np.flatnonzero(kept).tolist())


def _domains(by: Any, kept: NDArray[np.bool_]) -> Domains:
    return domains_of(_column(by, len(kept), name="by"), column=DOMAIN).only(np.flatnonzero(kept))


def _column(values: Any, n: int, *, name: str) -> list[Any]:
    """``n`` texts or numbers."""
    try:
        raw = np.asarray(values, object)
    except Exception as error:  # as for X
        raise InputError(f"{name} can't be read as an array ({reason(error)[:200]}): give a list") from error
    if raw.shape != (n,):
        raise InputError(f"{name} has the shape {raw.shape}, expected one value for each of the {n:,} rows of X")
    return [_plain(value) for value in raw.tolist()]


def _of_equal_vectors(matrices: Sequence[NDArray[np.float32]]) -> NDArray[np.int64]:
    """``(n,)`` int64: the same number for rows with equal vectors in any of the matrices, or linked by such."""
    groups = np.arange(len(matrices[0]))
    for X in matrices:
        groups = with_equal_vectors(groups, X, [X.shape[1]])
    return groups
