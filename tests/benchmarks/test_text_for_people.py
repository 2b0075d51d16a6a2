"""Names, labels and messages of strangers in what the bench shows: never markup, a command of LaTeX or a formula."""

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
from shaped_table import shaped

import benchmarks
from benchmarks.models.folder import describe
from benchmarks.report import image_lists, page_data
from benchmarks.report.formats import markdown
from benchmarks.report.gallery import Card
from benchmarks.report.rendering import rendered
from benchmarks.report.tables import notes, tables_as_text, write_report
from featurestore.terminal import visible

EVIL = (
    "=1+1;=2\t|a\\| `x` <b id=pwn onclick=x>x</b>&lt;[l](javascript:x)![i](x) $x$ #\n---\n# pwn\n\\input{x}%^^M "
    "\x1b]0;pwn\x07\u202egnp\u200b{{7*7}}</script></title><img src=x>"
)
# Words of the program by which it decides.
FIXED = ("study", "accuracy", "multiclass")


def hostile(value: Any) -> Any:
    """``value`` with the text of a stranger after each text of its own."""
    if isinstance(value, str):
        return value if value in FIXED else f"{EVIL}{value}{EVIL}"
    if isinstance(value, dict):
        return {key: hostile(inner) for key, inner in value.items()}
    return [hostile(inner) for inner in value] if isinstance(value, list) else value


def table() -> dict[str, Any]:
    made: dict[str, Any] = hostile({**shaped(failed=1, failure="it broke"), "warnings": ["beware"]})
    lineage = {"runs": ["r"], "cells": 1, "seed": 0, "state_id": "s", "classes": ["a"], "machine": "m"}
    return made | hostile(lineage) | {"libraries": {EVIL: EVIL}}


class Elements(HTMLParser):
    """Collects the elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Keep the names, and what the stranger's elements would say."""
        self.found |= {tag, *(name for name, _ in attributes), *(f"{name}={value}" for name, value in attributes)}


def is_text(shown: str) -> bool:
    return visible(shown, keep="\n") == shown


def assert_plain_markdown(text: str) -> None:
    """Beyond what the program itself writes, everything special is escaped: no HTML, link, image, code or formula."""
    assert is_text(text)
    assert not re.search(r"(?<!\\)(\\\\)*(<(?! )|[\[`$])", text)
    assert not [line for line in text.splitlines() if line.startswith(("---", "# pwn"))]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}) <= 1, "all rows have the same cells"


def test_markdown_shows_it_as_it_is(tmp_path: Any) -> None:
    made = table()
    write_report([made], tmp_path / "tables.md")
    for text in (markdown(made, notes(made)), (tmp_path / "tables.md").read_text("utf-8")):
        assert_plain_markdown(text)
        assert len([line for line in text.splitlines() if line.startswith("|")]) == 2 + len(made["rows"])


def test_a_model_card_shows_it_as_it_is() -> None:
    card = hostile({"head": "h", "backbone": "b", "label": "l", "view": "v", "revision": "r", "state_id": "s"})
    card |= hostile({"data_hash": "d", "created": "c", "classes": ["a", "b"], "weights": ["w"], "settings": {"x": "y"}})
    card |= {"chosen": {}, "libraries": {EVIL: EVIL}, "n_rows": 1, "embed_dim": 1, "seed": 0, "synthetic": True}
    assert_plain_markdown(describe(card))


def test_latex_runs_nothing() -> None:
    text = tables_as_text([table()], "latex")
    assert is_text(text)
    rows = [line for line in text.splitlines() if not line.startswith("%")]
    assert len(rows) == 3 + len(table()["rows"]) + 4 - 1, "no line of its own"
    commands = set(re.findall(r"\\([a-z]+)", "\n".join(rows)))
    ours = {"begin", "end", "toprule", "midrule", "bottomrule", "approx"}
    assert commands <= ours | {f"text{name}" for name in ("backslash", "asciitilde", "asciicircum", "less", "greater")}
    cells = [line for line in rows if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in cells} == {len(re.findall(r"(?<!\\)&", cells[0]))}
    assert not any(re.search(r"(?<!\\)[%#_^~]", line) for line in cells), "each is escaped"
    assert not any(line.lstrip().startswith(("[", "*")) for line in rows)


def test_a_terminal_is_sent_text_alone() -> None:
    assert is_text(tables_as_text([table()], "terminal"))


def test_csv_holds_no_formula() -> None:
    (row, *_) = csv.DictReader(io.StringIO(tables_as_text([table()], "csv")))
    assert row["backbone"].startswith("'=1+1;'=2")
    assert float(row["difference"]) < 0, "a number stays one"
    (exact, *_) = csv.DictReader(io.StringIO(tables_as_text([table()], "csv", exact=True)))
    assert exact["backbone"].startswith("=1+1;=2")
    listed = {"ImgId": 1, "ImgName": EVIL, "p": -0.5}
    (row,) = csv.DictReader(io.StringIO(image_lists.as_csv([listed], list(listed)).decode()))
    assert (row["ImgName"][:5], row["p"]) == ("'=1+1", "-0.5")


def test_pages_have_no_element_of_a_stranger() -> None:
    card = Card(1, EVIL, "", EVIL, (EVIL,))
    page = image_lists.as_page(EVIL, [EVIL], [card], synthetic=True).decode()
    section = {"title": EVIL, "answer": EVIL, "advice": [EVIL], "warnings": [EVIL], "notes": [EVIL], "margin": EVIL}
    grid = {"headings": [{"text": EVIL}], "title": EVIL}
    grid["rows"] = [{"head": EVIL, "sign": EVIL, "under": EVIL, "cells": [EVIL]}]
    section |= {
        "id": EVIL,
        "scores": grid,
        "costs": grid,
        "charts": [],
        "galleries": [{"title": EVIL, "cards": [card]}],
    }
    section |= {"protocol": EVIL, "lineage": [(EVIL, EVIL)], "synthetic": True}
    row = {"title": EVIL, "ImgName": EVIL, "source": ""}
    kept = page_data.Pictures({}, frozenset())
    data = page_data.as_json({}, {"m": [[1]]}, {1: row}, kept)
    report = rendered("report.html.j2", sections=[section], script="", script_hash="", style="", data=data)
    scores = {"row": [EVIL] * 40, "id": np.arange(40), "y": [0, 1] * 20, "predicted": [0, 1] * 20}
    shown = benchmarks.significance(scores)._repr_html_()
    for html in (page, report, shown):
        assert is_text(html)
        assert not {"id=pwn", "onclick", "src=x", "href=javascript:x"} & Elements(html).found
        assert "pwn" in html
        assert "<h1>" not in html or html.index("Content-Security-Policy") < html.index("<style>")
