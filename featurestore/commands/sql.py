"""The commands `sql` and `schema`."""

import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import click

from featurestore.commands.answer import AskedQuery
from featurestore.commands.options import (
    PATH,
    exact_option,
    example,
    json_option,
    say_next,
    snapshot_option,
    store_option,
    write_output,
)
from featurestore.commands.texts import short
from featurestore.files import Suffixes
from featurestore.limited.pool import run
from featurestore.progress import is_quiet
from featurestore.terminal import visible

if TYPE_CHECKING:
    from featurestore.explore.schema import ViewInfo

SUFFIXES: Suffixes = {
    "table": (".txt",),
    "csv": (".csv",),
    "json": (".json",),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".arrows"),
}
EXAMPLES = (
    'featurestore sql "SELECT Genre1, count(*) FROM labeled GROUP BY Genre1"',
    "featurestore sql query.sql --all",
    'featurestore sql "FROM labeled" -o labeled.parquet',
    'echo "FROM labeled LIMIT 3" | featurestore sql -',
)
HEADINGS = {"view": "Views", "own view": "Your own views", "table": "Tables", "function": "Functions"}

GLUE = "\u00a0"


@click.command(epilog=example(*EXAMPLES))
@store_option
@click.argument("query", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(SUFFIXES)),
    help="How the result is written.  [default: by the ending of --output, otherwise table]",
)
@click.option("-o", "--output", type=PATH, help="Write the result to this file instead of the screen.")
@click.option("--all", "every", is_flag=True, help="Show every row and column of a table, not as many as fit.")
@exact_option
@click.option(
    "--timeout",
    "seconds",
    type=float,
    default=300.0,
    show_default=True,
    help="End the query after this many seconds, whatever it does.",
)
@snapshot_option
def sql(
    store: str,
    query: str | None,
    form: str | None,
    output: Path | None,
    every: bool,
    exact: bool,
    seconds: float,
    snapshot: str | None,
) -> None:
    """Run one SELECT over the store's tables and views.

    QUERY is the SELECT itself, a file that ends with .sql, or - for standard input. Without a QUERY the tables and
    views are listed; `featurestore schema` shows their columns too. A query can read nothing but the store, and change
    nothing. It runs in a process of its own, whose time and memory are limited.
    """
    from featurestore.files import format_of

    form = (form or "table") if output is None else format_of(output, form, SUFFIXES)
    if output is None and form in ("parquet", "arrow") and sys.stdout.isatty():
        raise click.UsageError(f"{form} is a binary format: name a file with --output, or pipe it")
    if query is None:
        _list_views(store, snapshot)
        return
    fits = sys.stdout.isatty() and not (every or output is not None)
    width = shutil.get_terminal_size().columns if fits else None
    every = every or output is not None
    asked = AskedQuery(store, snapshot, _text_of(query), form, every, width, exact)
    with closing(run("featurestore.commands.answer:answer", asked, seconds=seconds)) as pieces:
        if output is None:
            for content in _without_notes(pieces):
                if form == "table":
                    click.echo(content.decode(), nl=False)
                else:
                    sys.stdout.buffer.write(content)
        else:
            size = write_output(output, _without_notes(pieces))
            if not is_quiet():
                click.echo(f"{output}: {size:,} bytes", err=True)


def _without_notes(pieces: Iterable[bytes | str]) -> Iterator[bytes]:
    """The bytes among ``pieces``; notes are printed."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        elif not is_quiet():
            click.echo(piece, err=True)


def read_sql(path: Path) -> str:
    """The SQL in the file ``path``, or in what standard input brings for ``-``.

    Raises
    ------
    InputError
        When it can't be read, or is no text.
    """
    from featurestore.errors import InputError
    from featurestore.files import MEGABYTE, read_file, why

    try:
        return sys.stdin.read() if str(path) == "-" else read_file(path, limit=MEGABYTE, pipes=True).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{str(path)!r} can't be read as SQL ({why(error)}): name a text file with one SELECT"
        ) from error


def _text_of(query: str) -> str:
    """The SQL that an argument means; no SELECT ends with .sql."""
    return read_sql(Path(query)) if query == "-" or query.endswith(".sql") else query


def _list_views(store: str, snapshot: str | None) -> None:
    """What can be queried, a line each."""
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        found = opened.schema()
    width = max(len(info.name) for info in found)
    for kind in HEADINGS:
        for info in found:
            if info.kind == kind:
                click.echo(f"{info.name:<{width}}  {short(info.about)}".rstrip())
    say_next("featurestore schema", store=store)


@click.command(epilog=example("featurestore schema", "featurestore schema --json"))
@store_option
@snapshot_option
@json_option
def schema(store: str, snapshot: str | None, as_json: bool) -> None:
    """List all tables, views and functions, with columns.

    These are the names that a query of `featurestore sql` can use. Each has one line about it, and its columns with
    their types.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        found = opened.schema()
    if as_json:
        click.echo(json.dumps([asdict(info) for info in found]))
        return
    click.echo("\n".join(schema_lines(found, width=shutil.get_terminal_size().columns)))


def schema_lines(found: "Sequence[ViewInfo]", *, width: int) -> list[str]:
    """Each table, view and function under its heading: what it is, and its columns with their types."""
    lines: list[str] = []
    for kind, heading in HEADINGS.items():
        of_kind = [info for info in found if info.kind == kind]
        lines += [*([""] if lines else []), heading] if of_kind else []
        for info in of_kind:
            lines += _wrapped(f"{info.name}: {short(info.about)}" if info.about else info.name, width, indent=2)
            # A line ends between two columns only.
            columns = (f"{visible(name)} {visible(kind)}".replace(" ", GLUE) for name, kind in info.columns.items())
            lines += [line.replace(GLUE, " ") for line in _wrapped(", ".join(columns), width, indent=6)]
    return lines


def _wrapped(text: str, width: int, *, indent: int) -> list[str]:
    return wrap(text, max(width, 40), initial_indent=" " * indent, subsequent_indent=" " * 6, break_on_hyphens=False)
