"""Galleries of single images: thumbnails as data in the page; what can't be read leaves its reason there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results.breakdown import ImageProbabilities, ImageVerdict, verdicts_on
from benchmarks.results.doubtful import DoubtfulLabel, doubtful_labels
from featurestore import FeatureStore, ImageAddress, label_text, quote_name, thumbnail
from featurestore.errors import ImageError, StoreError

WIDTH, QUALITY = 160, 70
# How many images are shown of each kind.
SHOWN = 12
# An image, and the lines under its title.
Shown = tuple[int, tuple[str, ...]]


@dataclass(frozen=True)
class Card:
    """A picture with what is known of it; ``image`` is a data URI, else ``fault`` says why there is none."""

    img_id: int
    title: str
    image: str
    fault: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """Images of one kind; the title says how many there are in all."""

    title: str
    caption: str
    cards: list[Card]


def galleries(
    known: dict[int, dict[str, Any]], classes: Sequence[str], probabilities: ImageProbabilities
) -> list[Gallery]:
    """Images that the rows of a run predict wrongly, correctly, and whose labels are doubtful.

    Parameters
    ----------
    known
        As `known_images` gives it.
    """
    judged = verdicts_on(probabilities)
    wrong, how_wrong = _always_or_mostly(judged, 0.0, "wrongly")
    correct, how_correct = _always_or_mostly(judged[::-1], 1.0, "correctly")
    doubtful = doubtful_labels(probabilities)

    def gallery(title: str, caption: str, shown: Sequence[Shown]) -> Gallery:
        return Gallery(title, caption, cards(known, shown[:SHOWN]))

    found = [
        gallery(
            f"Most surely wrong: {_of(wrong)} {how_wrong}",
            "By the mean probability of the wrong class over the rows that learn.",
            [verdict_lines(one, classes) for one in wrong[:SHOWN]],
        ),
        gallery(
            f"Doubtful labels: {_of(doubtful)} whose label the predictions contradict",
            "By confident learning, the least probable label first: to look at, since a hard image looks the same.",
            [doubtful_lines(one, classes) for one in doubtful[:SHOWN]],
        ),
        gallery(
            f"Most surely correct: {_of(correct)} {how_correct}",
            "By the mean probability of the class over the rows that learn.",
            [verdict_lines(one, classes) for one in correct[:SHOWN]],
        ),
    ]
    return [one for one in found if one.cards]


def _always_or_mostly(judged: Sequence[ImageVerdict], right: float, how: str) -> tuple[list[ImageVerdict], str]:
    """Those that are predicted so each time; where there are none, those that are in more than half of the cases."""
    always = [one for one in judged if one.right == right]
    if always:
        return always, f"that every row predicts {how} each time"
    return [one for one in judged if abs(one.right - right) < 0.5], f"that are mostly predicted {how}"


def _of(found: Sequence[object]) -> str:
    return f"{min(len(found), SHOWN)} of {len(found):,} {'image' if len(found) == 1 else 'images'}"


def verdict_lines(one: ImageVerdict, classes: Sequence[str]) -> Shown:
    """An image with its class, what it is predicted as, and how often that is right."""
    truth, predicted = classes[one.truth], classes[one.predicted]
    what = truth if one.truth == one.predicted else f"{truth}, predicted as {predicted}"
    return one.img_id, (what, f"probability {one.sure:.2f}, right in {100 * one.right:.0f}\u00a0%")


def doubtful_lines(one: DoubtfulLabel, classes: Sequence[str]) -> Shown:
    """An image with its given and its suggested label."""
    return one.img_id, (
        f"{classes[one.given]} (probability {one.score:.2f})",
        f"or {classes[one.suggested]} ({one.sure:.2f})?",
    )


def cards(known: dict[int, dict[str, Any]], shown: Sequence[Shown]) -> list[Card]:
    """A card for each image of ``shown``; ``known`` as `known_images` gives it."""
    found = []
    for img_id, lines in shown:
        row = known.get(img_id)
        found.append(
            Card(img_id, title_of(row, img_id), *picture(row, width=WIDTH, height=2 * WIDTH, quality=QUALITY), lines)
        )
    return found


def title_of(row: dict[str, Any] | None, img_id: int) -> str:
    """The title of an image, or its name, or its number."""
    return str(img_id) if row is None else label_text(row["title"]) or row["ImgName"]


def known_images(store: FeatureStore) -> dict[int, dict[str, Any]]:
    """Name, title and address of every usable image of the store, by its number."""
    rows = store.sql(
        f"SELECT i.ImgId, i.ImgName, i.source, i.file, i.member, c.{quote_name(store.title)} AS title "
        "FROM images AS i LEFT JOIN collection AS c ON c.ImgId = i.ImgId WHERE i.status IN ('ok', 'external')"
    )
    return {row["ImgId"]: row for row in rows.to_pylist()}


def picture(row: dict[str, Any] | None, *, width: int, height: int, quality: int) -> tuple[str, str]:
    """A small WEBP as a data URI, or why there is none; ``row`` is one of `known_images`."""
    if row is None or not row["source"]:
        return "", "no usable image in the store"
    try:
        address = ImageAddress.of(row["source"], row["file"], row["member"])
        return thumbnail(address, width=width, height=height, form="webp", quality=quality), ""
    except (ImageError, StoreError) as error:
        return "", str(error)
