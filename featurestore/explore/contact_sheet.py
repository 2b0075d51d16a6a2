"""Renders queries and their nearest neighbours as one offline HTML page of images; it does not search."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurestore.collections.address import ImageAddress
from featurestore.display import escaped
from featurestore.explore.pictures import facts_of, figure, no_picture
from featurestore.explore.search import Neighbours

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader

THUMBNAIL = (182, 268)
# Nothing is loaded and no script runs, whatever a browser might take for one.
POLICY = (
    """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; """
    """style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">"""
)
STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 1300px; padding: 0 1rem; }
section { border-top: 1px solid var(--line); padding: .8rem 0; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: .8rem; }
figure { margin: 0; } img, .none { width: 100%; aspect-ratio: 182 / 268; object-fit: contain; border-radius: 4px; }
.none { display: grid; place-items: center; background: #8882; color: #888; text-align: center; }
figcaption { font-size: 12px; overflow-wrap: anywhere; } .query img { outline: 3px solid #0072b2; }
.synthetic { background: #e69f00; color: #000; padding: .4rem .8rem; border-radius: 4px; }
"""


def sheet_html(
    reader: "Reader", neighbours: Neighbours, *, title: str | None = None, image: str | Path | None = None
) -> str:
    """See `FeatureStore.contact_sheet`."""
    title = f"Neighbours by {neighbours.backbone}" if title is None else title
    ids = sorted({int(i) for i in neighbours.ids.ravel() if i >= 0} | {i for i in neighbours.queries if i is not None})
    facts = facts_of(reader, ids)
    mark = '<p class="synthetic">SYNTHETIC images or weights</p>' if neighbours.synthetic else ""
    asked = None if image is None else {"ImgId": Path(image).name, "place": ImageAddress.at(image)}
    sections = "".join(_section(neighbours, place, facts, asked) for place in range(len(neighbours.ids)))
    count = f"{len(neighbours.ids)} {'query' if len(neighbours.ids) == 1 else 'queries'}"
    lead = f"{count}, {neighbours.backbone}, {neighbours.metric}, state {reader.state.id}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{POLICY}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style>"
        f"<h1>{escaped(title)}</h1><p>{escaped(lead)}</p>{mark}{sections}</html>\n"
    )


def _section(neighbours: Neighbours, place: int, facts: dict[int, dict[str, Any]], asked: dict[str, Any] | None) -> str:
    query = neighbours.queries[place]
    start = asked if query is None else facts.get(query, {"ImgId": query})
    cards = [] if start is None else [figure(start, "query", "query", size=THUMBNAIL)]
    if neighbours.texts:
        cards = [f'<figure class="query">{no_picture(neighbours.texts[place])}<figcaption>query</figcaption></figure>']
    for img_id, score in zip(neighbours.ids[place].tolist(), neighbours.scores[place].tolist(), strict=True):
        if img_id >= 0:
            cards.append(figure(facts.get(img_id, {"ImgId": img_id}), f"{score:.3f}", "", size=THUMBNAIL))
    return f'<section><div class="row">{"".join(cards)}</div></section>'
