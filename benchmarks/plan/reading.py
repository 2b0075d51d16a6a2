"""A dataset read from a store: the rows of a feature view that have a label and an embedding."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan.across import Domains, domains_of
from benchmarks.plan.coding import MIN_LABEL_ROWS, coded
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.given import sides
from benchmarks.plan.groups import with_equal_vectors
from featurestore import Features, FeatureStore, has_label, quote_name
from featurestore.errors import InputError, nearest


def default_label(store: FeatureStore) -> str:
    """The label column of the collection.

    Raises
    ------
    InputError
        When no row of the collection has a label.
    """
    label = quote_name(store.label)
    if not len(store.sql(f"SELECT ImgId FROM collection WHERE {label} IS NOT NULL LIMIT 1")):
        raise InputError(
            "the collection has no label: name one with --label (any column of the view `collection`, with --view), or "
            "ingest again with --label"
        )
    return store.label


def from_store(
    store: FeatureStore,
    backbone: str,
    *,
    view: str = "labeled",
    label: str | None = None,
    split: str | None = None,
    by: str | None = None,
) -> EmbeddingDataset:
    """The rows of ``view`` that have a label and an embedding of ``backbone``.

    Parameters
    ----------
    backbone
        A name, or several joined by ``+``: their vectors side by side, each at unit length.
    label
        A column of the view, `default_label` when None; rows without a label (see `featurestore.has_label`) are left
        out and counted. A column that holds lists makes a multi-label task of it; its labels with fewer than
        `MIN_LABEL_ROWS` rows are left out.
    split, by
        The columns of the view that name the side of a split and the domain of each row; not read when None.

    Raises
    ------
    InputError
        When the view lacks a named column, has no embedded row, or the label's values are one or nearly all
        different; when a backbone is named twice.
    """
    names = _parts(backbone)
    features = store.features(names if len(names) > 1 else backbone, view=view)
    label = default_label(store) if label is None else label
    labels = column(features, label, view=view, hint="name the label with --label")
    labelled = np.array([has_label(value) for value in labels], bool)
    kept, y, classes = coded(labels, labelled)
    if not kept.any():
        raise _nothing_left(view, label, backbone, labelled, missing=features.missing)
    refuse_useless(classes, y, label=label, where=f" in the view {view!r}", instead="name another --label")
    dims = [dim for _, dim in features.dims]
    X = features.X if len(names) == 1 else at_unit_length(features.X, dims)
    X = X if kept.all() else X[kept]
    elsewhere = _unlabelled(store, features, view=view, label=label) if features.missing else 0
    return EmbeddingDataset(
        X=X,
        y=y,
        ids=features.ids[kept],
        groups=with_equal_vectors(features.groups[kept], X, dims),
        classes=classes,
        backbone=backbone,
        revision=features.revision,
        view=view,
        label=label,
        state_id=features.state_id,
        synthetic=features.synthetic,
        missing=features.missing - elsewhere,
        unlabelled=int((~labelled).sum()) + elsewhere,
        rare=int((labelled & ~kept).sum()),
        split=None if split is None else _sides(features, split, view=view, kept=kept),
        domains=None if by is None else _domains(features, by, view=view, kept=kept),
        corrected=np.array(store.corrected(view, label), np.int32),
    )


def _parts(backbone: str) -> list[str]:
    """The backbones that are joined by ``+``."""
    names = backbone.split("+")
    if len(set(names)) < len(names):
        raise InputError(f"got {backbone!r}, which names a backbone twice: name each once")
    return names


def refuse_useless(classes: tuple[str, ...], y: NDArray[np.int64], *, label: str, where: str, instead: str) -> None:
    """Raise `InputError` where there is one class, or nearly as many as rows; ``instead`` says what to do."""
    if len(classes) < 2:
        raise InputError(f"{label} has one class only{where} ({classes[0]!r}), expected two or more: {instead}")
    if y.ndim == 1 and 2 * len(classes) > len(y):
        raise InputError(
            f"{label} has {len(classes):,} different values over the {len(y):,} rows{where}, expected classes of many "
            f"rows each: {instead}"
        )


def column(features: Features, name: str, *, view: str, hint: str) -> list[Any]:
    """The values of a column of the view; `InputError`, with ``hint``, where the view does not have it."""
    if name not in features.table.column_names:
        near = nearest(name, features.table.column_names)
        raise InputError(f"the view {view!r} has no column {name!r} ({near}): {hint}")
    return features.table[name].to_pylist()


def _sides(features: Features, name: str, *, view: str, kept: NDArray[np.bool_]) -> tuple[str, ...]:
    """What the split column holds in each row that is kept, as text, ``""`` where nothing."""
    values = column(features, name, view=view, hint="name the column that says train or test with --split")
    return tuple(side for side, on in zip(_as_text(values), kept, strict=True) if on)


def _domains(features: Features, name: str, *, view: str, kept: NDArray[np.bool_]) -> Domains:
    values = column(features, name, view=view, hint="name the column whose values are compared with --by")
    return domains_of(values, column=name).only(np.flatnonzero(kept))


def _as_text(values: Sequence[Any]) -> list[str]:
    return [str(value) if has_label(value) else "" for value in values]


def test_share(store: FeatureStore, *, view: str, split: str) -> float:
    """The share of the rows of ``view`` that its column ``split`` names as test rows.

    Raises
    ------
    InputError
        As `given.sides`.
    """
    found = store.sql(f"SELECT {quote_name(split)} AS side FROM {quote_name(view)}")["side"].to_pylist()
    return len(sides(_as_text(found), column=split).test) / len(found)


def _nothing_left(view: str, label: str, backbone: str, labelled: NDArray[np.bool_], *, missing: int) -> InputError:
    """The error that says why no row is left to learn from, and what to do; ``labelled`` of those with an embedding."""
    embedded = len(labelled)
    if not embedded + missing:
        return InputError(
            f"the view {view!r} has no row: name another --view, such as `collection`, which has every usable image"
        )
    if labelled.any():
        return InputError(
            f"each {label} of the view {view!r} has fewer than {MIN_LABEL_ROWS} rows with an embedding of "
            f"{backbone!r}: name another --label, or embed more"
        )
    if embedded:
        return InputError(
            f"none of the {embedded:,} rows of the view {view!r} that have an embedding of {backbone!r} has a {label} "
            "(all are NULL, NaN or blank): name another --label"
        )
    return InputError(
        f"no row of the view {view!r} has both a {label} and an embedding of {backbone!r}: embed it first"
    )


def _unlabelled(store: FeatureStore, features: Features, *, view: str, label: str) -> int:
    """How many rows of the view have neither an embedding nor a label."""
    rows = store.sql(
        f"SELECT v.ImgId, v.{quote_name(label)} AS label FROM {quote_name(view)} AS v "
        "JOIN images_usable AS i ON i.ImgId = v.ImgId"
    )
    embedded = set(features.ids.tolist())
    return sum(row["ImgId"] not in embedded and not has_label(row["label"]) for row in rows.to_pylist())


def at_unit_length(X: NDArray[np.float32], dims: Sequence[int]) -> NDArray[np.float32]:
    """Each backbone's part of each row scaled to length 1, so that no backbone dominates by its scale."""
    parts = np.split(X, np.cumsum(dims)[:-1], axis=1)
    return np.hstack([part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-30) for part in parts])
