"""EmbedPlan: which images have no vector of a revision; it takes no lock, computes nothing and writes nothing."""

from collections.abc import Collection
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
from featurestore.errors import InputError
from featurestore.storage.layout import Layout
from featurestore.storage.parts import Part, read_part
from featurestore.storage.schemas import embeddings_schema
from featurestore.storage.state import State

KEY = ["ImgId", "content_hash"]


@dataclass(frozen=True)
class EmbedPlan:
    """What was missing in one state of a store.

    Parameters
    ----------
    root
        The store's folder.
    state
        The state that was looked at; ``state.store`` is the store that alone may be given what is computed.
    spec
        What computes the vectors.
    parts
        Those that the revision had: none of their keys is in ``todo``.
    todo
        A row for each image without a vector, by id: ``ImgId`` int32, ``content_hash`` and ``path`` (of its file) text.
        0.2 kB an image as an Arrow table, several times that in dicts.
    present
        How many images have one.
    """

    root: Path
    state: State
    spec: BackboneSpec
    parts: tuple[Part, ...]
    todo: pa.Table
    present: int

    @cached_property
    def hashes(self) -> pa.Array:
        """Each content hash of ``todo`` once, in the order in which they come first; its place is its number."""
        return self._encoded.dictionary

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """For each of `hashes` how many images have it, ``(len(hashes),)``."""
        return np.bincount(to_numpy(self._encoded.indices), minlength=len(self.hashes))

    def numbers(self, hashes: pa.Array) -> NDArray[np.int64]:
        """The place in `hashes` of each of ``hashes``, ``(n,)`` int64; -1 of one that is not planned."""
        return to_numpy(pc.fill_null(pc.index_in(hashes, value_set=self.hashes), -1)).astype(np.int64)

    def first_rows(self, numbers: NDArray[np.int64]) -> pa.Table:
        """Of ``todo`` the first image of each of the hashes with these ascending ``numbers``."""
        first = np.unique(to_numpy(self._encoded.indices), return_index=True)[1]
        return self.todo.take(from_numpy(first[numbers]))

    def images(self, numbers: NDArray[np.int64]) -> tuple[pa.Table, NDArray[np.int64]]:
        """All images of the hashes with these ``numbers``, no number twice.

        Returns
        -------
        Their rows of ``todo``, by id, and for each the index into ``numbers`` of its hash.
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
        """The rows of ``todo``, those of one hash together."""
        return np.argsort(to_numpy(self._encoded.indices), kind="stable")

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.counts) - self.counts


def make_plan(layout: Layout, spec: BackboneSpec, *, but: Collection[str] = ()) -> EmbedPlan:
    """Which usable images of a state have no vector of ``spec``'s revision, and where their files are.

    Parameters
    ----------
    but
        Content hashes that are left out: they were refused.

    Raises
    ------
    InputError
        When the store holds no usable image.
    """
    images = images_of(layout)
    usable = images.filter(pc.equal(images["status"], "ok"))
    if not len(usable):
        raise InputError(f"the store {str(layout.root)!r} holds no usable image: run `featurestore ingest` first")
    parts = tuple(layout.revision_parts(spec.name, spec.revision))
    there = pc.is_in(pairs(usable), value_set=one_chunk(pairs(present_rows(layout, spec))))
    todo = usable.filter(pc.invert(there))
    todo = todo.filter(pc.invert(pc.is_in(todo["content_hash"], value_set=pa.array(sorted(but), pa.string()))))
    paths = pc.binary_join_element_wise(todo["folder"], todo["ImgName"], "/")
    rows = todo.select(KEY).append_column("path", paths)
    return EmbedPlan(layout.root, layout.state, spec, parts, rows, pc.sum(there).as_py() or 0)


def present_rows(layout: Layout, spec: BackboneSpec) -> pa.Table:
    """Each ``ImgId`` and ``content_hash`` that has a vector of this revision, as an Arrow table."""
    empty = embeddings_schema(spec.embed_dim).empty_table().select(KEY)
    parts = layout.revision_parts(spec.name, spec.revision)
    return pa.concat_tables([empty, *(read_part(layout.root / part.path, KEY).cast(empty.schema) for part in parts)])


def pairs(rows: pa.Table) -> pa.ChunkedArray:
    """``ImgId`` and ``content_hash`` of each row as one string: the key of a vector."""
    return pc.binary_join_element_wise(rows["ImgId"].cast(pa.string()), rows["content_hash"], "/")
