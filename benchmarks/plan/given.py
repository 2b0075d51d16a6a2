"""The split that a column of the view gives: which rows it names as training, test and validation rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import InputError

COLUMN = "split"
WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation", "dev"),
}
_SIDES = {word: side for side, words in WORDS.items() for word in words}
# How many values, and how many characters of each, a message lists.
_LISTED, _LONGEST = 8, 40


@dataclass(frozen=True)
class Sides:
    """Row numbers ``(k,)`` int64, ascending.

    ``test`` holds the validation rows where no row is a test row; ``unused`` those that are in neither part.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    unused: NDArray[np.int64]
    tests_on: str

    def describe(self, column: str) -> str:
        """The split in words, with the number of rows on each side."""
        text = f"the split that the column {column!r} gives: {len(self.train):,} training rows, {len(self.test):,} "
        if self.tests_on == "validation":
            return f"{text}validation rows as test rows, since it has no test rows"
        return text + "test rows" + (f"; {len(self.unused):,} validation rows in neither" if len(self.unused) else "")


def sides(values: Sequence[str], *, column: str) -> Sides:
    """Which rows are on which side.

    Parameters
    ----------
    values
        What the column holds, one a row, ``""`` where it holds nothing; one of `WORDS` in any case.

    Raises
    ------
    InputError
        When there is any other value, no training row, or neither a test nor a validation row.
    """
    named = np.array([_SIDES.get(value.strip().lower(), "") for value in values], dtype="U10")
    if not named.all():
        expected = ", ".join(word for words in WORDS.values() for word in words)
        raise InputError(
            f"the column {column!r} holds {_counted(values)}; expected one of {expected} in each row, in any case: "
            "name another column with --split, or use a view that holds only these"
        )
    rows = {side: np.flatnonzero(named == side) for side in WORDS}
    tests_on = "test" if len(rows["test"]) else "validation"
    for side, what in (("train", "training"), (tests_on, "test or validation")):
        if not len(rows[side]):
            raise InputError(
                f"the column {column!r} names no {what} row (it holds {_counted(values)}): name another column with "
                "--split, or use --protocol cv"
            )
    unused = rows["validation"] if tests_on == "test" else np.empty(0, np.int64)
    return Sides(rows["train"], rows[tests_on], unused, tests_on)


def _counted(values: Sequence[str]) -> str:
    """The different values with how many rows have each, the most frequent first."""
    counts = Counter(values).most_common()
    shown = [f"{value[:_LONGEST]!r} ({n:,})" if value else f"no value ({n:,})" for value, n in counts[:_LISTED]]
    more = [f"{len(counts) - _LISTED:,} more values"] if len(counts) > _LISTED else []
    return ", ".join(shown + more)
