"""How a store and the neighbours it found show themselves: a few lines of text, and in a notebook HTML with images."""

import itertools
from typing import TYPE_CHECKING, Any

from featurestore import display
from featurestore.errors import FeatureStoreError, MissingExtra
from featurestore.explore.pictures import facts_of, figure
from featurestore.explore.summary import describe
from featurestore.storage.names import quote_name
from featurestore.storage.snapshot import snapshot_names

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader
    from featurestore.explore.search import Neighbours

# Pixels of a picture; images of a store; queries and, of each, neighbours that are shown.
THUMBNAIL = (96, 128)
IMAGES, QUERIES, NEIGHBOURS = 8, 4, 12


def store_text(reader: "Reader") -> str:
    """A few lines of text; where the store can't be read, the reason."""
    name = _name(reader)
    try:
        info = _info(reader)
        mark = f", {display.MARK}" if info["synthetic"] else ""
        return "\n".join([f"{name}{mark}", *(f"  {line}" for line in (*_lines(reader, info), *_backbones(info)))])
    except FeatureStoreError as error:
        return f"{name}\n  {error}"


def store_html(reader: "Reader") -> str:
    """What `store_text` says, and some of the images; where something can't be read, the reason."""
    try:
        info = _info(reader)
        parts = [_table_of_backbones(info)] if info["backbones"] else []
        return display.block(
            _name(reader),
            *parts,
            _images(reader, len(info["labels"])),
            synthetic=info["synthetic"],
            about=_lines(reader, info),
        )
    except FeatureStoreError as error:
        return display.block(_name(reader), about=[str(error)])


def neighbours_text(neighbours: "Neighbours") -> str:
    """A line for each of the first queries."""
    lines = [
        f"  {_query(neighbours, place)}: "
        + ", ".join(
            f"{img_id} ({score:.3f})" for img_id, score in itertools.islice(_found(neighbours, place), NEIGHBOURS)
        )
        for place in range(min(len(neighbours), QUERIES))
    ]
    mark = f", {display.MARK}" if neighbours.synthetic else ""
    return "\n".join([_title(neighbours) + mark, *lines, *_more(neighbours)])


def neighbours_html(neighbours: "Neighbours") -> str:
    """The first queries, each with its nearest images in a row; without the store, numbers and scores alone."""
    try:
        rows = [] if neighbours.reader is None else _rows(neighbours, neighbours.reader)
        reasons = []
    except FeatureStoreError as error:  # the numbers are worth having
        rows, reasons = [], [str(error)]
    if not rows:
        rows = [display.table_html(neighbours.to_arrow())]
    about = [*reasons, *_more(neighbours)]
    return display.block(_title(neighbours), *rows, synthetic=neighbours.synthetic, about=about)


def _name(reader: "Reader") -> str:
    snapshot = f", snapshot={reader.snapshot_name!r}" if reader.snapshot_name else ""
    return f"{type(reader).__name__}({reader.location!r}{snapshot})"


def _info(reader: "Reader") -> dict[str, Any]:
    """`Explorer.info`, once for each state: a notebook asks for text and HTML."""
    with reader.reading() as seen:
        return seen.remember("overview", lambda: describe(seen))


def _lines(reader: "Reader", info: dict[str, Any]) -> list[str]:
    quarantined = f", {len(info['quarantined']):,} quarantined" if info["quarantined"] else ""
    lines = [
        f"state {info['state']}, collection type {info['collection']}",
        f"{info['images']:,} images{quarantined}, {info['labeled']:,} labelled by {info['label']}"
        + (f": {display.counted(info['labels'])}" if info["labels"] else ""),
    ]
    failing = f" ({len(info['failing_views'])} can't be used)" if info["failing_views"] else ""
    lines += [f"your views: {display.listed(info['views'])}{failing}"] if info["views"] else []
    snapshots = snapshot_names(reader.objects)
    return [*lines, *([f"snapshots: {display.listed(snapshots)}"] if snapshots else [])]


def _backbones(info: dict[str, Any]) -> list[str]:
    return [
        f"backbone {one['name']}: {one['embed_dim']:,} values, {one['rows']:,} of {one['images']:,} images"
        + (f", {display.MARK} WEIGHTS" if one["synthetic"] else "")
        for one in info["backbones"]
    ] or ["no backbone yet: store.embed(…)"]


def _table_of_backbones(info: dict[str, Any]) -> str:
    return display.grid(
        ["backbone", "values", "images", "revision", "source", ""],
        [
            [
                one["name"],
                f"{one['embed_dim']:,}",
                f"{one['rows']:,} of {one['images']:,}",
                one["revision"],
                display.shortened(one["source"], 40),
                f"{display.MARK} WEIGHTS" if one["synthetic"] else "",
            ]
            for one in info["backbones"]
        ],
        numbers=(1, 2),
    )


def _images(reader: "Reader", labels: int) -> str:
    """Some images of each label; where none has one, the first."""
    with reader.reading() as seen:
        each, label = -(-IMAGES // max(labels, 1)), quote_name(seen.label)
        label = quote_name(seen.label)
        ids = seen.query(
            f"SELECT unnest(min(ImgId, {each:d})) AS ImgId FROM labeled GROUP BY {label} ORDER BY 1 LIMIT {IMAGES:d}"
        )["ImgId"].to_pylist()
        ids = ids or seen.query(f"SELECT ImgId FROM images_usable ORDER BY ImgId LIMIT {IMAGES:d}")["ImgId"].to_pylist()
        facts = facts_of(seen, ids)
    try:
        figures = [figure(facts[img_id], "", "", size=THUMBNAIL) for img_id in ids if img_id in facts]
    except MissingExtra as error:
        return display.paragraphs([str(error)])
    return f'<div class="images">{"".join(figures)}</div>'


def _title(neighbours: "Neighbours") -> str:
    count = f"{len(neighbours):,} {'query' if len(neighbours) == 1 else 'queries'}"
    return f"Neighbours: {neighbours.ids.shape[1]:,} nearest of {count} by {neighbours.backbone}, {neighbours.metric}"


def _more(neighbours: "Neighbours") -> list[str]:
    """What is not shown."""
    queries = len(neighbours) - QUERIES
    shown = [f"the first {QUERIES} queries"] if queries > 0 else []
    shown += [f"the first {NEIGHBOURS} of each"] if neighbours.ids.shape[1] > NEIGHBOURS else []
    return [f"shown: {' and '.join(shown)}; .to_arrow() has all"] if shown else []


def _query(neighbours: "Neighbours", place: int) -> str:
    if neighbours.texts:
        return repr(display.shortened(neighbours.texts[place], 40))
    query = neighbours.queries[place]
    return f"query {place}" if query is None else f"ImgId {query}"


def _found(neighbours: "Neighbours", place: int) -> list[tuple[int, float]]:
    """The images found for a query, nearest first, and their scores."""
    pairs = zip(neighbours.ids[place].tolist(), neighbours.scores[place].tolist(), strict=True)
    return [(img_id, score) for img_id, score in pairs if img_id >= 0]


def _rows(neighbours: "Neighbours", reader: "Reader") -> list[str]:
    places = range(min(len(neighbours), QUERIES))
    found = [_found(neighbours, place)[:NEIGHBOURS] for place in places]
    asked = [one for one in neighbours.queries[:QUERIES] if one is not None]
    facts = facts_of(reader, sorted({*asked, *(img_id for row in found for img_id, _ in row)}))
    rows = []
    for place, row in zip(places, found, strict=True):
        query = neighbours.queries[place]
        figures = (
            [] if query is None else [figure(facts.get(query, {"ImgId": query}), "query", "query", size=THUMBNAIL)]
        )
        lead = "" if query is not None else display.paragraphs([_query(neighbours, place)])
        for img_id, score in row:
            figures.append(figure(facts.get(img_id, {"ImgId": img_id}), f"{score:.3f}", "", size=THUMBNAIL))
        rows.append(f'{lead}<div class="images">{"".join(figures)}</div>')
    return rows
