"""What an open store keeps in memory of the images of its state, so that rows are picked without asking again."""

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
    """The usable images of one state; for each backbone that was asked for, 8 bytes an image more.

    Parameters
    ----------
    ids
        ``(n,)`` int32, ascending.
    hashes
        ``(n,)`` strings: the content hash of each image, empty where it has no file.
    synthetic, made_up
        Whether any image is made up, and the backbones whose weights are.
    places
        Where the vectors of a backbone lie, as far as they were asked for: see `find_places`.
    """

    ids: NDArray[np.int32]
    hashes: pa.Array
    synthetic: bool
    made_up: frozenset[str]
    places: dict[str, Places] = field(default_factory=dict)

    def groups(self, images: NDArray[np.intp]) -> NDArray[np.int64]:
        """For each of some images the smallest `ImgId` among them that has the same content; without any its own."""
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
    """The index of the state that ``reader`` sees; made once, then kept."""
    return reader.remember("image index", lambda: _index(reader))


def _index(reader: "Reader") -> ImageIndex:
    images = reader.query("SELECT ImgId, content_hash FROM images_usable WHERE ImgId IS NOT NULL ORDER BY ImgId")
    images = images.combine_chunks()  # in memory of its own: DuckDB's buffers take more
    ids, hashes = arrow.to_numpy(images["ImgId"]), arrow.one_chunk(images["content_hash"])
    return ImageIndex(ids, hashes, reader.synthetic, _made_up(reader))


def find_places(reader: "Reader", index: ImageIndex, backbone: str, images: NDArray[np.intp]) -> Places:
    """Where the vectors of ``backbone`` lie of some images, by their numbers in ``index``.

    Only parts that may hold one, by their range of ids, are fetched and looked into; what they say is kept. The answer
    of an earlier call stays as it was.
    """
    places = index.places.get(backbone)
    if places is None:
        places = Places.unknown(reader.path, reader.layout.embedding_parts(backbone), len(index.ids))
    if numbers := places.unread(index.ids[images]):
        reader.layout.bring([places.parts[number] for number in numbers])
        places = find_vectors(places, numbers, index.ids, index.hashes)
        index.places[backbone] = places
    return places


def _made_up(reader: "Reader") -> frozenset[str]:
    rows = reader.query("SELECT backbone, revision FROM backbones WHERE synthetic").to_pylist()
    return frozenset(row["backbone"] for row in rows if reader.state.revisions.get(row["backbone"]) == row["revision"])
