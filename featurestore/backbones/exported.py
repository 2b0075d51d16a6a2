"""Programs of torch.export (``torch:FILE.pt2``) as backbones: input, pooling, precision; `pt2` reads and runs them."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.base import Backbone, BackboneSpec, Preprocessing
from featurestore.backbones.pt2.archive import read
from featurestore.backbones.pt2.program import Program, program
from featurestore.backbones.records import BackboneRecord, LoadOptions, check_weights
from featurestore.backbones.signature import ImageInput, preprocessing_of
from featurestore.backbones.torch_threads import cpu_has_bf16, single_threads
from featurestore.errors import BackboneError, reason
from featurestore.files import file_hash

POOLINGS = ("cls", "mean", "cls+mean", "pooler")
# Images of a pass where the program refuses a single one.
PASS = 8


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """Load ``torch:FILE.pt2``.

    Raises
    ------
    BackboneError
        When the file is missing or no program of torch.export, doesn't take images, or returns no vectors.
    """
    path = options.target
    if path is None or not path.is_file():
        raise BackboneError(f"there is no file {str(path or '')!r}: name a .pt2 file, as torch.export.save writes it")
    if path.suffix != ".pt2":
        raise BackboneError(
            f"{str(path)!r} is not a .pt2 file: in Python, load the model, call model.eval(), then "
            "torch.export.save(torch.export.export(model, (images,)), 'FILE.pt2')"
        )
    if options.pooling not in (None, *POOLINGS):
        raise BackboneError(f"got the pooling {options.pooling!r}, expected one of {', '.join(POOLINGS)}")
    weights = f"sha256:{file_hash(path)}"
    check_weights(path, weights, expected=options.expected_weights)
    torch = import_extra("torch", "torch", needed_by="a program of torch.export")
    _check_precision(options.precision, torch)
    run = _program(path, torch)
    how = _preprocessing(path, run, options)
    size = 1 if run.smallest == 1 else min(max(PASS, run.smallest), run.largest or PASS)
    backbone = ExportedBackbone(run, how, options, torch)
    grey = how.apply([np.full((how.height, how.width, 3), 128, np.uint8)] * size)
    backbone.spec = BackboneSpec(
        name=options.name,
        embed_dim=_length(path, backbone, grey),
        preprocessing=how,
        weights=weights,
        source=path.name,
        options=_chosen(options),
        synthetic=options.synthetic,
        libraries={"torch": torch.__version__},
        precision="float32" if options.precision == "fp32" else "bfloat16",
        pass_size=size,
    )
    return backbone


class ExportedBackbone:
    """Runs a program on one image in each of several threads, or on whole passes where it wants several images."""

    spec: BackboneSpec

    def __init__(self, run: Program, how: Preprocessing, options: LoadOptions, torch: Any) -> None:
        self._run, self._torch, self._pooling = run, torch, options.pooling
        self._channels_last = how.layout == "NHWC"
        self._autocast = options.precision == "bf16"
        self._pool: ThreadPoolExecutor | None = None
        if run.smallest == 1:
            self._pool = single_threads(torch, options.threads)

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """``(n, height, width, 3)`` or ``(n, 3, height, width)`` → ``(n, embed_dim)`` float32."""
        if self._pool is None:
            return self.one_pass(images)
        return np.concatenate(list(self._pool.map(self.one_pass, np.split(images, len(images)))))

    def one_pass(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """One call of the program."""
        torch = self._torch
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            found = self._run(torch.from_numpy(images))
            vectors = pooled(found, self._pooling, torch, channels_last=self._channels_last)
            return np.asarray(vectors.float().numpy(), np.float32)


def pooled(found: Mapping[str, Any], pooling: str | None, torch: Any, *, channels_last: bool = False) -> Any:
    """The vectors ``(n, d)`` in what a program returned.

    Parameters
    ----------
    found
        Its outputs by name: vectors ``(n, d)``, tokens ``(n, t, d)`` whose first is that of the class, or maps
        ``(n, d, h, w)``.
    pooling
        ``cls``: the first token. ``mean``: of all tokens, or of the map. ``cls+mean``: the first token, then the mean
        of the others. ``pooler``: the vectors among several outputs. None: the only output, which must be vectors.
    channels_last
        Whether maps are ``(n, h, w, d)``.

    Raises
    ------
    BackboneError
        When there is no such output, or more than one.
    """
    places = (1, 2) if channels_last else (2, 3)
    found = {
        name: one.flatten(1) if one.ndim == 4 and all(one.shape[axis] == 1 for axis in places) else one
        for name, one in found.items()
        if one.is_floating_point()
    }
    ranks = {"cls": (3,), "cls+mean": (3,), "mean": (3, 4)}.get(pooling or "", (2,))
    held = {name: one for name, one in found.items() if one.ndim in ranks}
    if len(held) != 1 or (pooling is None and len(found) != 1):
        shapes = ", ".join(f"{name} {tuple(one.shape)}" for name, one in list(found.items())[:5])
        asked = f"from which --pooling {pooling} makes no vector" if pooling else "expected one vector for each image"
        ready = len(found) == 1 and all(one.ndim == 2 for one in found.values())
        choose = "leave --pooling out" if ready else f"choose --pooling {', '.join(POOLINGS)}"
        raise BackboneError(
            f"the program returns the outputs {shapes}, {asked}: {choose}, or export a model that returns one vector "
            "for each image"
        )
    (values,) = held.values()
    if pooling == "cls":
        return values[:, 0]
    if pooling == "cls+mean":
        return torch.cat([values[:, 0], values[:, 1:].mean(1)], 1)
    if pooling == "mean":
        return values.mean(1 if values.ndim == 3 else places)
    return values


def _check_precision(precision: str, torch: Any) -> None:
    if precision not in ("fp32", "bf16"):
        raise BackboneError(
            f"got the precision {precision!r} for a program of torch.export, expected fp32 or bf16: int8 is for "
            "SavedModel and Keras models"
        )
    if precision == "bf16" and not cpu_has_bf16(torch):
        raise BackboneError("this processor does not compute in bf16: leave --precision out")


def _program(path: Path, torch: Any) -> Program:
    archive = read(path, torch)
    try:
        return program(archive, torch)
    except BackboneError as error:
        raise BackboneError(f"{str(path)!r}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise BackboneError(
            f"{str(path)!r} is not a program that torch.export wrote ({reason(error)[:120]}): save it again"
        ) from error


def _preprocessing(path: Path, run: Program, options: LoadOptions) -> Preprocessing:
    """What the program's input requires, with the changes of the user; a free side is as long as in the export."""
    shape = tuple(None if free else length for length, free in zip(run.shape, run.free, strict=True))
    found = ImageInput((None, *shape[1:]), run.dtype)
    high, wide = ImageInput(run.shape, run.dtype).sides(found.layout) if found.layout else (None, None)
    base = Preprocessing(high, wide) if high and wide else None
    return preprocessing_of(found, options, path, base=base)


def _chosen(options: LoadOptions) -> dict[str, str]:
    chosen = {"pooling": options.pooling, "precision": None if options.precision == "fp32" else options.precision}
    return {name: value for name, value in chosen.items() if value is not None}


def _length(path: Path, backbone: ExportedBackbone, images: Any) -> int:
    """The length of a vector, as one pass gives it."""
    try:
        return int(backbone.one_pass(images).shape[1])
    except BackboneError as error:
        raise BackboneError(f"{str(path)!r}: {error}") from error
    except Exception as error:  # the graph is somebody else's: an operator may raise anything
        raise BackboneError(
            f"{str(path)!r} can't embed an image ({reason(error)[:120]}): export it again with images of this size"
        ) from error
