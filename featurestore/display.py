"""Small HTML and text by which results show themselves in a notebook; everything is escaped, no colour is assumed.

A notebook may be light or dark, so text and lines take the colours that are there.
"""

import dataclasses
import html
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import pyarrow as pa

from featurestore.terminal import visible

Item = TypeVar("Item")
# What of a table is shown, and of a value: rows, columns, characters (in a printed column), numbers of a vector.
ROWS, COLUMNS, CHARACTERS, NARROW, NUMBERS = 10, 12, 80, 30, 3
MARK = "SYNTHETIC"
JOINERS = "\u200c\u200d"  # Persian and Hindi are written with them, and many emoji
STYLE = (
    "<style>"
    ".featurestore{overflow-x:auto;padding:.3em 6px}"
    ".featurestore p{margin:.3em 0}"
    ".featurestore .about{opacity:.75}"
    ".featurestore table.fs{border-collapse:collapse;margin:.4em 0;font-size:.93em}"
    ".featurestore table.fs td,.featurestore table.fs th{text-align:left;vertical-align:top;padding:.2em .8em .2em 0;"
    "border:0;border-bottom:1px solid #8885;background:none;max-width:20em;overflow:hidden;"
    "text-overflow:ellipsis;white-space:nowrap}"
    ".featurestore table.fs .n{text-align:right;font-variant-numeric:tabular-nums}"
    ".featurestore .mark{background:#e69f00;color:#000;padding:.1em .5em;border-radius:3px;font-size:.85em}"
    ".featurestore .images{display:flex;flex-wrap:wrap;gap:.7em;margin:.4em 0}"
    ".featurestore figure{margin:0;width:96px;font-size:.8em;line-height:1.3;overflow-wrap:anywhere}"
    ".featurestore figure img{display:block;max-width:96px;max-height:128px;margin:0 0 .2em}"
    ".featurestore figure.query{outline:2px solid #0072b2;outline-offset:3px}"
    ".featurestore .none{display:block;border:1px dashed #8888;padding:.5em;margin:0 0 .2em}"
    "</style>"
)


class RecordList(list[Item]):
    """A list of records that a notebook shows as a table, and that is printed with one record a line."""

    def __repr__(self) -> str:
        """The fields of each record in columns."""
        if not self:
            return "[]"
        header, rows = _fields(self)
        rows = [[shortened(text, NARROW) for text in row] for row in rows]
        widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
        lines = (
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (header, *rows)
        )
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        header, rows = _fields(self) if self else ([], [])
        return block(
            number_of(len(self), "row"), grid(header, rows) if rows else "", synthetic=any(map(_is_synthetic, self))
        )


def block(title: str, *parts: str, synthetic: bool = False, about: Iterable[str] = ()) -> str:
    """A title and lines ``about`` it, both plain text, and below them ``parts``, which are HTML already."""
    mark = f' <span class="mark">{MARK}</span>' if synthetic else ""
    head = f"<p><b>{escaped(title)}</b>{mark}</p>{paragraphs(about)}"
    return f'{STYLE}<div class="featurestore">{head}{"".join(parts)}</div>'


def paragraphs(lines: Iterable[str]) -> str:
    """Plain texts that say more of what is shown."""
    return "".join(f'<p class="about">{escaped(line)}</p>' for line in lines)


def escaped(text: str) -> str:
    """``text`` for HTML; characters that would reorder or hide others are written out, but not those that join."""
    return html.escape(plain(text))


def plain(text: str) -> str:
    """``text`` without what would reorder or hide other text; characters that join stay, which languages need."""
    return visible(text, keep=JOINERS)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    """A table of plain texts; the columns whose places are ``numbers`` are aligned to the right."""
    right = set(numbers)

    def line(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if place in right else ''}>{escaped(text)}</{tag}>" for place, text in enumerate(texts)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table class=fs><thead><tr>{line('th', header)}</tr></thead><tbody>{body}</tbody></table>"


def table_html(table: pa.Table) -> str:
    """The first rows and columns of ``table``, and how many there are in all."""
    header = table.schema.names[:COLUMNS]
    first = [_shown(table.column(place).slice(0, ROWS)) for place in range(len(header))]
    numbers = [place for place in range(len(header)) if _is_number(table.schema.field(place).type)]
    size = f"{number_of(table.num_rows, 'row')}, {number_of(table.num_columns, 'column')}"
    shown = [f"the first {ROWS} rows"] if table.num_rows > ROWS else []
    shown += [f"the first {COLUMNS} columns"] if table.num_columns > COLUMNS else []
    about = [f"shown: {' and '.join(shown)}; .to_pandas() has all"] if shown else []
    rows = list(zip(*first, strict=True))
    return block(
        size, grid(header, rows, numbers=numbers), synthetic=_about(table).get("synthetic") is True, about=about
    )


def value_text(value: Any) -> str:
    """A value of a table in a few words; of a long list or array its first numbers and its length."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    if isinstance(value, (list, tuple)):
        return vector_text(value, len(value))
    return shortened(json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, Mapping) else str(value))


def vector_text(first: Iterable[Any], length: int) -> str:
    """A list of ``length`` values, of which ``first`` are the first or all."""
    some = [value for _, value in zip(range(NUMBERS), first, strict=False)]
    texts = [f"{value:.4g}" if isinstance(value, float) else value_text(value) for value in some]
    more = f", … {length:,} values" if length > NUMBERS else ""
    return f"[{', '.join(texts)}{more}]"


def shortened(text: str, length: int = CHARACTERS) -> str:
    """The beginning of ``text``, at most ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def number_of(count: int, thing: str) -> str:
    """``1 row``, ``1,000 rows``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def counted(counts: Mapping[str, int], limit: int = 8) -> str:
    """``Drama 357, Comedy 317``: the first ``limit``, and how many more there are."""
    words = [f"{shortened(name, 40)} {count:,}" for name, count in list(counts.items())[:limit]]
    more = [f"and {len(counts) - limit:,} more"] if len(counts) > limit else []
    return ", ".join([*words, *more])


def listed(names: Sequence[str], limit: int = COLUMNS) -> str:
    """The first ``limit`` of ``names``, and how many more there are."""
    more = [f"and {len(names) - limit:,} more"] if len(names) > limit else []
    return ", ".join([*(shortened(name, 40) for name in names[:limit]), *more])


def show_tables() -> None:
    """In a Jupyter kernel: show Arrow tables, such as the answers of `sql`, by `table_html` from now on.

    Nothing is changed where the user has chosen another way to show them, nor outside a kernel.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is not None:
        formatter = shell.display_formatter.formatters["text/html"]
        if pa.Table not in formatter:
            formatter.for_type(pa.Table, table_html)


def _shown(column: pa.ChunkedArray) -> list[str]:
    """The texts of the values of ``column``; of a list only the values that are shown become Python objects."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return [value_text(_python(value)) for value in column]
    return [
        vector_text(map(_python, value.values.slice(0, NUMBERS)), len(value.values)) if value.is_valid else "NULL"
        for value in column
    ]


def _python(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError):  # a date that Python can't represent
        return f"a {value.type} that Python can't represent"


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _about(table: pa.Table) -> dict[str, Any]:
    """What `Features.to_arrow` says of a table in its schema; empty for others."""
    text = (table.schema.metadata or {}).get(b"featurestore")
    try:
        about = json.loads(text) if text else {}
    except (ValueError, RecursionError):  # a file of someone else
        about = {}
    return about if isinstance(about, dict) else {}


def _fields(records: Sequence[Any]) -> tuple[list[str], list[list[str]]]:
    """The names and texts of the fields of dataclasses; without those that hold mappings, which are too long."""
    names = [
        one.name for one in dataclasses.fields(records[0]) if not isinstance(getattr(records[0], one.name), Mapping)
    ]
    return names, [[_field_text(getattr(record, name)) for name in names] for record in records]


def _field_text(value: Any) -> str:
    return visible(value.isoformat(" ", "seconds") if isinstance(value, datetime) else value_text(value))


def _is_synthetic(record: Any) -> bool:
    return getattr(record, "synthetic", False) is True
