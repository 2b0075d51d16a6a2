"""What an open store keeps in memory of the images of its state, so that rows are picked without asking again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.catalog import release_unused
from featurestore.pull import Places, find_vectors

if TYPE_CHECKING:
    from featurestore.store import FeatureStore


@dataclass(frozen=True)
class ImageIndex:
    """The usable images of one state, about 16 bytes an image and 12 more for each backbone.

    Parameters
    ----------
    ids
        ``(n,)`` int32, ascending.
    content
        ``(n,)`` int32: equal for images of equal bytes; one without a file is like no other.
    synthetic, made_up
        Whether any image is made up, and the backbones whose weights are.
    places
        For each backbone that was asked for, where the vectors of the images lie.
    """

    state_id: str
    ids: NDArray[np.int32]
    content: NDArray[np.int32]
    synthetic: bool
    made_up: frozenset[str]
    places: dict[str, Places] = field(default_factory=dict)

    def groups(self, images: NDArray[np.intp]) -> NDArray[np.int64]:
        """For each of some images the smallest `ImgId` among them that has the same content."""
        ids, content = self.ids[images], self.content[images]
        different, group = np.unique(content, return_inverse=True)
        smallest = np.full(len(different), np.iinfo(np.int64).max)
        np.minimum.at(smallest, group, ids)
        return smallest[group]


_INDEX: "WeakKeyDictionary[FeatureStore, ImageIndex]" = WeakKeyDictionary()


def image_index(store: "FeatureStore", backbones: Sequence[str]) -> ImageIndex:
    """The index of the state that ``store`` sees, with ``backbones`` among its places; made once, then kept."""
    index = _INDEX.get(store)
    if index is not None and index.state_id != store.state.id:
        index = None
    new = [name for name in backbones if index is None or name not in index.places]
    if index is not None and not new:
        return index
    images = store.query("SELECT ImgId, content_hash FROM images_usable WHERE ImgId IS NOT NULL ORDER BY ImgId")
    hashes = arrow.one_chunk(images["content_hash"])
    if index is None:
        ids = arrow.to_numpy(images["ImgId"]).copy()  # DuckDB's own would keep the hashes in memory
        index = ImageIndex(store.state.id, ids, _content(hashes), store.synthetic, _made_up(store))
    for name in new:
        parts = store.layout.embedding_parts(name)
        index.places[name] = find_vectors(store.path / "embeddings", parts, index.ids, hashes)
    _INDEX[store] = index
    del images, hashes
    pa.default_memory_pool().release_unused()  # what finding them took: the matrix comes next
    release_unused(store.connection)
    return index


def _made_up(store: "FeatureStore") -> frozenset[str]:
    rows = store.query("SELECT backbone, revision FROM backbones WHERE synthetic").to_pylist()
    return frozenset(row["backbone"] for row in rows if store.state.revisions.get(row["backbone"]) == row["revision"])


def _content(hashes: pa.Array) -> NDArray[np.int32]:
    encoded = hashes.dictionary_encode()
    codes = arrow.to_numpy(encoded.indices).astype(np.int32)
    alone = np.flatnonzero(arrow.to_numpy(pc.binary_length(hashes)) == 0)
    codes[alone] = len(encoded.dictionary) + np.arange(len(alone))
    return codes
