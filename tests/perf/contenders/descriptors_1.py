"""The rival `descriptors-1`: the descriptors as they were with scikit-image; the tests compare today's with them."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def race(options: dict[str, Any]) -> Callable[[], Any]:
    """Decoded posters through ``describe`` on a thread for each core; ``ours`` says whose."""
    images = pixels(options["posters"])
    if options["ours"]:
        from featurestore.backbones.registry import load

        embed = load("descriptors").embed
        embed(images[:2])
        return lambda: list(embed(images).shape)
    pool = ThreadPoolExecutor(os.cpu_count())
    list(pool.map(describe, images[:2]))
    return lambda: list(np.stack(list(pool.map(describe, images))).shape)


def pixels(posters: list[str]) -> NDArray[np.uint8]:
    """Posters as ``(n, 268, 182, 3)`` uint8."""
    from PIL import Image

    found = np.empty((len(posters), HEIGHT, WIDTH, 3), np.uint8)
    for row, path in enumerate(posters):
        with Image.open(Path(path)) as image:
            found[row] = image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return found


def describe(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The descriptor of one ``(268, 182, 3)`` uint8 RGB image, ``(embed_dim,)`` float32, finite for any image."""
    from PIL import Image

    picture = Image.fromarray(image)
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
    from skimage import feature

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
    from skimage import feature

    plane = np.asarray(grey.reduce(2))
    cell = (plane.shape[0] // CELLS[0], plane.shape[1] // CELLS[1])
    histogram = feature.hog(
        plane, orientations=GRADIENTS, pixels_per_cell=cell, cells_per_block=(1, 1), block_norm="L2-Hys"
    )
    return np.asarray(histogram)
