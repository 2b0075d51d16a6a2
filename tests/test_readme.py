"""Every example of the README runs, in order, and prints what the README says it prints."""

import doctest
import re
import shlex
from pathlib import Path

import pytest
from torture.launch import in_process

from benchmarks.commands.cli import cli as benchmarks_cli
from featurestore.commands.cli import cli as featurestore_cli

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
# Those for maintainers stand beside what they are about.
PAGES = [README, ROOT / "featurestore/ARCHITECTURE.md", ROOT / "tests/perf/README.md", ROOT / "tests/torture/README.md"]
TEXT = README.read_text("utf-8")
# The file that an example names; `view list` prints it.
BANDS = """
SELECT ImgId, CASE WHEN IMDBScore < 5 THEN 'low' WHEN IMDBScore < 7 THEN 'middle' ELSE 'high' END AS band
FROM collection
"""
# A block of Python with a name is the file of that name.
BLOCKS = re.findall(r"```(console|python)(?: (\S+))?\n(.*?)```", TEXT, flags=re.S)


def commands(block: str) -> list[tuple[str, str]]:
    """Each command of a console block with the output that stands under it."""
    pieces = re.split(r"^\$ ", block, flags=re.M)[1:]
    return [(piece.split("\n", 1)[0], piece.split("\n", 1)[1].rstrip()) for piece in pieces]


def matches(expected: str, got: str) -> bool:
    """Equal but for runs of blanks; an ellipsis stands for anything on its line, alone on a line for any lines."""
    pattern = ""
    for line in re.sub(r" +", " ", expected).splitlines():
        pattern += r"(?:[^\n]*\n)*?" if line == "…" else re.escape(line).replace("…", r"[^\n]*") + r"\n"
    return re.fullmatch(pattern, re.sub(r" +", " ", got.rstrip()) + "\n") is not None


def test_the_examples_run_and_print_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATURESTORE_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    assert len(BLOCKS) >= 4
    (tmp_path / "bands.sql").write_text(BANDS)
    for kind, name, block in BLOCKS:
        if name:
            (tmp_path / name).write_text(block)
        elif kind == "python":
            test = doctest.DocTestParser().get_doctest(block, {}, "README", str(README), 0)
            assert test.examples
            runner = doctest.DocTestRunner()
            assert runner.run(test).failed == 0
        for command, expected in commands(block) if kind == "console" else ():
            # In this process, which loads each library once; test_wheel.py runs commands as processes of their own.
            done = in_process(shlex.split(command))
            assert done.code == 0, f"{command}\n{done.err}"
            assert matches(expected, done.out), f"{command}\nprinted\n{done.out}\nexpected\n{expected}"


@pytest.mark.parametrize(
    ("program", "name"),
    [("featurestore", name) for name in featurestore_cli.commands]
    + [("benchmarks", name) for name in benchmarks_cli.commands],
)
def test_every_command_is_in_the_readme(program: str, name: str) -> None:
    assert f"{program} {name}" in TEXT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_and_page_named_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.M)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
    for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


def test_every_section_that_is_linked_exists() -> None:
    titles = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", TEXT, re.M)
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert links
    assert links <= titles
