"""EmbedPlan: the images without a vector of a revision; planning takes no lock, computes and writes nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, one_chunk, to_numpy
from featurestore.backbones.base import BackboneSpec
from featurestore.collections.ingest import images_of
from featurestore.embedding.share import Share
from featurestore.errors import InputError
from featurestore.storage.layout import Layout
from featurestore.storage.objects import LocalObjects, Place, objects_of
from featurestore.storage.parts import Part, read_part
from featurestore.storage.schemas import embeddings_schema
from featurestore.storage.state import State

KEY = ["ImgId", "content_hash"]
# The name of an image, and where it lies.
PLACE = ["ImgName", "source", "file", "member"]


@dataclass(frozen=True)
class EmbedPlan:
    """The images without a vector in one state of a store.

    Parameters
    ----------
    place
        The store's folder, or its files.
    state
        The state that was read; results may only be published to the store with the id ``state.store``.
    spec
        The backbone that computes the vectors.
    parts
        The revision's existing parts, of a share those near its images: none of their keys is in ``todo``.
    todo
        One row per image without a vector, by id: the columns in `KEY` and `PLACE` of the table `images`.
        It takes 0.2 kB per image as an Arrow table, several times that as dicts.
    present
        Number of images that have a vector.
    """

    place: Place
    state: State
    spec: BackboneSpec
    parts: tuple[Part, ...]
    todo: pa.Table
    present: int

    @property
    def objects(self) -> LocalObjects:
        """The files of the store."""
        return objects_of(self.place)

    @property
    def root(self) -> Path:
        """The folder that the paths of the parts are relative to."""
        return self.objects.root

    @cached_property
    def hashes(self) -> pa.Array:
        """The distinct content hashes of ``todo`` in order of first occurrence; the index of a hash is its number."""
        return self._encoded.dictionary

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The number of images with each of `hashes`: ``(len(hashes),)`` int64."""
        return np.bincount(to_numpy(self._encoded.indices), minlength=len(self.hashes))

    def numbers(self, hashes: pa.Array) -> NDArray[np.int64]:
        """The number of each of ``hashes``, ``(n,)`` int64; -1 for one that is not planned."""
        return to_numpy(pc.fill_null(pc.index_in(hashes, value_set=self.hashes), -1)).astype(np.int64)

    def first_rows(self, numbers: NDArray[np.int64]) -> pa.Table:
        """The row in ``todo`` of the first image with each of the hashes ``numbers``, which are ascending."""
        first = np.unique(to_numpy(self._encoded.indices), return_index=True)[1]
        return self.todo.take(from_numpy(first[numbers]))

    def images(self, numbers: NDArray[np.int64]) -> tuple[pa.Table, NDArray[np.int64]]:
        """All images with the hashes ``numbers``, which are distinct.

        Returns
        -------
        Their rows of ``todo``, by id, and for each row the index of its hash in ``numbers``.
        """
        counts = self.counts[numbers]
        source = np.repeat(np.arange(len(numbers)), counts)
        within = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self._by_hash[np.repeat(self._starts[numbers], counts) + within]
        order = np.argsort(rows)
        return self.todo.take(from_numpy(rows[order])), source[order]

    @cached_property
    def _encoded(self) -> pa.DictionaryArray:
        return one_chunk(self.todo["content_hash"]).dictionary_encode()

    @cached_property
    def _by_hash(self) -> NDArray[np.int64]:
        """The row indices of ``todo``, grouped by hash."""
        return np.argsort(to_numpy(self._encoded.indices), kind="stable")

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.counts) - self.counts


def make_plan(
    layout: Layout, spec: BackboneSpec, *, exclude: Collection[str] = (), share: Share | pa.Array | None = None
) -> EmbedPlan:
    """Find the usable images of a state without a vector of ``spec``'s revision, and the paths of their files.

    Parameters
    ----------
    exclude
        Content hashes to leave out, because they were refused.
    share
        Only images of this share, or with one of these content hashes.

    Raises
    ------
    InputError
        When the store holds no usable image.
    """
    usable = usable_images(layout)
    parts = layout.revision_parts(spec.name, spec.revision)
    if share is not None:
        wanted = share.of(distinct_hashes(usable)) if isinstance(share, Share) else share
        usable = usable.filter(pc.is_in(usable["content_hash"], value_set=wanted))
        parts = _near(parts, usable["ImgId"])
    there = have_vectors(usable, key_rows(layout, parts))
    todo = usable.filter(from_numpy(~there))
    todo = todo.filter(pc.invert(pc.is_in(todo["content_hash"], value_set=pa.array(sorted(exclude), pa.string()))))
    return EmbedPlan(layout.objects, layout.state, spec, tuple(parts), todo, int(there.sum()))


def usable_images(layout: Layout) -> pa.Table:
    """The columns in `KEY` and `PLACE` of the usable images of a state, by id.

    Raises
    ------
    InputError
        When there is none.
    """
    layout.fetch(layout.parts("images"))
    images = images_of(layout)
    usable = images.select([*KEY, *PLACE]).filter(pc.equal(images["status"], "ok"))
    if not len(usable):
        raise InputError(f"the store {layout.objects.address!r} holds no usable image: run `featurestore ingest` first")
    return usable


def distinct_hashes(images: pa.Table) -> pa.Array:
    """The content hashes of ``images``, each once, in the order of the first image with it."""
    return images["content_hash"].unique()


def _near(parts: Sequence[Part], ids: pa.ChunkedArray) -> list[Part]:
    """Those of ``parts`` that can hold one of ``ids``."""
    ends = pc.min_max(ids).as_py()
    first, last = ends["min"], ends["max"]
    if first is None:
        return []
    return [
        part
        for part in parts
        if part.first_id is None or part.last_id is None or (part.first_id <= last and first <= part.last_id)
    ]


def have_vectors(images: pa.Table, keys: pa.Table) -> NDArray[np.bool_]:
    """Which of ``images``, by ascending id, have a row with their id and content hash in ``keys``: ``(n,)`` bool.

    They are found by their ids: the `pairs` of ten million images take 3 GB.
    """
    found = np.zeros(len(images), bool)
    ids = to_numpy(images["ImgId"])
    for some in keys.to_batches() if len(ids) else ():
        wanted = to_numpy(some["ImgId"])
        places = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
        hashes = one_chunk(images["content_hash"].take(from_numpy(places)))
        found[places[(ids[places] == wanted) & to_numpy(pc.equal(hashes, some["content_hash"]))]] = True
    return found


def present_rows(layout: Layout, spec: BackboneSpec) -> pa.Table:
    """An Arrow table of each ``ImgId`` and ``content_hash`` that has a vector of this revision."""
    return key_rows(layout, layout.revision_parts(spec.name, spec.revision))


def key_rows(layout: Layout, parts: Sequence[Part]) -> pa.Table:
    """As `present_rows`, but only of ``parts``."""
    layout.fetch(parts)
    return read_keys([layout.root / part.path for part in parts])


def read_keys(paths: Sequence[Path]) -> pa.Table:
    """``ImgId`` and ``content_hash`` of each row of some parts with vectors."""
    empty = embeddings_schema(1).empty_table().select(KEY)
    return pa.concat_tables([empty, *(read_part(path, KEY).cast(empty.schema) for path in paths)])


def pairs(rows: pa.Table) -> pa.ChunkedArray:
    """``ImgId`` and ``content_hash`` of each row as one string: the key of a vector."""
    return pc.binary_join_element_wise(rows["ImgId"].cast(pa.string()), rows["content_hash"], "/")
