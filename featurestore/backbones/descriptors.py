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
from featurestore.backbones.patterns import patterns
from featurestore.backbones.records import BackboneRecord, LoadOptions
from featurestore.errors import BackboneError

# Increase the number whenever a vector changes: it is the revision that distinguishes old vectors from new ones.
VERSION = "descriptors-2"
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
# Of red-green, yellow-blue and lightness as sums of whole numbers.
OPPONENT_LENGTHS = np.sqrt([2, 6, 3])


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """The backbone `descriptors`; it needs Pillow and nothing else."""
    import_extra("PIL.Image", "embed", needed_by="the backbone descriptors")
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
            libraries={"numpy": np.__version__, "pillow": version("pillow")},
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


def _rooted(counts: Floats) -> Floats:
    """Histograms along the last axis, each scaled to sum to one and square-rooted; an empty one stays zero."""
    totals = counts.sum(-1, keepdims=True)
    return np.sqrt(np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0))


@lru_cache(maxsize=1)
def _cell_index() -> NDArray[np.uint16]:
    """For each pixel the number of its cell in the grid, row by row."""
    row = np.arange(HEIGHT) * ROWS // HEIGHT
    column = np.arange(WIDTH) * COLUMNS // WIDTH
    return (row[:, None] * COLUMNS + column[None, :]).astype(np.uint16)


def _histograms(hsv: NDArray[np.uint8]) -> list[Floats]:
    hue, saturation, value = (np.ascontiguousarray(plane, np.uint16) for plane in np.moveaxis(hsv, -1, 0))
    cells = _cell_index()
    chroma = saturation * value  # the hue of a grey or black pixel is noise
    weighted = np.bincount((cells * HUES + hue * HUES // 256).ravel(), chroma.ravel(), ROWS * COLUMNS * HUES)
    hues = weighted.reshape(-1, HUES) / 255.0**2
    strength = np.sqrt(hues.sum(-1, keepdims=True) / (HEIGHT * WIDTH / (ROWS * COLUMNS)))
    # One count serves all: six levels are pairs of the three levels of the joint histogram.
    fine = (ROWS * COLUMNS, JOINT[0], LEVELS, LEVELS)
    bins = cells * JOINT[0] + hue * JOINT[0] // 256
    for plane in (saturation, value):
        bins *= LEVELS
        bins += plane * LEVELS // 256
    counts = np.bincount(bins.ravel(), minlength=int(np.prod(fine))).reshape(fine).astype(float)
    of_all = counts.sum(0).reshape(JOINT[0], JOINT[1], LEVELS // JOINT[1], JOINT[2], LEVELS // JOINT[2]).sum((2, 4))
    return [
        (_rooted(hues) * strength).ravel(),
        _rooted(counts.sum((1, 3))).ravel(),
        _rooted(counts.sum((1, 2))).ravel(),
        _rooted(of_all.ravel()),
    ]


def _moments(image: NDArray[np.uint8]) -> Floats:
    """Mean and deviation of the opponent colours (van de Sande, Gevers and Snoek, PAMI 2010) in each cell."""
    red, green, blue = (np.ascontiguousarray(plane, np.int32) for plane in np.moveaxis(image, -1, 0))
    sums, squares = [], []
    for plane in (red - green, red + green - 2 * blue, red + green + blue):  # whole numbers: the sums are exact
        sums.append(_in_cells(plane))
        squares.append(_in_cells(plane * plane))
    size = _in_cells(np.ones((HEIGHT, WIDTH), np.int32))[:, None]
    mean, square = np.stack(sums, 1) / size, np.stack(squares, 1) / size
    scale = 1 / (255.0 * OPPONENT_LENGTHS)
    return np.concatenate([mean * scale, np.sqrt(square - mean**2) * scale], 1).ravel()


def _in_cells(plane: NDArray[np.int32]) -> NDArray[np.int64]:
    """The sum of a plane in each cell of the grid."""
    rows = plane.reshape(ROWS, HEIGHT // ROWS, WIDTH).sum(1, dtype=np.int32)
    starts = [-(-column * WIDTH // COLUMNS) for column in range(COLUMNS)]
    return np.add.reduceat(rows, starts, axis=1, dtype=np.int64).ravel()


def _textures(grey: Any) -> list[Floats]:
    blocks = []
    for points, radius, shrink in PATTERNS:
        codes = patterns(np.asarray(grey.reduce(shrink)), points, radius)
        for band in np.array_split(codes, BANDS):
            blocks.append(_rooted(np.bincount(band.ravel(), minlength=points + 2).astype(float)))
    return blocks


@lru_cache(maxsize=1)
def _filters() -> NDArray[np.float32]:
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
    return np.stack(bank).astype(np.float32)


def _gist(grey: Any) -> Floats:
    small = np.asarray(grey.resize((SIDE, SIDE)), float) / 255.0
    # Divide by the contrast: only the distribution of the energy matters, not its total.
    small = (small - small.mean()) / (small.std() + 0.05)
    energy = np.abs(np.fft.ifft2(np.fft.fft2(small.astype(np.float32))[None] * _filters()))
    step = SIDE // GIST_GRID
    rows = energy.reshape(len(energy), GIST_GRID, step, SIDE).sum(2)
    return rows.reshape(len(energy), GIST_GRID, GIST_GRID, step).sum(3, dtype=float).ravel() / step**2


@lru_cache(maxsize=1)
def _gradient_tables() -> tuple[NDArray[np.intp], Floats]:
    """Orientation and length of each gradient (down, right) of whole numbers in -255 … 255, by its number."""
    down, right = np.meshgrid(np.arange(-255.0, 256), np.arange(-255.0, 256), indexing="ij")
    degrees = np.rad2deg(np.arctan2(down, right)) % 180
    return (degrees // (180 / GRADIENTS)).astype(np.intp).ravel(), np.hypot(down, right).ravel()


@lru_cache(maxsize=1)
def _gradient_cells(shape: tuple[int, int]) -> NDArray[np.intp]:
    """The number of each pixel's cell; the pixels right of and below the last ones are left out."""
    rows, columns = (
        np.arange(side // count * count) // (side // count) for side, count in zip(shape, CELLS, strict=True)
    )
    return rows[:, None] * CELLS[1] + columns


def _gradients(grey: Any) -> Floats:
    """Orientations weighted by length in each cell, scaled to length one, cut off at 0.2 and scaled again (L2-Hys)."""
    plane = np.asarray(grey.reduce(2)).astype(np.int32)
    down, right = np.zeros_like(plane), np.zeros_like(plane)
    down[1:-1] = plane[2:] - plane[:-2]
    right[:, 1:-1] = plane[:, 2:] - plane[:, :-2]
    cells = _gradient_cells(plane.shape)
    numbers = (down * 511 + right + 255 * 512)[: cells.shape[0], : cells.shape[1]]
    orientations, lengths = _gradient_tables()
    bins = cells * GRADIENTS + orientations[numbers]
    counts = np.bincount(bins.ravel(), lengths[numbers].ravel(), CELLS[0] * CELLS[1] * GRADIENTS)
    histograms = counts.reshape(-1, GRADIENTS) / (cells.size / (CELLS[0] * CELLS[1]))
    return _unit(np.minimum(_unit(histograms), 0.2)).ravel()


def _unit(rows: Floats) -> Floats:
    return rows / np.sqrt((rows**2).sum(1, keepdims=True) + 1e-10)
