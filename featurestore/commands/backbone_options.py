"""The options of commands that load a backbone."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from featurestore.commands.options import PATH, Command


class TensorName(click.ParamType):
    """A tensor of a tflite model: its name or its number."""

    name = "name or number"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str | int:
        """Digits become the number; anything else is a name."""
        return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


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
        help="A Python file of yours that defines the backbone by featurestore.from_callable; it is executed.",
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
        help="Show what libraries print while the backbone is loaded; so does FEATURESTORE_VERBOSE=1.",
    )(command)


def preprocessing_option(command: Command) -> Command:
    """``--preprocessing FIELD=VALUE``, on commands that load a backbone."""
    return click.option(
        "--preprocessing",
        metavar="FIELD=VALUE",
        multiple=True,
        callback=_fields,
        help="Change one step of preparing the images, such as resize=shortest, edge=256 or decode=draft; repeatable.",
    )(command)
