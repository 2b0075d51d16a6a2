"""What the commands share: options, groups with headings, and an error as one line and an exit code."""

import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from featurestore import terminal
from featurestore._optional import current_name
from featurestore.errors import FeatureStoreError, InputError, limited
from featurestore.events import EVENTS
from featurestore.files import refuse_target
from featurestore.progress import QUIET, is_quiet

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)  # a file or a folder


class PlacePath(click.Path):
    """A file or a folder; an address such as ``s3://…`` stays the text that it is."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """A path, or the address."""
        return value if "://" in str(value) else super().convert(value, parameter, context)


PLACE = PlacePath(path_type=Path)
STORE, STORE_VARIABLE = "store", "FEATURESTORE_STORE"
# A heading lists its commands with one line each: as many characters as 80 columns leave beside the longest name.
SHORT = 57
# Repeats and folds add to the seed; the sum must fit into the 32 bits that libraries accept.
SEED = click.IntRange(0, 2**31 - 1)


class GroupWithHeadings(click.Group):
    """The group of all commands: help lists them under headings, and each command takes ``--quiet``."""

    @cached_property
    def headings(self) -> dict[str, list[click.Command]]:
        """The commands under each heading, in the order of the help."""
        return {}

    def add(self, heading: str, *commands: click.Command) -> None:
        """Add ``commands`` under ``heading``, in this order."""
        self.headings[heading] = list(commands)
        for command in commands:
            _add_quiet(command)
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each heading with its commands, their names in one column."""
        width = max(map(len, self.commands))
        for heading, commands in self.headings.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{one.name:<{width}}", one.get_short_help_str(SHORT)) for one in commands])


def _current(token: str) -> str:
    """What a command or an option, without its dashes, is called now; click asks for each that is typed."""
    return current_name("the command line", token, say=lambda line: logging.getLogger(__name__).warning("%s", line))


SETTINGS = {"help_option_names": ["-h", "--help"], "token_normalize_func": _current}


def _add_quiet(command: click.Command) -> None:
    """``--quiet`` on ``command``, or on the commands of a group."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _add_quiet(inner)
    else:
        command.params.append(
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=_quiet,
                help="Print the result alone: no progress, no notes, no next step.",
            )
        )


def _quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.meta[QUIET] = True
        logging.getLogger("featurestore").setLevel(logging.WARNING)  # `_notes` restores it


def example(*lines: str, title: str = "") -> str:
    """The end of a help page: commands that can be typed as they stand."""
    heading = title or ("Example:" if len(lines) == 1 else "Examples:")
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines)])


def say_next(command: str, *, store: str = "") -> None:
    """Print the command that usually follows, for the same ``store``; with ``--quiet`` nothing."""
    if not is_quiet():
        usual = os.environ.get(STORE_VARIABLE) or STORE
        click.echo(f"next: {command}" + (f" --store {shlex.quote(store)}" if store not in ("", usual) else ""))


def store_option(command: Command) -> Command:
    """``--store DIR``, on every command that needs a store."""
    return click.option(
        "--store",
        default=STORE,
        envvar=STORE_VARIABLE,
        metavar="DIR",
        show_default="./store",
        show_envvar=True,
        help="The store: a folder, or an address such as s3://bucket/store.",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``, on commands whose output a script may read."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def print_json(value: object) -> None:
    """Print ``value`` as JSON: NaN and infinities as null, and what is not ASCII escaped, since a name may be any."""
    from featurestore.commands.texts import json_text

    click.echo(json_text(value, ascii_only=True))


def exact_option(command: Command) -> Command:
    """``--exact``, on commands that write CSV."""
    return click.option(
        "--exact",
        is_flag=True,
        help="CSV: write text as it is, without the ' before what a spreadsheet would take for a formula.",
    )(command)


def wait_option(command: Command) -> Command:
    """``--wait SECONDS``, on every command that writes."""
    return click.option(
        "--wait",
        "wait_seconds",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="How long to wait while another process writes to the store.  [default: 0]",
    )(command)


def named_columns(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Mapping[str, str]:
    """The values ``NAME=COLUMN`` of an option that can be repeated, as columns by names."""
    columns: dict[str, str] = {}
    for value in values:
        name, _, column = value.partition("=")
        if not name or not column:
            raise click.BadParameter(f"got {value!r}, expected NAME=COLUMN, as in imdbId=Id")
        if columns.setdefault(name, column) != column:
            raise click.BadParameter(f"got two columns for {name}, {columns[name]!r} and {column!r}: name one")
    return columns


def snapshot_option(command: Command) -> Command:
    """``--snapshot NAME``, on every command that reads."""
    return click.option(
        "--snapshot", metavar="NAME", help="Read the store as this snapshot kept it, instead of as it is now."
    )(command)


def write_output(path: Path, content: bytes | Iterable[bytes]) -> int:
    """Write the file that the user named with ``--output`` or a similar option, atomically; returns its size.

    Raises
    ------
    InputError
        When ``path`` can't be written.
    """
    from featurestore.files import atomic_file

    refuse_target(path)
    try:
        with atomic_file(path) as file:
            return sum(map(file.write, [content] if isinstance(content, bytes) else content))
    except OSError as error:
        raise InputError(f"{str(path)!r} can't be written ({error.strerror}): name another file") from error


class _NotesHandler(logging.Handler):
    """Prints a record of the package's log as one line on stderr."""

    def __init__(self, program: str) -> None:
        super().__init__(logging.INFO)
        self.addFilter(lambda record: record.name != EVENTS)  # the command prints its own results
        self.program = program

    def emit(self, record: logging.LogRecord) -> None:
        """Print ``record``; it may quote untrusted text."""
        click.echo(f"{self.program}: {terminal.visible(record.getMessage(), spaces=False)}", err=True)


@contextmanager
def _notes(name: str) -> Iterator[None]:
    """Show what the package logs, such as the file that a backbone is loaded from."""
    log, handler = logging.getLogger("featurestore"), _NotesHandler(name)
    level, propagate = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def _show(error: click.ClickException) -> None:
    """Print what is wrong with a command line; it quotes that, which may be long or unprintable."""
    text = limited(error.format_message(), keep="\n\t")
    shown = click.UsageError(text, error.ctx) if isinstance(error, click.UsageError) else click.ClickException(text)
    shown.show()


def run_command(command: click.Command, name: str) -> int:
    """Run a click command; errors of this package become one line, Ctrl-C exit code 130, its log lines on stderr.

    The output stays guarded after it returns, since a traceback may also quote untrusted text.
    """
    terminal.guard()
    try:
        with _notes(name):
            code = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except FeatureStoreError as error:
        click.echo(f"{name}: {error}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: stopped; finished work is kept, run the command again to continue", err=True)
        return 130
    except BrokenPipeError:
        terminal.unguarded(sys.stderr).close()
        return 141
    except OSError as error:  # not handled elsewhere, such as a full /tmp
        place = f" ({error.filename})" if error.filename else ""
        text = f"the system refused to read or write{place}: {error.strerror or error}; fix that and run it again"
        click.echo(f"{name}: {limited(text)}", err=True)
        return 1
    return code if isinstance(code, int) else 0
