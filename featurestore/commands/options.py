"""Options shared by the commands, and the handler that turns an error into one line and an exit code."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from featurestore import terminal
from featurestore.errors import FeatureStoreError, InputError
from featurestore.files import refuse_target

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)  # a file or a folder


class PlacePath(click.Path):
    """A file or a folder; an address such as ``s3://…`` stays the text that it is."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """A path, or the address."""
        return value if "://" in str(value) else super().convert(value, parameter, context)


PLACE = PlacePath(path_type=Path)
# Repeats and folds add to the seed; the sum must fit into the 32 bits that libraries accept.
SEED = click.IntRange(0, 2**31 - 1)


class TensorName(click.ParamType):
    """A tensor of a tflite model: its name or its number."""

    name = "name or number"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str | int:
        """Digits become the number; anything else is a name."""
        return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def store_option(command: Command) -> Command:
    """``--store DIR``, on every command that needs a store."""
    return click.option(
        "--store",
        default="store",
        envvar="FEATURESTORE_STORE",
        metavar="DIR",
        show_default="./store",
        show_envvar=True,
        help="The store: a folder, or an address such as s3://bucket/store.",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``, on commands whose output a script may read."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def wait_option(command: Command) -> Command:
    """``--wait SECONDS``, on every command that writes."""
    return click.option(
        "--wait",
        "wait_seconds",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="Seconds to wait for another writer to finish.",
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


def _fields(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Mapping[str, str]:
    """The values ``FIELD=VALUE`` of ``--preprocessing`` by field."""
    fields: dict[str, str] = {}
    for value in values:
        name, equals, setting = value.partition("=")
        if not name or not equals or name in fields:
            raise click.BadParameter(f"got {value!r}, expected FIELD=VALUE once for each field, as in decode=draft")
        fields[name] = setting
    return fields


def backbone_file_option(command: Command) -> Command:
    """``--backbone-file FILE.py``, on commands that load a backbone; give it to `chosen_backbone`."""
    return click.option(
        "--backbone-file",
        type=PATH,
        help="A Python file of yours that defines the backbone, see `featurestore.from_callable`; it is executed.",
    )(command)


def chosen_backbone(reference: str | None, file: Path | None) -> str | None:
    """What ``--backbone`` or ``--backbone-file`` name; with both, the backbone of that name in the file."""
    from featurestore.backbones.records import in_file

    return reference if file is None else in_file(file, reference)


def _verbose(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    from featurestore.quiet import VERBOSE

    if value:
        os.environ[VERBOSE] = "1"  # also for the processes that this one starts


def verbose_option(command: Command) -> Command:
    """``--verbose``, on commands that load a backbone."""
    return click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_verbose,
        help="Show what libraries print while a backbone is loaded; also FEATURESTORE_VERBOSE=1.",
    )(command)


def preprocessing_option(command: Command) -> Command:
    """``--preprocessing FIELD=VALUE``, on commands that load a backbone."""
    return click.option(
        "--preprocessing",
        metavar="FIELD=VALUE",
        multiple=True,
        callback=_fields,
        help="Change how images are prepared, as in resize=shortest, edge=256, decode=draft; repeatable.",
    )(command)


def snapshot_option(command: Command) -> Command:
    """``--snapshot NAME``, on every command that reads."""
    return click.option("--snapshot", metavar="NAME", help="Read this snapshot instead of the current state.")(command)


def write_output(path: Path, content: bytes) -> None:
    """Write the file that the user named with ``--output`` or a similar option, atomically.

    Raises
    ------
    InputError
        When ``path`` can't be written.
    """
    from featurestore.files import write_atomic

    refuse_target(path)
    try:
        write_atomic(path, content)
    except OSError as error:
        raise InputError(f"{str(path)!r} can't be written ({error.strerror}): name another file") from error


class _NotesHandler(logging.Handler):
    """Prints a record of the package's log as one line on stderr."""

    def __init__(self, program: str) -> None:
        super().__init__(logging.INFO)
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


def run_command(command: click.Command, name: str) -> int:
    """Run a click command; errors of this package become one line, Ctrl-C exit code 130, its log lines on stderr.

    The terminal stays guarded after it returns, since a traceback may also quote untrusted text.
    """
    terminal.guard()
    try:
        with _notes(name):
            code = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FeatureStoreError as error:
        click.echo(f"{name}: {error}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: stopped; finished work is kept, run the command again to continue", err=True)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OSError as error:  # not handled elsewhere, such as a full /tmp
        place = f" ({error.filename})" if error.filename else ""
        click.echo(
            f"{name}: the system refused to read or write{place}: {error.strerror or error}; fix that and run the "
            "command again",
            err=True,
        )
        return 1
    return code if isinstance(code, int) else 0
