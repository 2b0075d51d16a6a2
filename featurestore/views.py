"""Feature views that users make: a SELECT under a name, part of the state and so of every snapshot."""

from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.catalog import connect, run_query
from featurestore.errors import FeatureStoreError, InputError
from featurestore.layout import read_layout
from featurestore.names import check_identifier, check_names, quote_name
from featurestore.sandbox import guard
from featurestore.state import read_state
from featurestore.writer import open_writer


def create(root: Path, name: str, query: str, *, replace: bool = False, wait_seconds: float = 0.0) -> int:
    """Make the view ``name`` of ``query``, one SELECT over the store's views, and return its number of rows.

    Raises
    ------
    InputError
        When the name is taken or no lower-case identifier, or the view yields no `ImgId` or one more than once.
    QueryError
        When the query is refused or fails.
    """
    check_identifier(name, "view")
    text = query.strip().rstrip(";").strip()
    read_state(root)
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"view {name}") as writer:
        mine = name in writer.state.views
        if mine and not replace:
            raise InputError(f"there is a view {name!r} already: use --replace, or another name")
        check_names(writer.state.tables, writer.state.revisions, [*writer.state.views, name])
        with connect(read_layout(root, writer.state), root) as connection:
            guard(connection, text)
            run_query(connection, f"SELECT * FROM ({text}\n) LIMIT 0")
        # Views are made in their order: one that stands on itself, or on a later one, would lock everybody out.
        trial = writer.state.next(views={**writer.state.views, name: text})
        try:
            connection = connect(read_layout(root, trial), root)
        except FeatureStoreError as error:
            raise InputError(
                f"the view {name!r} can't be made so, others stand on it or it on itself ({error})"
            ) from error
        with connection:
            rows = _check(connection, name)
        with writer.commit() as commit:
            commit.set_view(name, text)
    return rows


def remove(root: Path, name: str, *, wait_seconds: float = 0.0) -> None:
    """Remove a view that a user made.

    Raises
    ------
    InputError
        When there is none, or another view stands on it.
    """
    read_state(root)
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"remove view {name}") as writer:
        if name not in writer.state.views:
            have = ", ".join(writer.state.views) or "none"
            raise InputError(f"there is no view {name!r} of your own (there are: {have})")
        rest = {other: query for other, query in writer.state.views.items() if other != name}
        trial = writer.state.next(views=rest)
        try:
            connect(read_layout(root, trial), root).close()
        except FeatureStoreError as error:
            raise InputError(f"the view {name!r} can't be removed, another stands on it ({error})") from error
        with writer.commit() as commit:
            commit.set_view(name, None)


def _check(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    """The number of rows of the view ``name``, which must have one an image."""
    view = quote_name(name)
    empty = run_query(connection, f"FROM {view} LIMIT 0")
    if "ImgId" not in empty.column_names:
        raise InputError(
            f"the view {name!r} has no column ImgId (it has: {', '.join(empty.column_names)}): a feature view needs one"
        )
    kind = empty.schema.field("ImgId").type
    if not pa.types.is_integer(kind):
        raise InputError(f"the view {name!r} gives ImgId as {kind}, expected whole numbers: cast it to INTEGER")
    counts = run_query(
        connection, f"SELECT count(*) AS n, count(DISTINCT {quote_name('ImgId')}) AS ids FROM {view}"
    ).to_pylist()[0]
    if counts["n"] != counts["ids"]:
        raise InputError(
            f"the view {name!r} yields {counts['n']} rows for {counts['ids']} ids: a feature view has one row an image"
        )
    return int(counts["n"])
