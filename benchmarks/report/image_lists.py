"""Lists of images as text, CSV and one page of pictures: labels that are doubtful, and images to label next."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from benchmarks.report.formats import lined_up
from benchmarks.report.gallery import Card
from benchmarks.report.rendering import rendered
from featurestore import visible
from featurestore.spreadsheet import safe_row

ImageRow = dict[str, Any]


def as_lines(rows: Sequence[ImageRow]) -> list[str]:
    """Heading and rows in columns; numbers with three decimals, text of strangers made safe for a terminal."""
    if not rows:
        return []
    return lined_up([tuple(rows[0]), *(tuple(map(_text, row.values())) for row in rows)], gap=2)


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else visible(str(value))


def as_csv(rows: Sequence[ImageRow], columns: Sequence[str], *, exact: bool = False) -> bytes:
    """The rows as CSV with a heading, also where there is none; text as spreadsheets may have it unless ``exact``."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(safe_row((row.get(name, "") for name in columns), exact=exact) for row in rows)
    return sink.getvalue().encode()


def as_page(title: str, notes: Sequence[str], cards: Sequence[Card], *, synthetic: bool) -> bytes:
    """One HTML page of pictures that needs no network."""
    page = rendered("images.html.j2", title=title, notes=notes, cards=cards, synthetic=synthetic)
    return f"{page}\n".encode()
