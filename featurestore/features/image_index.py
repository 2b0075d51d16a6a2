"""An in-memory index of the images of an open store's state, so that rows are selected without another query."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.features.places import Places, find_vectors

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader


@dataclass(frozen=True)
class ImageIndex:
    """The usable images of one state; each backbone in use takes another 8 bytes per image.

    Parameters
    ----------
    ids
        ``(n,)`` int32, ascending.
    hashes
        ``(n,)`` strings: the content hash of each image, empty for one without a file.
    synthetic, made_up
        Whether any image is synthetic, and the backbones whose weights are.
    places
        The known locations of the vectors of each backbone: see `find_places`.
    """

    ids: NDArray[np.int32]
    hashes: pa.Array
    synthetic: bool
    made_up: frozenset[str]
    places: dict[str, Places] = field(default_factory=dict)

    def is_synthetic(self, backbones: Collection[str]) -> bool:
        """Whether any image, or the weights of any of ``backbones``, are synthetic."""
        return self.synthetic or not self.made_up.isdisjoint(backbones)

    def groups(self, images: NDArray[np.intp]) -> NDArray[np.int64]:
        """For each of ``images`` the smallest `ImgId` among them with the same content, its own if it has no file."""
        ids = self.ids[images].astype(np.int64)
        hashes = self.hashes.take(arrow.from_numpy(images))
        encoded = hashes.dictionary_encode()
        if len(encoded.dictionary) == len(ids):
            return ids
        codes = arrow.to_numpy(encoded.indices)
        smallest = np.full(len(encoded.dictionary), np.iinfo(np.int64).max)
        np.minimum.at(smallest, codes, ids)
        return np.where(arrow.to_numpy(pc.binary_length(hashes)) == 0, ids, smallest[codes])


def image_index(reader: "Reader") -> ImageIndex:
    """The index of the state of ``reader``; computed once and cached."""
    return reader.remember("image index", lambda: _index(reader))


def _index(reader: "Reader") -> ImageIndex:
    # Not ORDER BY: it takes as much memory again, and the rows are stored in this order.
    images = reader.query("SELECT ImgId, content_hash FROM images_usable WHERE ImgId IS NOT NULL")
    images = images.combine_chunks()  # a copy: DuckDB's buffers take more memory
    ids, hashes = arrow.to_numpy(images["ImgId"]), arrow.one_chunk(images["content_hash"])
    if not (np.diff(ids) > 0).all():  # another program has added rows
        order = np.argsort(ids)
        ids, hashes = ids[order], hashes.take(arrow.from_numpy(order))
    return ImageIndex(ids, hashes, reader.synthetic, _made_up(reader))


def find_places(reader: "Reader", index: ImageIndex, backbone: str, images: NDArray[np.intp]) -> Places:
    """The locations of the vectors of ``backbone`` for ``images``, which are indices into ``index``.

    Only parts that may hold one, by their range of ids, are fetched and read; the result is cached. Results of earlier
    calls are not changed.
    """
    places = index.places.get(backbone)
    if places is None:
        places = Places.unknown(reader.path, reader.layout.embedding_parts(backbone), len(index.ids))
    if numbers := places.unread(index.ids[images]):
        reader.layout.fetch([places.parts[number] for number in numbers])
        places = find_vectors(places, numbers, index.ids, index.hashes)
        index.places[backbone] = places
    return places


def _made_up(reader: "Reader") -> frozenset[str]:
    rows = reader.query("SELECT backbone, revision FROM backbones WHERE synthetic").to_pylist()
    return frozenset(row["backbone"] for row in rows if reader.state.revisions.get(row["backbone"]) == row["revision"])
