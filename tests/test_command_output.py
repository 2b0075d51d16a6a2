"""What all commands print and write: JSON is JSON, a file is what its name says or refused, a message is short."""

import ast
import datetime
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest

import benchmarks.commands
import featurestore.commands
from benchmarks.commands.cli import cli as bench
from benchmarks.report.page_data import as_json
from benchmarks.report.tables import tables_as_text
from featurestore.commands.cli import cli as store_cli
from featurestore.commands.options import print_json, run_command

PROGRAMS = {"featurestore": store_cli, "benchmarks": bench}
Run = Callable[..., tuple[int, str, str]]
# Every parameter of every command that is a path: what is read, which folder is written, which file.
READ = """
featurestore: ingest images, ingest metadata, embed backbone_file, embed weights, publish folders,
import-embeddings file, import-embeddings ids, import-embeddings metadata, similar image, similar vectors,
similar backbone_file, similar weights, quality split, view create sql, export ids, backbone convert weights,
backbone convert images, forget file
benchmarks: heads files, canary files, run files, run templates, next files, fit files, fit templates, predict model,
predict images, predict store, predict backbone_file, predict weights
"""
FOLDERS = """
featurestore: sample directory, fetch directory, embed out, backbone convert output
benchmarks: fit output
"""
# With the command that would write it; NAME is the file's.
FILES = {
    "featurestore sql output": ["sql", "SELECT 1", "-o", "NAME"],
    "featurestore similar html": ["similar", "--id", "101", "--backbone", "counting", "--html", "NAME"],
    "featurestore export output": ["export", "--backbone", "counting", "-o", "NAME"],
    "featurestore label export output": ["label", "export", "NAME"],
    "benchmarks report output": ["report", "-o", "NAME"],
    "benchmarks doubtful output": ["doubtful", "-o", "NAME"],
    "benchmarks next output": ["next", "--backbone", "counting", "-o", "NAME"],
}


def listed(text: str) -> set[str]:
    """The names in a list as above, each with its program."""
    found = set()
    for paragraph in " ".join(text.split()).replace(" benchmarks:", "\nbenchmarks:").splitlines():
        program, _, names = paragraph.partition(": ")
        found |= {f"{program} {name.strip(' ,')}" for name in names.split(",") if name.strip()}
    return found


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


COMMANDS = {path: command for name, cli in PROGRAMS.items() for path, command in commands(cli, name)}


@pytest.fixture
def run(invoke: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """A command of either program, in an empty folder."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")

    def call(program: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", [program, *arguments])
        code = run_command(PROGRAMS[program], program)
        return code, *capfd.readouterr()

    return call


def test_every_path_that_a_command_takes_is_known() -> None:
    """A new one must be named above: if a file is written, its ending says the format, or it is refused."""
    found = {
        f"{path} {parameter.name}"
        for path, command in COMMANDS.items()
        for parameter in command.params
        if isinstance(parameter.type, click.Path)
    }
    assert found == listed(READ) | listed(FOLDERS) | FILES.keys()


@pytest.mark.parametrize("written", FILES)
def test_a_file_is_what_it_is_called_or_refused(run: Run, written: str) -> None:
    program = written.split()[0]
    for name in ("x.xlsx", "x.pdf", "x.csv.parquet.zip", "report.docx"):
        code, out, err = run(program, *(word.replace("NAME", name) for word in FILES[written]))
        assert (code, out) == (1, ""), err
        assert "expected a name that ends with" in err
        assert repr(name) in err
        assert len(err.splitlines()) == 1
        assert os.listdir() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("featurestore", "sql", "SELECT 1", "--format", "x" * 9000),
        ("featurestore", "x" * 9000),
        ("featurestore", "sql", f"--{'x' * 9000}"),
        ("featurestore", "sql", "SELECT 1", "--timeout", "\x1b[2J" * 3000),
        ("featurestore", "label", "correct", "y" * 9000, "--to", "a"),
        ("featurestore", "ingest", "--column", "é" * 9000),
        ("featurestore", "info", "--json", "--store", "/" + "s/" * 3000),
        ("featurestore", "info", "--store", "s" * 300),
        ("featurestore", "lineage", "--json", "9" * 4000),
        ("featurestore", "backbone", "remove", "b" * 9000, "--yes"),
        ("featurestore", "parts", "--json", "p" * 9000),
        ("featurestore", "snapshot", "remove", "漢" * 5000),
        ("featurestore", "export", "--backbone", "counting", "--view", "v" * 9000, "-o", "x.npz"),
        ("featurestore", "export", "--backbone", "counting", "--where", f"Title = '{'w' * 9000}", "-o", "x.npz"),
        ("benchmarks", "run", "--protocol", "p" * 9000),
        ("benchmarks", "run", "--json", "--head", "h" * 9000),
        ("benchmarks", "predict", "m" * 9000, "x.jpg", "--json"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_no_message_is_long_or_moves_the_cursor(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert code in (1, 2)
    assert out == ""
    assert len(err.encode()) < 2300, "a message, and the two lines on how the command is used"
    assert all(line.isprintable() for line in err.splitlines())


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_what_is_printed_as_json_is_json(capfd: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [math.inf, {"c": (-math.inf, np.float64("nan"))}], "d": "\udcff\x9b é", "e": 1.5})
    assert json.loads(capfd.readouterr().out, parse_constant=refuse) == {
        "a": None,
        "b": [None, {"c": [None, None]}],
        "d": "\udcff\x9b é",
        "e": 1.5,
    }
    print_json([datetime.date(2026, 1, 2), Path("a")])
    assert json.loads(capfd.readouterr().out) == ["2026-01-02", "a"]


def test_every_command_prints_json_in_the_one_way() -> None:
    """A call of `json.dumps` would print NaN, which is no JSON; the command `schema` prints texts alone."""
    for package in (featurestore.commands, benchmarks.commands):
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            if path.name not in ("texts.py", "sql.py"):
                assert not called & {"json.dumps", "json.dump", "dumps"}, path
    with_json = {
        command.callback.__module__
        for command in COMMANDS.values()
        if command.callback and any("--json" in parameter.opts for parameter in command.params)
    }
    assert len(with_json) > 15


def test_tables_and_the_data_of_a_page_are_json() -> None:
    table = {"run_id": "r", "rows": [{"accuracy": math.nan, "std": np.float32("inf"), "n": np.int64(3)}]}
    found = json.loads(tables_as_text([table], "json"), parse_constant=refuse)
    assert found == [{"run_id": "r", "rows": [{"accuracy": None, "std": None, "n": 3}]}]

    kept = SimpleNamespace(images={7: {"score": math.nan, "title": "</script>"}}, left_out=set())
    text = as_json({}, {"m": [[7]]}, {}, kept)  # type: ignore[arg-type]
    assert "<" not in text
    assert json.loads(text, parse_constant=refuse)["images"]["7"]["score"] is None
