"""What several commands of the bench take, and how they write their reports."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from featurestore.commands.options import PATH, SEED
from featurestore.errors import InputError
from featurestore.files import refuse_target

REPORT, PAGE = "report.md", "report.html"
NAMES = ("cv", "study", "given", "nested", "learning-curve", "across")


@dataclass(frozen=True)
class Data:
    """What is learned from."""

    backbones: Sequence[str]
    view: str
    label: str | None


@dataclass(frozen=True)
class Learning:
    """What learns, and within which limits."""

    heads: Sequence[str]
    files: Sequence[Path]
    seed: int
    workers: int | None
    time_limit: float
    memory_limit: int | None

    def specs(self) -> list[Any]:
        """The named heads; with a file and no names its heads and those of cv, without any: each protocol's."""
        from benchmarks.run.head_files import find_heads

        if not self.heads and not self.files:
            return []
        return find_heads(self.heads, files=self.files, protocol=None if self.heads else "cv")

    def limits(self) -> Any:
        """The limits as `benchmarks.run.limits.Limits`."""
        from benchmarks.run.limits import Limits

        return Limits(self.workers, self.time_limit, self.memory_limit)


@dataclass(frozen=True)
class GroupOptions:
    """What is kept on one side of a split."""

    group: str
    hash_distance: int
    cosine: float

    def grouping(self) -> Any:
        """The same as `benchmarks.plan.groups.Grouping`."""
        from benchmarks.plan.groups import Grouping

        return Grouping(self.group == "near", self.hash_distance, self.cosine)


def group_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options that reach the command as ``kept``, a `GroupOptions`."""
    return _gathered(
        function,
        "kept",
        GroupOptions,
        click.option(
            "--group",
            type=click.Choice(["exact", "near"]),
            default="exact",
            show_default=True,
            help="Which copies of an image are kept together, all in the training part or all in the test part: exact "
            "duplicates, or near duplicates too.",
        ),
        click.option(
            "--hash-distance",
            type=click.IntRange(0, 64),
            default=4,
            show_default=True,
            help="Near duplicates differ in at most this many of the 64 bits of their perceptual hashes.",
        ),
        click.option(
            "--cosine",
            type=click.FloatRange(-1, 1),
            default=0.98,
            show_default=True,
            help="Near duplicates have embeddings with at least this cosine.",
        ),
    )


head_file_option = click.option(
    "--head-file",
    "files",
    multiple=True,
    type=PATH,
    help="A Python file with heads of your own, which is executed; repeatable.",
)


rank_option = click.option(
    "--rank-by",
    metavar="METRIC",
    help="Rank and compare the rows of the table by this metric, such as log_loss or f1_macro.  [default: accuracy; "
    "mAP where images have several labels]",
)


templates_option = click.option(
    "--templates",
    type=PATH,
    help="For the head zero_shot: a file of prompts, one a line, such as: a photo of a {}. The name of the class takes "
    "the place of the braces.",
)


def data_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options that reach the command as ``data``, a `Data`."""
    return _gathered(
        function,
        "data",
        Data,
        click.option(
            "--backbone",
            "backbones",
            multiple=True,
            help="Use the embeddings of this backbone; repeatable. A+B puts those of two side by side.  "
            "[default: each backbone of the store]",
        ),
        click.option(
            "--view",
            default="labeled",
            show_default=True,
            help="The images: a view with the columns ImgId and the label.",
        ),
        click.option(
            "--label",
            help="The column of the view to predict. Where it holds lists, an image can have several labels.  "
            "[default: that of the collection]",
        ),
    )


def head_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options that reach the command as ``learning``, a `Learning`."""
    return _gathered(
        function,
        "learning",
        Learning,
        click.option(
            "--head",
            "heads",
            multiple=True,
            help="Train this head; repeatable. `benchmarks heads` lists them.  [default: all of the protocol]",
        ),
        head_file_option,
        click.option(
            "--seed",
            type=SEED,
            default=0,
            show_default=True,
            help="Draw the folds, and whatever else is random, with this seed.",
        ),
        click.option(
            "--workers", type=click.IntRange(1), help="How many processes train at once.  [default: one for each core]"
        ),
        click.option(
            "--time-limit",
            type=click.FloatRange(1),
            default=600.0,
            show_default=True,
            metavar="SECONDS",
            help="Give up on a head after this long on one fold; its row then says so.",
        ),
        click.option(
            "--memory-limit",
            type=click.IntRange(64),
            metavar="MB",
            help="Stop a head that takes more memory than this.  [default: no limit]",
        ),
    )


def _gathered(
    function: Callable[..., None], name: str, kind: type, *options: Callable[..., Any]
) -> Callable[..., None]:
    """``function`` with ``options`` before its own, which it gets as one ``kind`` called ``name``."""

    @wraps(function)
    def command(**values: Any) -> None:
        function(**{name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})}, **values)

    for option in reversed(options):
        command = option(command)
    return command


def terminal_width() -> int:
    """Columns of the terminal; 80, or the environment's COLUMNS, where the output is none."""
    return shutil.get_terminal_size().columns


def written(write: Callable[[Path], None], path: Path) -> None:
    """Let ``write`` write a report to ``path``.

    Raises
    ------
    InputError
        When ``path`` can't be written.
    """
    refuse_target(path)
    try:
        write(path)
    except OSError as error:
        raise InputError(
            f"the report can't be written to {str(path)!r} ({error.strerror}); the results are stored: "
            "`benchmarks report` writes it later"
        ) from error
