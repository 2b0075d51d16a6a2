"""The files of the explorer's page: short, plain modules that put no text from strangers into markup."""

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "featurestore" / "explore" / "page" / "static"
FILES = sorted(STATIC.iterdir())
# What turns text into markup or code.
MARKUP = ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function", "srcdoc", "DOMParser")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_of_the_page_is_long(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 300
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120 and path.suffix == ".js"] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_modules_are_plain_and_import_each_other_alone(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("// "), "the first line says what the module owns"
    assert [word for word in MARKUP if word in text] == []
    imported = re.findall(r'^import .* from "(.*)";$', text, re.MULTILINE)
    assert {name for name in imported if not (STATIC / name).is_file()} == set()
    assert "import(" not in text


def test_the_page_holds_no_script_style_or_address_of_its_own() -> None:
    text = (STATIC / "explore.html").read_text("utf-8")
    assert re.findall(r"<script(?! type=\"module\" src=\"static/explore.js\"></script>)", text) == []
    assert re.findall(r"<style| style=| on[a-z]+=|https?:|//", text) == []
