"""Reads all records of a store (state, snapshots, manifests), and lists the files that they refer to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from featurestore.errors import IntegrityError, StoreError
from featurestore.storage.manifest import manifest_path, read_manifest
from featurestore.storage.objects import Objects, objects_of
from featurestore.storage.parts import Part
from featurestore.storage.snapshot import read_snapshot, snapshot_names, snapshot_path
from featurestore.storage.state import STATE_FILE, State, read_state


@dataclass(frozen=True)
class Records:
    """The contents of a store's records.

    Parameters
    ----------
    states
        The current state and those of all snapshots, by the path of their record relative to the store.
    parts
        Every referenced part by its path relative to the store, with the tables that refer to it.
    manifests
        The paths of their manifests, relative to the store.
    damaged
        The records that can't be read, by path relative to the store, each with the reason.
    """

    states: Mapping[str, State] = field(default_factory=dict)
    parts: Mapping[str, tuple[Part, set[str]]] = field(default_factory=dict)
    manifests: set[str] = field(default_factory=set)
    damaged: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of records."""
        return len({*self.states, *self.manifests, *self.damaged})

    @property
    def referenced(self) -> set[str]:
        """The paths of all files that a state refers to."""
        return {*self.parts, *self.manifests}


def read_records(place: Path | Objects) -> Records:
    """Read every record of a store; damaged ones are listed, and the others are still read.

    Raises
    ------
    StoreNotFound
        When there is no store.
    """
    states: dict[str, State] = {}
    damaged: dict[str, str] = {}
    parts: dict[str, tuple[Part, set[str]]] = {}
    manifests: set[tuple[str, str]] = set()  # two empty tables may share one
    objects = objects_of(place)
    try:
        states[STATE_FILE] = read_state(objects)
    except IntegrityError as error:
        damaged[STATE_FILE] = str(error)
    for name in snapshot_names(objects):
        try:
            states[snapshot_path(name)] = read_snapshot(objects, name)[1]
        except StoreError as error:
            damaged[snapshot_path(name)] = str(error)
        except FileNotFoundError:
            if name in snapshot_names(objects):  # not removed meanwhile, but a dangling link
                damaged[snapshot_path(name)] = (
                    f"{objects.where(snapshot_path(name))} is a link to a file that is missing"
                )
    for state in states.values():
        manifests |= {(name, table) for table, name in state.tables.items()}
    for name, table in sorted(manifests):
        try:
            for part in read_manifest(objects, table, name).parts:
                parts.setdefault(part.path, (part, set()))[1].add(table)
        except IntegrityError as error:
            damaged[manifest_path(name)] = str(error)
    return Records(states, dict(sorted(parts.items())), {manifest_path(name) for name, _ in manifests}, damaged)


def trusted_records(objects: Objects) -> Records:
    """`read_records`, but a damaged record is an error.

    Raises
    ------
    IntegrityError
        When a record is damaged: the files that it refers to are then unknown.
    """
    records = read_records(objects)
    if records.damaged:
        raise IntegrityError(
            "nothing was removed, it is unknown which files are still needed: of the store's records "
            f"{len(records.damaged)} can't be trusted, the first is {objects.where(min(records.damaged))}; see "
            "`featurestore verify` and `featurestore repair`"
        )
    return records
