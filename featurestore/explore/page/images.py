"""Thumbnails and large images of the explorer as JPEG, kept in memory by the hash of the image's content."""

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featurestore.collections.address import ImageAddress
from featurestore.collections.images import scaled_jpeg
from featurestore.errors import ImageError, InputError
from featurestore.explore.page.messages import PageAnswer, PageError
from featurestore.features.image_index import image_index
from featurestore.storage.schemas import MAX_ID

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

THUMB, LARGE = 192, 1600
KEPT_BYTES = 64 * 2**20
# Addresses are looked up for so many images at once, and so many of these blocks are kept.
BLOCK, BLOCKS = 1024, 256


class Thumbnails:
    """The images of a store, each scaled once while it is kept; for any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0

    def answer(self, store: "Explorer", text: str, *, side: int) -> PageAnswer:
        """The image with the id ``text``, never cropped, that fits ``side`` × ``side`` pixels.

        Raises
        ------
        PageError
            When there is no such image, or its file can't be shown.
        """
        row = _address(store, image_id(text))
        if row is None or not row["source"]:
            raise PageError(404, f"the image {text} has no file")
        key = row["content_hash"], side
        with self._lock:
            found = self._made.get(key)
            if found is not None:
                self._made.move_to_end(key)
        if found is None:
            place = ImageAddress.of(row["source"], row["file"], row["member"])
            try:
                found = scaled_jpeg(place, width=side, height=side, sha256=row["content_hash"])
            except ImageError as error:
                raise PageError(404, f"the image {text} can't be shown: {error}") from error
            self._keep(key, found)
        return PageAnswer(found, "image/jpeg", cached=True)

    def _keep(self, key: tuple[str, int], content: bytes) -> None:
        with self._lock:
            if key not in self._made:
                self._made[key] = content
                self._bytes += len(content)
            while self._bytes > KEPT_BYTES and len(self._made) > 1:
                self._bytes -= len(self._made.popitem(last=False)[1])


def image_id(text: str) -> int:
    """The ImgId that an address names.

    Raises
    ------
    InputError
        When it is no whole number that an image can have.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID):
        raise InputError(f"got {text[:40]!r} as the ImgId of an image, expected a whole number from 0 to {MAX_ID}")
    return int(text)


def _address(store: "Explorer", img_id: int) -> dict[str, Any] | None:
    """Where the image lies, and the hash of its content; None if the store has no such image."""
    ids = image_index(store).ids
    place = int(np.searchsorted(ids, img_id))
    if place == len(ids) or ids[place] != img_id:
        return None
    blocks: OrderedDict[int, dict[int, dict[str, Any]]] = store.remember("addresses of images", OrderedDict)
    number = place // BLOCK
    block = blocks.get(number)
    if block is None:
        block = blocks[number] = _block(store, ids[number * BLOCK : (number + 1) * BLOCK])
        while len(blocks) > BLOCKS:
            blocks.popitem(last=False)
    return block.get(img_id)


def _block(store: "Explorer", ids: NDArray[np.int32]) -> dict[int, dict[str, Any]]:
    rows = store.query(
        "SELECT ImgId, content_hash, source, file, member FROM images "
        "WHERE ImgId BETWEEN ? AND ? AND status IN ('ok', 'external')",
        [int(ids[0]), int(ids[-1])],
    ).to_pylist()
    return {row["ImgId"]: row for row in rows}
