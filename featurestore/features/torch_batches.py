"""A torch dataset that reads batches of vectors from a store's parts; it needs torch, and no open store."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from featurestore.features.batches import VectorRows


class TorchBatches(IterableDataset[tuple[torch.Tensor, ...]]):
    """Batches ``(vectors, labels)`` of ``batch_rows`` rows, or ``(vectors,)`` if ``y`` is None; the last of fewer.

    Of ``n`` workers of a DataLoader each reads every ``n``-th batch, so that together they return all in order. Workers
    read parts, which never change, and run no query.
    """

    def __init__(self, vectors: "VectorRows", y: NDArray[np.int64] | None, batch_rows: int) -> None:
        self.vectors = vectors
        self.y = y
        self.batch_rows = batch_rows

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self.vectors.images) // self.batch_rows)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in range(first, len(self), step):
            start, end = number * self.batch_rows, (number + 1) * self.batch_rows
            matrices = self.vectors.read(start, end)
            X = matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1)
            arrays = [X] if self.y is None else [X, self.y[start:end]]
            yield tuple(map(torch.from_numpy, arrays))
