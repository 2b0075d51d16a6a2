"""The state of a store: the single record of its current tables, replaced atomically; it does not read tables."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard
from uuid import uuid4

from featurestore.errors import StoreError, StoreNotFound
from featurestore.storage.names import check_recorded, embeddings_key
from featurestore.storage.objects import Objects, Tag, objects_of
from featurestore.storage.records import CHECKSUM, RECORD_BYTES, damaged, from_record, read_record, to_record

STATE_FILE = "state.json"
FORMAT = 3
# Formats of early versions, whose tables were Delta Lake logs.
LOGGED_FORMATS = (1, 2)
# Maximum count in a record: 63 bits, as the libraries accept.
MAX_COUNT = 2**63 - 1
# The largest number in a setting, within the range of SQL integers.
MAX_SETTING = 1_000_000
# Random, changing with each commit or a time, so they are excluded from the hash of the content.
RANDOM = ("store", "commit", "earlier", "forgotten_at")
# Fields that are left out of a record while they are empty.
OPTIONAL = ("earlier", "forgotten_at")
# Maximum number of earlier commits that a state on an object store lists: far more than there are while one is put.
EARLIER = 100


@dataclass(frozen=True)
class State:
    """The content that a reader sees: all of a commit or none of it.

    Parameters
    ----------
    store
        32 random hex digits, chosen when the store is created; empty before.
    number
        Number of commits so far; 0 for the empty store.
    commit
        32 random hex digits, new for each commit.
    collection
        Name of the collection type, which defines how images and metadata become rows.
    settings
        Settings of the collection type: each a whole number from 1, a text, or a list of texts.
    revisions
        For each backbone, the revision that its views show.
    views
        The SELECT of each of the users' views.
    tables
        For each table the SHA-256 of its manifest. Each revision of a backbone is a table named by its folder.
    earlier
        On an object store the ``commit`` of the states before this one, the last first: a writer whose reply was lost
        looks for its own. Empty in a folder.
    forgotten_at
        When `forget` last removed images from this state, in ISO 8601 with the zone; empty if it never did.
    """

    store: str = ""
    number: int = 0
    commit: str = ""
    collection: str = "general"
    settings: Mapping[str, int | str | Sequence[str]] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    earlier: Sequence[str] = ()
    forgotten_at: str = ""

    @property
    def id(self) -> str:
        """``NUMBER-HASH``, the identifier of this state in lineage; equal content has an equal id in every store."""
        # Not `asdict`: it copies every name of every table, and each look at the record asks for the id.
        content = {name: value for name, value in vars(self).items() if name not in RANDOM}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{self.number}-{digest[:12]}"

    def fields(self) -> dict[str, Any]:
        """The fields of the record; views keep their order, since one may depend on earlier ones."""
        fields = {"format": FORMAT, "id": self.id, **asdict(self)}
        return {name: value for name, value in fields.items() if value or name not in OPTIONAL}

    def to_record(self) -> bytes:
        """The bytes of ``state.json``."""
        return to_record(self.fields())

    def next(self, **changes: Any) -> "State":
        """The state after this one, with ``changes``."""
        store, commit = self.store or uuid4().hex, uuid4().hex
        return replace(self, number=self.number + 1, store=store, commit=commit, earlier=(), **changes)


def parse_state(content: bytes, where: str) -> State:
    """Parse a state from its record; raises as `state_of`, and IntegrityError if the record is damaged."""
    if _is_logged(content):
        raise _logged(where)
    return state_of(from_record(content, where), where)


def state_of(fields: Mapping[str, Any], where: str) -> State:
    """The state with the ``fields`` of a record.

    Raises
    ------
    IntegrityError
        When it is not a state record.
    StoreError
        When a newer version of this package wrote it, or an early one with another format.
    """
    fields = dict(fields)
    version, written = fields.pop("format", None), fields.pop("id", None)
    if type(version) is int and version > FORMAT:
        raise StoreError(f"{where} has format {version}, this version reads {FORMAT}: upgrade the package")
    try:
        if version != FORMAT:
            raise ValueError(f"its format is {str(version)[:20]!r}")
        earlier = fields.pop("earlier", [])
        state = _checked(State(**fields, earlier=tuple(earlier) if type(earlier) is list else earlier), where)
        if written != state.id:
            raise ValueError(f"it is not the state {written}")
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(where, f"it is not a state record ({error})") from error
    return state


def _is_logged(content: bytes) -> bool:
    """Whether this is the state of an early version, which had no checksum."""
    try:
        fields = json.loads(content)
        return CHECKSUM not in fields and fields["format"] in LOGGED_FORMATS
    except (ValueError, TypeError, LookupError, RecursionError):
        return False


def _logged(where: str) -> StoreError:
    return StoreError(
        f"{where} was written before the first release, in a format that is no longer supported: create the store "
        "again with `featurestore ingest` and `embed` in another folder"
    )


def _checked(state: State, where: str) -> State:
    """Refuse fields with wrong types, numbers out of range and invalid names, which would fail later elsewhere."""
    if not is_count(state.number):
        raise ValueError("it has no number")
    if state.number and not (is_nonce(state.store) and is_nonce(state.commit)):
        raise ValueError("it does not name its store and commit")
    if type(state.earlier) is not tuple or not all(map(is_nonce, state.earlier)):
        raise ValueError("the commits before it are not a list of names")
    if state.number and "images" not in state.tables:  # the first commit creates it; without it `gc` would delete all
        raise ValueError("it has no table images")
    if state.forgotten_at != "":
        datetime.fromisoformat(state.forgotten_at)  # raises for anything else
    check_recorded("collection", state.collection, where)
    for table, manifest in state.tables.items():
        check_recorded("table", table, where)
        check_recorded("manifest", manifest, where)
    for backbone, revision in state.revisions.items():
        check_recorded("backbone", backbone, where)
        check_recorded("revision", revision, where)
        if embeddings_key(backbone, revision) not in state.tables:
            raise ValueError(f"it has no table of the vectors of {backbone!r}")
    for setting, value in state.settings.items():
        if not _is_setting(value):
            raise ValueError(f"the setting {setting} is {str(value)[:100]!r}")
    for view, query in state.views.items():
        if type(query) is not str:
            raise ValueError(f"the view {view} has no query")
        f"{view}{query}".encode()  # ValueError for invalid text; an invalid name or query only fails on use
    return state


def _is_setting(value: object) -> bool:
    if type(value) is int:
        return 1 <= value <= MAX_SETTING
    if type(value) is list:
        return all(type(item) is str and _is_setting(item) for item in value)
    return type(value) is str and "\0" not in value and bool(value.encode())


def is_nonce(value: object) -> bool:
    """Whether a field of a record is 32 hex digits."""
    return type(value) is str and len(value) == 32 and not value.strip("0123456789abcdef")


def is_count(value: object) -> TypeGuard[int]:
    """Whether a field of a record is a valid count: an integer from 0 to 2^63 - 1."""
    return type(value) is int and 0 <= value <= MAX_COUNT


def read_state(place: Path | Objects) -> State:
    """Read the current state of a store; ``place`` is its folder, or its files.

    Raises
    ------
    StoreNotFound
        When there is no store.
    StoreError
        When it can't be read.
    """
    objects = objects_of(place)
    try:
        return parse_state(read_record(objects, STATE_FILE), objects.where(STATE_FILE))
    except FileNotFoundError:
        raise _no_store(objects) from None


def read_tagged_state(objects: Objects) -> tuple[State, Tag]:
    """The current state of a store, and the tag of its record; raises as `read_state`."""
    try:
        content, tag = objects.load(STATE_FILE, limit=RECORD_BYTES)
    except FileNotFoundError:
        raise _no_store(objects) from None
    return parse_state(content, objects.where(STATE_FILE)), tag


def _no_store(objects: Objects) -> StoreNotFound:
    return StoreNotFound(
        f"there is no store in {objects.address!r}: make one with `featurestore ingest`, or name another with --store"
    )
