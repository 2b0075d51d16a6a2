"""DuckDB: the only module that opens it. Builds the views of a state; it stores nothing itself."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from featurestore.catalog.duckdb_errors import interruptible, words
from featurestore.catalog.failing import FailingView, Failure, put_placeholder
from featurestore.catalog.guard import guard
from featurestore.catalog.sandbox import confine, lock_down
from featurestore.errors import InputError, IntegrityError, QueryError, reason
from featurestore.storage.layout import Layout
from featurestore.storage.names import quote_name, quote_text, well_named
from featurestore.storage.parts import Part, check_once
from featurestore.storage.schemas import EMBEDDINGS

SHELL_FILE = "store.duckdb"
# DuckDB does not look at checksums. Tables and backbones of up to so many bytes are compared with theirs before it
# reads them, which takes 40 ms; in larger ones a flipped bit is found by `verify` and by whatever pulls vectors.
CHECKED_BYTES = 64 * 2**20
# The column that tells the part that a vector lies in.
OF_PART = ", filename = 'part'"
# Types of the store's own tables: for these DuckDB need not be asked, which takes a connection.
OWN_TYPES = {
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.string(): "VARCHAR",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    EMBEDDINGS.field("embedding").type: "FLOAT[]",
}


@interruptible()
def connect(layout: Layout, root: Path, *, locked: bool = False) -> duckdb.DuckDBPyConnection:
    """An in-memory connection with the views of ``layout`` over the store in ``root``; it reads no file but the parts.

    Parameters
    ----------
    locked
        For text that a user typed: with a limit of memory, without temporary files, and no setting can be changed.
    """
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": False})
    home = root.resolve()
    try:
        # Before the first view: a user's view comes from whoever wrote the state, and is bound when it is created.
        confine(connection, [f"{home}/{table}/" for table in layout.tables], spills=not locked)
        connection.execute("SET errors_as_json = true")
        create_views(connection, layout, home)
        _create_users_views(connection, layout)
        connection.execute(f"SET errors_as_json = {'true' if locked else 'false'}")
        if locked:
            lock_down(connection)
    except duckdb.Error as error:
        raise IntegrityError(
            f"the store {str(root)!r} can't be read ({words(error)}): another version of this package "
            "wrote it, or its tables are damaged; see `featurestore verify`"
        ) from error
    return connection


@interruptible()
def write_shell_file(layout: Layout, root: Path) -> None:
    """Write ``store.duckdb``: the store's views for the ``duckdb`` shell started in ``root``; disposable.

    It has no views of users: a shell has no fences, and opens files that somebody else may have written.
    It is made anew and renamed into place, so nobody who has the old one open is disturbed.
    """
    temporary = root / f".{SHELL_FILE}.{os.getpid()}.tmp"
    log = temporary.with_name(f"{temporary.name}.wal")
    for path in (temporary, log):  # a log without its file would be replayed into the new one
        path.unlink(missing_ok=True)
    try:
        with (
            _without_comma(root.resolve()) as folder,
            duckdb.connect(str(temporary), config={"default_block_size": 16_384}) as connection,
        ):
            # The views name parts relative to the folder the shell is started in; here that is somewhere else.
            connection.execute(f"SET file_search_path = {quote_text(str(folder))}")
            _create_at_once(connection, layout)
            # Closing does it too, but keeps silent when the disk refuses: a file without views would take the place.
            connection.execute("CHECKPOINT")
        os.replace(temporary, root / SHELL_FILE)
    finally:
        for path in (temporary, log):
            path.unlink(missing_ok=True)


def _create_at_once(connection: duckdb.DuckDBPyConnection, layout: Layout) -> None:
    """All views in one transaction: else each is synced to disk by itself, half a second a commit on a busy disk."""
    connection.execute("BEGIN")
    try:
        create_views(connection, layout)
    except duckdb.TransactionException:  # a damaged part ended the transaction; one by one its view can say so
        connection.execute("ROLLBACK")
        create_views(connection, layout)
        return
    connection.execute("COMMIT")


@contextmanager
def _without_comma(folder: Path) -> Iterator[Path]:
    """``folder``, or a link to it: to DuckDB, a comma in a search path is the end of one and the start of another."""
    if "," not in str(folder):
        yield folder
        return
    with TemporaryDirectory() as place:
        link = Path(place, "store")
        link.symlink_to(folder, target_is_directory=True)
        yield link


def create_views(connection: duckdb.DuckDBPyConnection, layout: Layout, root: Path | None = None) -> None:
    """Create a view for each table, then the views and macros of ``sql/``; without ``root`` its paths are relative."""
    for table in layout.tables:
        _create_scan(connection, table, layout, root)
    views = files("featurestore").joinpath("catalog/sql/views.sql").read_text("utf-8")
    labeled = views.index("CREATE OR REPLACE VIEW labeled")
    connection.execute(views[:labeled])
    connection.execute(files("featurestore").joinpath("catalog/sql/macros.sql").read_text("utf-8"))
    connection.execute(views[labeled:].format(**layout.state.settings))
    for backbone in layout.state.revisions:
        _create_embedding_views(connection, layout, backbone, root)


def _create_users_views(connection: duckdb.DuckDBPyConnection, layout: Layout) -> None:
    """The views that users made, in the order in which they made them: one may stand on earlier ones.

    One that can't be made fails alone: a placeholder takes its place.
    """
    state = layout.state
    for name in well_named(state.tables, state.revisions, state.views):
        query = state.views[name]
        try:
            guard(connection, query, stored=True)  # again: the record may have been edited by hand
            connection.execute(f"CREATE VIEW {quote_name(name)} AS {query}")
        except FailingView as error:
            put_placeholder(connection, name, error.failure)
        except QueryError as error:
            put_placeholder(connection, name, Failure(name, str(error)))
        except duckdb.Error as error:
            put_placeholder(connection, name, Failure(name, words(error)))


def _create_embedding_views(
    connection: duckdb.DuckDBPyConnection, layout: Layout, backbone: str, root: Path | None
) -> None:
    """``embeddings_NAME`` (current images only, current revision only) and ``labeled_NAME``."""
    scan, embeddings, labeled = (quote_name(f"{what}_{backbone}") for what in ("_parts", "embeddings", "labeled"))
    _create_scan(connection, "embeddings", layout, root, backbone=backbone)
    connection.execute(
        f"CREATE VIEW {embeddings} AS "
        f"SELECT e.ImgId, e.embedding::FLOAT[{layout.dim(backbone)}] AS embedding FROM {scan} AS e "
        # A vector shows only beside the bytes it was made from; an imported one names no bytes.
        "JOIN images AS i ON i.ImgId = e.ImgId AND e.content_hash IN (i.content_hash, '') WHERE i.status <> 'broken'"
    )
    # The k nearest images of one image, in SQL alone: FROM similar_NAME(ImgId, k).
    connection.execute(
        f"CREATE MACRO {quote_name(f'similar_{backbone}')}(img_id, k) AS TABLE "
        f"SELECT o.ImgId, array_cosine_similarity(q.embedding, o.embedding) AS score FROM {embeddings} AS q, "
        f"{embeddings} AS o WHERE q.ImgId = img_id AND o.ImgId <> img_id ORDER BY score DESC, o.ImgId LIMIT k"
    )
    connection.execute(
        f"CREATE VIEW {labeled} AS SELECT l.*, e.embedding FROM labeled AS l JOIN {embeddings} AS e "
        "ON e.ImgId = l.ImgId ORDER BY l.ImgId"
    )


def _create_scan(
    connection: duckdb.DuckDBPyConnection, table: str, layout: Layout, root: Path | None, *, backbone: str = ""
) -> None:
    """The view of one table; a damaged one fails when it is read, so that the others stay readable."""
    name = quote_name(f"_parts_{backbone}" if backbone else table)
    try:
        groups = _groups(layout, table, backbone)
        parts = [part for _, some in groups for part in some]
        if root is not None:
            layout.bring(parts)
        if root is not None and sum(part.size_bytes for part in parts) <= CHECKED_BYTES:
            for part in parts:
                check_once(part, root)
        query = _scan(groups, _scanned(table, layout.schema(table)), "" if root is None else f"{root}/")
        connection.execute(f"CREATE VIEW {name} AS {query}")
    except (duckdb.Error, IntegrityError, OSError) as error:
        why = quote_text(f"a part of {table} is damaged, see `featurestore verify`: {words(error)}")
        schema = _scanned(table, _schema_or_none(layout, table))
        connection.execute(f"CREATE VIEW {name} AS {_failing(schema, why)}")


def _groups(layout: Layout, table: str, backbone: str) -> list[tuple[tuple[str, ...], list[Part]]]:
    """The parts to scan, together those whose rows have the same backbone and revision; other tables have neither."""
    if table != "embeddings":
        return [((), layout.parts(table))]
    revisions = [(backbone, layout.state.revisions[backbone])] if backbone else layout.revisions()
    return [(key, layout.revision_parts(*key)) for key in revisions]


def _schema_or_none(layout: Layout, table: str) -> pa.Schema:
    """The columns of ``table``; of one whose manifest is damaged nothing is known."""
    try:
        return layout.schema(table)
    except IntegrityError:
        return pa.schema([("damaged", pa.string())])


def _scan(groups: Sequence[tuple[tuple[str, ...], Sequence[Part]]], schema: pa.Schema, prefix: str) -> str:
    """The SELECT of the rows of parts; those of embeddings also tell backbone, revision, and the part they lie in.

    These come from the state, not from the path as DuckDB reads it: a folder above may be called ``backbone=x``.
    """
    scans = []
    for key, parts in groups:
        paths = ", ".join(quote_text(f"{prefix}{part.path}") for part in parts)
        columns = zip(key, ("backbone", "revision"), strict=False)
        more = "".join(f", {quote_text(value)} AS {column}" for value, column in columns)
        if parts:
            of_part = OF_PART if key else ""
            scans.append(f"SELECT *{more} FROM read_parquet([{paths}], hive_partitioning = false{of_part})")
    return " UNION ALL ".join(scans) or _empty(schema)


def _scanned(table: str, schema: pa.Schema) -> pa.Schema:
    """The columns of the view of ``table``."""
    return schema.append(pa.field("part", pa.string())) if table == "embeddings" else schema


def _empty(schema: pa.Schema) -> str:
    """A SELECT without rows that has the columns of ``schema``."""
    return f"SELECT {_columns('NULL', schema)} WHERE false"


def _failing(schema: pa.Schema, why: str) -> str:
    """A SELECT with the columns of ``schema`` that fails whatever is asked of it.

    Each column must fail too: of a constant one, such as NULL, DuckDB concludes that a join over it is empty, and never
    evaluates the condition.
    """
    return f"SELECT {_columns(f'error({why})', schema)} WHERE error({why}) IS NULL"


def _columns(value: str, schema: pa.Schema) -> str:
    return ", ".join(f"{value}::{_sql_type_or_text(field.type)} AS {quote_name(field.name)}" for field in schema)


def _sql_type_or_text(kind: pa.DataType) -> str:
    """A column that an older version let in, of a type that no view can have, leaves the other tables readable."""
    try:
        return sql_type(kind)
    except InputError:
        return "VARCHAR"


@cache
def sql_type(kind: pa.DataType) -> str:
    """What DuckDB calls the type ``kind`` of an Arrow column.

    Raises
    ------
    InputError
        When it has none for it.
    """
    if kind in OWN_TYPES:
        return OWN_TYPES[kind]
    try:
        with duckdb.connect(":memory:") as connection:
            connection.register("empty", pa.schema([("x", kind)]).empty_table())
            [(_, name, *_)] = connection.execute("DESCRIBE empty").fetchall()
            connection.execute(f"SELECT NULL::{name} AS x WHERE false")
    except (duckdb.Error, pa.ArrowException) as error:
        raise InputError(f"DuckDB has no type for {kind} ({reason(error)})") from error
    return str(name)


@interruptible()
def run_query(connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> pa.Table:
    """Run ``query`` and fetch its result.

    Raises
    ------
    QueryError
        With DuckDB's own words, when the query can't be run.
    """
    try:
        result = connection.sql(query, params=parameters)
        return pa.table({}) if result is None else result.to_arrow_table()
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {words(error)}") from error


def release_unused(connection: duckdb.DuckDBPyConnection) -> None:
    """Give back to the system what earlier queries took: DuckDB keeps it for the next, twice the result and more."""
    [(threads,)] = connection.sql("SELECT current_setting('threads')").fetchall()
    # Starting its threads anew is what makes it do so; the memory limit would too, but it can be read rounded only.
    connection.execute(f"SET threads = {threads + 1}")
    connection.execute(f"SET threads = {threads}")
