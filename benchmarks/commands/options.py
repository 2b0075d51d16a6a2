"""What several commands of the bench take, and how they write their reports."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from featurestore.commands.options import FOLDER, SEED
from featurestore.errors import InputError

REPORT, PAGE = "report.md", "report.html"
NAMES = ("cv", "study", "nested", "learning-curve")


def data_options(function: Callable[..., None]) -> Callable[..., None]:
    """What is learned from: backbones, view, label."""
    for option in (
        click.option(
            "--label", default="Genre1", show_default=True, help="The view's label column; lists: multi-label."
        ),
        click.option("--view", default="labeled", show_default=True, help="A view with ImgId and a label."),
        click.option(
            "--backbone", "backbones", multiple=True, help="Repeatable; A+B: both side by side.  [default: each one]"
        ),
    ):
        function = option(function)
    return function


def head_options(function: Callable[..., None]) -> Callable[..., None]:
    """What learns, and within which limits."""
    for option in (
        click.option("--memory-limit", type=click.IntRange(64), metavar="MB", help="For one worker.  [default: none]"),
        click.option(
            "--time-limit",
            type=click.FloatRange(1),
            default=600.0,
            show_default=True,
            metavar="SECONDS",
            help="For one cell.",
        ),
        click.option("--workers", type=click.IntRange(1), help="Processes.  [default: the number of cores]"),
        click.option(
            "--seed", type=SEED, default=0, show_default=True, help="Of the folds and of heads that are random."
        ),
        click.option(
            "--head-file", "files", multiple=True, type=FOLDER, help="Python file with heads of your own; repeatable."
        ),
        click.option(
            "--head", "heads", multiple=True, help="Repeatable; see `heads`.  [default: those of the protocol]"
        ),
    ):
        function = option(function)
    return function


def chosen(heads: Sequence[str], files: Sequence[Path]) -> list[Any]:
    """The named heads; with a file and no names its heads beside the defaults of cv; nothing: each protocol's own."""
    from benchmarks.heads.registry import find

    return find(heads, files=files, protocol=None if heads else "cv") if heads or files else []


def terminal_width() -> int:
    """Columns of the terminal; 80, or the environment's COLUMNS, where the output is none."""
    return shutil.get_terminal_size().columns


def written(write: Callable[[Any, Path], None], store: Any, path: Path) -> None:
    """Let ``write`` write a report of ``store`` to ``path``.

    Raises
    ------
    InputError
        When ``path`` can't be written.
    """
    try:
        write(store, path)
    except OSError as error:
        raise InputError(
            f"the report can't be written to {str(path)!r} ({error.strerror}); the results are stored: "
            "`benchmarks report` writes it later"
        ) from error
