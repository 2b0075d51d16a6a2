"""Every help page of both commands: full lines under headings, whole sentences, and examples that can be typed."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from torture.launch import in_process

from benchmarks.commands.cli import cli as benchmarks
from featurestore.commands.cli import cli as featurestore
from featurestore.commands.options import SHORT, GroupWithHeadings

PROGRAMS = {"featurestore": featurestore, "benchmarks": benchmarks}


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


COMMANDS = {path: command for name, cli in PROGRAMS.items() for path, command in commands(cli, name)}


def examples(command: click.Command) -> list[str]:
    return [line.strip() for line in (command.epilog or "").splitlines()[2:]]


@pytest.mark.parametrize("cli", PROGRAMS.values(), ids=PROGRAMS)
def test_every_command_stands_under_a_heading_with_its_full_line(cli: GroupWithHeadings) -> None:
    listed = [str(command.name) for commands in cli.headings.values() for command in commands]
    assert sorted(listed) == sorted(cli.commands)
    with click.Context(cli, terminal_width=80) as context:
        lines = cli.get_help(context).splitlines()
    for heading in cli.headings:
        assert f"{heading}:" in lines
    for name, command in cli.commands.items():
        assert command.help
        first = command.help.splitlines()[0]
        assert len(first) <= SHORT, first
        assert [line.split() for line in lines if line.split()[:1] == [name]] == [[name, *first.split()]]


@pytest.mark.parametrize("path", COMMANDS)
def test_a_help_page_is_made_of_sentences(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    assert command.help.splitlines()[0].endswith(".")
    for option in command.params:
        if isinstance(option, click.Option):
            text = re.split(r"  \[", option.help or "")[0]
            assert re.fullmatch(r"[A-Z-].*[.}]", text), f"{path} {option.name}: {text}"
            assert len(text.split()) >= 4, f"{path} {option.name} needs the manual: {text}"


@pytest.mark.parametrize("path", [*PROGRAMS, *COMMANDS])
def test_the_examples_can_be_typed(path: str) -> None:
    found = examples({**PROGRAMS, **COMMANDS}[path])
    assert found
    for line in found:
        words = shlex.split(line.rpartition("| ")[2])
        assert words[: len(path.split())] == path.split()
        command: click.Command = PROGRAMS[words[0]]
        name, *rest = words
        while isinstance(command, click.Group) and rest and rest[0] in command.commands:
            name, *rest = rest
            command = command.commands[name]
        command.make_context(name, rest)  # raises for what is no option or argument


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_can_be_quiet(path: str) -> None:
    if not isinstance(COMMANDS[path], click.Group):
        assert [one.opts for one in COMMANDS[path].params].count(["-q", "--quiet"]) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_shell_completes(program: str, shell: str) -> None:
    """As the README says; the script of each shell asks the program itself."""
    code = f"import sys; sys.argv[0] = {program!r}; from {program}.commands.cli import main; main()"
    words = {"COMP_WORDS": f"{program} re", "COMP_CWORD": "re" if shell == "fish" else "1"}
    asked = {**os.environ, **words, f"_{program.upper()}_COMPLETE": f"{shell}_complete"}
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, timeout=60)
    assert {"featurestore": "repair", "benchmarks": "report"}[program] in done.stdout


def test_quiet_leaves_the_result_alone(kept_store, tmp_path) -> None:  # type: ignore[no-untyped-def]
    place = ["--store", str(kept_store.path)]
    for command in (["view", "list"], ["sql", "SELECT 1 AS one", "-o", str(tmp_path / "one.csv")], ["verify"]):
        loud, quiet = (in_process(["featurestore", *command, *place, *more]) for more in ([], ["--quiet"]))
        assert (quiet.code, quiet.out, quiet.err) == (0, loud.out, "")
    sample = in_process(["featurestore", "sql", *place]).out.splitlines()
    assert in_process(["featurestore", "sql", *place, "-q"]).out.splitlines() == sample[:-1]


def test_the_next_step_names_the_store_that_is_meant(kept_store, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    ask = ["featurestore", "sql", "--store", str(kept_store.path)]
    assert in_process(ask).out.splitlines()[-1] == f"next: featurestore schema --store {kept_store.path}"
    monkeypatch.setenv("FEATURESTORE_STORE", str(kept_store.path))
    assert in_process(ask).out.splitlines()[-1] == "next: featurestore schema"
