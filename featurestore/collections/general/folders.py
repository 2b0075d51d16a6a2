"""What the folders of images say: the label of each image, and which part of a split it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from featurestore.errors import InputError

# Names of the top folders, in lower case, that make them the parts of a split.
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
# A label from another level of the path than the last: `folder:1` is the first folder, `folder:-1` the last.
LEVEL = "folder:"


@dataclass(frozen=True)
class FolderColumns:
    """The label of each name, None where no folder holds it, and the part of the split if the top folders are one."""

    labels: list[str | None]
    splits: list[str] | None


def folder_columns(names: Sequence[str], *, level: int = -1) -> FolderColumns:
    """Read the folders in ``names``, paths with ``/``.

    Parameters
    ----------
    level
        Which folder is the label: 1 is the first one, -1 the one that holds the image. A folder of a split counts as
        the first, and is the label only if it was asked for by a positive number.
    """
    folders = [name.rpartition("/")[0] for name in names]
    different = set(folders)  # few, so that each is taken apart once
    tops = {folder: folder.partition("/")[0].lower() for folder in different}
    is_split = len(tops) > 0 and SPLITS.issuperset(tops.values())
    labels = {folder: _label(folder, level, skip=int(is_split)) for folder in different}
    return FolderColumns(
        [labels[folder] for folder in folders], [tops[folder] for folder in folders] if is_split else None
    )


def asked_level(labels: Sequence[str]) -> int | None:
    """The level in ``--label folder:N``; None if a column was asked for, or nothing.

    Raises
    ------
    InputError
        When it is not a number from 1, or from -1 downwards.
    """
    if len(labels) != 1 or not labels[0].startswith(LEVEL):
        return None
    text = labels[0].removeprefix(LEVEL)
    if not text.removeprefix("-").isdecimal() or int(text) == 0 or len(text) > 4:
        raise InputError(
            f"got the label {labels[0]!r}, expected {LEVEL}1 for the first folder, {LEVEL}-1 for the one that holds "
            "the image, or another such number"
        )
    return int(text)


def _label(path: str, level: int, *, skip: int) -> str | None:
    folders = path.split("/") if path else []
    place = level - 1 if level > 0 else len(folders) + level
    return folders[place] if (0 if level > 0 else skip) <= place < len(folders) else None
