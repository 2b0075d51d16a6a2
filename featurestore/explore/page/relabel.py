"""Corrects labels from the page, undoes it, and lists what was corrected."""

from typing import TYPE_CHECKING, Any

import numpy as np

from featurestore.catalog.corrected import as_csv, corrections, editable_columns
from featurestore.catalog.corrections import CorrectionReport, correct, uncorrect
from featurestore.errors import InputError
from featurestore.explore.page.facts import jsonable
from featurestore.explore.page.messages import PageAnswer, Query
from featurestore.explore.page.saved import WAIT_SECONDS
from featurestore.features.selection import check_ids

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer


def editable(store: "Explorer") -> list[str]:
    """The columns of `collection` whose values can be corrected."""
    return list(editable_columns(store.database))


def listed(store: "Explorer", query: Query) -> list[dict[str, Any]]:
    """The corrections in force, oldest first."""
    return [jsonable(row) for row in corrections(store).to_pylist()]


def as_file(store: "Explorer", query: Query) -> PageAnswer:
    """All corrections as CSV, also those that were undone."""
    headers = {"Content-Disposition": 'attachment; filename="corrections.csv"'}
    return PageAnswer(as_csv(corrections(store, undone=True)), "text/csv; charset=utf-8", headers=headers)


def corrected(store: "Explorer", sent: dict[str, Any]) -> dict[str, Any]:
    """Make the images ``ids`` show ``to`` in ``column``, the default label if it is absent."""
    to = sent.get("to")
    if not (isinstance(to, str) or (isinstance(to, list) and all(isinstance(one, str) for one in to))):
        raise InputError("expected the new value, or a list of them, as text in `to`")
    ids, column = _asked(sent)
    return _told(correct(store.objects, ids, to, column=column, wait_seconds=WAIT_SECONDS))


def undone(store: "Explorer", sent: dict[str, Any]) -> dict[str, Any]:
    """Make the images ``ids`` show again what was read in ``column``."""
    ids, column = _asked(sent)
    return _told(uncorrect(store.objects, ids, column=column, wait_seconds=WAIT_SECONDS))


def _asked(sent: dict[str, Any]) -> tuple[np.ndarray, str | None]:
    column = sent.get("column")
    if column is not None and not isinstance(column, str):
        raise InputError("expected the name of a column as text in `column`")
    return check_ids(sent.get("ids")), column


def _told(report: CorrectionReport) -> dict[str, Any]:
    return {
        "column": report.column,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "note": report.note,
    }
