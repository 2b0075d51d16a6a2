"""Wraps a Python callable of the user as a backbone; it checks the record and the result, not the callable itself."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone, BackboneSpec, Preprocessing
from featurestore.backbones.records import store_name
from featurestore.errors import BackboneError
from featurestore.files import file_hash


@dataclass(frozen=True, eq=False)
class CallableBackbone:
    """A user's function together with its `BackboneSpec`."""

    spec: BackboneSpec
    function: Callable[[NDArray[Any]], Any]

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """``(n, height, width, 3)`` → ``(n, embed_dim)`` float32.

        NaN and infinite values are accepted here: the store later rejects those rows by name and keeps the others.

        Raises
        ------
        BackboneError
            When the function returns anything but ``(n, embed_dim)`` floats.
        """
        return checked(self.function(images), self.spec, len(images))


def from_callable(
    function: Callable[[NDArray[Any]], Any],
    *,
    name: str,
    revision: str,
    embed_dim: int,
    preprocessing: Preprocessing | None = None,
    weights: str | Path | Sequence[str | Path] = (),
    synthetic: bool = False,
) -> Backbone:
    """Make a backbone of ``function``, which maps ``(n, height, width, 3)`` images to ``(n, embed_dim)`` floats.

    Parameters
    ----------
    name
        The name in the store, a lower-case identifier.
    revision
        Change it whenever the function's vectors change, so that old and new vectors are never mixed.
    embed_dim
        Length of an embedding.
    preprocessing
        The input that the function expects; 224 × 224 float32 RGB in [0, 1] when None.
    weights
        The file or files of the function's weights: their hashes become part of the revision, so that other weights
        are never taken for these.
    synthetic
        Whether the function's weights are random or made up.

    Raises
    ------
    BackboneError
        When the name is not an identifier, the revision is empty, the dimension is not positive, or a file of weights
        is missing.

    Examples
    --------
    >>> mean_colour = from_callable(lambda images: images.mean((1, 2)), name="mean_colour", revision="1", embed_dim=3)
    >>> mean_colour.embed(np.ones((2, 224, 224, 3), np.float32)).shape
    (2, 3)
    """
    if not callable(function):
        raise BackboneError(f"got a {type(function).__name__} as the backbone {name!r}, expected a function of images")
    if not revision.strip():
        raise BackboneError(f"the backbone {name!r} has an empty revision: set one, and change it with the vectors")
    if embed_dim < 1:
        raise BackboneError(f"the backbone {name!r} has embed_dim={embed_dim}, expected 1 or more")
    files = [Path(one) for one in ([weights] if isinstance(weights, str | Path) else weights)]
    spec = BackboneSpec(
        name=store_name(name),
        embed_dim=embed_dim,
        preprocessing=preprocessing or Preprocessing(),
        weights=_identity(name, revision, files),
        source=f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}",
        synthetic=synthetic,
    )
    return CallableBackbone(spec, function)


def _identity(name: str, revision: str, files: Sequence[Path]) -> str:
    """What identifies the weights: the declared revision, and the hashes of their files in the order given."""
    if not files:
        return f"callable-{revision}"
    for path in files:
        if not path.is_file():
            raise BackboneError(f"the backbone {name!r} has its weights in {str(path)!r}, which is not a file")
    lines = [revision, *(file_hash(path) for path in files)]
    return f"sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def checked(vectors: Any, spec: BackboneSpec, count: int) -> NDArray[np.float32]:
    """Return ``vectors`` as C-contiguous ``(count, embed_dim)`` float32.

    Raises
    ------
    BackboneError
        When they have another shape, are ragged, or are not floats.
    """
    expected = (count, spec.embed_dim)
    try:
        array = np.asarray(vectors)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on another device
        raise BackboneError(
            f"the backbone {spec.name!r} did not return an array ({error}): expected {expected} floats"
        ) from error
    if array.shape != expected or array.dtype.kind != "f":
        raise BackboneError(
            f"the backbone {spec.name!r} returned {array.shape} {array.dtype}, expected {expected} float32: "
            "correct its embed_dim or its function"
        )
    return np.ascontiguousarray(array, np.float32)
