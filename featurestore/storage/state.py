"""The state of a store: one small record that maps each table to a version, swapped atomically on disk."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from featurestore.errors import IntegrityError, StoreError, StoreNotFound, reason
from featurestore.files import open_file
from featurestore.storage.names import check_recorded

STATE_FILE = "state.json"
# The second has digests; the first is read and, while a state has none, written.
FORMATS = (1, 2)
# Counts and versions of a record: what 63 bits hold, as the libraries behind take it.
MAX_COUNT = 2**63 - 1
# More than any collection has, and a number that SQL can hold.
MAX_GENRES = 1_000_000


@dataclass(frozen=True)
class State:
    """What a reader sees: all of a commit or none of it.

    Parameters
    ----------
    number
        Count of commits so far; 0 is the empty store.
    tables
        Delta version of each table.
    revisions
        For each backbone the revision that its views show.
    settings
        ``top_genres``: how many genres the view ``labeled`` keeps.
    views
        The SELECT of each view that a user made.
    digests
        For each table `parts.digest` of its parts at that version; empty of those that an older version wrote last.
    """

    number: int = 0
    tables: Mapping[str, int] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=lambda: {"top_genres": 4})
    views: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """``NUMBER-HASH``: names this state in lineage."""
        digest = hashlib.sha256(json.dumps(self._fields(), sort_keys=True).encode()).hexdigest()
        return f"{self.number}-{digest[:12]}"

    def to_json(self) -> str:
        """One JSON object; views keep their order, since one may stand on earlier ones."""
        version = FORMATS[1] if self.digests else FORMATS[0]
        return json.dumps({"format": version, "id": self.id, **self._fields()}, indent=1) + "\n"

    def _fields(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "digests" or value}

    def next(self, **changes: Any) -> "State":
        """The state after this one, with ``changes``."""
        return replace(self, number=self.number + 1, **changes)


def parse_state(text: str, where: str) -> State:
    """Read a state from its JSON.

    Raises
    ------
    IntegrityError
        When it is not a state record.
    StoreError
        When a newer version of this package wrote it.
    """
    try:
        record = json.loads(text)
        version = record.pop("format")
        if type(version) is not int:
            raise ValueError(f"its format is no number but a {type(version).__name__}")
        record.pop("created_at", None)  # a snapshot's
        written = record.pop("id", None)
        if version in FORMATS:
            state = _checked(State(**record), where)
            if written not in (None, state.id):
                raise ValueError(f"it is not the state {written}")
            return state
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise IntegrityError(
            f"{where} is damaged: it is not a state record ({reason(error)[:100]}); restore it from a copy"
        ) from error
    raise StoreError(f"{where} has format {str(version)[:20]}, this version reads {FORMATS[-1]}: upgrade the package")


def _checked(state: State, where: str) -> State:
    """Refuse fields of other types, numbers out of range and names of other places: they would fail anywhere later."""
    if not is_count(state.number) or "top_genres" not in state.settings:
        raise ValueError("number or settings are missing")
    if state.number and "images" not in state.tables:  # the first commit makes it; without it `gc` would keep nothing
        raise ValueError("it has no table images")
    for table, version in state.tables.items():
        check_recorded("table", table, where)
        if not is_count(version):
            raise ValueError(f"the version of {table} is {version!r}")
    for backbone, revision in state.revisions.items():
        check_recorded("backbone", backbone, where)
        check_recorded("revision", revision, where)
    for table, digest in state.digests.items():
        if table not in state.tables or type(digest) is not str:
            raise ValueError(f"the digest of {table} is {digest!r}")
    for setting, value in state.settings.items():
        if type(value) is not int or not 1 <= value <= MAX_GENRES:
            raise ValueError(f"the setting {setting} is {value!r}")
    for view, query in state.views.items():
        if type(query) is not str:
            raise ValueError(f"the view {view} has no query")
        f"{view}{query}".encode()  # raises ValueError for what is no text; a bad name or query fails alone
    return state


def is_count(value: object) -> TypeGuard[int]:
    """Whether a field of a record is a whole number that can count something."""
    return type(value) is int and 0 <= value <= MAX_COUNT


def read_state(root: Path) -> State:
    """The current state of the store in ``root``.

    Raises
    ------
    StoreNotFound
        When ``root`` holds no store.
    StoreError
        When it can't be read.
    """
    path = root / STATE_FILE
    try:
        return parse_state(read_record(path), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFound(
            f"there is no store in {str(root)!r}: make one with `featurestore ingest`, or name another with --store"
        ) from None


def read_record(path: Path) -> str:
    """The text of a state or a snapshot.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        When there is none.
    StoreError
        When it can't be read.
    """
    try:
        with open_file(path) as file:
            return file.read().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} is damaged: it is not text; restore it from a copy") from error
    except OSError as error:
        raise StoreError(f"{path} can't be read ({error.strerror}): make the store's folder readable") from error
