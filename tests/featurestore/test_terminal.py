"""Nothing that others wrote moves the cursor or reorders text; where a program reads, a pipe gets every byte."""

import csv
import io
import json
import os
import subprocess
import sys

import click
import pytest
from pseudo_terminal import pseudo_terminal
from support import Collection, CountingBackbone, movie, write_metadata

from featurestore import FeatureStore, terminal
from featurestore.catalog import views
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import InputError
from featurestore.progress import ConsoleProgress
from featurestore.terminal import visible

EVIL = {
    "window title": "\x1b]0;owned\x07",
    "clear screen": "\x1b[2J",
    "colour": "Dra\x1b[31mma",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "C1 introducer": "\x9b31m",
    "carriage return": "Film\rfeaturestore: sound",
    "backspace": "good\b\b\b\bevil",
    "bidirectional override": "\u202egnp.exe",
    "bidirectional isolate": "\u2066a\u2069",
    "zero width": "a\u200bb\u200dc\ufeff",
    "line separator": "a\u2028b",
    "delete": "a\x7f",
    "letters that show nothing": "a\u3164\u115fb\uffa0",
    "a storm of marks": "Z" + "\u0353" * 40,
    "a storm between joiners": "Z" + "\u0353\u200d\u0353" * 20,
}
HARMLESS = "Amélie — 千と千尋の神隠し\u3000√ WALL·E\u00a0☂ 🎬 e\u0301 \u2764\ufe0f น้ำ בְּרֵאשִׁ֖ית བརྒྱུད"


def is_harmless(shown: str) -> bool:
    return visible(shown, keep="\n\t") == shown


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_what_is_not_printable_is_escaped(text: str) -> None:
    shown = visible(text)
    assert all(c.isprintable() for c in shown)
    assert shown != text
    with pseudo_terminal() as screen:
        terminal.guard()
        terminal.guard()  # once more changes nothing
        click.echo(text)
        print(text, file=sys.stderr)
        sys.stdout.buffer.write(f"{text}\n".encode())
        click.echo(f"{text}\n".encode(), nl=False)
    assert screen.decode().split("\n") == [shown] * 4 + [""]


def test_what_people_write_stays() -> None:
    assert visible(HARMLESS) == HARMLESS
    with pseudo_terminal() as screen:
        terminal.guard()
        print(f"{HARMLESS}\n\t2")
        content = f"{HARMLESS}\n".encode()
        for start in range(0, len(content), 2):  # within characters
            sys.stdout.buffer.write(content[start : start + 2])
        print("\udcff is no character")
    assert screen.decode() == f"{HARMLESS}\n\t2\n{HARMLESS}\n\\udcff is no character\n"


def test_a_pipe_gets_text_escaped_and_bytes_as_they_are(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is piped into `less -R`, or kept and shown by `cat` later, reaches a terminal all the same."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    terminal.guard()
    terminal.guard()  # once more changes nothing
    print("\x1b]0;owned\x07\u202e\udcff é")
    print("\x1b[2J", file=sys.stderr)
    click.echo(b"\x1b[31m\xff\x00")
    out, err = capfdbinary.readouterr()
    assert out == b"\\x1b]0;owned\\x07\\u202e\\udcff \xc3\xa9\n\x1b[31m\xff\x00\n"
    assert err == b"\\x1b[2J\n"


@pytest.mark.parametrize(
    ("encoding", "chosen", "shown"),
    [("cp1252", "", "é 千\n".encode()), ("ascii", "", "é 千\n".encode()), ("cp1252", "cp1252", b"\xe9 \\u5343\n")],
)
def test_a_pipe_without_unicode_takes_utf8(
    monkeypatch: pytest.MonkeyPatch, encoding: str, chosen: str, shown: bytes
) -> None:
    """As on Windows, whose pipes have a code page, and without a locale; PYTHONIOENCODING keeps another."""
    pipe = io.BytesIO()
    monkeypatch.setenv("PYTHONIOENCODING", chosen)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding=encoding, newline="\n"))
    terminal.guard()
    click.echo("é 千")
    assert pipe.getvalue() == shown


def test_click_does_not_write_past_it_to_a_windows_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes to the console itself where a stream has the descriptor 1 or 2."""

    class Console(io.StringIO):
        name, encoding = "<stdout>", "utf-8"

        def fileno(self) -> int:
            return 1

    monkeypatch.setattr(terminal, "WINDOWS", True)
    guarded = terminal._Visible(Console())
    own = guarded.fileno()
    assert own > 2
    assert own == guarded.fileno()
    assert os.fstat(own).st_ino == os.fstat(1).st_ino
    os.close(own)


def test_a_bar_still_moves_the_cursor_but_its_label_does_not() -> None:
    with pseudo_terminal() as screen:
        terminal.guard()
        with ConsoleProgress("embed \x1b[31m", "images") as progress:
            progress.detail = "worker \x1b[32m"
            progress(1, 2)
            progress(2, 2)
    assert b"\r" in screen
    assert b"\\x1b[31m" in screen
    assert b"\\x1b[32m" in screen
    assert b"\x1b[3" not in screen


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store whose titles, genres, file names and views hold every kind of evil text."""
    folder = tmp_path_factory.mktemp("hostile")
    collection = Collection(folder, 24)
    evil = "".join(EVIL.values())
    rows = [movie(i, f"{'Dra' if i % 2 else 'Co'}{evil}", f"Film {evil}") for i in collection.ids]
    (collection.images / "\x1b[31m.jpg").write_bytes(b"")
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(collection.metadata, rows), images=collection.images)
    store.embed(CountingBackbone())
    views.create(store.path, "mine", "SELECT ImgId, '\x1b[2J\u202e' AS note FROM collection")
    store.create_snapshot("one")
    return store.refresh()


COMMANDS = {
    "similar": ["similar", "--backbone", "counting", "--id", "101", "-k", "3"],
    "info": ["info"],
    "quality": ["quality"],
    "lineage": ["lineage", "101"],
    "sql table": ["sql", "SELECT * FROM collection"],
    "sql csv": ["sql", "SELECT * FROM collection", "--format", "csv"],
    "sql json": ["sql", "SELECT * FROM collection", "--format", "json"],
    "view list": ["view", "list"],
    "snapshot list": ["snapshot", "list"],
    "snapshot diff": ["snapshot", "diff", "one"],
    "backbones": ["backbones"],
    "gc": ["gc"],
    "verify": ["verify"],
    "unknown column": ["sql", 'SELECT "\x1b[31mx" FROM collection'],
    "usage error": ["sql", "SELECT 1", "--format", "\x1b[31m"],
    "unknown command": ["\x1b[31m"],
    "no such store": ["info", "--store", "\x1b]0;owned\x07"],
    "no such view": ["view", "remove", "\x1b[31m"],
    "no such image": ["similar", "--backbone", "counting", "--image", "\u202e.jpg"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_shows_text_only(
    hostile: FeatureStore, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["featurestore", *command])
    monkeypatch.setenv("FEATURESTORE_STORE", str(hostile.path))
    with pseudo_terminal() as screen:
        run_command(cli, "featurestore")
    shown = screen.decode()
    assert shown
    # A progress bar is our own: it is drawn between these.
    for own in ("\r", "\x1b[?25l", "\x1b[?25h", "\x1b[K"):
        shown = shown.replace(own, "")
    assert is_harmless(shown)


@pytest.mark.parametrize("command", ["info", "info --json", "lineage", "sql table", "view list", "no such view"])
def test_what_people_read_is_text_in_a_pipe_too(
    hostile: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    command: str,
) -> None:
    given = COMMANDS.get(command, ["info", "--json"])
    monkeypatch.setattr("sys.argv", ["featurestore", *given])
    monkeypatch.setenv("FEATURESTORE_STORE", str(hostile.path))
    run_command(cli, "featurestore")
    shown = b"".join(capfdbinary.readouterr()).decode()
    assert is_harmless(shown)
    if "--json" in given:
        assert "".join(EVIL.values()) in next(iter(json.loads(shown)["labels"])), "escaped, and still the same"


def test_one_record_stays_one_line(store: FeatureStore, collection: Collection, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rows = [movie(i, "Drama", "Film\n101    1       999  1.0000  Drama  forged") for i in collection.ids]
    store.ingest(metadata=write_metadata(collection.metadata, rows), images=collection.images)
    store.embed(CountingBackbone())
    monkeypatch.setattr(
        "sys.argv",
        ["featurestore", "similar", "--store", str(store.path), "--backbone", "counting", "--id", "101", "-k", "3"],
    )
    assert run_command(cli, "featurestore") == 0
    assert len(capfd.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "arrow"])
def test_a_pipe_gets_every_byte(hostile: FeatureStore, form: str, capfdbinary, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    query = "SELECT Title FROM collection LIMIT 1"
    monkeypatch.setattr("sys.argv", ["featurestore", "sql", "--store", str(hostile.path), query, "--format", form])
    assert run_command(cli, "featurestore") == 0
    out = capfdbinary.readouterr().out
    title = "Film " + "".join(EVIL.values())
    if form == "csv":
        assert list(csv.reader(io.StringIO(out.decode(), newline="")))[1] == [title]
    elif form == "json":
        assert json.loads(out) == [{"Title": title}]
    else:
        assert title.encode() in out


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_what_is_no_text_is_not_shown(hostile: FeatureStore, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["featurestore", "sql", "--store", str(hostile.path), "SELECT 1", "--format", form])
    with pseudo_terminal() as screen:
        assert run_command(cli, "featurestore") == 2
    assert f"{form} is a binary format: name a file with --output, or pipe it" in screen.decode()


def test_a_traceback_too() -> None:
    """It is shown after the command has returned, by Python."""
    code = """
import sys, click
from featurestore.commands.options import run_command

@click.command()
def fail():
    click.echo(text)
    raise RuntimeError(text)

text = sys.argv.pop()
run_command(fail, "fail")
"""
    with pseudo_terminal() as screen:
        done = subprocess.run(
            [sys.executable, "-c", code, "\x1b[31m"], stdout=sys.stdout, stderr=sys.stderr, timeout=60
        )
    assert done.returncode == 1
    assert screen.count(b"\\x1b[31m") == 2
    assert b"RuntimeError" in screen
    assert b"\x1b" not in screen


def test_errors_are_escaped_everywhere() -> None:
    for text in EVIL.values():
        assert str(InputError(text)) == visible(text)
