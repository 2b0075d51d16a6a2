"""Checks the data in a store: duplicates, leakage, broken files, invalid vectors, coverage; it changes nothing."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featurestore.catalog.label_counts import label_counts
from featurestore.embedding.staging import to_matrix
from featurestore.embedding.vectors import faults
from featurestore.errors import InputError, IntegrityError
from featurestore.explore.near import COSINE, HASH_DISTANCE, NearPairs, near_by_cosine, near_by_hash
from featurestore.features import rows
from featurestore.features.features import Features
from featurestore.features.labels import has_label
from featurestore.files import MEGABYTE, read_file, why
from featurestore.storage.names import quote_name
from featurestore.storage.parts import read_part

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader
    from featurestore.progress import Progress


@dataclass(frozen=True)
class QualityReport:
    """The findings, ready for JSON.

    Parameters
    ----------
    metadata_without_image
        Number of rows of the metadata without a usable image.
    without_file
        Ids known only from imported vectors, without an image file.
    exact_duplicates
        Groups of ids whose files are byte-identical.
    near_by_hash
        Pairs of ids, with the number of differing bits of their difference hashes; of exact duplicates only the first
        stands in pairs.
    near_by_cosine
        For each backbone, pairs of ids with their cosine.
    quarantined
        The reason for each quarantined file, by name.
    bad_vectors
        For each backbone, the reason by ImgId for each invalid vector.
    coverage
        For each backbone, the number of usable images with a vector, and of all usable images.
    leaking
        Ids of test rows with a duplicate in the training rows, if a split was given.
    """

    images: int
    without_metadata: list[int]
    metadata_without_image: int
    without_file: list[int]
    exact_duplicates: list[list[int]]
    near_by_hash: list[tuple[int, int, int]]
    near_by_cosine: dict[str, list[tuple[int, int, float]]]
    quarantined: dict[str, str]
    bad_vectors: dict[str, dict[int, str]]
    coverage: dict[str, tuple[int, int]]
    labels: dict[str, int]
    contradicting: list[list[int]]
    leaking: list[int] | None

    @property
    def faults(self) -> int:
        """The number of findings that should be examined before training on this store."""
        return (
            len(self.exact_duplicates)
            + len(self.near_by_hash)
            + sum(map(len, self.near_by_cosine.values()))
            + len(self.quarantined)
            + sum(map(len, self.bad_vectors.values()))
            + len(self.contradicting)
            + len(self.leaking or [])
        )


def check(
    reader: "Reader",
    *,
    backbone: str | Sequence[str] | None = None,
    hash_distance: int = HASH_DISTANCE,
    cosine: float = COSINE,
    split: Mapping[int, str] | str | Path | None = None,
    on_progress: "Progress | None" = None,
) -> QualityReport:
    """See `FeatureStore.quality`."""
    if not 0 <= hash_distance <= 64 or not -1 <= cosine <= 1:
        raise InputError(f"got {hash_distance} bits and a cosine of {cosine}, expected 0 to 64 and -1 to 1")
    images = reader.query("SELECT ImgId, content_hash, phash FROM images_usable ORDER BY ImgId")
    if images["ImgId"].null_count:
        raise IntegrityError("the table images has rows without an ImgId: a file was edited; restore it from a copy")
    usable = images.to_pylist()
    sides = read_split(Path(split)) if isinstance(split, (str, Path)) else split
    chosen = [backbone] if isinstance(backbone, str) else backbone
    names = list(reader.state.revisions if chosen is None else chosen)
    joined = f"{quote_name(reader.recipe.table)} AS m ON m.{quote_name(reader.recipe.key)} = i.ImgId"
    exact = _exact(usable)
    groups = {img_id: min(group) for group in exact for img_id in group}
    features = {name: rows.read(reader, name, view="images_usable") for name in names}
    return QualityReport(
        images=len(usable),
        without_metadata=_ids(reader, f"SELECT i.ImgId FROM images_usable AS i ANTI JOIN {joined}"),
        metadata_without_image=reader.query(
            f"SELECT count(*) AS n FROM images_usable AS i RIGHT JOIN {joined} WHERE i.ImgId IS NULL"
        )["n"][0].as_py(),
        without_file=_ids(reader, "SELECT ImgId FROM images WHERE status = 'external'"),
        exact_duplicates=exact,
        near_by_hash=_near_by_hash(usable, hash_distance, groups),
        near_by_cosine=_near_by_cosine(features, cosine, groups, on_progress),
        quarantined={
            row["ImgName"]: row["reason"]
            for row in reader.query("SELECT ImgName, reason FROM images WHERE status = 'broken'").to_pylist()
        },
        bad_vectors={name: bad_vectors(reader, name) for name in names},
        coverage={name: (len(f.ids), len(f.ids) + f.missing) for name, f in features.items()},
        labels=label_counts(reader.query, reader.label),
        contradicting=_contradicting(reader, exact),
        leaking=None if sides is None else _leaking(reader, sides),
    )


def read_split(path: Path) -> dict[int, str]:
    """Read the side (train or test) of each id from a CSV with the columns ImgId and side.

    Raises
    ------
    InputError
        When the file is not such a CSV.
    """
    try:
        text = read_file(path, limit=256 * MEGABYTE, pipes=True).decode("utf-8")
        return {int(row["ImgId"]): row["side"] for row in csv.DictReader(io.StringIO(text, newline=""))}
    except (OSError, KeyError, ValueError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{str(path)!r} is not a split ({why(error)}): expected a CSV with the columns ImgId and side"
        ) from error


def _near_by_cosine(
    features: Mapping[str, Features], cosine: float, groups: Mapping[int, int], on_progress: "Progress | None"
) -> dict[str, list[tuple[int, int, float]]]:
    """The near duplicates by cosine of each backbone."""
    total, before, found = sum(map(len, features.values())), 0, {}
    for name, some in features.items():

        def report(done: int, before: int = before) -> None:
            if on_progress:
                on_progress(before + done, total)

        ids, X = _sound(some)
        once = _once(ids, groups)
        pairs = near_by_cosine(X if len(once) == len(X) else X[once], cosine, on_block=report)
        found[name] = [(a, b, round(value, 4)) for a, b, value in _named(pairs, ids[once])]
        before += len(some)
        report(0, before)
    return found


def _near_by_hash(
    usable: Sequence[Mapping[str, Any]], bits: int, groups: Mapping[int, int]
) -> list[tuple[int, int, int]]:
    """The near duplicates by the hashes of the images."""
    ids = np.array([row["ImgId"] for row in usable], np.int64)
    once = _once(ids, groups)
    return _named(near_by_hash([usable[row]["phash"] or "" for row in once.tolist()], bits), ids[once])


def _once(ids: NDArray[np.integer], groups: Mapping[int, int]) -> NDArray[np.intp]:
    """The first row of each group of exact duplicates, and all rows in none: many copies would be very many pairs."""
    _, first = np.unique([groups.get(img_id, img_id) for img_id in ids.tolist()], return_index=True)
    return np.sort(first)


def _named(pairs: NearPairs, ids: NDArray[np.integer]) -> list[tuple[int, int, Any]]:
    """The pairs by the ids of their rows."""
    return list(zip(ids[pairs.first].tolist(), ids[pairs.second].tolist(), pairs.value.tolist(), strict=True))


def _sound(features: Features) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Ids ``(n,)`` int32 and vectors ``(n, d)`` float32 of the valid vectors; others have no meaningful cosine."""
    good = np.ones(len(features), bool)
    good[list(faults(features.X))] = False
    return features.ids[good], features.X[good]


def bad_vectors(reader: "Reader", backbone: str) -> dict[int, str]:
    """Stored vectors of ``backbone`` that are NaN, infinite, constant or of the wrong length: the reason by ImgId."""
    found: dict[int, str] = {}
    expected = reader.layout.dim(backbone)
    parts = reader.layout.embedding_parts(backbone)
    reader.layout.fetch(parts)
    for part in parts:
        table = read_part(reader.layout.path(part), ["ImgId", "embedding"])
        ids = table["ImgId"].to_pylist()
        vectors = to_matrix(table)
        if vectors.shape[1] != expected:
            found |= dict.fromkeys(ids, f"the embedding has {vectors.shape[1]} values, the backbone {expected}")
        found |= {ids[row]: reason for row, reason in faults(vectors).items()}
    return found


def leakage(groups: Mapping[int, int], train: Iterable[int], test: Iterable[int]) -> list[int]:
    """The ids of ``test`` in a duplicate group with an id of ``train``; an id without a group is its own group."""
    taken = {groups.get(img_id, img_id) for img_id in train}
    return sorted(img_id for img_id in test if groups.get(img_id, img_id) in taken)


def _leaking(reader: "Reader", split: Mapping[int, str]) -> list[int]:
    sides = set(split.values())
    if not sides <= {"train", "test"}:
        raise InputError(
            f"got the sides {', '.join(sorted(sides - {'train', 'test'}))} in the split, expected train and test"
        )
    rows = reader.query("SELECT ImgId, duplicate_group FROM duplicate_groups").to_pylist()
    groups = {row["ImgId"]: row["duplicate_group"] for row in rows}
    return leakage(
        groups, [i for i, side in split.items() if side == "train"], [i for i, side in split.items() if side == "test"]
    )


def _exact(rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    by_hash: dict[str, list[int]] = {}
    for row in rows:
        if row["content_hash"]:
            by_hash.setdefault(row["content_hash"], []).append(row["ImgId"])
    return sorted(ids for ids in by_hash.values() if len(ids) > 1)


def _ids(reader: "Reader", query: str) -> list[int]:
    return sorted(reader.query(query)["ImgId"].drop_null().to_pylist())


def _contradicting(reader: "Reader", groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Those of the ``groups`` of equal images whose labels differ; images without a label don't count."""
    if not groups:
        return []
    found = reader.query(f"SELECT ImgId, {quote_name(reader.label)} AS label FROM labeled").to_pylist()
    labels = {row["ImgId"]: _comparable(row["label"]) for row in found if has_label(row["label"])}
    return [list(ids) for ids in groups if len({labels[img_id] for img_id in ids if img_id in labels}) > 1]


def _comparable(label: Any) -> frozenset[str]:
    """A label as text, or several, whose order says nothing."""
    return frozenset(map(str, filter(has_label, label if isinstance(label, list) else [label])))
