"""Answers a query of `sql` in a process with limits: runs it, formats the result, and writes nothing itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class AskedQuery:
    """A query over a store, and how its result is written.

    Parameters
    ----------
    form
        One of `formats.FORMS`.
    every, width
        Whether a table shows every row; how many characters its lines may have, None for all.
    exact
        Whether CSV has text as it is, also what a spreadsheet would take for a formula.
    """

    store: str
    snapshot: str | None
    query: str
    form: str
    every: bool
    width: int | None
    exact: bool = False


def _for_spreadsheets(reader: "pa.RecordBatchReader") -> Iterator[bytes | str]:
    """The result as CSV that no spreadsheet takes for a formula, and a note if that changed any cell."""
    from featurestore.commands.formats import FORMS
    from featurestore.spreadsheet import SafeCells, changed_note

    cells = SafeCells(reader)
    yield from FORMS["csv"](cells.reader())
    if cells.changed:
        yield changed_note(cells.changed)


def answer(asked: AskedQuery) -> Iterator[bytes | str]:
    """Yield the result piece by piece, and a note if a table does not show all of it."""
    from featurestore import FeatureStore
    from featurestore.commands.formats import FORMS, ROWS, first_and_last, shown_table, table_pieces

    with (
        FeatureStore.open(asked.store, snapshot=asked.snapshot) as opened,
        opened.batches(asked.query) as reader,
    ):
        if asked.form == "csv" and not asked.exact:
            yield from _for_spreadsheets(reader)
        elif asked.form != "table":
            yield from FORMS[asked.form](reader)
        elif asked.every:
            yield from table_pieces(reader, most=None, width=asked.width)
        else:
            found = first_and_last(reader, ROWS)
            if found.count > ROWS:
                yield f"{ROWS} of {found.count:,} rows; --all shows every row"
            yield shown_table(found.table, most=ROWS, width=asked.width)
