"""ShownStore: the store that one explorer shows, what it may do with it, and its images in a fixed order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.explore.page.images import Thumbnails
from featurestore.explore.page.server import PageError
from featurestore.features.image_index import image_index
from featurestore.features.selection import find_sorted

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

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
    """

    store: "Explorer"
    read_only: bool
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    lock: Any = field(default_factory=RLock)

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
                self.store.refresh()


def has_table(store: "Explorer", name: str, schema: pa.Schema) -> bool:
    """Whether the store has the explorer's table ``name``; one of another program may have that name."""
    return name in store.state.tables and store.layout.schema(name).equals(schema)


def image_ids(store: "Explorer") -> NDArray[np.int32]:
    """The ids ``(n,)`` of all usable images, ascending: columns and masks of the page are in this order."""
    return image_index(store).ids


def places_of(store: "Explorer", ids: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each of ``ids`` its place in `image_ids`, and whether it is there."""
    return find_sorted(image_ids(store), ids)
