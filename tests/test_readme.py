"""Every example of the README runs, in order, and prints what the README says it prints."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli import cli as benchmarks_cli
from featurestore.cli import cli as featurestore_cli

README = Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text("utf-8")
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", TEXT, flags=re.S)


def commands(block: str) -> list[tuple[str, str]]:
    """Each command of a console block with the output that stands under it."""
    pieces = re.split(r"^\$ ", block, flags=re.M)[1:]
    return [(piece.split("\n", 1)[0], piece.split("\n", 1)[1].rstrip()) for piece in pieces]


def matches(expected: str, got: str) -> bool:
    """Equal but for runs of blanks; an ellipsis stands for anything on its line."""
    pattern = re.escape(re.sub(r" +", " ", expected)).replace("…", "[^\n]*")
    return re.fullmatch(pattern, re.sub(r" +", " ", got.rstrip())) is not None


def test_the_examples_run_and_print_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in re.findall(r"```py\n# (\S+)\n(.*?)```", TEXT, flags=re.S):
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATURESTORE_STORE", raising=False)
    assert len(BLOCKS) >= 4
    (tmp_path / "decades.sql").write_text("SELECT ImgId, IMDBScore > 6 AS good FROM collection")
    for kind, block in BLOCKS:
        if kind == "python":
            test = doctest.DocTestParser().get_doctest(block, {}, "README", str(README), 0)
            assert test.examples
            runner = doctest.DocTestRunner()
            assert runner.run(test).failed == 0
            continue
        for command, expected in commands(block):
            program, *arguments = shlex.split(command)
            module = {"featurestore": "featurestore.cli", "benchmarks": "benchmarks.cli"}[program]
            result = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
            assert result.returncode == 0, f"{command}\n{result.stderr}"
            assert matches(expected, result.stdout), f"{command}\nprinted\n{result.stdout}\nexpected\n{expected}"


@pytest.mark.parametrize(
    ("program", "name"),
    [("featurestore", name) for name in featurestore_cli.commands]
    + [("benchmarks", name) for name in benchmarks_cli.commands],
)
def test_every_command_is_in_the_readme(program: str, name: str) -> None:
    assert f"{program} {name}" in TEXT


def test_every_make_target_named_exists() -> None:
    makefile = (README.parent / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, flags=re.M)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
