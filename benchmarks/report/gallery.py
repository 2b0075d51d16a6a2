"""Thumbnails of single images for a report, as data in the page; what can't be read leaves its reason there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results.breakdown import ImageVerdict
from featurestore import FeatureStore, ImageAddress, label_text, quote_name, thumbnail
from featurestore.errors import ImageError

WIDTH = 110


@dataclass(frozen=True)
class Card:
    """A thumbnail with what is known of it; ``image`` is a data URI, else ``fault`` says why there is none."""

    img_id: int
    title: str
    image: str
    fault: str
    truth: str
    predicted: str
    right: float


def cards(store: FeatureStore, verdicts: Sequence[ImageVerdict], classes: Sequence[str], *, most: int) -> list[Card]:
    """The first ``most`` images."""
    known = _files(store)
    found = []
    for verdict in verdicts[:most]:
        row = known.get(verdict.img_id)
        image, fault = _thumbnail(row)
        title = str(verdict.img_id) if row is None else label_text(row["title"]) or row["ImgName"]
        truth, predicted = classes[verdict.truth], classes[verdict.predicted]
        found.append(Card(verdict.img_id, title, image, fault, truth, predicted, verdict.right))
    return found


def _files(store: FeatureStore) -> dict[int, dict[str, Any]]:
    rows = store.sql(
        f"SELECT i.ImgId, i.ImgName, i.source, i.file, i.member, c.{quote_name(store.title)} AS title "
        "FROM images AS i LEFT JOIN collection AS c ON c.ImgId = i.ImgId WHERE i.status IN ('ok', 'external')"
    )
    return {row["ImgId"]: row for row in rows.to_pylist()}


def _thumbnail(row: dict[str, Any] | None) -> tuple[str, str]:
    """A small JPEG as a data URI, or why there is none."""
    if row is None or not row["source"]:
        return "", "no usable image in the store"
    try:
        return thumbnail(ImageAddress.of(row["source"], row["file"], row["member"]), width=WIDTH, height=2 * WIDTH), ""
    except ImageError as error:
        return "", str(error)
