"""How a comparison shows itself in a notebook: its first rows and what a reader must know, as small HTML."""

from typing import Any

from benchmarks.report.formats import cells, headings
from benchmarks.report.tables import notes
from featurestore.display import block, grid, paragraphs

# Rows and columns that are shown; the first columns are those that a narrow terminal shows.
ROWS, COLUMNS = 15, 11


def comparison_html(table: dict[str, Any]) -> str:
    """The table of a comparison, best row first, with its notes below."""
    rows = [cells(table, row)[:COLUMNS] for row in table["rows"][:ROWS]]
    title, *below = notes(table)
    left_out = len(table["rows"]) - ROWS
    more = f"{left_out:,} more rows; " if left_out > 0 else ""
    whole = f"{more}.to_pandas() has all rows and columns, .to_html('report.html') writes the report"
    names = headings(table)[:COLUMNS]
    figures = range(names.index("") + 1, len(names))
    synthetic = bool(table["synthetic"] or any(row.get("synthetic") for row in table["rows"]))
    return block(title, grid(names, rows, numbers=figures), paragraphs([*below, whole]), synthetic=synthetic)
