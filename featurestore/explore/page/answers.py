"""What each address of the explorer answers, as functions of its parameters; the server calls them by `routes`."""

import base64
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import InputError
from featurestore.explore.page import columns, facts, lasso, likeness, plugins, projection, relabel, saved
from featurestore.explore.page.density import MOST_PIXELS, density_png
from featurestore.explore.page.images import LARGE, THUMB, image_id
from featurestore.explore.page.messages import PageAnswer, PageError, Query, Routes, json_answer
from featurestore.explore.page.shown import SECONDS, ShownStore, image_ids
from featurestore.features.selection import matching

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

BYTES = "application/octet-stream"
# The files of the page, by the ends of their names.
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
STATIC = files("featurestore.explore.page") / "static"
PAGE = "explore.html"
MOST_NEIGHBOURS = 500
Question = Callable[["Explorer", Query], object]
Change = Callable[["Explorer", dict[str, Any]], object]


def routes(shown: ShownStore) -> Routes:
    """The addresses of a page that shows ``shown``."""
    names = {file.name for file in STATIC.iterdir() if file.name.endswith(tuple(KINDS))}
    questions: dict[str, Question] = {
        "points": points,
        "density": density,
        "inside": inside,
        "ids": ids,
        "column": column,
        "where": where,
        "rows": rows,
        "image": image,
        "similar": similar,
        "duplicates": lambda store, query: likeness.duplicates(store),
        "corrections": relabel.listed,
        "corrections.csv": relabel.as_file,
    }
    changes = {"selection": saved.save, "correct": relabel.corrected, "uncorrect": relabel.undone}
    of_others = plugins.find_pages(shown.store)
    get: dict[str, Callable[[Query], PageAnswer]] = {"": lambda query: _static(PAGE, names)}
    post: dict[str, Callable[[dict[str, Any]], PageAnswer]] = {}
    for name, page in of_others.answers.items():
        if name.startswith(plugins.CHANGING):
            post[f"api/{name.removeprefix(plugins.CHANGING)}"] = partial(_changed_by_other, shown, page)
        else:
            get[f"api/{name}"] = partial(_of_other, shown, page)
    # The page's own addresses come last: no other package takes them.
    get |= {f"api/{name}": partial(_answered, shown, question) for name, question in questions.items()}
    get["api/meta"] = partial(_meta, shown, of_others)
    post |= {f"api/{name}": partial(_changed, shown, change) for name, change in changes.items()}
    return Routes(
        get=get,
        post=post,
        below={
            "static/": lambda name: _static(name, names),
            "thumb/": partial(_image, shown, THUMB),
            "large/": partial(_image, shown, LARGE),
        },
    )


def _answered(shown: ShownStore, question: Question, query: Query) -> PageAnswer:
    """The answer of one state of the store, which its header names: the page sees that it has another one."""
    with shown.store.reading() as store:
        found = question(store, query)
        marks = {"X-State": store.state.id}
        if isinstance(found, PageAnswer):
            return PageAnswer(found.body, found.kind, headers={**found.headers, **marks})
        return json_answer(found, headers=marks)


def _meta(shown: ShownStore, pages: plugins.PluginPages, query: Query) -> PageAnswer:
    """The page is being loaded: from here on it shows the newest state."""
    shown.renew()
    return _answered(shown, lambda store, query: _meta_of(store, pages, shown.read_only), query)


def _meta_of(store: "Explorer", pages: plugins.PluginPages, read_only: bool) -> dict[str, Any]:
    """What the page needs to be drawn at all; ``pages`` are addresses that not every explorer has."""
    return {
        **facts.meta(store),
        "read_only": read_only,
        "selections": saved.selections(store),
        "pages": ["corrections", *pages.names],
        "problems": list(pages.problems),
        "columns_editable": relabel.editable(store),
    }


def _of_other(shown: ShownStore, page: plugins.Page, query: Query) -> PageAnswer:
    """The answer of another package, one at a time: it may not be made for threads."""
    with shown.lock:
        return json_answer(page(query))


def _changed_by_other(shown: ShownStore, page: plugins.Page, sent: dict[str, Any]) -> PageAnswer:
    with shown.changing():
        return json_answer(page(sent))


def _changed(shown: ShownStore, change: Change, sent: dict[str, Any]) -> PageAnswer:
    with shown.changing() as store:
        return json_answer(change(store, sent))


def _static(name: str, names: set[str]) -> PageAnswer:
    if name not in names:
        raise PageError(404, "there is no such file")
    return PageAnswer((STATIC / name).read_bytes(), KINDS[name[name.rindex(".") :]])


def _image(shown: ShownStore, side: int, name: str) -> PageAnswer:
    with shown.store.reading() as store:
        return shown.thumbnails.answer(store, name, side=side)


def points(store: "Explorer", query: Query) -> PageAnswer:
    """Number of points as uint32, then their ids as int32, x and y as float32, all little endian.

    Of more than `projection.MOST_POINTS` it is a fixed sample; in the window ``x0 … y1`` there may be more of them.
    """
    backbone, method = needed(query, "backbone"), query.get("map", projection.PCA)
    window = _window(query)
    if window is None:
        found = projection.points(store, backbone, method)
    else:
        found = projection.sampled(projection.all_points(store, backbone, method), window)
    body = np.uint32(len(found.ids)).tobytes() + found.ids.astype("<i4").tobytes()
    body += np.ascontiguousarray(found.xy.T).astype("<f4").tobytes()
    which = "all" if len(found.ids) == found.total else "sampled"
    return PageAnswer(body, BYTES, headers={"X-Points": f"{which};total={found.total}"})


def density(store: "Explorer", query: Query) -> PageAnswer:
    """A grey PNG of ``w`` × ``h`` pixels: how densely all images lie in the window ``x0 … y1`` of a map."""
    backbone, method = needed(query, "backbone"), query.get("map", projection.PCA)
    width, height = (whole(query, name, default=512, most=MOST_PIXELS) for name in ("w", "h"))
    window = _window(query) or (-1.0, -1.0, 1.0, 1.0)
    found = projection.all_points(store, backbone, method)
    return PageAnswer(density_png(found, window, width=width, height=height), "image/png")


def inside(store: "Explorer", query: Query) -> PageAnswer:
    """The ids of all images in a ``polygon`` of a map, ascending, int32 little endian."""
    polygon = lasso.polygon_of(needed(query, "polygon"))
    found = projection.all_points(store, needed(query, "backbone"), query.get("map", projection.PCA))
    return PageAnswer(lasso.inside(found, polygon).astype("<i4").tobytes(), BYTES)


def _window(query: Query) -> tuple[float, float, float, float] | None:
    """The corners x0, y0, x1 and y1 of the part of the map that is shown; None for all of it."""
    if not {"x0", "y0", "x1", "y1"} & query.keys():
        return None
    x0, y0, x1, y1 = (number(query, name) for name in ("x0", "y0", "x1", "y1"))
    if not (x1 - x0 >= projection.NARROWEST and y1 - y0 >= projection.NARROWEST):
        raise InputError("got an empty window, expected x0 < x1 and y0 < y1")
    return x0, y0, x1, y1


def ids(store: "Explorer", query: Query) -> PageAnswer:
    """The ids of all usable images, ascending, int32 little endian: the order of columns."""
    return PageAnswer(image_ids(store).astype("<i4").tobytes(), BYTES)


def column(store: "Explorer", query: Query) -> dict[str, Any]:
    """A column in the order of `ids`: levels with codes (int16, -1 for none), or numbers (float32, NaN for none)."""
    name = needed(query, "name")
    most = whole(query, "levels", default=columns.LEVELS, most=columns.MOST_LEVELS)
    found = columns.levels_or_numbers(store, name)
    if isinstance(found, columns.Levels):
        names, codes = columns.first_codes(found, len(image_ids(store)), most)
        return {"kind": "levels", "levels": names, "codes": packed(codes, "<i2")}
    unit = {"unit": "days since 1970-01-01"} if columns.column(store, name).kind == "time" else {}
    return {"kind": "number", "values": packed(found, "<f4"), **unit}


def where(store: "Explorer", query: Query) -> dict[str, Any]:
    """The ids of the images for which a condition over `collection` holds; all for an empty one."""
    found = chosen(store, query.get("q", ""))
    return {"ids": packed(found, "<i4"), "count": len(found)}


def chosen(store: "Explorer", condition: str) -> NDArray[np.integer]:
    """The ids, ascending, of usable images for which ``condition`` holds; it is what a person typed."""
    if not condition.strip():
        return image_ids(store)
    found = matching(store, columns.VIEW, condition, seconds=SECONDS)
    return found[np.isin(found, image_ids(store))]


def rows(store: "Explorer", query: Query) -> list[dict[str, Any]]:
    """Title, label, name and all columns of at most `facts.MOST_ROWS` images, in the order of ``ids``."""
    return facts.rows(store, facts.listed_ids(needed(query, "ids").split(",")))


def image(store: "Explorer", query: Query) -> dict[str, Any]:
    """One image: its row, where its vectors came from, and its neighbours by each backbone."""
    return facts.image(store, image_id(needed(query, "id")))


def similar(store: "Explorer", query: Query) -> list[dict[str, Any]]:
    """The images nearest to the image ``id`` or to ``text``."""
    backbone, k = needed(query, "backbone"), whole(query, "k", default=12, most=MOST_NEIGHBOURS)
    if query.get("text"):
        return likeness.similar(store, backbone, text=query["text"], k=k)
    return likeness.similar(store, backbone, img_id=image_id(needed(query, "id")), k=k)


def needed(query: Query, name: str) -> str:
    """A parameter of the query; raises `InputError` if it is absent or empty."""
    if not query.get(name):
        raise InputError(f"got no {name}=, which this address needs")
    return query[name]


def number(query: Query, name: str) -> float:
    """A parameter as a coordinate of a map."""
    try:
        value = float(needed(query, name))
    except ValueError:
        value = np.nan
    if not abs(value) <= projection.FARTHEST:
        raise InputError(f"got {query[name][:40]!r} as {name}, expected a number, at most {projection.FARTHEST:,}")
    return value


def whole(query: Mapping[str, str], name: str, *, default: int, most: int) -> int:
    """A parameter as a whole number from 1 to ``most``."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise InputError(f"got {text[:40]!r} as {name}, expected a whole number from 1 to {most}")
    return int(text)


def packed(values: NDArray[Any], kind: str) -> str:
    """``values`` in that little endian type as base64."""
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()
