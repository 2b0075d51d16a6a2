"""Decodes images on threads, ahead of the model, and groups them into batches that are ready for a forward pass."""

import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.backbones.passes import Prepared, pass_images, prepare
from featurestore.collections.address import ImageAddress
from featurestore.collections.images import load_pixels
from featurestore.embedding.plan import PLACE
from featurestore.errors import ImageError


@dataclass
class Decoded:
    """The decoded images of one batch.

    Parameters
    ----------
    hashes, names
        The content hash and the name of each of ``images``.
    images
        ``(height, width, 3)`` uint8 each; empty in what `ready` yields.
    failed
        The content hash, the name and the reason of each image that could not be decoded.
    """

    hashes: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    failed: list[tuple[str, str, str]] = field(default_factory=list)


def ready(
    rows: pa.Table, spec: BackboneSpec, *, batch_size: int, workers: int | None
) -> Generator[tuple[Decoded, Prepared]]:
    """The `batches` of ``rows`` and their inputs, each prepared on a thread while the caller works on the one before.

    Parameters
    ----------
    batch_size
        Images per forward pass, unless the spec says how many.
    """
    decoded = batches(rows, spec.preprocessing, pass_images(spec, batch_size), workers)
    with closing(decoded), ThreadPoolExecutor(1, "prepare") as pool:  # the thread ends first
        pending = pool.submit(_next, decoded, spec, batch_size)
        while (one := pending.result()) is not None:
            pending = pool.submit(_next, decoded, spec, batch_size)
            yield one


def _next(decoded: Iterator[Decoded], spec: BackboneSpec, batch_size: int) -> tuple[Decoded, Prepared] | None:
    """The next batch and its inputs; its images are then freed. None at the end."""
    batch = next(decoded, None)
    if batch is None:
        return None
    prepared = prepare(spec, batch.images, batch_size=batch_size)
    batch.images.clear()
    return batch, prepared


def batches(rows: pa.Table, preprocessing: Preprocessing, batch_size: int, workers: int | None) -> Generator[Decoded]:
    """The images of ``rows`` (columns ``content_hash`` and those in `PLACE`) in batches of ``batch_size``, or fewer."""
    pool = ThreadPoolExecutor(workers or os.cpu_count(), "decode")
    try:
        batch = Decoded()
        for digest, name, future in _ahead(pool, rows, preprocessing, window=3 * batch_size):
            try:
                batch.images.append(future.result())
                batch.hashes.append(digest)
                batch.names.append(name)
            except ImageError as error:
                batch.failed.append((digest, name, str(error)))
            if len(batch.images) == batch_size:
                yield batch
                batch = Decoded()
        if batch.images or batch.failed:
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)  # after an error nobody waits for the images ahead


def _ahead(
    pool: ThreadPoolExecutor, rows: pa.Table, how: Preprocessing, *, window: int
) -> Iterator[tuple[str, str, "Future[Any]"]]:
    """Decode in order, at most ``window`` images ahead, so that memory does not grow with the number of images."""
    pending: deque[tuple[str, str, Future[Any]]] = deque()
    for batch in rows.to_batches(max_chunksize=window):
        columns = (batch[name].to_pylist() for name in ("content_hash", *PLACE))
        for digest, name, *place in zip(*columns, strict=True):
            address = ImageAddress.of(*place)
            image = pool.submit(load_pixels, address, how, sha256=digest)
            pending.append((digest, name, image))
            if len(pending) > window:
                yield pending.popleft()
    yield from pending
