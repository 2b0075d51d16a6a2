"""The largest forward pass that fits is found by halving, and said; a pass is never padded by more than it must."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.backbones import tfhub
from featurestore.backbones.memory import largest_pass
from featurestore.backbones.passes import pass_images
from featurestore.errors import BackboneError


class Device:
    """Fits ``images`` at a time."""

    def __init__(self, images: int) -> None:
        self.images = images
        self.tried: list[int] = []

    def attempt(self, size: int) -> None:
        """One forward pass."""
        self.tried.append(size)
        if size > self.images:
            raise MemoryError


def test_what_fits_at_once_is_taken() -> None:
    device = Device(300)
    assert largest_pass(device.attempt, out_of_memory=MemoryError) == 256
    assert device.tried == [256]


@pytest.mark.parametrize(("images", "size"), [(100, 64), (64, 64), (1, 1)])
def test_a_pass_is_halved_until_it_fits(images: int, size: int) -> None:
    assert largest_pass(Device(images).attempt, out_of_memory=MemoryError) == size


def test_a_model_that_does_not_fit_is_refused() -> None:
    device = Device(0)
    with pytest.raises(BackboneError, match="one image does not fit"):
        largest_pass(device.attempt, out_of_memory=MemoryError, first=5)
    assert device.tried == [5, 2, 1]


def test_other_errors_are_not_caught() -> None:
    with pytest.raises(ZeroDivisionError):
        largest_pass(lambda size: size // 0, out_of_memory=(MemoryError, OSError))


class Wide(CountingBackbone):
    """Takes ten images a pass, and records the size of each."""

    sizes: tuple[int, ...] = ()

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As that of every counting backbone."""
        self.sizes += (len(images),)
        return super().embed(images)


def test_decoding_fills_whole_passes(store: FeatureStore) -> None:
    backbone = Wide()
    backbone.spec = replace(backbone.spec, pass_size=10)
    assert [pass_images(backbone.spec, batch) for batch in (1, 10, 11)] == [10, 10, 20]
    assert store.embed(backbone, batch_size=4).computed == 24
    assert backbone.sizes == (10, 10, 10), "not six passes that are padded from four images each"


def test_tensorflow_takes_the_memory_of_each_gpu_as_it_needs_it() -> None:
    grown: list[str] = []

    def grow(device: str, enable: bool) -> None:
        if device == "second":
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        grown.append(f"{device} {enable}")

    experimental = SimpleNamespace(set_memory_growth=grow)
    config = SimpleNamespace(list_physical_devices=lambda kind: ["first", "second", "third"], experimental=experimental)
    tfhub._share_gpus(SimpleNamespace(config=config))
    assert grown == ["first True", "third True"]
