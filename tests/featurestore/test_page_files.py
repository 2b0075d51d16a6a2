"""The files of the explorer's page: short, plain modules that put no text from strangers into markup."""

import json
import re
import shutil
import subprocess
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


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_text_of_strangers_is_made_readable_where_it_is_set(path: Path) -> None:
    """An element's own text and properties are, by `el`; what is set later says so itself."""
    for value in re.findall(r"\.(?:textContent|title) = (.*);", path.read_text("utf-8")):
        data = re.search(r"known|store|state|row|message|valueAt|label|^text$", re.sub(r'"[^"]*"', "", value))
        assert "readable(" in value or not data, value


def test_what_reorders_or_hides_text_is_written_out() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    texts = ["\u202egnp.exe", "\x1b]0;x\x07", "a\u200bb\u3164", "e" + "\u0301" * 40, "\u0645\u06cc\u200c\u062e é 🎬\n"]
    code = f"const {{ readable }} = await import({json.dumps((STATIC / 'dom.js').as_uri())});"
    code += f"console.log(JSON.stringify({json.dumps(texts)}.map(readable)));"
    run = [node, "--no-warnings", "--experimental-default-type=module", "--input-type=module", "-e", code]
    shown = json.loads(subprocess.run(run, capture_output=True, check=True, text=True, timeout=30).stdout)
    assert shown == ["\\u202egnp.exe", "\\u001b]0;x\\u0007", "a\\u200bb\\u3164", "e" + "\u0301" * 8 + "…", texts[-1]]
