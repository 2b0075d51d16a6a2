"""ShownStore: the store that one explorer shows, what it may do with it, and its images in a fixed order."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.explore.page.images import Thumbnails
from featurestore.explore.page.messages import PageError
from featurestore.features.image_index import image_index
from featurestore.features.selection import find_sorted
from featurestore.storage.names import revision_of
from featurestore.storage.state import State

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

# What is remembered of images and vectors alone begins with one of these.
OF_VECTORS = (
    "addresses of images",
    "all points of ",
    "duplicates",
    "image index",
    "int8 copy of ",
    "model of ",
    "points of ",
    "search index of ",
)
# Seconds that a question of the page may take.
SECONDS = 10.0


@dataclass(frozen=True)
class ShownStore:
    """What the answers of one explorer share.

    Parameters
    ----------
    store
        Opened for the page alone: it is refreshed when the page is loaded.
    read_only
        Whether nothing may be changed: asked for, or since it is a snapshot.
    lock
        Held by one change, or one answer of another package, at a time; questions to the store need none.
    refreshing
        Held while the store is switched to a newer state, since several pages may be loaded at once.
    """

    store: "Explorer"
    read_only: bool
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    lock: Any = field(default_factory=RLock)
    refreshing: Any = field(default_factory=Lock)

    @contextmanager
    def changing(self) -> Iterator["Explorer"]:
        """The store for a block that changes it; the page then shows its newest state.

        Raises
        ------
        PageError
            When nothing may be changed.
        """
        if self.read_only:
            raise PageError(403, "this explorer only reads: start it without --read-only and without a snapshot")
        with self.lock:
            try:
                yield self.store
            finally:
                self.renew()

    def renew(self) -> None:
        """Show the newest state."""
        with self.refreshing:
            if self.store.is_outdated():
                _refresh(self.store)


def _refresh(store: "Explorer") -> None:
    """Switch to the newest state, with what is kept of images and vectors if these are still the same.

    A label that is corrected would else cost reading all vectors again.
    """
    before, kept = _vectors(store.state), dict(store.memo)
    store.refresh()
    if _vectors(store.state) == before:
        store.memo.update({name: value for name, value in kept.items() if name.startswith(OF_VECTORS)})


def _vectors(state: State) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The hashes of the tables that images and vectors are in, and the revisions that are shown."""
    tables = {
        name: digest for name, digest in state.tables.items() if name in ("images", "backbones") or revision_of(name)
    }
    return tables, dict(state.revisions)


def make_room(store: "Explorer", prefix: str, newest: str, *, most: int, size: Callable[[Any], int]) -> None:
    """Forget what is remembered under ``prefix``, the oldest first but not ``newest``, until the rest takes ``most``.

    An explorer may run for days: what is looked at once is not kept for good.
    """
    kept = {name: size(value) for name, value in dict(store.memo).items() if name.startswith(prefix)}
    for name in list(kept):
        if sum(kept.values()) <= most:
            return
        if name != prefix + newest:
            store.memo.pop(name, None)
            del kept[name]


def has_table(store: "Explorer", name: str, schema: pa.Schema) -> bool:
    """Whether the store has the explorer's table ``name``; one of another program may have that name."""
    return name in store.state.tables and store.layout.schema(name).equals(schema)


def image_ids(store: "Explorer") -> NDArray[np.int32]:
    """The ids ``(n,)`` of all usable images, ascending: columns and masks of the page are in this order."""
    return image_index(store).ids


def places_of(store: "Explorer", ids: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each of ``ids`` its place in `image_ids`, and whether it is there."""
    return find_sorted(image_ids(store), ids)
