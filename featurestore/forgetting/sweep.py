"""Finds every part of a store with rows of images, and writes the parts that take their place; it swaps no record."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pyarrow as pa

from featurestore.catalog.commit import read_whole
from featurestore.catalog.recipe import Collection, find_recipe
from featurestore.forgetting.images import WantedImages
from featurestore.forgetting.rows import NamingColumns, ids_in, listed, naming_columns, rest_of, rows_of_images
from featurestore.progress import Progress
from featurestore.storage.manifest import Manifest, manifest_path, read_manifest, write_manifests
from featurestore.storage.names import inside
from featurestore.storage.objects import LocalObjects
from featurestore.storage.parts import Part, write_part
from featurestore.storage.state import State


@dataclass(frozen=True)
class PartOfImages:
    """A part with rows of the images: the columns that say so, and how many; ``kept`` are those with one in a list."""

    table: str
    part: Part
    columns: NamingColumns
    rows: int
    kept: int = 0


@dataclass(frozen=True)
class Sweep:
    """What the records of a store refer to.

    Parameters
    ----------
    parts
        The parts with rows of the images, by path.
    tables
        For each state, by the path of its record, how many rows each table has of them.
    ids
        The ImgIds that were found.
    """

    parts: Mapping[str, PartOfImages] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ids: frozenset[int] = frozenset()


def sweep(
    objects: LocalObjects, states: Mapping[str, State], wanted: WantedImages, *, on_progress: Progress | None = None
) -> Sweep:
    """Read every part that the ``states`` refer to and that can have rows of the ``wanted`` images.

    Raises
    ------
    IntegrityError
        When a manifest, or one of these parts, is missing or damaged.
    """
    manifests = {
        (name, table): (read_manifest(objects, table, name), find_recipe(state.collection))
        for state in states.values()
        for table, name in state.tables.items()
    }
    jobs: dict[str, tuple[str, Part, NamingColumns]] = {}
    for (_, table), (manifest, recipe) in manifests.items():
        columns = naming_columns(table, manifest.schema, recipe)
        jobs |= {part.path: (table, part, columns) for part in manifest.parts if _can_hold(part, columns, wanted)}
    found: dict[str, PartOfImages] = {}
    ids: set[int] = set()
    for done, (path, (table, part, columns)) in enumerate(jobs.items(), 1):
        extra = ["status"] if table == "images" else []
        rows = read_whole(objects, part, [*columns.all, *extra])
        here = int(rows_of_images(table, rows, columns, wanted).sum())
        kept = int(listed(rows, columns, wanted).sum())
        ids |= ids_in(rows, columns, wanted)
        if here or kept:
            found[path] = PartOfImages(table, part, columns, here, kept)
        if on_progress:
            on_progress(done, len(jobs))
    counts = {path: _counts(state, manifests, found) for path, state in states.items()}
    return Sweep(found, counts, frozenset(ids))


def written_rest(
    objects: LocalObjects, found: Iterable[PartOfImages], wanted: WantedImages, *, keep_numbers: bool
) -> dict[str, Part | None]:
    """Write each part without the rows of the images; None for one of which nothing is left."""
    written: dict[str, Part | None] = {}
    for one in found:
        rows = rest_of(one.table, read_whole(objects, one.part), one.columns, wanted, keep_numbers=keep_numbers)
        folder = str(PurePosixPath(one.part.path).parent)
        inside(objects.root, objects.root / folder)
        written[one.part.path] = write_part(rows, objects.root, folder) if len(rows) else None
    return written


def rewritten_tables(objects: LocalObjects, state: State, others: Mapping[str, Part | None]) -> dict[str, str]:
    """Write the manifests of the tables of ``state`` that list one of ``others``, with what takes its place.

    Returns the hash of each new one by its table; on an object store they and the parts are sent.
    """
    manifests: dict[str, Manifest] = {}
    for table, name in state.tables.items():
        manifest = read_manifest(objects, table, name)
        if any(part.path in others for part in manifest.parts):
            parts = [part for old in manifest.parts if (part := others.get(old.path, old)) is not None]
            manifests[table] = Manifest(manifest.schema, tuple(parts))
    names = write_manifests(objects.root, manifests) if manifests else {}
    used = {part.path for manifest in manifests.values() for part in manifest.parts}
    new = {part.path for part in others.values() if part is not None}
    objects.send(sorted(used & new) + sorted(map(manifest_path, names.values())))
    return names


def _can_hold(part: Part, columns: NamingColumns, wanted: WantedImages) -> bool:
    if not columns.all:
        return False
    if not columns.by_range or part.first_id is None or part.last_id is None:  # its ids are no integers
        return True
    return any(part.first_id <= number <= part.last_id for number in wanted.ids.to_pylist())


def _counts(
    state: State, manifests: Mapping[tuple[str, str], tuple[Manifest, object]], found: Mapping[str, PartOfImages]
) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for table, name in state.tables.items():
        for part in manifests[name, table][0].parts:
            if part.path in found:
                counts[table] += found[part.path].rows + found[part.path].kept
    return dict(counts)


def holds(rows: pa.Table, table: str, wanted: WantedImages, *, recipe: Collection | None = None) -> bool:
    """Whether ``rows``, of a file of ``table`` that no record refers to, have some of the images."""
    columns = naming_columns(table, rows.schema, recipe)
    return bool(rows_of_images(table, rows, columns, wanted).any() or listed(rows, columns, wanted).any())
