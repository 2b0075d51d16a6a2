"""Runs a user's SQL in a process with hard limits: what runs there, for `isolated`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from featurestore import arrow
from featurestore.catalog.database import Database
from featurestore.catalog.failing import Failure
from featurestore.errors import InputError
from featurestore.storage.layout import Layout
from featurestore.storage.names import quote_name
from featurestore.storage.remote import is_remote, objects_at
from featurestore.storage.state import parse_state

# The state that was asked last, and its database: the next question is often about the same.
_last: tuple[tuple[str, bytes], Database] | None = None


def rows(location: str, record: bytes, query: str, parameters: object) -> Iterator[bytes]:
    """The result of a query over the state with that ``record`` as a stream of Arrow's IPC format."""
    with _database(location, record).batches(query, parameters) as reader:
        yield from arrow.as_stream(reader)


def try_view(location: str, record: bytes, name: str, query: str) -> Iterator[str]:
    """See `isolated.try_view`: one record with the number of rows."""
    objects, state = objects_at(location), parse_state(record, location)
    with Database(Layout(objects, state), objects.root, locked=True, failures={}) as database:
        database.check(query, stored=True)
        database.explain(query)
        before = database.failing_views()
    # Views are created in order: one can't depend on itself, or on a later one.
    trial = state.next(views={**state.views, name: query})
    with Database(Layout(objects, trial), objects.root, locked=True, failures={}) as database:
        for other, failure in database.failing_views().items():
            if other == name or other not in before:
                raise InputError(
                    f"the view {name!r} can't be replaced so, others or itself depend on it ({other!r} would fail: "
                    f"{failure.reason})"
                )
        yield json.dumps({"rows": _count(database, name)})


def views(location: str, record: bytes, given: Mapping[str, Any]) -> Iterator[str]:
    """A record for each user's view: why it can't be bound; ``given`` are known to fail, and not bound again."""
    known = {name: Failure(**failure) for name, failure in given.items()}
    objects, state = objects_at(location), parse_state(record, location)
    with Database(Layout(objects, state), objects.root, locked=True, failures=known) as database:
        for name, failure in database.each_view():
            yield json.dumps({"view": name, "failure": failure and asdict(failure)})


def _database(location: str, record: bytes) -> Database:
    global _last
    # A store at an address is opened anew: the keys to it, which are in the environment, may have changed.
    if _last is None or _last[0] != (location, record) or is_remote(location):
        if _last is not None:
            _last[1].close()
        objects = objects_at(location)
        layout = Layout(objects, parse_state(record, location))
        _last = (location, record), Database(layout, objects.root, locked=True, failures={})
    return _last[1]


def _count(database: Database, name: str) -> int:
    """The number of rows of the view ``name``, which must have at most one row per image."""
    view = quote_name(name)
    empty = database.query(f"FROM {view} LIMIT 0")
    if "ImgId" not in empty.column_names:
        raise InputError(f"the view {name!r} has no column ImgId (it has: {', '.join(empty.column_names)}): select it")
    kind = empty.schema.field("ImgId").type
    if not pa.types.is_integer(kind):
        raise InputError(f"the view {name!r} gives ImgId as {kind}, expected whole numbers: cast it to INTEGER")
    counts = database.query(
        f"SELECT count(*) AS n, count(DISTINCT {quote_name('ImgId')}) AS ids FROM {view}"
    ).to_pylist()[0]
    if counts["n"] != counts["ids"]:
        raise InputError(
            f"the view {name!r} yields {counts['n']} rows for {counts['ids']} ids: select one row per image"
        )
    return int(counts["n"])
