"""Matching agrees with a slow and plain version of its rules on random small tables."""

import random
from collections.abc import Sequence

from featurestore.collections.matching import match
from featurestore.collections.name_forms import folded, forms

FOLDERS = ("a/", "b/", "A/", "/", "a\\")
STEMS = ("a", "A", "b", "1", "01", "1.0", " a", "a%20", "%61")
SUFFIXES = ("", ".jpg", ".JPG", ".png")


def shared(one: Sequence[str], other: Sequence[str]) -> int:
    """The number of trailing components that are the same."""
    pairs = enumerate(zip(reversed(one), reversed(other), strict=False))
    return next((number for number, (left, right) in pairs if left != right), min(len(one), len(other)))


def fitting(key: list[str], names: list[list[str]], folders: bool) -> tuple[list[int], int]:
    """The images that fit ``key`` best, and how many components they share with it."""
    if not folders:
        return [place for place, name in enumerate(names) if name == key], len(key)
    counts = [shared(key, name) for name in names]
    most = max(counts)
    best = [place for place, count in enumerate(counts) if count == most > 0]
    return [place for place in best if len(names[place]) == most] or best, most


def slowly(keys: Sequence[str | None], names: Sequence[str]) -> tuple[list[int], set[int]]:
    """The places of ``keys``, and the ambiguous ones."""
    texts = list(dict.fromkeys(key for key in keys if key is not None))
    found = {text: names.index(text) for text in texts if text in names}
    taken, ambiguous = set(found.values()), set()
    for level, folders, fold in ((a, b, c) for a in range(4) for b in (False, True) for c in (False, True)):

        def components(path: str, level: int = level, fold: bool = fold) -> list[str]:
            form = forms(path)[level]
            return (folded(form) if fold else form).split("/")

        split = [components(name) for name in names]
        left = [text for text in texts if text not in found and text not in ambiguous and components(text) != [""]]
        fits = {text: fitting(components(text), split, folders) for text in left}
        single = {text: fit for text, fit in fits.items() if len(fit[0]) == 1 and fit[0][0] not in taken}
        for image in {images[0] for images, _ in single.values()}:
            most = max(count for images, count in single.values() if images == [image])
            best = [text for text, fit in single.items() if fit == ([image], most)]
            taken.add(image)
            if len(best) == 1:
                found[best[0]] = image
            else:
                ambiguous |= set(best)
        ambiguous |= {text for text, (images, _) in fits.items() if len(images) > 1 and set(images) - taken}
    places = [-1 if key is None else found.get(key, -1) for key in keys]
    return places, {row for row, key in enumerate(keys) if key in ambiguous}


def test_random_tables() -> None:
    draw = random.Random(5)

    def path() -> str:
        folders = "".join(draw.choice(FOLDERS) for _ in range(draw.randrange(4)))
        return folders + draw.choice(STEMS) + draw.choice(SUFFIXES)

    matched = ambiguous = 0
    for _ in range(500):
        names = list(dict.fromkeys(path() for _ in range(draw.randrange(1, 9))))
        keys = [draw.choice((path(), path(), path(), None)) for _ in range(draw.randrange(8))]
        got = match(keys, names)
        assert (got.places.tolist(), set(got.ambiguous)) == slowly(keys, names), (keys, names)
        matched += sum(got.levels.values())
        ambiguous += len(got.ambiguous)
    assert matched > 100
    assert ambiguous > 100
