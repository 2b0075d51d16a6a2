"""Corrects values of the collection for single images, and undoes it: rows of `corrections`; what was read stays."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from featurestore.catalog.corrected import (
    TABLE,
    as_read,
    column_named,
    new_value_note,
    stored_text,
    values_as_read,
)
from featurestore.catalog.database import Database
from featurestore.catalog.recipe import recipe_named
from featurestore.catalog.writer import open_writer
from featurestore.errors import InputError
from featurestore.storage.objects import Place
from featurestore.storage.schemas import CORRECTIONS
from featurestore.storage.state import State, read_state

# Longest value, in characters, and how many ids a message names.
LONGEST, NAMED = 1000, 5
Row = dict[str, Any]


@dataclass(frozen=True)
class CorrectionReport:
    """What one call changed.

    Parameters
    ----------
    column
        The corrected column.
    changed, unchanged
        Numbers of images: those that show another value now, and those that show what they showed before.
    note
        That no image had the new value before, which may be a typing error; else empty.
    """

    column: str
    changed: int
    unchanged: int
    note: str = ""


def correct(
    place: Place, ids: NDArray[Any], to: str | Sequence[str], *, column: str | None = None, wait_seconds: float = 0.0
) -> CorrectionReport:
    """See `FeatureStore.correct_labels`."""
    wanted, values = _checked_ids(ids), _checked_values(to)
    read_state(place)
    with open_writer(place, wait_seconds=wait_seconds, purpose="label correct") as writer:
        with Database(as_read(writer.layout), writer.root) as database:
            name, kind = column_named(database, _label(writer.state) if column is None else column)
            value = stored_text(database, name, kind, values)
            read = values_as_read(database, name, kind, wanted)
        _refuse_unknown(wanted, read)
        with Database(writer.layout, writer.root) as database:
            note = new_value_note(database, name, kind, values)
        with writer.commit() as commit:
            rows = commit.rows(TABLE).to_pylist()
            changed = _set(rows, name, value, read)
            if changed:
                commit.replace(TABLE, pa.Table.from_pylist(rows, schema=CORRECTIONS))
    return CorrectionReport(name, changed, len(wanted) - changed, note)


def uncorrect(
    place: Place, ids: NDArray[Any], *, column: str | None = None, wait_seconds: float = 0.0
) -> CorrectionReport:
    """See `FeatureStore.uncorrect_labels`."""
    wanted = _checked_ids(ids)
    read_state(place)
    with open_writer(place, wait_seconds=wait_seconds, purpose="label undo") as writer:
        name = _label(writer.state) if column is None else column
        with writer.commit() as commit:
            rows = commit.rows(TABLE).to_pylist()
            there = {row["ImgId"] for row in rows if row["column"] == name}
            if not there.issuperset(wanted):  # what an image or a column that is gone had can still be undone
                with Database(as_read(writer.layout), writer.root) as database:
                    name, kind = column_named(database, name)
                    there |= {row["ImgId"] for row in rows if row["column"] == name}
                    _refuse_unknown(wanted, there | values_as_read(database, name, kind, wanted).keys())
            changed = _end(rows, name, set(wanted), datetime.now(UTC))
            if changed:
                commit.replace(TABLE, pa.Table.from_pylist(rows, schema=CORRECTIONS))
    return CorrectionReport(name, changed, len(wanted) - changed)


def _set(rows: list[Row], column: str, value: str, read: Mapping[int, str | None]) -> int:
    """Make each image of ``read``, what was read of it, show ``value``; returns how many showed another one.

    A correction to what was read is an undo.
    """
    shown = {row["ImgId"]: row["to"] for row in rows if row["column"] == column and row["undone"] is None}
    changed = [img_id for img_id, before in read.items() if shown.get(img_id, before) != value]
    now = datetime.now(UTC)
    _end(rows, column, set(changed), now)
    rows += [
        {"ImgId": img_id, "column": column, "from": read[img_id], "to": value, "at": now, "undone": None}
        for img_id in sorted(changed)
        if read[img_id] != value
    ]
    return len(changed)


def _end(rows: Iterable[Row], column: str, ids: set[int], now: datetime) -> int:
    """End the corrections of ``column`` that are in force for ``ids``, and return how many there were."""
    ended = [row for row in rows if row["undone"] is None and row["column"] == column and row["ImgId"] in ids]
    for row in ended:
        row["undone"] = now
    return len(ended)


def _label(state: State) -> str:
    return str(state.settings.get("label", recipe_named(state.collection).label))


def _checked_ids(ids: NDArray[Any]) -> list[int]:
    if not len(ids):
        raise InputError("got no ImgId: name the images whose label is to change")
    return list(dict.fromkeys(ids.tolist()))


def _checked_values(to: str | Sequence[str]) -> list[str]:
    """The values without blanks around them.

    Raises
    ------
    InputError
        When there is none, or one is empty, too long or has control characters.
    """
    values = [to] if isinstance(to, str) else list(to)
    if not values or not all(isinstance(value, str) and value.strip() for value in values):
        raise InputError(f"got {to!r} as the corrected value, expected text that is not empty")
    control = [value for value in values if any(unicodedata.category(letter) == "Cc" for letter in value.strip())]
    if control:
        raise InputError(f"got {control[0][:80]!r} as the corrected value, expected text without control characters")
    longest = max(map(len, values))
    if longest > LONGEST:
        raise InputError(f"got a corrected value of {longest:,} characters, expected {LONGEST:,} at most")
    return [value.strip() for value in values]


def _refuse_unknown(wanted: Sequence[int], known: Iterable[int]) -> None:
    unknown = sorted(set(wanted).difference(known))
    if unknown:
        more = ", …" if len(unknown) > NAMED else ""
        raise InputError(
            f"the view `collection` has no image with ImgId {', '.join(map(str, unknown[:NAMED]))}{more}: nothing was "
            'changed; see `featurestore sql "SELECT ImgId FROM collection"`'
        )
