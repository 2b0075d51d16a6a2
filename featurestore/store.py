"""FeatureStore: every verb of a store; those that write are here, and each hands its job to the module that owns it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from featurestore.catalog import snapshots as records
from featurestore.errors import StoreError
from featurestore.explore.explorer import Explorer
from featurestore.storage.remote import is_remote
from featurestore.storage.snapshot import SnapshotInfo

if TYPE_CHECKING:
    from datetime import timedelta

    from featurestore.backbones.base import Backbone
    from featurestore.catalog.maintenance import GcReport
    from featurestore.catalog.repair import RepairReport
    from featurestore.collections.ingest import IngestReport
    from featurestore.embedding.embed import EmbedReport
    from featurestore.embedding.importer import ImportReport
    from featurestore.progress import Progress


class FeatureStore(Explorer):
    """A store with every verb; the command line has the same verbs with the same arguments.

    Those that write are refused on an object store and on a snapshot (`StoreError`). They wait ``wait_seconds`` for
    another writer to end (`StoreLocked`), and afterwards this object sees the newest state. ``on_progress`` is called
    with the number of things done and of all. What a verb raises is a `FeatureStoreError`, one sentence.
    """

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        """The folder, for a block that writes to it."""
        if is_remote(self.location):
            raise StoreError(f"the store {self.location!r} is on an object store and read-only: write to a folder")
        if self.snapshot_name is not None:
            raise StoreError(f"the snapshot {self.snapshot_name!r} never changes: open the store without it to write")
        try:
            yield self.path
        finally:
            self.refresh()  # also after an error: `embed` keeps what it had computed

    def ingest(
        self,
        *,
        metadata: str | Path,
        images: str | Path | Sequence[str | Path],
        top_genres: int | None = None,
        wait_seconds: float = 0.0,
        on_progress: "Progress | None" = None,
    ) -> "IngestReport":
        """Make the store mirror one metadata file and folders of images; the first time it makes the store.

        Embeddings are never dropped: those of an image that is gone stay, unseen, and show again when it is back.

        Parameters
        ----------
        metadata
            ``MovieGenre.csv`` or ``.csv.gz``, UTF-8 or latin-1.
        images
            Folders of ``<ImgId>.jpg``.
        top_genres
            How many genres the view `labeled` keeps; as before when None, 4 at first.

        Raises
        ------
        InputError
            When a file, folder or argument is not what was expected; the store stays as it was.
        """
        from featurestore.collections.ingest import ingest

        folders = [Path(folder) for folder in ([images] if isinstance(images, (str, Path)) else images)]
        with self._writing() as root:
            return ingest(
                root,
                metadata=Path(metadata),
                images=folders,
                top_genres=top_genres,
                wait_seconds=wait_seconds,
                on_progress=on_progress,
            )

    def embed(
        self,
        backbone: "Backbone | str",
        *,
        name: str | None = None,
        weights: str | Path | None = None,
        tensor: str | int | None = None,
        synthetic: bool = False,
        batch_size: int = 32,
        workers: int | None = None,
        wait_seconds: float = 0.0,
        on_progress: "Progress | None" = None,
    ) -> "EmbedReport":
        """Embed every usable image that has no vector of this backbone's revision.

        The folders of the last ingest are looked at again first. Images of equal bytes are computed once. Each batch is
        on disk as soon as it is computed: an interrupt costs at most the one in work.

        Parameters
        ----------
        backbone
            A known name, ``tflite:FILE``, ``savedmodel:DIR``, or an object with ``spec`` and ``embed``.
        name, weights, tensor, synthetic
            Of a backbone that is named: its name in the store, a local SavedModel in place of the published weights,
            name or number of the tensor of a tflite model, and whether the weights are made up.
        batch_size
            Images per forward pass.
        workers
            Threads that decode; the number of cores when None.

        Raises
        ------
        BackboneError
            When the backbone can't be loaded, fails or answers with the wrong shape; what was computed before stays.
        InputError
            When the store holds no usable image, or an argument is not what it should be.
        """
        from featurestore.backbones.registry import resolve
        from featurestore.embedding.embed import embed

        with self._writing() as root:
            _ = self.state  # no store: say so before the weights are loaded
            loaded = resolve(backbone, name=name, weights=weights, tensor=tensor, synthetic=synthetic)
            return embed(
                root,
                loaded,
                batch_size=batch_size,
                workers=workers,
                wait_seconds=wait_seconds,
                on_progress=on_progress,
            )

    def import_embeddings(
        self,
        file: str | Path,
        *,
        backbone: str,
        ids: str | Path | None = None,
        synthetic: bool = False,
        wait_seconds: float = 0.0,
    ) -> "ImportReport":
        """Store vectors that were computed elsewhere as a revision of ``backbone``, all of the file or nothing.

        Parameters
        ----------
        file
            CSV or CSV.gz with ``ImgName`` or ``ImgId`` and the columns ``0 … d-1`` (others are passed over), Parquet
            with the same or one list column ``embedding``, or ``.npy`` ``(n, d)``.
        backbone
            Name in the store; the hash of the file becomes its revision.
        ids
            The ids of an ``.npy``: a file, ``.npy`` or one a line.
        synthetic
            The vectors are made up: every table will say so.

        Raises
        ------
        InputError
            When the file can't be read as one of these.
        EmbeddingError
            When a vector or an id can't be stored.
        """
        from featurestore.embedding.importer import import_embeddings

        ids = None if ids is None else Path(ids)
        with self._writing() as root:
            return import_embeddings(
                root, Path(file), backbone=backbone, ids=ids, synthetic=synthetic, wait_seconds=wait_seconds
            )

    def append(self, tables: Mapping[str, pa.Table], *, wait_seconds: float = 60.0) -> None:
        """Add rows to tables of your own, all in one commit; a table is made on first use.

        Raises
        ------
        InputError
            When a name is taken or no lower-case identifier, or the columns are not those of earlier rows.
        """
        from featurestore.catalog.append import append

        with self._writing() as root:
            append(root, tables, wait_seconds=wait_seconds)

    def remove_backbone(self, name: str, *, wait_seconds: float = 0.0) -> int:
        """Remove a backbone with all its revisions, and return how many vectors that were; snapshots keep theirs.

        Refused (`InputError`) where a view of your own would fail without it. `gc` frees what no snapshot has.
        """
        from featurestore.catalog import backbones

        with self._writing() as root:
            return backbones.remove(root, name, wait_seconds=wait_seconds)

    def rename_backbone(self, name: str, new_name: str, *, wait_seconds: float = 0.0) -> None:
        """Call a backbone otherwise: no vector is written, none computed again; snapshots keep the old name.

        Refused (`InputError`) where the new name is taken, or a view of your own would fail.
        """
        from featurestore.catalog import backbones

        with self._writing() as root:
            backbones.rename(root, name, new_name, wait_seconds=wait_seconds)

    def create_view(self, name: str, sql: str, *, replace: bool = False, wait_seconds: float = 0.0) -> int:
        """Make the view ``name`` of ``sql``, one SELECT that yields ``ImgId``, and return its number of rows.

        Raises
        ------
        InputError
            When the name is taken or no lower-case identifier, or the view yields no ``ImgId`` or one more than once.
        QueryError
            When ``sql`` is refused or fails.
        """
        from featurestore.catalog import views

        with self._writing() as root:
            return views.create(root, name, sql, replace=replace, wait_seconds=wait_seconds)

    def remove_view(self, name: str, *, wait_seconds: float = 0.0) -> None:
        """Remove a view of your own; refused where another stands on it."""
        from featurestore.catalog import views

        with self._writing() as root:
            views.remove(root, name, wait_seconds=wait_seconds)

    def create_snapshot(self, name: str, *, wait_seconds: float = 0.0) -> SnapshotInfo:
        """Keep the current state under ``name``, for good; it costs one small file."""
        with self._writing() as root:
            return records.create(root, name, wait_seconds=wait_seconds)

    def remove_snapshot(self, name: str, *, wait_seconds: float = 0.0) -> None:
        """Forget a snapshot; `gc` then frees what only it referred to."""
        with self._writing() as root:
            records.remove(root, name, wait_seconds=wait_seconds)

    def gc(
        self, *, older_than: "str | timedelta" = "1d", dry_run: bool = False, wait_seconds: float = 0.0
    ) -> "GcReport":
        """Remove files that neither the current state nor a snapshot needs; who reads an older state must `refresh`.

        Parameters
        ----------
        older_than
            Younger files stay, since a command that is at work may need them: a time, or text such as ``12h`` or ``0``.

        Raises
        ------
        IntegrityError
            When a record is damaged, so that what is needed can't be told: nothing is removed.
        """
        from featurestore.catalog.maintenance import gc

        with self._writing() as root:
            return gc(root, older_than=older_than, dry_run=dry_run, wait_seconds=wait_seconds)

    def repair(
        self,
        *,
        from_snapshot: str | None = None,
        wait_seconds: float = 0.0,
        on_progress: "Progress | None" = None,
    ) -> "RepairReport":
        """Take what is damaged out where `embed` or `ingest` makes it again; name what only a copy restores.

        Parameters
        ----------
        from_snapshot
            First let the state of this snapshot take the place of a damaged ``state.json``; what came after it is lost.

        Raises
        ------
        IntegrityError
            When the state can't be read; the newest whole snapshot is named.
        """
        from featurestore.catalog.repair import repair

        with self._writing() as root:
            return repair(root, from_snapshot=from_snapshot, wait_seconds=wait_seconds, on_progress=on_progress)

    def compact(
        self, *, wait_seconds: float = 0.0, on_progress: "Progress | None" = None
    ) -> dict[str, tuple[int, int]]:
        """Merge small parts; the rows stay the same. For each table that changed: its parts before and after."""
        from featurestore.catalog.maintenance import compact

        with self._writing() as root:
            return compact(root, wait_seconds=wait_seconds, on_progress=on_progress)


open_store = FeatureStore.open
