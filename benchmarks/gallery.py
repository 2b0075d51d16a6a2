"""Thumbnails of single images for a report, as data in the page; what can't be read is left out and counted."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.breakdown import ImageVerdict
from featurestore import FeatureStore
from featurestore._optional import import_extra

WIDTH = 110


@dataclass(frozen=True)
class Card:
    """A thumbnail with what is known of it; ``image`` is a data URI."""

    img_id: int
    title: str
    image: str
    truth: str
    told: str
    right: float


def cards(
    store: FeatureStore, verdicts: Sequence[ImageVerdict], classes: Sequence[str], *, most: int
) -> tuple[list[Card], int]:
    """The first ``most`` images that can be read, and how many before them could not."""
    known = _files(store)
    found: list[Card] = []
    lost = 0
    for verdict in verdicts:
        if len(found) == most or lost > 3 * most:
            break
        row = known.get(verdict.img_id)
        image = _thumbnail(Path(row["folder"], row["ImgName"])) if row else None
        if row is None or image is None:
            lost += 1
            continue
        title = row["Title"] or str(verdict.img_id)
        found.append(Card(verdict.img_id, title, image, classes[verdict.truth], classes[verdict.told], verdict.right))
    return found, lost


def _files(store: FeatureStore) -> dict[int, dict[str, Any]]:
    rows = store.sql(
        "SELECT i.ImgId, i.folder, i.ImgName, m.Title FROM images AS i LEFT JOIN movies AS m ON m.imdbId = i.ImgId "
        "WHERE i.status = 'ok'"
    )
    return {row["ImgId"]: row for row in rows.to_pylist()}


def _thumbnail(path: Path) -> str | None:
    """A small JPEG as a data URI; None where the file is gone or is no image any more."""
    pillow = import_extra("PIL.Image", "bench", needed_by="the thumbnails of a report")
    from featurestore.images import to_rgb

    try:
        with pillow.open(path) as opened:
            image = to_rgb(opened)
    except OSError:  # Pillow's own error for what is no image is one too
        return None
    image.thumbnail((WIDTH, 2 * WIDTH))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=72)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
