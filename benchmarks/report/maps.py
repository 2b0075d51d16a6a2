"""Maps of the embeddings: the first two principal components of the images, coloured by label and by error."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import planes
from benchmarks.report.planes import Layer
from benchmarks.report.svg import COLORS, FAINT
from benchmarks.results.breakdown import ImageProbabilities
from featurestore import FeatureStore, principal_axes
from featurestore.errors import InputError

# How many images are drawn at most, how many backbones have a map, from how many classes on the rest has one colour.
DRAWN, MAPPED, NAMED = 2000, 6, 7
# From what share of wrong predictions on an image is in a layer; drawn in this order.
ERRORS = (
    (0.0, "always right", COLORS[0]),
    (1e-9, "mostly right", COLORS[5]),
    (0.5, "mostly wrong", COLORS[4]),
    (1.0, "always wrong", COLORS[1]),
)


def principal(X: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The first two principal components ``(n, 2)`` of ``(n, d)``, and the share of the variance of each, ``(2,)``.

    They are those of the explorer's map.
    """
    found = principal_axes(X).place(X)
    total = X.var(axis=0, dtype=np.float64).sum()
    return found, found.var(axis=0, dtype=np.float64) / total if total > 0 else np.zeros(2)


def map_figures(
    store: FeatureStore, backbones: Sequence[str], known: ImageProbabilities, classes: Sequence[str], *, prefix: str
) -> list[dict[str, Any]]:
    """Where the errors are in the first of ``backbones``, and the labels in each; empty where none is stored.

    Parameters
    ----------
    backbones
        Best first; several joined by ``+`` are taken together.
    known
        The images, their labels and what the rows that learn predict of them.
    prefix
        Begins the keys of the maps, by which a page knows them.
    """
    stored = {info.name for info in store.backbones()}
    names = [name for name in backbones if all(part in stored for part in name.split("+"))][:MAPPED]
    chosen = _chosen(len(known.ids))
    places = {name: found for name in names if (found := _places(store, name, known, chosen)) is not None}
    if not places:
        return []
    of = f"{len(known.ids):,}" if len(chosen) == len(known.ids) else f"{len(chosen):,} of {len(known.ids):,}"
    caption = (
        f"The first two principal components, {of} images. Neighbours here may be far apart in the dimensions that are "
        "not shown."
    )
    best = next(iter(places))
    labels = {name: _labels(known.y[rows], classes) for name, (rows, _, _) in places.items()}
    return [
        _figure(
            "Where the errors are",
            "Over all predictions of the rows that learn, on the map of the best row's backbone.",
            {best: places[best]},
            {best: _errors(known, places[best][0])},
            known,
            f"{prefix}e",
        ),
        _figure("Map of the embeddings, by label", caption, places, labels, known, f"{prefix}l"),
    ]


# Rows of the known images, their places, and the shares of the variance.
Places = tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float64]]
# Name, colour and members of each layer.
Levels = list[tuple[str, str, NDArray[np.bool_]]]


def _chosen(count: int) -> NDArray[np.intp]:
    """Which of ``count`` images are drawn, ascending: all, or always the same ones drawn evenly."""
    if count <= DRAWN:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, DRAWN, replace=False))


def _places(store: FeatureStore, name: str, known: ImageProbabilities, chosen: NDArray[np.intp]) -> Places | None:
    parts = name.split("+")
    where = f"ImgId IN ({', '.join(map(str, known.ids[chosen].tolist()))})"
    try:
        features = store.features(parts if len(parts) > 1 else name, view="images", columns=["ImgId"], where=where)
    except InputError:  # none of these images has an embedding any more
        return None
    if len(features) < 3:
        return None
    rows = np.searchsorted(known.ids, features.ids)
    return rows, *principal(features.X)


def _labels(y: NDArray[np.int64], classes: Sequence[str]) -> Levels:
    """A layer a class, the most frequent below; of many classes the most frequent, and the rest together."""
    counts = np.bincount(y, minlength=len(classes))
    order = np.argsort(-counts, kind="stable").tolist()
    if len(classes) <= NAMED:
        return [(classes[place], COLORS[place], y == place) for place in order]
    named = order[: NAMED - 1]
    rest: Levels = [(f"{len(classes) - len(named)} other classes", FAINT, ~np.isin(y, named))]
    return rest + [(classes[place], COLORS[number], y == place) for number, place in enumerate(named)]


def _errors(known: ImageProbabilities, rows: NDArray[np.intp]) -> Levels:
    votes = known.votes[rows]
    wrong = 1 - votes[np.arange(len(rows)), known.y[rows]] / np.maximum(votes.sum(axis=1), 1)
    level = np.searchsorted([start for start, _, _ in ERRORS], wrong, side="right") - 1
    return [(name, color, level == place) for place, (_, name, color) in enumerate(ERRORS)]


def _figure(
    title: str,
    caption: str,
    places: dict[str, Places],
    levels: dict[str, Levels],
    known: ImageProbabilities,
    prefix: str,
) -> dict[str, Any]:
    panels, maps = [], {}
    for number, (name, (rows, xy, shares)) in enumerate(places.items()):
        key = f"{prefix}{number}"
        drawn = [level for level in levels[name] if level[2].any()]
        layers = [Layer(layer, xy[inside, 0], xy[inside, 1], color) for layer, color, inside in drawn]
        x_axis, y_axis = (
            f"{which} component ({share:.0%})" for which, share in zip(("first", "second"), shares, strict=True)
        )
        panels.append(planes.cloud(layers, title=name, x_axis=x_axis, y_axis=y_axis, key=key))
        maps[key] = [known.ids[rows[inside]].tolist() for _, _, inside in drawn]
    return {"title": title, "caption": caption, "panels": panels, "maps": maps}
