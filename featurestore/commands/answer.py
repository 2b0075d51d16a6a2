"""Answers a query of `sql` in a process with limits: runs it, formats the result, and writes nothing itself."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class AskedQuery:
    """A query over a store, and how its result is written.

    Parameters
    ----------
    form
        One of `formats.FORMS`.
    every, width
        Whether a table shows every row; how many characters its lines may have, None for all.
    """

    store: str
    snapshot: str | None
    query: str
    form: str
    every: bool
    width: int | None


def answer(asked: AskedQuery) -> Iterator[bytes | str]:
    """Yield the result piece by piece, and a note if a table does not show all of it."""
    from featurestore import FeatureStore
    from featurestore.commands.formats import FORMS, ROWS, first_and_last, shown_table, table_pieces

    with (
        FeatureStore.open(asked.store, snapshot=asked.snapshot) as opened,
        opened.batches(asked.query) as reader,
    ):
        if asked.form != "table":
            yield from FORMS[asked.form](reader)
        elif asked.every:
            yield from table_pieces(reader, most=None, width=asked.width)
        else:
            found = first_and_last(reader, ROWS)
            if found.count > ROWS:
                yield f"{ROWS} of {found.count:,} rows; --all shows every row"
            yield shown_table(found.table, most=ROWS, width=asked.width)
