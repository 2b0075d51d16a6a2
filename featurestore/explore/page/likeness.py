"""Which images are like others: neighbours of an image or a text, and groups of duplicates, ready for JSON."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from featurestore.explore.page.shown import image_ids, make_room
from featurestore.explore.search import Neighbours, backbone_of

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

# Comparing all pairs of more images takes too long for a page.
MOST_COMPARED = 50_000
# Bytes of vectors that are kept for further searches, those of one backbone at least; names of what is kept of each.
KEPT_VECTORS, INDEX, COPY = 4 * 2**30, "search index of ", "int8 copy of "
# Backbones whose stored pooling is that have a text tower; those of a person's own file may have one.
TEXT_POOLING, OWN_FILE = "features", ".py"


def similar(
    store: "Explorer", backbone: str, *, img_id: int | None = None, text: str | None = None, k: int
) -> list[dict[str, Any]]:
    """The ``k`` images nearest to an image or a text, nearest first.

    Raises
    ------
    InputError
        When there is no such backbone or vector, or the backbone has no text tower.
    """
    if text is None:
        found = store.similar(img_id, backbone=backbone, k=k)
    else:
        # Loading a model takes seconds: it is kept while the state is shown.
        model = store.remember(f"model of {backbone}", lambda: backbone_of(store, backbone))
        found = store.similar(text=text, backbone=backbone, k=k, model=model)
    make_room(store, INDEX, backbone, most=KEPT_VECTORS, size=lambda kept: int(kept[0].X.nbytes))
    for name in [name for name in dict(store.memo) if name.startswith(COPY)]:
        if INDEX + name.removeprefix(COPY) not in store.memo:
            store.memo.pop(name, None)
    return _listed(found)


def has_texts(options: Mapping[str, str], source: str) -> bool:
    """Whether a stored backbone may have a text tower, told without loading it."""
    return options.get("pooling") == TEXT_POOLING or source.endswith(OWN_FILE)


def duplicates(store: "Explorer") -> list[dict[str, Any]]:
    """Groups of images with equal files, or nearly the same to look at; the largest first.

    Of more than `MOST_COMPARED` images only equal files are found.
    """
    return store.remember("duplicates of the page", lambda: _duplicates(store))


def _duplicates(store: "Explorer") -> list[dict[str, Any]]:
    if len(image_ids(store)) > MOST_COMPARED:
        rows = store.query(
            "SELECT list(ImgId ORDER BY ImgId) AS ids FROM duplicate_groups GROUP BY duplicate_group "
            "HAVING count(*) > 1 ORDER BY count(*) DESC, duplicate_group"
        )
        return [{"ids": ids, "kind": "equal files"} for ids in rows["ids"].to_pylist()]
    report = store.quality(backbone=[])
    equal = {img_id: tuple(ids) for ids in report.exact_duplicates for img_id in ids}
    pairs = [(a, b) for a, b, _ in report.near_by_hash]
    groups = joined([*report.exact_duplicates, *pairs])
    return [
        {"ids": ids, "kind": "equal files" if equal.get(ids[0]) == tuple(ids) else "similar images"} for ids in groups
    ]


def joined(sets: Iterable[Iterable[int]]) -> list[list[int]]:
    """Ids that share a set, or a chain of sets, as groups: the largest first, each ascending.

    >>> joined([[1, 2], [3, 4], [2, 5]])
    [[1, 2, 5], [3, 4]]
    """
    parent: dict[int, int] = {}

    def root(one: int) -> int:
        while parent.setdefault(one, one) != one:
            parent[one] = one = parent[parent[one]]
        return one

    for first, *rest in sets:
        for other in rest:
            parent[root(other)] = root(first)
    groups: dict[int, list[int]] = {}
    for one in sorted(parent):
        groups.setdefault(root(one), []).append(one)
    return sorted(groups.values(), key=lambda ids: (-len(ids), ids[0]))


def _listed(found: Neighbours) -> list[dict[str, Any]]:
    rows = zip(found.ids[0].tolist(), found.scores[0].tolist(), strict=True)
    return [{"ImgId": img_id, "score": round(score, 6)} for img_id, score in rows if img_id >= 0]
