"""Creates the views and macros that a query names, and those they depend on, in a DuckDB connection."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from featurestore.catalog.definitions import Definitions, Key, Own
from featurestore.catalog.duckdb_errors import shortened, words
from featurestore.catalog.failing import FailingView, Failure, placeholder
from featurestore.catalog.functions import ALLOWED_TABLES
from featurestore.catalog.guard import Readable, guard
from featurestore.catalog.parse import Named, named, parse
from featurestore.catalog.recipe import AS_STORED
from featurestore.catalog.scans import TableScan, create_scan
from featurestore.catalog.tangled import Extent, check_text, extent
from featurestore.errors import IntegrityError, QueryError
from featurestore.storage.names import quote_name, quote_text

REASON_LENGTH = 600


class ViewMaker:
    """Creates views in one connection, each once; for one thread at a time.

    Parameters
    ----------
    root
        The store's folder; None makes the paths of parts relative to it.
    judge
        Finds the users' views that can't be created, in a process with limits: binding one runs its constant calls. It
        is called before all of them are created; one that a query names is created without it.

    Attributes
    ----------
    failures
        For each requested user's view that can't be created, the reason; a placeholder view takes its name.
    broken
        For each view or macro of the store itself that can't be created, the reason: its tables are damaged, or were
        written by another version.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        definitions: Definitions,
        root: Path | None,
        *,
        judge: Callable[[], Mapping[str, Failure]] | None = None,
    ) -> None:
        self._connection = connection
        self._definitions = definitions
        self._root = root
        self._judge = judge
        self._known: Mapping[str, Failure] | None = None
        self._places = {name: place for place, name in enumerate(definitions.users)}
        self._texts: dict[str, Named] = {}
        self._trees: dict[str, Any] = {}
        self._needed: dict[Key, list[Key]] = {}
        self._extents: dict[str, Extent] = {}
        self._made: set[Key] = set()
        self.failures: dict[str, Failure] = {}
        self.broken: dict[Key, str] = {}

    @property
    def complete(self) -> bool:
        """Whether every view and macro was created."""
        return len(self._made) == len(self._definitions.own) + len(self._definitions.users)

    def make(self, wanted: Named) -> None:
        """Create what a query names, or everything if the query may show the catalog."""
        if not self.complete and (self._make(self._keys(wanted)) or self._looks_around(wanted)):
            self.make_all()

    def make_all(self) -> None:
        """Create every view and macro."""
        self._judge_users()
        self._make([*self._definitions.own, *(Key("view", name) for name in self._definitions.users)])

    def make_users(self) -> None:
        """Create every user's view."""
        self._judge_users()
        self._make(Key("view", name) for name in self._definitions.users)

    def make_user(self, name: str) -> Failure | None:
        """Create the user's view ``name``; returns why it can't be created."""
        self._judge_users()
        self._make([Key("view", name)])
        return self.failures.get(name)

    def _judge_users(self) -> None:
        """Find the users' views that fail, unless all of them were created."""
        if self._known is None and self._judge and not all(Key("view", name) in self._made for name in self._places):
            self._known = self._judge()

    def refuse(self, wanted: Named, *, placeholders: bool = False) -> None:
        """Refuse a query that names a view or macro that can't be created.

        Parameters
        ----------
        placeholders
            Allow users' views that can't be created: the query only needs their placeholders.

        Raises
        ------
        FailingView
            When it is a user's view.
        IntegrityError
            When it is a view or macro of the store.
        """
        for key in self._keys(wanted):
            if key in self.broken:
                raise IntegrityError(self.broken[key])
        for name in () if placeholders else wanted.tables:
            if name in self.failures and name not in wanted.parts:
                raise FailingView(name, self.failures[name])

    def _looks_around(self, wanted: Named) -> bool:
        """Whether a query may show the catalog, or reads something that does not belong to the store."""
        return (
            wanted.shows
            or wanted.elsewhere
            or not wanted.parts.union(self._definitions.readable.views).issuperset(wanted.tables)
            or not ALLOWED_TABLES.union(self._definitions.readable.table_macros).issuperset(wanted.table_functions)
        )

    def _keys(self, wanted: Named, *, before: int | None = None) -> list[Key]:
        """The views and macros that a query names; of the users' views only the first ``before``."""
        own, places = self._definitions.own, self._places
        limit = len(places) if before is None else before
        views = [
            Key("view", name) for name in wanted.tables if Key("view", name) in own or places.get(name, limit) < limit
        ]
        macros = [Key("macro", name) for name in sorted(wanted.functions | wanted.table_functions)]
        return views + [key for key in macros if key in own]

    def _make(self, keys: Iterable[Key]) -> bool:
        """Create ``keys`` and what they depend on; returns whether one of the created views shows the catalog."""
        shows = False
        left = list(keys)
        while left:
            key = left[-1]
            missing = [] if key in self._made else [need for need in self._needs(key) if need not in self._made]
            if missing:
                left += missing
                continue
            left.pop()
            if key not in self._made:
                shows |= self._create(key)
                self._made.add(key)
        return shows

    def _needs(self, key: Key) -> list[Key]:
        """The views and macros that ``key`` depends on."""
        if key not in self._needed:
            self._needed[key] = self._find_needs(key)
        return self._needed[key]

    def _find_needs(self, key: Key) -> list[Key]:
        found = self._definitions.own.get(key)
        if isinstance(found, TableScan):
            return [] if found.shown == AS_STORED else self._keys(self._named_in(found.shown), before=0)
        if isinstance(found, Own) and not found.is_query:
            return []
        if isinstance(found, Own):
            return self._keys(self._named_in(found.text).filled("backbone", found.backbone), before=0)
        tree = self._tree(key.name)
        return [] if isinstance(tree, QueryError) else self._keys(named(tree), before=self._places[key.name])

    def _named_in(self, text: str) -> Named:
        """What a built-in text names; that of a backbone names it in braces, so that it is parsed once for all."""
        if text not in self._texts:
            self._texts[text] = Named()
            with suppress(QueryError):  # creating it says why
                self._texts[text] = named(parse(self._connection, self._definitions.shape(text)))
        return self._texts[text]

    def _tree(self, view: str) -> Any:
        """The parse tree of a user's view, or the error if it can't be parsed."""
        if view not in self._trees:
            try:
                check_text(self._definitions.users[view])
                self._trees[view] = parse(self._connection, self._definitions.users[view])
            except QueryError as error:
                self._trees[view] = error
        return self._trees[view]

    def _create(self, key: Key) -> bool:
        found = self._definitions.own.get(key)
        if found is None:
            return self._create_users(key.name)
        stands_on_broken = [self.broken[need] for need in self._needs(key) if need in self.broken]
        try:
            if stands_on_broken:
                raise IntegrityError(stands_on_broken[0])
            if isinstance(found, TableScan):
                create_scan(self._connection, key.name, found, self._definitions.layout, self._root)
            else:
                if key.kind == "macro":
                    self._judge_macro(found)
                self._connection.execute(self._definitions.statement(found))
        except duckdb.TransactionException:
            raise
        except (duckdb.Error, IntegrityError, QueryError) as error:
            self._break(key, error)
        return False

    def _judge_macro(self, macro: Own) -> None:
        """Refuse a macro whose body does what no query may: a query that calls it is only checked for its name.

        Raises
        ------
        QueryError
            When its body is refused; another package may have brought it.
        """
        body = self._definitions.body(macro)
        tree = parse(self._connection, body if macro.is_query else f"SELECT {body}")
        guard(self._connection, tree, self._definitions.readable)

    def _break(self, key: Key, error: Exception) -> None:
        """Record why ``key`` can't be created; for a view, create one that fails with the reason, so it is listed."""
        why = f"the {key.kind} {key.name!r} can't be created ({words(error)}): "
        why += "another version of this package wrote it, or its tables are damaged; see `featurestore verify`"
        self.broken[key] = str(error) if isinstance(error, IntegrityError) else why
        if key.kind == "view":
            fails = f"error({quote_text(self.broken[key])})"
            self._connection.execute(
                f"CREATE OR REPLACE VIEW {quote_name(key.name)} AS SELECT {fails} AS ImgId WHERE {fails} IS NULL"
            )

    def _create_users(self, name: str) -> bool:
        """Create a user's view, or its placeholder; returns whether it shows the catalog."""
        tree = self._tree(name)
        try:
            if self._known and name in self._known:
                self._fail(name, self._known[name])
                return False
            if isinstance(tree, QueryError):
                raise tree
            # Checked again: the record may have been edited by hand.
            guard(self._connection, tree, self._readable_before(name), stored=True)
            self.refuse(named(tree))
            self._extents[name] = extent(tree, self._extents)
            self._connection.execute(f"CREATE OR REPLACE VIEW {quote_name(name)} AS {self._definitions.users[name]}")
        except FailingView as error:
            self._fail(name, error.failure)
        except (QueryError, IntegrityError) as error:
            self._fail(name, Failure(name, str(error)))
        except duckdb.Error as error:
            self._fail(name, Failure(name, words(error)))
        self._trees.pop(name)
        return not isinstance(tree, QueryError) and named(tree).shows

    def _fail(self, name: str, failure: Failure) -> None:
        failure = replace(failure, reason=shortened(failure.reason, REASON_LENGTH))
        self.failures[name] = failure
        self._connection.execute(f"CREATE OR REPLACE VIEW {quote_name(name)} AS {placeholder(name, failure)}")

    def _readable_before(self, view: str) -> Readable:
        """What a user's view may name: not itself, and no later user's view."""
        readable = self._definitions.readable
        later = {other for other, place in self._places.items() if place >= self._places[view]}
        return replace(readable, views=set(readable.views) - later)
