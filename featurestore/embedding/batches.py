"""Images decoded on threads, ahead of the model that takes them in batches."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.backbones.base import Preprocessing
from featurestore.collections.images import load_image
from featurestore.errors import ImageError


def batches(
    rows: pa.Table, preprocessing: Preprocessing, batch_size: int, workers: int | None
) -> Iterator[tuple[list[str], list[str], NDArray[np.uint8], dict[str, str]]]:
    """Batches of decoded images: hashes, file names, ``(n, height, width, 3)`` uint8, and the files that failed."""
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        digests: list[str] = []
        names: list[str] = []
        images: list[NDArray[np.uint8]] = []
        failed: dict[str, str] = {}
        for digest, path, future in _ahead(pool, rows, preprocessing, window=3 * batch_size):
            try:
                images.append(future.result())
                digests.append(digest)
                names.append(path.name)
            except ImageError as error:
                failed[path.name] = str(error)
            if len(digests) == batch_size:
                yield digests, names, np.stack(images), failed
                digests, names, images, failed = [], [], [], {}
        if digests or failed:
            yield digests, names, np.stack(images) if images else np.empty((0, 0, 0, 3), np.uint8), failed


def _ahead(
    pool: ThreadPoolExecutor, rows: pa.Table, how: Preprocessing, *, window: int
) -> Iterator[tuple[str, Path, "Future[Any]"]]:
    """Decode at most ``window`` images ahead, in order: memory stays flat however many there are."""
    pending: deque[tuple[str, Path, Future[Any]]] = deque()
    for batch in rows.to_batches(max_chunksize=window):
        for digest, name in zip(batch["content_hash"].to_pylist(), batch["path"].to_pylist(), strict=True):
            path = Path(name)
            image = pool.submit(load_image, path, height=how.height, width=how.width, sha256=digest)
            pending.append((digest, path, image))
            if len(pending) > window:
                yield pending.popleft()
    yield from pending
