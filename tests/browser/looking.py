"""What the browser tests see on the map, and what numpy says of it."""

import base64
import math

import numpy as np
from browser.chrome import Page
from numpy.typing import NDArray

# The bytes of the points, as base64.
POINTS = """(async () => {
  const answer = await fetch('api/points?backbone=%s&map=pca');
  let text = '';
  for (const byte of new Uint8Array(await answer.arrayBuffer())) text += String.fromCharCode(byte);
  return btoa(text);
})()"""


def points(page: Page, backbone: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Ids ``(n,)`` and positions ``(n, 2)`` that the server gives the page."""
    body = base64.b64decode(page.js(POINTS % backbone))
    count = int(np.frombuffer(body, "<u4", 1)[0])
    ids = np.frombuffer(body, "<i4", count, 4)
    return ids, np.frombuffer(body, "<f4", 2 * count, 4 + 4 * count).reshape(2, count).T


def inside(polygon: NDArray[np.float64], xy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of ``xy`` ``(n, 2)`` lie in the polygon ``(k, 2)``: an odd number of its edges lies to the right."""
    hit = np.zeros(len(xy), bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, 1, axis=0), strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            crosses = xy[:, 0] < (bx - ax) * (xy[:, 1] - ay) / (by - ay) + ax
        hit ^= ((ay > xy[:, 1]) != (by > xy[:, 1])) & crosses
    return hit


def circle(page: Page, share: float = 0.2) -> list[tuple[float, float]]:
    """Places of a circle on the map, for the mouse."""
    x, y, width, height = page.js(
        "(r => [r.x, r.y, r.width, r.height])(document.getElementById('map').getBoundingClientRect())"
    )
    radius = share * min(width, height)
    turns = np.linspace(0, 2 * math.pi, 25)
    return [(x + width / 2 + radius * math.cos(t), y + height / 2 + radius * math.sin(t)) for t in turns]


def lasso_of(page: Page) -> NDArray[np.float64]:
    """The lasso that the address holds, ``(k, 2)`` in the map's units."""
    text = page.js("new URLSearchParams(location.hash.slice(1)).get('l')")
    return np.array([[float(one) for one in corner.split(",")] for corner in text.split(";")])
