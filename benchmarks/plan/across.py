"""The protocol `across`: the values of a column are domains; heads learn from some of them and are tested on others.

It knows the values of the column, classes and duplicate groups; which columns a view has is said in `plan.reading`.
"""

import datetime
import decimal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore import has_label, visible
from featurestore.errors import InputError

# A domain with fewer rows is left out: a score over them would be mostly chance.
MIN_ROWS = 20
# More domains than this are no table that somebody reads, and seven fits each.
MOST = 20
# What a head learns from: all other domains, all earlier ones, or one domain alone.
OTHERS, EARLIER, ONE = "others", "earlier", "one"
_ORDERED = (int, float, decimal.Decimal, datetime.date)
# How many values, and how many characters of each, a message lists.
_LISTED, _LONGEST = 8, 40


@dataclass(frozen=True)
class Domains:
    """The domain of each row.

    Parameters
    ----------
    names
        The different values of ``column`` as text, ascending.
    codes
        ``(n,)`` int64, places in ``names``; -1 where the column holds nothing.
    ordered
        Whether the values are numbers or dates, so that one domain is earlier than another.
    """

    column: str
    names: tuple[str, ...]
    codes: NDArray[np.int64]
    ordered: bool

    def only(self, rows: NDArray[np.int64]) -> "Domains":
        """The domains of ``rows``."""
        return replace(self, codes=self.codes[rows])


@dataclass(frozen=True)
class Usable:
    """The domains that are compared.

    ``domains`` has their names and places alone, -1 in all other rows; ``left_out`` says in sentences what is not
    compared, and why.
    """

    domains: Domains
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class DomainPart:
    """One division of the rows; ``kind`` is `OTHERS`, `EARLIER` or `ONE`, ``train`` and ``test`` are ascending."""

    kind: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def domains_of(values: Sequence[Any], *, column: str) -> Domains:
    """The values of a column as domains; NULL, NaN and blank text are none.

    Raises
    ------
    InputError
        When values are lists or other things that are no single value.
    """
    held = [value if has_label(value) else None for value in values]
    odd = next((value for value in held if isinstance(value, list | dict | bytes)), None)
    if odd is not None:
        raise InputError(
            f"the column {column!r} holds a {type(odd).__name__} in a row, expected one number, date or text in each: "
            "name another column with --by"
        )
    # A boolean is a number to Python, but neither of two groups is the earlier one.
    ordered = all(isinstance(value, _ORDERED) and not isinstance(value, bool) for value in held if value is not None)
    known = sorted({value for value in held if value is not None}, key=None if ordered else str)
    names = tuple(dict.fromkeys(map(_name, known)))
    place = {name: code for code, name in enumerate(names)}
    codes = [-1 if value is None else place[_name(value)] for value in held]
    return Domains(column, names, np.array(codes, np.int64), ordered)


def _name(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else visible(str(value))


def usable(domains: Domains, *, strata: NDArray[np.int64], groups: NDArray[np.int64], folds: int) -> Usable:
    """The domains with `MIN_ROWS` rows and two classes of ``folds`` different images each.

    Raises
    ------
    InputError
        When there are fewer than two of them, or more than `MOST`.
    """
    counts = np.bincount(domains.codes[domains.codes >= 0], minlength=len(domains.names))
    if domains.ordered and len(domains.names) > MOST:
        raise _too_many(domains, len(domains.names))
    small = [code for code in range(len(counts)) if counts[code] < MIN_ROWS]
    large = [code for code in range(len(counts)) if counts[code] >= MIN_ROWS]
    uniform = [code for code in large if _classes(domains.codes == code, strata, groups, folds) < 2]
    kept = [code for code in large if code not in uniform]
    if len(kept) > MOST:
        raise _too_many(domains, len(kept))
    left_out = []
    if small:
        left_out.append(f"{_listed(domains, counts, small)} left out: fewer than {MIN_ROWS} rows")
    if uniform:
        left_out.append(f"{_listed(domains, counts, uniform)} left out: fewer than two classes of {folds} images")
    missing = int((domains.codes < 0).sum())
    if missing:
        have = "row has" if missing == 1 else "rows have"
        left_out.append(f"{missing:,} {have} no {domains.column} and {_is(missing)} left out")
    if len(kept) < 2:
        why = f" ({'; '.join(left_out)})" if left_out else ""
        raise InputError(
            f"got {len(kept)} {'value' if len(kept) == 1 else 'values'} of the column {domains.column!r} with "
            f"{MIN_ROWS} rows and two classes of {folds} images, expected 2 or more{why}: name another column with --by"
        )
    place = np.full(len(counts) + 1, -1)
    place[kept] = np.arange(len(kept))
    names = tuple(domains.names[code] for code in kept)
    return Usable(replace(domains, names=names, codes=place[domains.codes]), tuple(left_out))


def parts(
    domains: Domains, *, strata: NDArray[np.int64], groups: NDArray[np.int64], folds: int, seed: int
) -> Iterator[DomainPart]:
    """All divisions; ``domains`` are those of `usable`, and rows of no domain are in none.

    `OTHERS`: tested on each domain, learned from all others. `EARLIER`, where domains have an order: tested on each but
    the first, learned from all earlier ones; the last is not repeated, since there it is the same as `OTHERS`. Training
    rows with a duplicate in the test part are left out of both. `ONE`: learned from all but one of the ``folds`` of one
    domain, tested on that fold of *every* domain. So each row is tested once for each domain that is learned from, the
    training part is as large within a domain as across, and duplicates, which share a fold, are never on both sides.
    """
    codes, places = domains.codes, range(len(domains.names))

    def tested(kind: str, learned: NDArray[np.bool_], test: NDArray[np.bool_]) -> DomainPart:
        train = learned & ~np.isin(groups, groups[test])
        return DomainPart(kind, np.flatnonzero(train), np.flatnonzero(test))

    for code in places:
        yield tested(OTHERS, (codes >= 0) & (codes != code), codes == code)
    if domains.ordered:
        for code in places[1:-1]:
            yield tested(EARLIER, (codes >= 0) & (codes < code), codes == code)
    fold_of = _folds(domains, strata=strata, groups=groups, folds=folds, seed=seed)
    for code in places:
        for fold in range(folds):
            yield DomainPart(ONE, np.flatnonzero((codes == code) & (fold_of != fold)), np.flatnonzero(fold_of == fold))


def _folds(
    domains: Domains, *, strata: NDArray[np.int64], groups: NDArray[np.int64], folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold of each row, -1 where it is in no domain: drawn once over all, each class of each domain spread."""
    from sklearn.model_selection import StratifiedGroupKFold

    rows = np.flatnonzero(domains.codes >= 0)
    cells = domains.codes[rows] * (int(strata.max()) + 1) + strata[rows]
    drawn = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold_of = np.full(len(domains.codes), -1)
    with warnings.catch_warnings():
        # A class that is rare in one domain may be absent from some folds of it.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for fold, (_, test) in enumerate(drawn.split(np.zeros((len(rows), 1)), cells, groups[rows])):
            fold_of[rows[test]] = fold
    return fold_of


def _classes(rows: NDArray[np.bool_], strata: NDArray[np.int64], groups: NDArray[np.int64], folds: int) -> int:
    """How many classes have ``folds`` different images among ``rows``."""
    images = np.unique(np.stack([strata[rows], groups[rows]]), axis=1)[0]
    return int((np.bincount(images) >= folds).sum())


def _too_many(domains: Domains, found: int) -> InputError:
    return InputError(
        f"the column {domains.column!r} has {found:,} different values, expected at most {MOST}: make fewer with a "
        "view of your own (`featurestore view create`), such as decades of years"
    )


def _listed(domains: Domains, counts: NDArray[np.int64], codes: Sequence[int]) -> str:
    """Values with how many rows they have, in words."""
    shown = [f"{domains.names[code][:_LONGEST]} ({counts[code]:,})" for code in codes[:_LISTED]]
    more = f" and {len(codes) - _LISTED:,} more" if len(codes) > _LISTED else ""
    return f"{domains.column} {', '.join(shown)}{more} {_is(len(codes))}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
