"""Users' views that can't be made: each fails alone, where it is used, and says why; `catalog` makes those that can.

A placeholder has the name of such a view, so that it stays in SHOW TABLES; its comment in the catalog says what failed.
"""

import json
import shlex
from dataclasses import asdict, dataclass

import duckdb

from featurestore.catalog.duckdb_errors import shortened
from featurestore.errors import QueryError
from featurestore.storage.names import misnamed, quote_name, quote_text
from featurestore.storage.state import State


@dataclass(frozen=True)
class Failure:
    """Why a view can't be made: ``reason`` is that of the view ``cause``, itself or one that it stands on."""

    cause: str
    reason: str

    def sentence(self, name: str) -> str:
        """What to tell whoever uses the view ``name``."""
        on = "" if name == self.cause else f"it stands on the view {self.cause!r}, and "
        text = (
            f"the view {name!r} can't be used ({on}{self.reason}): make {self.cause!r} anew with `featurestore view "
            f"create {shlex.quote(self.cause)} --sql FILE --replace`, or `featurestore view remove {shlex.quote(name)}`"
        )
        return str(QueryError(text))  # short, and without what moves a cursor: it is printed too, not only raised


class FailingView(QueryError):
    """A query uses the view ``name``, which can't be made."""

    def __init__(self, name: str, failure: Failure) -> None:
        super().__init__(failure.sentence(name))
        self.failure = failure


def put_placeholder(connection: duckdb.DuckDBPyConnection, name: str, failure: Failure) -> None:
    """Create the view ``name`` as one that fails with ``failure`` whatever is asked of it."""
    failure = Failure(failure.cause, shortened(failure.reason, 600))
    fails = f"error({quote_text(failure.sentence(name))})"
    connection.execute(f"CREATE VIEW {quote_name(name)} AS SELECT {fails}::INTEGER AS ImgId WHERE {fails} IS NULL")
    connection.execute(f"COMMENT ON VIEW {quote_name(name)} IS {quote_text(json.dumps(asdict(failure)))}")


def list_views(connection: duckdb.DuckDBPyConnection) -> dict[str, Failure | None]:
    """Every view of the store that ``connection`` has, in lower case, and why it fails if it is a placeholder."""
    rows = connection.execute("SELECT lower(view_name), comment FROM duckdb_views() WHERE NOT internal").fetchall()
    return {name: None if comment is None else Failure(**json.loads(comment)) for name, comment in rows}


def failing_views(connection: duckdb.DuckDBPyConnection, state: State) -> dict[str, Failure]:
    """Why users' views of ``state`` can't be used, in the order of the state; ``connection`` has the views of it."""
    made = list_views(connection)
    wrong = misnamed(state.tables, state.revisions, state.views)
    failures = {name: Failure(name, wrong[name]) if name in wrong else made.get(name) for name in state.views}
    return {name: failure for name, failure in failures.items() if failure is not None}
