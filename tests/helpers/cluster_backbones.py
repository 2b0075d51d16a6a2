"""Backbones that workers of a cluster load from this file, as ``python:…/cluster_backbones.py:NAME``."""

import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore import from_callable

PIXELS = 16


def blocks(images: NDArray[Any]) -> NDArray[np.float32]:
    """Block means of the image."""
    means: NDArray[np.float32] = images.reshape(len(images), 4, 56, 4, 56, 3).mean(axis=(2, 4))
    return means.reshape(len(images), -1)


def slow_blocks(images: NDArray[Any]) -> NDArray[np.float32]:
    """The same, in no less than the time that is asked for."""
    time.sleep(float(os.environ.get("SLOW_BLOCKS_SECONDS", "0.05")))
    return blocks(images)


plain = from_callable(blocks, name="blocks", revision="1", embed_dim=48)
slow = from_callable(slow_blocks, name="slow_blocks", revision="1", embed_dim=48)
