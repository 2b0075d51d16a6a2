"""Layout: the parts of the tables of one state; a manifest is read on first use."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from featurestore.errors import InputError, IntegrityError
from featurestore.progress import Progress
from featurestore.storage.manifest import Manifest, read_manifest
from featurestore.storage.names import embeddings_key, nearest, revision_of
from featurestore.storage.objects import LocalObjects, objects_of
from featurestore.storage.parts import Part
from featurestore.storage.schemas import CORE_TABLES
from featurestore.storage.state import State


class Layout:
    """The tables of one state of a store; ``place`` is its folder, or its files.

    Methods that return parts or columns raise IntegrityError if the manifest of that table is missing or damaged; other
    tables are not affected.
    """

    def __init__(self, place: Path | LocalObjects, state: State) -> None:
        self.objects = objects_of(place)
        self.root = self.objects.root
        self.state = state
        self._manifests: dict[str, Manifest] = {}

    @property
    def tables(self) -> list[str]:
        """The names of the tables: those of every store, including `embeddings`, and those of other programs."""
        return [*CORE_TABLES, *(key for key in self.state.tables if key not in CORE_TABLES and not revision_of(key))]

    def manifest(self, key: str) -> Manifest | None:
        """The manifest of one table of the state; None for a table without rows."""
        if key not in self._manifests and key in self.state.tables:
            self._manifests[key] = read_manifest(self.objects, key, self.state.tables[key])
        return self._manifests.get(key)

    def parts(self, table: str) -> list[Part]:
        """The parts of ``table``, empty if it has no rows; for `embeddings`, those of all revisions."""
        if table == "embeddings":
            return [part for key in self.revisions() for part in self.revision_parts(*key)]
        manifest = self.manifest(table)
        return [] if manifest is None else list(manifest.parts)

    def schema(self, table: str) -> pa.Schema:
        """The Arrow schema of ``table``."""
        if table in CORE_TABLES:
            return CORE_TABLES[table]
        manifest = self.manifest(table)
        if manifest is None:
            raise InputError(f"the store has no table {table!r} ({nearest(table, self.tables)})")
        return manifest.schema

    def revisions(self) -> list[tuple[str, str]]:
        """Each backbone and revision with vectors, including those that no view shows."""
        return sorted(key for table in self.state.tables if (key := revision_of(table)))

    def revision_parts(self, backbone: str, revision: str) -> list[Part]:
        """The parts of one revision of ``backbone``."""
        return self.parts(embeddings_key(backbone, revision))

    def embedding_parts(self, backbone: str) -> list[Part]:
        """The parts of the current revision of ``backbone``."""
        return self.revision_parts(backbone, self.state.revisions[backbone])

    def dim(self, backbone: str) -> int:
        """The ``embed_dim`` of the current revision of ``backbone``."""
        schema = self.schema(embeddings_key(backbone, self.state.revisions[backbone]))
        return int(schema.field("embedding").type.list_size)

    def files(self, name: str) -> list[str]:
        """The absolute paths of the parts of the table ``name``, or of the backbone ``name`` or ``embeddings_NAME``.

        Raises
        ------
        InputError
            When there is neither.
        IntegrityError, StoreError
            As `fetch`.
        """
        backbones = {f"embeddings_{backbone}": backbone for backbone in self.state.revisions}
        backbones |= {backbone: backbone for backbone in self.state.revisions}
        if name in self.tables:  # as in SQL, where a backbone of the same name is `embeddings_NAME`
            parts = self.parts(name)
        elif name in backbones:
            parts = self.embedding_parts(backbones[name])
        else:
            known = {*self.tables, *self.state.revisions}
            raise InputError(f"the store has no table or backbone {name!r} ({nearest(name, known)})")
        self.fetch(parts)
        return [str((self.root / part.path).resolve()) for part in parts]

    def fetch(self, parts: Sequence[Part], *, on_progress: Progress | None = None) -> None:
        """Fetch those of ``parts`` that are not on this machine; nothing is fetched for a local folder.

        Raises
        ------
        IntegrityError
            When a part is missing or damaged at its source.
        StoreError
            When the source can't be read.
        """
        for why in self.objects.fetch(parts, on_progress=on_progress).values():
            raise IntegrityError(why)

    def path(self, part: Part) -> Path:
        """The local path of ``part``, which is fetched first if necessary; raises as `fetch`."""
        self.fetch([part])
        return self.root / part.path

    def is_gone(self) -> bool:
        """Whether a manifest or a part of this state no longer exists, or a manifest is damaged."""
        try:
            paths = {part.path for table in self.state.tables for part in self.parts(table)}
        except IntegrityError:
            return True
        folders = {str(PurePosixPath(path).parent) for path in paths}
        return not paths <= {path for folder in folders for path in self.objects.list(folder)}
