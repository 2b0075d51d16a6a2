"""How the values of each column are spread over the images that a condition picks: level counts and histograms."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featurestore.explore.page.columns import LEVELS, ColumnOfPage, Levels, columns, levels_or_numbers
from featurestore.explore.page.shown import image_ids, places_of

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

BINS = 12


def facets(store: "Explorer", ids: NDArray[np.integer]) -> list[dict[str, Any]]:
    """For each column its levels or its histogram, within the images ``ids``.

    A column of which each image has a value of its own, such as a title, is left out.
    """
    inside = np.zeros(len(image_ids(store)), bool)
    places, there = places_of(store, ids)
    inside[places[there]] = True
    return [_facet(store, one, inside) for one in columns(store).values() if not _names_each(store, one)]


def _names_each(store: "Explorer", one: ColumnOfPage) -> bool:
    return one.kind == "text" and one.distinct > LEVELS and one.distinct > len(image_ids(store)) / 2


def _facet(store: "Explorer", one: ColumnOfPage, inside: NDArray[np.bool_]) -> dict[str, Any]:
    found = levels_or_numbers(store, one.name)
    kind = {"name": one.name, "kind": one.kind}
    if isinstance(found, Levels):
        return {**kind, **_level_counts(found, inside)}
    values = found[inside]
    values = values[~np.isnan(values)].astype(np.float64)
    given = found[~np.isnan(found)]
    # The bins are those of all images, so that they stay where they are while a condition narrows.
    low, high = (float(given.min()), float(given.max())) if len(given) else (0.0, 0.0)
    counts, edges = np.histogram(values, bins=BINS, range=(low, high if high > low else low + 1))
    return {**kind, "edges": edges.tolist(), "counts": counts.tolist(), "none": int(inside.sum()) - len(values)}


def _level_counts(found: Levels, inside: NDArray[np.bool_]) -> dict[str, Any]:
    """The most frequent levels with their numbers of images, of how many levels, and of how many other values."""
    chosen = inside[found.images]
    counts = np.bincount(found.codes[chosen], minlength=len(found.names) + 1)
    order = sorted(range(len(found.names)), key=lambda code: (-counts[code], code))[:LEVELS]
    shown = [code for code in order if counts[code]]
    have = np.zeros(len(inside), bool)
    have[found.images[chosen]] = True
    return {
        "levels": [{"name": found.names[code], "count": int(counts[code])} for code in shown],
        "other": int(counts.sum() - counts[shown].sum()),
        "none": int(inside.sum()) - int(have.sum()),
    }
