"""A backbone in a file, for tests: block means times the number in the file, computed by one of several "engines"."""

import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featurestore.backbones import records
from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.backbones.records import BackboneRecord, LoadOptions, check_weights
from featurestore.files import file_hash

RECORD = BackboneRecord(
    name="blocks",
    loader="made_backbones:load",
    description="blocks:FILE",
    takes_path=True,
    takes=frozenset({"tensor", "precision", "preprocessing"}),
)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``blocks:FILE`` a known backbone."""
    monkeypatch.setitem(records.RECORDS, "blocks", RECORD)


class Blocks:
    """Block means times a factor."""

    def __init__(self, spec: BackboneSpec, factor: float) -> None:
        self.spec = spec
        self.factor = np.float32(factor)

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, 16, 16, 3)`` → ``(n, 16)``."""
        return images.reshape(len(images), 4, 4, 4, 4, 3).mean(axis=(2, 4, 5)).reshape(len(images), 16) * self.factor


def load(record: BackboneRecord, options: LoadOptions) -> Any:
    """The engine is named by the environment, as an installed package would decide it."""
    path = options.target
    assert path is not None
    if not path.is_file():
        raise records.BackboneError(f"there is no file {str(path)!r}")
    weights = f"sha256:{file_hash(path)}"
    check_weights(path, weights, expected=options.expected_weights)
    tensor = 0 if options.tensor is None else options.tensor
    spec = BackboneSpec(
        name=options.name,
        embed_dim=16,
        preprocessing=options.preprocess(Preprocessing(16, 16)),
        weights=weights,
        source=path.name,
        options={"tensor": str(tensor)} | ({"precision": "bf16"} if options.precision == "bf16" else {}),
        synthetic=options.synthetic,
        libraries={os.environ.get("BLOCKS_ENGINE", "first"): "1.0"},
        device=os.environ.get("BLOCKS_DEVICE", "cpu"),
    )
    return Blocks(spec, float(path.read_text()) * (1 + int(tensor)))
