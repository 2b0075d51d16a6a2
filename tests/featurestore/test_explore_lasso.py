"""The lasso of a large map: which images it takes, and what it refuses."""

import numpy as np
import pytest

from featurestore.errors import InputError
from featurestore.explore.page.lasso import MOST_CORNERS, inside, polygon_of
from featurestore.explore.page.projection import Points


def winding(polygon: np.ndarray, x: float, y: float) -> bool:
    """The even-odd rule for one point, edge by edge."""
    odd = False
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, 1, axis=0), strict=True):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            odd = not odd
    return odd


def test_a_lasso_takes_the_images_in_it() -> None:
    rng = np.random.default_rng(0)
    found = Points(np.arange(10, 410, dtype=np.int32), rng.uniform(-1, 1, (400, 2)).astype(np.float32), 400)
    star = polygon_of("0,0.9;0.3,-0.9;-0.8,0.2;0.8,0.2;-0.3,-0.9")  # its edges cross: the middle is outside
    wanted = [number for number, (x, y) in zip(found.ids, found.xy, strict=True) if winding(star, float(x), float(y))]
    assert inside(found, star).tolist() == wanted
    assert 20 < len(wanted) < 200
    assert inside(found, polygon_of("2,2;3,2;3,3")).tolist() == []


@pytest.mark.parametrize(
    "text", ["", "0,0;1,1", "0,0;1,nan;1,1", "0,0;1,1;a,b", "0,0;1;2,2", ";".join(["0,0"] * (MOST_CORNERS + 1))]
)
def test_what_is_no_polygon_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected 3 to"):
        polygon_of(text)
