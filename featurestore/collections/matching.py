"""Matches the keys of a table with the names of images, from strict to loose; it never chooses between two images."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.collections.name_forms import folded, forms, loosest_name, upwards

EXACTLY = "exactly"
SPELLING = "ignoring spaces at the ends, the kind of slash and the Unicode form"
# What the forms of `name_forms.forms` leave out, in their order; the first is said by `SPELLING`.
LEFT_OUT = ("", "the extension", "leading zeros", "percent-encoding")
# One path is the end of the other, or both have other folders in front of the part that they share.
IN_FRONT, DIFFERENT = "the folders in front", "different folders"
CASE = "case"
# Candidates listed for an ambiguous key.
LISTED = 5

# Names of columns that hold keys in well-known data sets, the most usual first.
USUAL_KEYS = ("file_name", "filename", "image", "image_path", "path", "file", "name", "id", "img", "imgname")
# Rows of a column that are looked at before it is matched, and columns that are matched completely.
SAMPLE, FINALISTS = 20_000, 5
# A key column names at least one in so many of the images, or of the rows if they are fewer.
ONE_IN = 10


@dataclass(frozen=True)
class Matches:
    """The image of each of ``n`` keys.

    Parameters
    ----------
    places
        ``(n,)`` int64: the index of the name, -1 if none was matched.
    levels
        How many keys were matched by each kind of difference, strict ones first, such as ``ignoring case``. A loose
        kind includes the stricter ones.
    ambiguous
        The first few candidates of each key that several images fit, or whose image other keys fit equally well.
    """

    places: NDArray[np.int64]
    levels: Mapping[str, int]
    ambiguous: Mapping[int, tuple[str, ...]]


def match(keys: Sequence[str | None], names: Sequence[str]) -> Matches:
    """Find the image of each key: a relative or absolute path, a file name, a stem or an id.

    A key is matched at the first level at which any image fits that no other key fits at a stricter level. If further
    images fit, or other keys fit the same image equally well, the key is ambiguous and not matched. Equal keys are
    matched with the same image.

    Parameters
    ----------
    names
        Paths of images, all different, in NFC and with ``/``.
    """
    numbers: dict[str, int] = {}
    rows = np.fromiter((-1 if key is None else numbers.setdefault(key, len(numbers)) for key in keys), np.int64)
    search = _Search.exact(list(numbers), names)
    pool = _Pool.possible(search)
    for level in range(len(LEFT_OUT)):
        left = pool.reaching(search, level)
        if not len(left):
            continue
        indexes: dict[bool, _SortedForms] = {}
        for folders, fold in product((False, True), (False, True)):
            left = left[~search.decided[left]]
            if not len(left):
                break
            if fold not in indexes:
                indexes[fold] = _SortedForms.of(pool.name_forms, level, fold=fold)
            index = indexes[fold]
            wanted = [index.comparable(pool.text_forms[text][level]) for text in left.tolist()]
            search.settle(left, _find(index, wanted, folders=folders), _words(level, folders, fold))
    return search.result(rows)


def guess_key(columns: Mapping[str, Sequence[str | None]], names: Sequence[str]) -> tuple[str, int] | None:
    """The column whose values match the most images, and how many; None if none matches one in `ONE_IN`.

    Columns that match equally many are chosen by their names in the order of `USUAL_KEYS`, then by their order.
    """
    known = {loosest_name(forms(name)[-1]) for name in names}
    ranks = {name: rank for rank, name in enumerate(USUAL_KEYS)}
    hits = {column: _hits(values, known) for column, values in columns.items()}
    preferred = sorted(
        (column for column in hits if hits[column]), key=lambda column: ranks.get(column.casefold(), len(ranks))
    )
    finalists = sorted(preferred, key=lambda column: -hits[column])[:FINALISTS]
    best: tuple[str, int] | None = None
    for column in (column for column in preferred if column in finalists):
        places = match(columns[column], names).places
        count = len(np.unique(places[places >= 0]))
        enough = count * ONE_IN >= min(len(names), len(columns[column]))
        if count and enough and (best is None or count > best[1]):
            best = column, count
    return best


def _hits(values: Sequence[str | None], known: set[str]) -> int:
    """How many different images a sample of ``values`` could name, at most."""
    some = {value for value in values[:: -(-len(values) // SAMPLE) or 1] if value}
    return len({loosest_name(forms(value)[-1]) for value in some} & known)


def _words(level: int, folders: bool, fold: bool) -> tuple[str, str]:
    """The kind of difference, if the folders in front are left out, and if both paths have different ones."""
    kinds = []
    for place in (IN_FRONT, DIFFERENT):
        parts = [part for part in (LEFT_OUT[level], place if folders else "", CASE if fold else "") if part]
        more = f"{', '.join(parts[:-1])} and " if len(parts) > 1 else ""
        kinds.append(f"ignoring {more}{parts[-1]}" if parts else SPELLING)
    return kinds[0], kinds[1]


@dataclass(frozen=True)
class _Pool:
    """Every form of the texts and images that can be matched at all, by their indices: the others cost no time."""

    text_forms: Mapping[int, tuple[str, ...]]
    name_forms: Mapping[int, tuple[str, ...]]

    @classmethod
    def possible(cls, search: "_Search") -> "_Pool":
        left = np.flatnonzero(search.places < 0).tolist()
        text_forms = {text: forms(search.texts[text]) for text in left}
        if not text_forms:
            return cls({}, {})
        text_ends = {text: loosest_name(form[-1]) for text, form in text_forms.items()}
        wanted, ends = set(text_ends.values()), set()
        name_forms = {}
        for place, name in enumerate(search.names):
            form = forms(name)
            end = loosest_name(form[-1])
            if end and end in wanted:
                name_forms[place] = form
                ends.add(end)
        return cls({text: form for text, form in text_forms.items() if text_ends[text] in ends}, name_forms)

    def reaching(self, search: "_Search", level: int) -> NDArray[np.int64]:
        """The texts not decided yet that may reach an image by the form ``level``, and not by the one before."""
        ends, new_ends = set(), set()
        for form in self.name_forms.values():
            end = loosest_name(form[level])
            ends.add(end)
            if not level or form[level] != form[level - 1]:
                new_ends.add(end)
        left = []
        for text, form in self.text_forms.items():
            if not search.decided[text]:
                end = loosest_name(form[level])
                if end in new_ends or (end in ends and form[level] != form[level - 1]):
                    left.append(text)
        return np.array(left, np.int64)


class _SortedForms(NamedTuple):
    """The images sorted by one form, written from the file name upwards, so that any common end is a range."""

    fold: bool
    forms: list[str]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, name_forms: Mapping[int, tuple[str, ...]], level: int, *, fold: bool) -> "_SortedForms":
        written = [upwards(folded(form[level]) if fold else form[level]) for form in name_forms.values()]
        order = sorted(range(len(written)), key=written.__getitem__)
        places = np.fromiter(name_forms, np.int64, len(name_forms))
        return cls(fold, [written[number] for number in order], places[order])

    def comparable(self, form: str) -> str:
        """A text's form as those of the index."""
        return upwards(folded(form) if self.fold else form)


@dataclass(frozen=True)
class _Found:
    """For each text the range of an index that fits, ``low`` to ``high``, by the first ``shared`` characters.

    ``whole`` is True if nothing else is in front of the shared part in the text or in the first image of the range.
    """

    index: _SortedForms
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    shared: NDArray[np.int64]
    whole: NDArray[np.bool_]


def _find(index: _SortedForms, wanted: Iterable[str], *, folders: bool) -> _Found:
    ranges = [_same_end(index.forms, form) if folders else _equal(index.forms, form) for form in wanted]
    low, high, shared, whole = np.array(ranges, np.int64).reshape(-1, 4).T
    return _Found(index, low, high, shared, whole.astype(np.bool_))


def _equal(known: list[str], form: str) -> tuple[int, int, int, bool]:
    low = bisect_left(known, form)
    return low, bisect_right(known, form, low), len(form), True


def _same_end(known: list[str], form: str) -> tuple[int, int, int, bool]:
    """The images that share the most trailing components with ``form``; an image that is shared whole comes first."""
    at = bisect_left(known, form)
    # Of all sorted texts, the two neighbours share the longest start.
    shared = max((_shared(form, other) for other in known[max(at - 1, 0) : at + 1]), default=0)
    if not shared:
        return 0, 0, 0, False
    start = form[:shared]
    low = bisect_left(known, start)
    high = bisect_right(known, start, low)
    if high > low:
        return low, high, shared, True
    high = bisect_left(known, start[:-1] + chr(ord("/") + 1), low)  # the first text after all that begin with `start`
    return low, high, shared, shared == len(form)


def _shared(form: str, other: str) -> int:
    """The number of characters of the leading components that are the same in both, each with its ``/``."""
    if other.startswith(form):
        return len(form)
    if form.startswith(other):
        return len(other)
    shared = 0
    while (end := form.find("/", shared) + 1) and form[shared:end] == other[shared:end]:
        shared = end
    return shared


@dataclass
class _Search:
    """What is known so far of each different text among the keys, and of each image."""

    texts: Sequence[str]
    names: Sequence[str]
    places: NDArray[np.int64]  # of each text, -1 if it has no image
    kinds: NDArray[np.int64]  # of each text: its index in `words`
    decided: NDArray[np.bool_]  # of each text: matched or ambiguous
    taken: NDArray[np.bool_]  # of each image: matched, or reached by several texts
    words: list[str] = field(default_factory=lambda: [EXACTLY])
    ambiguous: dict[int, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def exact(cls, texts: Sequence[str], names: Sequence[str]) -> "_Search":
        """The texts that are equal to a name are matched."""
        known = {name: place for place, name in enumerate(names)}
        places = np.fromiter((known.get(text, -1) for text in texts), np.int64, len(texts))
        taken = np.zeros(len(names), np.bool_)
        taken[places[places >= 0]] = True
        return cls(texts, names, places, np.minimum(places, 0), places >= 0, taken)

    def settle(self, left: NDArray[np.int64], found: _Found, words: tuple[str, str]) -> None:
        """Decide the texts ``left``, as far as images that fit them are not taken."""
        several = found.high - found.low > 1
        single = np.flatnonzero(found.high - found.low == 1)
        single = single[~self.taken[found.index.order[found.low[single]]]]
        targets, shared = found.index.order[found.low[single]], found.shared[single]
        # Of the texts that reach an image, those that share the most with it; shared parts are parts of one name.
        most = np.zeros(len(self.names), np.int64)
        np.maximum.at(most, targets, shared)
        best = shared == most[targets]
        single, targets = single[best], targets[best]
        rivals = np.bincount(targets, minlength=len(self.names))[targets] > 1
        self.taken[targets] = True

        won, images = single[~rivals], targets[~rivals]
        self.places[left[won]] = images
        self.kinds[left[won]] = len(self.words) + ~found.whole[won]
        self.words += words
        for text, image in zip(left[single[rivals]].tolist(), targets[rivals].tolist(), strict=True):
            self.ambiguous[text] = (self.names[image],)
        self.decided[left[single]] = True
        self._refuse(left, found, np.flatnonzero(several))

    def _refuse(self, left: NDArray[np.int64], found: _Found, several: NDArray[np.int64]) -> None:
        """Texts that several images fit are ambiguous, unless each of the images belongs to another text."""
        free = np.concatenate([[0], np.cumsum(~self.taken[found.index.order])])
        several = several[free[found.high[several]] > free[found.low[several]]]
        for number in several.tolist():
            low = int(found.low[number])
            images = found.index.order[low : min(int(found.high[number]), low + LISTED)]
            self.ambiguous[int(left[number])] = tuple(self.names[image] for image in images.tolist())
        self.decided[left[several]] = True

    def result(self, rows: NDArray[np.int64]) -> Matches:
        """The matches of the keys, whose texts have the indices ``rows``, -1 for no text."""
        places = np.append(self.places, -1)[rows]
        counts = np.bincount(np.append(self.kinds, -1)[rows[places >= 0]], minlength=len(self.words))
        levels: dict[str, int] = {}
        for word, count in zip(self.words, counts.tolist(), strict=True):
            if count:
                levels[word] = levels.get(word, 0) + count
        texts = ((row, self.ambiguous.get(text)) for row, text in enumerate(rows.tolist()))
        return Matches(places, levels, {row: candidates for row, candidates in texts if candidates})
