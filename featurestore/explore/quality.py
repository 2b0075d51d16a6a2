"""Checks the data in a store: duplicates, leakage, broken files, invalid vectors, coverage; it changes nothing."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featurestore.catalog.label_counts import label_counts
from featurestore.embedding.staging import to_matrix
from featurestore.embedding.vectors import faults
from featurestore.errors import InputError
from featurestore.features import rows
from featurestore.features.features import Features
from featurestore.features.labels import has_label
from featurestore.files import MEGABYTE, read_file, why
from featurestore.storage.names import quote_name
from featurestore.storage.parts import read_part

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader
    from featurestore.progress import Progress

BLOCK = 2048


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
        Pairs of ids, with the number of differing bits of their difference hashes.
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
    hash_distance: int = 4,
    cosine: float = 0.98,
    split: Mapping[int, str] | str | Path | None = None,
    on_progress: "Progress | None" = None,
) -> QualityReport:
    """See `FeatureStore.quality`."""
    if not 0 <= hash_distance <= 64 or not -1 <= cosine <= 1:
        raise InputError(f"got {hash_distance} bits and a cosine of {cosine}, expected 0 to 64 and -1 to 1")
    usable = reader.query("SELECT ImgId, content_hash, phash FROM images_usable ORDER BY ImgId").to_pylist()
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
        near_by_hash=near_by_hash(usable, hash_distance, known=groups),
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


def near_by_hash(
    rows: Sequence[Mapping[str, Any]], bits: int, *, known: Mapping[int, int]
) -> list[tuple[int, int, int]]:
    """Pairs whose difference hashes differ in at most ``bits`` bits, without exact duplicates."""
    hashed = [row for row in rows if row["phash"]]
    ids = np.array([row["ImgId"] for row in hashed], np.int64)
    codes = np.array([int(row["phash"], 16) for row in hashed], np.uint64)
    pairs = []
    for start in range(0, len(ids), BLOCK):
        distance = np.bitwise_count(codes[start : start + BLOCK, None] ^ codes[None, :])
        for a, b in np.argwhere(distance <= bits):
            first, second = int(ids[start + a]), int(ids[b])
            if start + a < b and not _same(known, first, second):
                pairs.append((first, second, int(distance[a, b])))
    return pairs


def _near_by_cosine(
    features: Mapping[str, Features], cosine: float, known: Mapping[int, int], on_progress: "Progress | None"
) -> dict[str, list[tuple[int, int, float]]]:
    """The near duplicates by cosine of each backbone."""
    total, before, found = sum(map(len, features.values())), 0, {}
    for name, some in features.items():

        def report(done: int, before: int = before) -> None:
            if on_progress:
                on_progress(before + done, total)

        found[name] = near_by_cosine(*_sound(some), cosine, known=known, on_block=report)
        before += len(some)
        report(0, before)
    return found


def near_by_cosine(
    ids: NDArray[np.int32],
    X: NDArray[np.float32],
    cosine: float,
    *,
    known: Mapping[int, int],
    on_block: Callable[[int], None] = lambda done: None,
) -> list[tuple[int, int, float]]:
    """Pairs with at least this cosine, computed in blocks, so that memory is not quadratic in the number of vectors."""
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    unit = X / np.where(norms > 0, norms, np.float32(1))
    pairs = []
    for start in range(0, len(ids), BLOCK):
        # Only blocks on and above the diagonal, so that each pair is found once.
        likeness = unit[start : start + BLOCK] @ unit[start:].T
        for a, b in np.argwhere(likeness >= cosine):
            if a < b:
                first, second = int(ids[start + a]), int(ids[start + b])
                if not _same(known, first, second):
                    pairs.append((first, second, round(float(likeness[a, b]), 4)))
        on_block(min(start + BLOCK, len(ids)))
    return pairs


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


def _same(known: Mapping[int, int], first: int, second: int) -> bool:
    return first in known and known[first] == known.get(second)


def _ids(reader: "Reader", query: str) -> list[int]:
    return sorted(reader.query(query)["ImgId"].to_pylist())


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
