"""Looks up what images are called and where they lie, and makes small pictures of them for pages."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from featurestore.collections.address import ImageAddress
from featurestore.display import escaped
from featurestore.errors import ImageError, StoreError
from featurestore.features.labels import label_text
from featurestore.storage.names import quote_name

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader


def facts_of(reader: "Reader", ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """For each image of ``ids`` that is there: its name, its title, its label and where it lies."""
    rows = reader.query(
        f"SELECT i.ImgId, i.ImgName, i.source, i.file, i.member, c.{quote_name(reader.title)} AS title, "
        f"c.{quote_name(reader.label)} AS label "
        "FROM images AS i LEFT JOIN collection AS c USING (ImgId) WHERE i.status IN ('ok', 'external') "
        "AND list_contains(?, i.ImgId)",
        [list(ids)],
    ).to_pylist()
    return {row["ImgId"]: row for row in rows}


def figure(fact: dict[str, Any], lead: str, kind: str, *, size: tuple[int, int]) -> str:
    """A figure of the class ``kind``: a picture that fits ``size``, ``lead``, number, title and label of the image.

    Raises
    ------
    MissingExtra
        When Pillow is not installed.
    """
    number = str(fact.get("ImgId", ""))
    title = label_text(fact.get("title")) or label_text(fact.get("ImgName"))
    caption = "<br>".join(escaped(word) for word in (lead, number, title, label_text(fact.get("label"))) if word)
    place = fact.get("place")
    if fact.get("source"):
        place = ImageAddress.of(fact["source"], fact["file"], fact["member"])
    shown = no_picture("no image file") if place is None else _picture(place, title or number, size)
    return f'<figure class="{kind}">{shown}<figcaption>{caption}</figcaption></figure>'


def no_picture(reason: str) -> str:
    """The placeholder for a missing picture."""
    return f'<div class="none">{escaped(reason)}</div>'


def _picture(place: ImageAddress, title: str, size: tuple[int, int]) -> str:
    from featurestore.collections.images import thumbnail

    try:
        uri = thumbnail(place, width=size[0], height=size[1])
    except (ImageError, StoreError) as error:  # without a network, the rest is worth having
        return no_picture(f"no image file ({error})")
    return f'<img alt="{escaped(title)}" src="{uri}">'
