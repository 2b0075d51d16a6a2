"""The comparison table as text, without a run: width, escapes, marks."""

import re

import pytest
from shaped_table import shaped

from benchmarks.report.tables import tables_as_text


def test_latex_is_balanced_and_escaped() -> None:
    text = tables_as_text([shaped()], "latex")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    layout = re.search(r"begin{tabular}{([lr]+)}", text)
    assert layout
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {len(layout[1])}
    assert r"100\%\_\{x\}\&\#\$\textasciitilde{}\textasciicircum{}" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert not re.search(r"[≈–_]", re.sub(r"\\_|^%.*$", "", text, flags=re.M).replace(r"\_", ""))


@pytest.mark.parametrize("width", [60, 80, 120, 160, None])
def test_a_terminal_gets_as_many_columns_as_it_is_wide(width: int | None) -> None:
    text = tables_as_text([shaped()], "terminal", width=width)
    assert max(map(len, text.splitlines())) <= (width or 1000)
    heading = next(line for line in text.splitlines() if line.startswith("backbone"))
    row = next(line for line in text.splitlines() if line.startswith("a_b"))
    assert "0.600" in row
    assert "≈RS" in row, "tied, the reference, synthetic"
    assert "S: SYNTHETIC data or weights" in text
    assert "0.482 – 0.632" in text, "of a published row"
    assert ("not shown for want of width" in text) == (width is not None)
    if width != 60:
        assert "1 – 3" in row
    if width is None:
        assert heading.endswith("predict ms")


def test_rows_that_failed_for_one_reason_share_a_sentence() -> None:
    table = shaped()
    rows = [
        {**table["rows"][0], "backbone": name, "head": head, "failed": 50, "failure": f"{name!r} has no text tower"}  # type: ignore[index]
        for name, head in (("net", "h"), ("other", "h"), ("third", "h"), ("net", "g"))
    ]
    text = tables_as_text([table | {"rows": rows}], "terminal")
    assert "net h failed in 50 of 50: 'net' has no text tower (likewise over other, third)\n" in text
    assert text.endswith("net g failed in 50 of 50: 'net' has no text tower")
    assert text.count("failed S ") == 4


def test_a_real_table_is_not_marked() -> None:
    table = shaped(synthetic=False) | {"synthetic": False}
    for form in ("terminal", "markdown", "latex"):
        assert "SYNTHETIC" not in tables_as_text([table], form)
    assert "≈RS" not in tables_as_text([table], "terminal")
