"""What the script of a report shows on demand: titles and small pictures of images, as JSON inside the page."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.report.confusions import CellImages
from benchmarks.report.gallery import picture, title_of
from benchmarks.report.json_ready import json_ready
from featurestore.display import plain

# Pixels of a picture at most, and how many characters all of them may take together.
WIDTH, HEIGHT, QUALITY = 80, 120, 60
LARGEST = 500_000
# Characters of a title.
LONGEST = 120


@dataclass(frozen=True)
class Pictures:
    """``images``: title, picture and fault by ``ImgId``; ``left_out``: how many found no room."""

    images: dict[int, dict[str, str]]
    left_out: frozenset[int]


def pictures(cells: Sequence[CellImages], known: Mapping[int, dict[str, Any]], shown: Collection[int]) -> Pictures:
    """A picture of every image of ``cells``, each once, until there is no more room: the surest errors first.

    Parameters
    ----------
    known
        As `gallery.known_images` gives it.
    shown
        Images of which the page has a picture already.
    """
    most = max((len(cell.ids) for cell in cells), default=0)
    queue = [
        cell.ids[place]
        for place in range(most)
        for cell in sorted(cells, key=lambda one: not one.wrong)
        if place < len(cell.ids)
    ]
    images: dict[int, dict[str, str]] = {}
    left_out: set[int] = set()
    size = 0
    for img_id in dict.fromkeys(queue):
        images[img_id] = {"title": title(known, img_id)}
        if img_id in shown:
            continue
        if left_out:
            left_out.add(img_id)
            continue
        src, fault = picture(known.get(img_id), width=WIDTH, height=HEIGHT, quality=QUALITY)
        if size + len(src) > LARGEST:
            left_out.add(img_id)
            continue
        size += len(src)
        images[img_id] |= {"src": src} if src else {"fault": plain(fault)}
    return Pictures(images, frozenset(left_out))


def as_json(
    cells: Mapping[str, CellImages],
    maps: Mapping[str, Sequence[Sequence[int]]],
    known: Mapping[int, dict[str, Any]],
    kept: Pictures,
) -> str:
    """All of it as JSON that can stand in an element ``script``: nothing in it begins a tag.

    ``cells``: by key the sentence and the images that have a picture; ``maps``: by key the images of each layer;
    ``images``: by number.
    """
    images = {
        one: {"title": plain(title_of(known.get(one), one))}
        for layers in maps.values()
        for ids in layers
        for one in ids
    }
    told = {
        key: [plain(_sentence(cell, kept)), [one for one in cell.ids if one not in kept.left_out]]
        for key, cell in cells.items()
    }
    data = {"cells": told, "maps": maps, "images": images | kept.images}
    return json.dumps(json_ready(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace(
        "<", "\\u003c"
    )


def title(known: Mapping[int, dict[str, Any]], img_id: int) -> str:
    """What an image is called, cut where it is very long."""
    found = plain(title_of(known.get(img_id), img_id))
    return found if len(found) <= LONGEST else f"{found[: LONGEST - 1]}…"


def _sentence(cell: CellImages, kept: Pictures) -> str:
    missing = sum(one in kept.left_out for one in cell.ids)
    if not missing:
        return cell.text
    return f"{cell.text} {missing} of them {'is' if missing == 1 else 'are'} left out: the page would grow too large."
