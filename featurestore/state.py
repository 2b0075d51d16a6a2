"""The state of a store: one small record that maps each table to a version, swapped atomically on disk."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from featurestore.errors import IntegrityError, StoreError, StoreNotFound
from featurestore.files import open_file

STATE_FILE = "state.json"
FORMAT = 1


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
    """

    number: int = 0
    tables: Mapping[str, int] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=lambda: {"top_genres": 4})
    views: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """``NUMBER-HASH``: names this state in lineage."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.number}-{digest[:12]}"

    def to_json(self) -> str:
        """One JSON object; views keep their order, since one may stand on earlier ones."""
        return json.dumps({"format": FORMAT, "id": self.id, **asdict(self)}, indent=1) + "\n"

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
        record.pop("created_at", None)  # a snapshot's
        written = record.pop("id", None)
        if version == FORMAT:
            state = _checked(State(**record))
            if written not in (None, state.id):
                raise ValueError(f"it is not the state {written}")
            return state
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise IntegrityError(f"{where} is damaged: it is not a state record; restore it from a copy") from error
    raise StoreError(f"{where} has format {version}, this version reads {FORMAT}: upgrade the package")


def _checked(state: State) -> State:
    """Refuse fields of other types, which would fail anywhere later."""
    kinds = {"tables": int, "revisions": str, "settings": int, "views": str}
    if type(state.number) is not int or "top_genres" not in state.settings:
        raise ValueError("number or settings are missing")
    for name, kind in kinds.items():
        for key, value in getattr(state, name).items():
            if type(key) is not str or type(value) is not kind:
                raise ValueError(f"{name} holds {key!r}: {value!r}")
    return state


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
        with open_file(path) as file:
            return parse_state(file.read().decode("utf-8"), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFound(
            f"there is no store in {str(root)!r}: make one with `featurestore ingest`, or name another with --store"
        ) from None
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} is damaged: it is not text; restore it from a copy") from error
    except OSError as error:
        raise StoreError(f"{path} can't be read ({error.strerror}): make the store's folder readable") from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader, or a crash, sees the old bytes or the new, never a mix."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
