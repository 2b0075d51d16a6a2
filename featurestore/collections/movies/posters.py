"""Draws one synthetic poster: abstract shapes whose colour, texture and layout depend weakly on a genre."""

import io

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.collections.images import SYNTHETIC_COMMENT

HEIGHT, WIDTH = 268, 182
# How strongly a poster follows the style of its genre; the rest is random. Chosen so that the best heads on
# `descriptors` score between 0.6 and 0.7, as on real posters.
PULL = 0.55
STYLE = 8


def style_of(genre: str) -> NDArray[np.float64]:
    """The mean style of a genre, ``(STYLE,)``, seeded by its name."""
    return np.random.default_rng(list(genre.encode())).normal(size=STYLE)


def draw(genre: str, img_id: int, seed: int, grey: bool) -> bytes:
    """The JPEG bytes of the poster of film ``img_id``, 182 × 268; the same arguments give the same bytes."""
    pillow = import_extra("PIL.Image", "embed", needed_by="`featurestore sample`")
    rng = np.random.default_rng([seed, img_id])
    style = PULL * style_of(genre) + rng.normal(size=STYLE)
    canvas = _background(style, rng)
    for _ in range(int(rng.integers(3, 9))):
        _shape(canvas, style, rng)
    _figure(canvas, style, rng)
    _title(canvas, style, rng)
    canvas += rng.normal(size=(HEIGHT, WIDTH, 1)) * 0.05 * np.exp(0.5 * style[3])
    np.clip(canvas, 0, 1, out=canvas)
    image = pillow.fromarray(np.multiply(canvas, 255, out=canvas).astype(np.uint8))
    if grey:
        image = image.convert("L")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85, comment=SYNTHETIC_COMMENT)
    return buffer.getvalue()


def _color(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    """An RGB colour from hue in turns, saturation and value in [0, 1]."""
    k = (np.array([5.0, 3.0, 1.0]) + hue * 6.0) % 6.0
    return value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0)


def _squash(value: float, low: float, high: float) -> float:
    """Map ``value`` monotonically to a number between ``low`` and ``high``."""
    return float(low + (high - low) / (1.0 + np.exp(-1.5 * value)))


def _background(style: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A gradient between two colours, with waves: ``(HEIGHT, WIDTH, 3)`` in about [0, 1]."""
    hue = 0.35 * style[0]
    top = _color(hue, _squash(style[1], 0.1, 0.9), _squash(style[2], 0.15, 0.95))
    bottom = _color(hue + rng.normal() * 0.15, _squash(-style[1], 0.1, 0.7), _squash(style[2] + rng.normal(), 0.1, 0.8))
    y, x = np.ogrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    angle = 0.4 * style[4]
    mix = (y * np.cos(angle) + x * np.sin(angle)).clip(0, 1)[..., None]
    waves = np.sin(
        2 * np.pi * np.exp(0.5 * style[5]) * 6 * (y * np.sin(style[4]) + x * np.cos(style[4])) + rng.normal()
    )
    canvas = top * (1 - mix)
    canvas += bottom * mix
    canvas += 0.06 * waves[..., None]
    return canvas


def _shape(canvas: NDArray[np.float64], style: NDArray[np.float64], rng: np.random.Generator) -> None:
    """One translucent disc, bar or ray."""
    y, x = np.ogrid[0:HEIGHT, 0:WIDTH]
    cy, cx = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
    size = rng.uniform(8, 45) * np.exp(0.3 * style[6])
    kind = style[7] + rng.normal()
    if kind < 0.6:  # discs and bars are small: only compute the pixels near them
        rows = slice(max(int(cy - size), 0), int(cy + size) + 2)
        columns = slice(max(int(cx - 2 * size), 0), int(cx + 2 * size) + 2)
        canvas, y, x = canvas[rows, columns], y[rows], x[:, columns]
    if kind < -0.5:
        inside = (y - cy) ** 2 + (x - cx) ** 2 < size**2
    elif kind < 0.6:
        inside = (np.abs(y - cy) < size / 3) & (np.abs(x - cx) < 2 * size)
    else:
        turn = rng.uniform(0, np.pi)
        inside = np.abs((y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)) < size / 5
    color = _color(0.35 * style[0] + rng.normal() * 0.25, rng.uniform(0.2, 0.9), rng.uniform(0.2, 1.0))
    canvas[inside] = 0.4 * canvas[inside] + 0.6 * color


def _figure(canvas: NDArray[np.float64], style: NDArray[np.float64], rng: np.random.Generator) -> None:
    """One to three silhouettes, head and shoulders."""
    y, x = np.ogrid[0:HEIGHT, 0:WIDTH]
    tone = _color(rng.uniform(), 0.3, _squash(-style[2] + rng.normal(), 0.05, 0.9))
    for _ in range(1 + int(_squash(style[6] + rng.normal(), 0, 2.99))):
        cx, cy, r = rng.uniform(30, WIDTH - 30), rng.uniform(90, 190), rng.uniform(10, 24)
        head = (x - cx) ** 2 + (y - cy) ** 2 < r**2
        body = (((x - cx) / (2.2 * r)) ** 2 + ((y - cy - 3.2 * r) / (2.4 * r)) ** 2) < 1
        canvas[head | body] = tone


def _title(canvas: NDArray[np.float64], style: NDArray[np.float64], rng: np.random.Generator) -> None:
    """A block of letters near the bottom or the top."""
    top = int(rng.uniform(205, 235)) if style[4] + rng.normal() > -0.8 else int(rng.uniform(10, 35))
    height = int(rng.uniform(10, 22))
    color = _color(rng.uniform(), _squash(style[1] + rng.normal(), 0, 0.9), 0.95)
    x = int(rng.uniform(10, 25))
    while x < WIDTH - 20:
        width = int(rng.uniform(4, 11))
        canvas[top : top + height, x : x + width] = color
        x += width + (3 if rng.random() < 0.8 else 9)
