"""Comparison tables as text: terminal, Markdown, CSV, LaTeX, JSON; every figure comes ready from `report.tables`."""

import csv
import io
import json
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.report import shift
from benchmarks.report.columns import COLUMNS, MORE, PAIRS, columns, in_csv
from benchmarks.report.json_ready import json_ready
from featurestore import markdown as md
from featurestore import visible
from featurestore.spreadsheet import safe_row

# Where a reader of a stored table finds the columns that don't fit.
MORE_COLUMNS = "`benchmarks table --wide`, or --format csv"


def headings(table: dict[str, Any]) -> list[str]:
    """The headings of a table, in order."""
    return ["backbone", "head", *extent(table), "", *(heading for _, heading, _ in columns(table))]


def extent(table: dict[str, Any], row: dict[str, Any] | None = None) -> dict[str, str]:
    """What a row rests on, by heading, where the rows of a table differ in it: share of the training part, cells."""
    found = {}
    if table["protocol"] == "learning-curve":
        found["share"] = f"{row.get('size', 1.0):.0%}" if row else ""
    if len({one["cells"] for one in table["rows"] if not one["published"]}) > 1:
        found["cells"] = str(row["cells"]) if row and not row["published"] else ""
    return found


def cells(table: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """The cells of a row as text; empty where there is no figure."""
    return [
        row["backbone"],
        row["head"],
        *extent(table, row).values(),
        mark(row),
        *(value(row, c, form) for c, _, form in columns(table)),
    ]


def value(row: dict[str, Any], column: str, form: str) -> str:
    """One figure as text."""
    found = row.get(column)
    if found is None:
        return ""
    if form == "rank":
        first, last = found
        return str(first) if first == last else f"{first} – {last}"
    if isinstance(found, list | tuple):
        return (" – " if len(found) == 2 else "/").join(f"{one:{form}}" for one in found)
    if form == "p":
        return "<0.001" if found < 0.001 else f"{found:.3f}"
    if form == "limited":
        return f"{found:.3f} ({row[f'{column}_limit']:.3f})"
    return f"{found:{form}}"


def p_value(p: float) -> str:
    """A p value as a sentence names it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def signs(row: dict[str, Any]) -> str:
    """What a row is besides its figures: failed; or ≈, one of the set of best rows, and R, the reference."""
    if row["failed"] and row["failed"] == row["cells"]:
        return "failed"
    return "".join(sign for sign, on in (("≈", row.get("in_best_set")), ("R", row.get("reference"))) if on)


def mark(row: dict[str, Any]) -> str:
    """The signs of a row; what is synthetic says so in every row."""
    return f"{signs(row)} SYNTHETIC".strip() if row.get("synthetic") else signs(row)


def format_tables(
    tables: Sequence[dict[str, Any]],
    form: str,
    notes: Callable[[dict[str, Any]], list[str]],
    *,
    width: int | None = None,
    more: str = MORE_COLUMNS,
    exact: bool = False,
) -> str:
    """Tables as ``terminal``, ``markdown``, ``csv``, ``latex`` or ``json`` text.

    Parameters
    ----------
    width
        Columns of text of the terminal; none: as wide as the table is.
    more
        Where a reader finds the columns for which that is too narrow.
    exact
        Write text in CSV as it is, also what a spreadsheet would take for a formula.
    """
    if form == "json":
        return json.dumps(json_ready(list(tables)), indent=1, default=str, allow_nan=False)
    if form == "csv":
        return _csv(tables, exact=exact)
    if form == "terminal":
        text = "\n\n".join(
            part for table in tables for part in (_terminal(table, notes(table), width, more), *_across(table, width))
        )
        return visible(text, keep="\n")  # a notebook or a script prints it too
    write = {"markdown": markdown, "latex": _latex}[form]
    return "\n\n".join(write(table, notes(table)) for table in tables)


def _terminal(table: dict[str, Any], notes: Sequence[str], width: int | None, more: str) -> str:
    """The table with as many columns as fit, at least one; published rows stand under a line of their own."""
    mine = [row for row in table["rows"] if not row["published"]]
    published = [row for row in table["rows"] if row["published"]]
    names = lined_up([("backbone", "head", *extent(table), ""), *(_names(table, row) for row in mine)])
    names += ["published, other images", *(row["head"] for row in published)] if published else []
    lines = [name.ljust(max(map(len, names))) for name in names]
    shown = 0
    for column, heading, form in columns(table):
        texts = [value(row, column, form) for row in mine]
        texts = [heading, *texts, *(["", *(value(row, column, form) for row in published)] if published else [])]
        wide = max(map(len, texts))
        if width and shown and len(lines[0]) + 2 + wide > width:
            break
        lines = [f"{line}  {text.rjust(wide)}" for line, text in zip(lines, texts, strict=True)]
        shown += 1
    below = [f"S: {note}" if note.startswith("SYNTHETIC") else note for note in notes[1:]]
    hidden = [heading for _, heading, _ in columns(table)[shown:]]
    if hidden:
        below.append(f"not shown for want of width: {', '.join(hidden)} ({more})")
    texts = [_folded(note, width) for note in (notes[0], *below)]
    return "\n".join([texts[0], *(line.rstrip() for line in lines), *texts[1:]])


def _names(table: dict[str, Any], row: dict[str, Any]) -> tuple[str, ...]:
    known = signs(row)
    synthetic = "S" if row.get("synthetic") else ""
    mark = f"failed {synthetic}".rstrip() if known == "failed" else known + synthetic
    return row["backbone"], row["head"], *extent(table, row).values(), mark


def lined_up(rows: Sequence[tuple[str, ...]], *, gap: int = 1) -> list[str]:
    """The fields of all rows in columns ``gap`` blanks apart; a column in which only the heading stands is left out."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in columns]
    return [(gap * " ").join(line).rstrip() for line in zip(*padded, strict=True)]


def _folded(text: str, width: int | None) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False) if width else text


def markdown(table: dict[str, Any], notes: Sequence[str]) -> str:
    """One table as Markdown, notes below."""
    names = headings(table)
    figures = [place for place, name in enumerate(names) if name not in ("backbone", "head", "")]
    rows = md.table(names, [cells(table, row) for row in table["rows"]], numbers=figures)
    lines = [f"**{md.text(notes[0])}**", "", rows, "", *(f"- {md.text(note)}" for note in notes[1:])]
    if "across" in table:
        lines += ["", md.code("\n\n".join(_across(table, None)))]
    return "\n".join(lines).rstrip()


def _across(table: dict[str, Any], width: int | None) -> list[str]:
    """Of the protocol across: what stands below its table."""
    return shift.text(table["across"], width=width) if "across" in table else []


def _latex(table: dict[str, Any], notes: Sequence[str]) -> str:
    """A `tabular` for the booktabs package; notes as comments."""
    names = headings(table)
    layout = "".join("l" if name in ("backbone", "head", "") else "r" for name in names)
    rows = [
        " & ".join(_escaped(text) for text in line) + r" \\"
        for line in (names, *(cells(table, r) for r in table["rows"]))
    ]
    lines = [
        *(f"% {visible(note, spaces=False)}" for note in notes),
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
    ]
    return "\n".join([*lines, *rows[1:], r"\bottomrule", r"\end{tabular}"])


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # after a line end it would begin an argument
    "*": "{*}",
    "≈": r"$\approx$",
    "–": "--",
}


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in visible(text, spaces=False))


def _csv(tables: Sequence[dict[str, Any]], *, exact: bool) -> str:
    sink = io.StringIO()
    names = [
        "protocol",
        "view",
        "label",
        "task",
        "backbone",
        "head",
        "size",
        "published",
        "synthetic",
        "n_test",
        "cells",
        "failed",
    ]
    names += ["rank_by", "reference", "in_best_set", "low", "high"]
    left_out = ["n_rows", "n_missing", "n_unlabelled", "n_rare"]
    scores = [name for task in COLUMNS.values() for column, _, _ in task for name in in_csv(column)]
    writer = csv.writer(sink, lineterminator="\n")
    header = list(dict.fromkeys([*names, *scores, *MORE, *left_out]))
    writer.writerow(header)
    for table in tables:
        for row in table["rows"]:
            low, high = row["interval"] or (None, None)
            full = row | {name: table.get(name) for name in ("protocol", "view", "label", "task", "rank_by", *left_out)}
            full |= {"low": low, "high": high}
            for pair in PAIRS:
                full |= dict(zip(in_csv(pair), row.get(pair) or (None, None), strict=True))
            full["synthetic"] = bool(table["synthetic"] or row.get("synthetic"))
            writer.writerow(safe_row((full.get(name) for name in header), exact=exact))
    return sink.getvalue().rstrip()
