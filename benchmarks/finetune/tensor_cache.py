"""A cache of one tensor for each image, named by the hash of the image's bytes, in a folder of safetensors files."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from featurestore.errors import InputError
from featurestore.files import atomic_file, make_folder


@dataclass(frozen=True)
class CachedTensors:
    """Tensors of equal shape, mapped from disk: only what `take` asks for is read."""

    tensors: Sequence[torch.Tensor]

    def __len__(self) -> int:
        return len(self.tensors)

    def take(self, rows: NDArray[np.int64] | torch.Tensor) -> torch.Tensor:
        """``(len(rows), *shape)``, a copy in memory."""
        return torch.stack([self.tensors[int(row)] for row in rows])


class TensorCache:
    """The tensors in ``folder``; each batch is one file, which is written atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tensors: dict[str, torch.Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                self._open(path)
            except (SafetensorError, OSError):
                continue  # cut short by a full disk or by hand: computed again, and replaced then

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def add(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write a batch: a reader sees all of it or nothing, also after a crash.

        Raises
        ------
        InputError
            When the folder can't be written.
        """
        # The same batch has the same file name: two processes that compute it end with one file.
        digest = hashlib.sha256("".join(sorted(tensors)).encode()).hexdigest()[:32]
        path = self.folder / f"{digest}.safetensors"
        try:
            make_folder(self.folder)
            with atomic_file(path) as file:
                file.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
            self._open(path)
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"the cache {str(self.folder)!r} can't be written ({error}): make room there, or allow writing"
            ) from error

    def rows(self, names: Sequence[str]) -> CachedTensors:
        """The tensors of these names, which must all be there."""
        return CachedTensors([self._tensors[name] for name in names])

    def _open(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            names = file.keys()
            self._tensors |= {name: file.get_tensor(name) for name in names}
