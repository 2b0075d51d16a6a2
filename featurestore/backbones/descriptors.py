"""Hand-crafted descriptors of the whole image, the classical baseline: colour, texture and structure, no weights.

Blocks, in this order:

* colour histograms: hue (weighted by chroma), saturation and value on a 4 × 3 grid, and a joint HSV histogram of the
  whole (Swain and Ballard, Color indexing, IJCV 1991);
* colour moments: mean and standard deviation of the opponent colours on the grid (Stricker and Orengo, SPIE 1995);
* texture: uniform local binary patterns at two radii in three bands (Ojala, Pietikäinen and Mäenpää, PAMI 2002);
* structure: energies of log-Gabor filters, 4 scales × 6 orientations, on a 4 × 4 grid (after the GIST of Oliva and
  Torralba, IJCV 2001), and histograms of oriented gradients in 8 × 6 cells (Dalal and Triggs, CVPR 2005).

Histograms sum to one and are then square-rooted, so that a dot product is the Hellinger affinity.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.base import Backbone, BackboneSpec, Preprocessing
from featurestore.backbones.records import BackboneRecord, LoadOptions
from featurestore.errors import BackboneError

# Increase the number whenever a vector changes: it is the revision that distinguishes old vectors from new ones.
VERSION = "descriptors-1"
HEIGHT, WIDTH = 268, 182
ROWS, COLUMNS = 4, 3
HUES, LEVELS = 12, 6
JOINT = (8, 3, 3)
# Points, radius, and the factor by which the image is downsampled first.
PATTERNS = ((8, 1, 1), (16, 2, 2))
BANDS = 3
SIDE, SCALES, ORIENTATIONS, GIST_GRID = 64, 4, 6, 4
CELLS, GRADIENTS = (8, 6), 9

Floats = NDArray[np.float64]
# Columns: red-green, yellow-blue, lightness.
OPPONENT = np.array([[1, 1, 1], [-1, 1, 1], [0, -2, 1]]) / np.sqrt([2, 6, 3])


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """The backbone `descriptors`; it needs scikit-image and nothing else."""
    import_extra("skimage", "embed", needed_by="the backbone descriptors")
    return Descriptors(options.name, threads=options.threads or os.cpu_count() or 1)


class Descriptors:
    """Computes the descriptor of each image independently: a vector does not depend on its batch."""

    def __init__(self, name: str = "descriptors", *, threads: int = 1) -> None:
        blank = describe(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        self.spec = BackboneSpec(
            name=name,
            embed_dim=len(blank),
            preprocessing=Preprocessing(HEIGHT, WIDTH, "byte"),
            weights=VERSION,
            source="computed, no weights",
            licence="Apache-2.0",
            libraries={"scikit-image": version("scikit-image"), "numpy": np.__version__},
            pass_size=1,
        )
        self._pool = ThreadPoolExecutor(threads)

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(n, 268, 182, 3)`` uint8 RGB → ``(n, embed_dim)`` float32.

        Raises
        ------
        BackboneError
            When the images have another shape or type.
        """
        if images.shape[1:] != (HEIGHT, WIDTH, 3) or images.dtype != np.uint8:
            raise BackboneError(
                f"the descriptors got images {images.shape} of {images.dtype}, expected (n, {HEIGHT}, {WIDTH}, 3) of "
                "uint8: apply the preprocessing of the backbone's spec first"
            )
        vectors = np.empty((len(images), self.spec.embed_dim), np.float32)
        for row, vector in enumerate(self._pool.map(describe, images)):
            vectors[row] = vector
        return vectors


def describe(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The descriptor of one ``(268, 182, 3)`` uint8 RGB image, ``(embed_dim,)`` float32, finite for any image."""
    pillow: Any = import_extra("PIL.Image", "embed", needed_by="the backbone descriptors")
    picture = pillow.fromarray(image)
    grey = picture.convert("L")
    hsv = np.asarray(picture.convert("HSV"))
    blocks = [*_histograms(hsv), _moments(image), *_textures(grey), _gist(grey), _gradients(grey)]
    return np.concatenate(blocks).astype(np.float32)


@lru_cache(maxsize=1)
def _cell_index() -> NDArray[np.intp]:
    """For each pixel the number of its cell in the grid, row by row."""
    row = np.arange(HEIGHT) * ROWS // HEIGHT
    column = np.arange(WIDTH) * COLUMNS // WIDTH
    return row[:, None] * COLUMNS + column[None, :]


def _rooted(counts: Floats) -> Floats:
    """Histograms along the last axis, each scaled to sum to one and square-rooted; an empty one stays zero."""
    totals = counts.sum(-1, keepdims=True)
    return np.sqrt(np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0))


def _per_cell(bins: NDArray[np.intp], count: int, weights: Floats | None = None) -> Floats:
    """A histogram of ``bins`` in each cell of the grid, ``(cells, count)``."""
    flat = np.bincount(
        (_cell_index() * count + bins).ravel(), None if weights is None else weights.ravel(), ROWS * COLUMNS * count
    )
    return flat.reshape(-1, count).astype(float)


def _histograms(hsv: NDArray[np.uint8]) -> list[Floats]:
    hue, saturation, value = np.moveaxis(hsv.astype(np.intp), -1, 0)
    chroma = saturation * value / 255.0**2  # the hue of a grey or black pixel is noise
    hues = _per_cell(hue * HUES // 256, HUES, chroma)
    strength = np.sqrt(hues.sum(-1, keepdims=True) / (HEIGHT * WIDTH / (ROWS * COLUMNS)))
    joint = np.ravel_multi_index([p * n // 256 for p, n in zip((hue, saturation, value), JOINT, strict=True)], JOINT)
    return [
        (_rooted(hues) * strength).ravel(),
        _rooted(_per_cell(saturation * LEVELS // 256, LEVELS)).ravel(),
        _rooted(_per_cell(value * LEVELS // 256, LEVELS)).ravel(),
        _rooted(np.bincount(joint.ravel(), minlength=int(np.prod(JOINT))).astype(float)),
    ]


def _moments(image: NDArray[np.uint8]) -> Floats:
    """Mean and deviation of the opponent colours (van de Sande, Gevers and Snoek, PAMI 2010) in each cell."""
    opponent = (image.reshape(-1, 3) / 255.0) @ OPPONENT
    cells = _cell_index().ravel()
    size = np.bincount(cells)[:, None]
    mean = np.stack([np.bincount(cells, plane) for plane in opponent.T], 1) / size
    square = np.stack([np.bincount(cells, plane**2) for plane in opponent.T], 1) / size
    return np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0))], 1).ravel()


def _textures(grey: Any) -> list[Floats]:
    feature: Any = import_extra("skimage.feature", "embed", needed_by="the backbone descriptors")
    blocks = []
    # Half the time of a vector, but it releases the GIL: in NumPy this is faster on one thread and slower on four.
    for points, radius, shrink in PATTERNS:
        small = np.asarray(grey.reduce(shrink))
        codes = feature.local_binary_pattern(small, points, radius, "uniform").astype(np.intp)
        for band in np.array_split(codes, BANDS):
            blocks.append(_rooted(np.bincount(band.ravel(), minlength=points + 2).astype(float)))
    return blocks


@lru_cache(maxsize=1)
def _filters() -> Floats:
    """Log-Gabor filters in the frequency plane, ``(scales × orientations, SIDE, SIDE)``."""
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1.0
    angle = np.arctan2(fy, fx)
    bank = []
    for scale in range(SCALES):
        radial = np.exp(-(np.log(radius / (0.3 / 2**scale)) ** 2) / (2 * np.log(0.65) ** 2))
        radial[0, 0] = 0.0
        for k in range(ORIENTATIONS):
            turn = np.angle(np.exp(1j * (angle - np.pi * k / ORIENTATIONS)))
            bank.append(radial * np.exp(-(turn**2) / (2 * (np.pi / ORIENTATIONS / 1.2) ** 2)))
    return np.stack(bank)


def _gist(grey: Any) -> Floats:
    small = np.asarray(grey.resize((SIDE, SIDE)), float) / 255.0
    # Divide by the contrast: only the distribution of the energy matters, not its total.
    small = (small - small.mean()) / (small.std() + 0.05)
    energy = np.abs(np.fft.ifft2(np.fft.fft2(small)[None] * _filters()))
    step = SIDE // GIST_GRID
    return energy.reshape(len(energy), GIST_GRID, step, GIST_GRID, step).mean((2, 4)).ravel()


def _gradients(grey: Any) -> Floats:
    feature: Any = import_extra("skimage.feature", "embed", needed_by="the backbone descriptors")
    plane = np.asarray(grey.reduce(2))
    cell = (plane.shape[0] // CELLS[0], plane.shape[1] // CELLS[1])
    histogram = feature.hog(
        plane, orientations=GRADIENTS, pixels_per_cell=cell, cells_per_block=(1, 1), block_norm="L2-Hys"
    )
    return np.asarray(histogram)
