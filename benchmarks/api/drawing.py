"""A chart of a comparison as an object that a notebook shows and a file keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report.charts import Interval, intervals
from benchmarks.report.claims import floor_score
from benchmarks.report.columns import spelled
from featurestore.errors import InputError
from featurestore.files import refuse_target, write_atomic

NAN = float("nan")


@dataclass(frozen=True)
class Drawing:
    """One chart; ``svg`` is a whole SVG file."""

    svg: str

    def save(self, path: str | Path) -> None:
        """Write the chart to ``path``, a name that ends with ``.svg``.

        Raises
        ------
        InputError
            When it ends otherwise or can't be written.
        """
        target = Path(path)
        if target.suffix.lower() != ".svg":
            raise InputError(f"got {str(path)!r} as the file of a chart, expected a name that ends with .svg")
        refuse_target(target)
        try:
            write_atomic(target, self.svg.encode())
        except OSError as error:
            raise InputError(f"the chart can't be written to {str(path)!r} ({error.strerror})") from error

    def __repr__(self) -> str:
        """What it is: the SVG itself is no text to read."""
        return f"<chart, {len(self.svg):,} characters of SVG: .save('chart.svg')>"

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="max-width:40rem">{self.svg}</div>'


def drawn(table: dict[str, Any], rows: Sequence[dict[str, Any]], metric: str) -> Drawing:
    """The scores of ``rows`` with their intervals under the name of each backbone."""
    shown = []
    for row in rows:
        low, high = interval_of(row, metric) or (NAN, NAN)
        shown.append(Interval(row["head"], row[metric], low, high, bool(row["in_best_set"]), row["backbone"]))
    synthetic = " · SYNTHETIC" if table["synthetic"] or any(row.get("synthetic") for row in rows) else ""
    title = f"{table['label']} of {table['n_rows']:,} rows{synthetic}"
    axis = f"{spelled(metric)}, 95 % interval" if any(one.low == one.low for one in shown) else spelled(metric)
    return Drawing(intervals(shown, title=title, axis=axis, line=floor_score(table, rows, metric)))


def interval_of(row: dict[str, Any], metric: str) -> tuple[float, float] | None:
    """The 95 % interval of the score by ``metric``; None of any but the accuracy, which alone is a rate."""
    ends = row.get("interval") if metric == "accuracy" else None
    return (ends[0], ends[1]) if ends else None
