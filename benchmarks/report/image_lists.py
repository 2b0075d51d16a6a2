"""Lists of images as text, CSV and one page of pictures: labels that are doubtful, and images to label next."""

import csv
import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from benchmarks.report.formats import lined_up
from benchmarks.report.gallery import Card
from featurestore import visible
from featurestore._optional import import_extra

ImageRow = dict[str, Any]


def as_lines(rows: Sequence[ImageRow]) -> list[str]:
    """Heading and rows in columns; numbers with three decimals, text of strangers made safe for a terminal."""
    if not rows:
        return []
    return lined_up([tuple(rows[0]), *(tuple(map(_text, row.values())) for row in rows)], gap=2)


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else visible(str(value))


def as_csv(rows: Sequence[ImageRow], columns: Sequence[str]) -> bytes:
    """The rows as CSV with a heading, also where there is none."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


def as_page(title: str, notes: Sequence[str], cards: Sequence[Card], *, synthetic: bool) -> bytes:
    """One HTML page of pictures that needs no network."""
    jinja = import_extra("jinja2", "bench", needed_by="the HTML page")
    environment = jinja.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = files("benchmarks").joinpath("report/templates/images.html.j2").read_text("utf-8")
    page = environment.from_string(text).render(title=title, notes=notes, cards=cards, synthetic=synthetic)
    return f"{page}\n".encode()
