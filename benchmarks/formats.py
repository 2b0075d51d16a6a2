"""Comparison tables as text: terminal, Markdown, CSV, LaTeX, JSON; every figure comes ready from `report.tables`."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from featurestore._optional import import_extra

# Column, heading, digits; a plus shows the sign.
Column = tuple[str, str, str]
SPEED: tuple[Column, ...] = (("fit_seconds", "fit s", ".2f"), ("predict_ms", "predict ms", ".3f"))
TESTED: tuple[Column, ...] = (("difference", "vs ref.", "+.3f"), ("p_holm", "p (Holm)", ".3f"))
COLUMNS: dict[str, tuple[Column, ...]] = {
    "multiclass": (
        ("accuracy", "accuracy", ".3f"),
        ("interval", "95 % interval", ".3f"),
        *TESTED,
        ("balanced_accuracy", "balanced", ".3f"),
        ("precision_weighted", "precision", ".3f"),
        ("f1_weighted", "F1", ".3f"),
        ("f1_macro", "macro-F1", ".3f"),
        ("log_loss", "log loss", ".3f"),
        ("brier", "Brier", ".3f"),
        ("ece", "ECE", ".3f"),
        ("roc_auc_ovr", "AUC", ".3f"),
        *SPEED,
    ),
    "multilabel": (
        ("map", "mAP", ".3f"),
        *TESTED,
        ("f1_micro", "micro-F1", ".3f"),
        ("f1_macro", "macro-F1", ".3f"),
        ("top_label", "top label", ".3f"),
        *SPEED,
    ),
}
# In CSV, where width costs nothing.
MORE = (
    "accuracy_sd",
    "recall_weighted",
    "precision_macro",
    "recall_macro",
    "p_value",
    "p_better",
    "p_equal",
    "p_worse",
    "cost_fit_seconds",
    "predict_ms_p50",
    "predict_ms_p95",
    "memory_mb",
    "model_bytes",
)


def headings(table: dict[str, Any]) -> list[str]:
    """The headings of a table, in order."""
    share = ["share"] if table["protocol"] == "learning-curve" else []
    return ["backbone", "head", *share, "", *(heading for _, heading, _ in COLUMNS[table["task"]])]


def cells(table: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """The cells of a row as text; empty where there is no figure."""
    share = [f"{row.get('size', 1.0):.0%}"] if table["protocol"] == "learning-curve" else []
    return [
        row["backbone"],
        row["head"],
        *share,
        mark(row),
        *(value(row, c, form) for c, _, form in COLUMNS[table["task"]]),
    ]


def value(row: dict[str, Any], column: str, form: str) -> str:
    """One figure as text."""
    found = row.get(column)
    if found is None:
        return ""
    if isinstance(found, list | tuple):
        return f"{found[0]:{form}} – {found[1]:{form}}"
    return f"{found:{form}}"


def mark(row: dict[str, Any]) -> str:
    """What stands between name and figures: failed, tied with the best, the reference; synthetic in every row."""
    if row["failed"] and row["failed"] == row["cells"]:
        return "failed"
    signs = "".join(sign for sign, on in (("≈", row["tied_with_best"]), ("R", row.get("reference"))) if on)
    return f"{signs} SYNTHETIC".strip() if row.get("synthetic") else signs


def render(tables: Sequence[dict[str, Any]], form: str, notes: Callable[[dict[str, Any]], list[str]]) -> str:
    """Tables as ``terminal``, ``markdown``, ``csv``, ``latex`` or ``json`` text."""
    if form == "json":
        return json.dumps(list(tables), indent=1, default=str)
    if form == "csv":
        return _csv(tables)
    write = {"terminal": _terminal, "markdown": markdown, "latex": _latex}[form]
    return "\n\n".join(write(table, notes(table)) for table in tables)


def _terminal(table: dict[str, Any], notes: Sequence[str]) -> str:
    rich = import_extra("rich.console", "bench", needed_by="a table on the terminal")
    grid = import_extra("rich.table", "bench", needed_by="a table on the terminal").Table(
        box=None, pad_edge=False, header_style="bold"
    )
    for heading in headings(table):
        grid.add_column(heading, justify="left" if heading in ("backbone", "head", "") else "right", no_wrap=True)
    for row in table["rows"]:
        grid.add_row(*cells(table, row), style="dim" if row["published"] else None)
    # A table is read as a whole: let it be as wide as it is, also in a log or a pipe.
    text = io.StringIO()
    rich.Console(file=text, width=260, force_terminal=False).print(grid)
    lines = [line.rstrip() for line in text.getvalue().rstrip().splitlines()]
    return "\n".join([notes[0], *lines, *notes[1:]])


def markdown(table: dict[str, Any], notes: Sequence[str]) -> str:
    """One table as Markdown, notes below."""
    names = headings(table)
    lines = [f"**{notes[0]}**", "", "| " + " | ".join(names) + " |"]
    lines.append("|" + "|".join("---" if name in ("backbone", "head", "") else "--:" for name in names) + "|")
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in cells(table, row)) + " |" for row in table["rows"]]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes[1:])]).rstrip()


def _latex(table: dict[str, Any], notes: Sequence[str]) -> str:
    """A `tabular` for the booktabs package; notes as comments."""
    names = headings(table)
    layout = "".join("l" if name in ("backbone", "head", "") else "r" for name in names)
    rows = [
        " & ".join(_escaped(text) for text in line) + r" \\"
        for line in (names, *(cells(table, r) for r in table["rows"]))
    ]
    lines = [*(f"% {note}" for note in notes), rf"\begin{{tabular}}{{{layout}}}", r"\toprule", rows[0], r"\midrule"]
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
    "≈": r"$\approx$",
    "–": "--",
}


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _csv(tables: Sequence[dict[str, Any]]) -> str:
    sink = io.StringIO()
    names = ["protocol", "task", "backbone", "head", "size", "published", "synthetic", "n_test", "cells", "failed"]
    names += ["reference", "different", "tied_with_best", "low", "high"]
    scores = [column for task in COLUMNS.values() for column, _, _ in task if column != "interval"]
    writer = csv.writer(sink, lineterminator="\n")
    columns = list(dict.fromkeys([*names, *scores, *MORE]))
    writer.writerow(columns)
    for table in tables:
        for row in table["rows"]:
            low, high = row["interval"] or (None, None)
            full = {**row, "protocol": table["protocol"], "task": table["task"], "low": low, "high": high}
            full["synthetic"] = bool(table["synthetic"] or row.get("synthetic"))
            writer.writerow([full.get(name) for name in columns])
    return sink.getvalue().rstrip()
