"""FeatureStore: every verb of a store; each hands its job to the module that owns it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featurestore.catalog import snapshots
from featurestore.catalog.reader import Reader
from featurestore.errors import StoreError
from featurestore.explore.inventory import BackboneInfo, list_backbones
from featurestore.explore.lineage import lineage
from featurestore.features import rows as feature_rows
from featurestore.features.features import Features
from featurestore.features.selection import selection
from featurestore.storage.remote import is_remote
from featurestore.storage.snapshot import SnapshotInfo

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from featurestore.backbones.base import Backbone
    from featurestore.collections.ingest import IngestReport
    from featurestore.embedding.embed import EmbedReport
    from featurestore.embedding.importer import ImportReport
    from featurestore.explore.search import Neighbours, Query
    from featurestore.progress import Progress


class FeatureStore(Reader):
    """A `Reader` with every verb of the store; after one that writes it sees the newest state."""

    def _refuse_writing(self) -> None:
        if is_remote(self.location):
            raise StoreError(f"the store {self.location!r} is on an object store and read-only: write to a folder")
        if self.snapshot_name is not None:
            raise StoreError(f"the snapshot {self.snapshot_name!r} never changes: open the store without it to write")

    def backbones(self) -> list[BackboneInfo]:
        """The backbones of this state, by name."""
        return list_backbones(self)

    def parts(self, name: str) -> list[str]:
        """The absolute paths of the Parquet files of a table, or of the current revision of a backbone.

        A table goes before a backbone of its name, which is also ``embeddings_NAME``. The files of a backbone hold what
        its view hides, vectors of images that were replaced or removed: join `images` on ``ImgId``, and keep rows whose
        ``content_hash`` is that of the image, or empty, and whose image's ``status`` is not ``broken``.

        Raises
        ------
        InputError
            When there is neither.
        """
        return self.layout.files(name)

    def features(
        self,
        backbone: str | Sequence[str],
        *,
        view: str = "labeled",
        columns: Sequence[str] | None = None,
        label: str | None = None,
        where: str | None = None,
        ids: "ArrayLike | None" = None,
        limit: int | None = None,
    ) -> Features:
        """The embeddings of one or several backbones for rows of a view that has the column ``ImgId``.

        Parameters
        ----------
        backbone
            A name, or several: their vectors then stand side by side, for the rows that all have.
        columns
            Columns of the view to keep; all when None.
        label
            The column that becomes ``y``.
        where
            An SQL condition over the columns of the view.
        ids
            ``(m,)`` whole numbers, a sequence or an array: their rows, in this order instead of ascending. One given
            twice gives its row twice, as ``np.take`` does; one that ``where`` excludes is left out.
        limit
            How many of these rows, the first ones.

        Raises
        ------
        InputError
            When an argument is of a wrong kind, there is no such backbone, view or column, or no embedding of an id.
        QueryError
            When ``where`` is refused or fails.
        """
        chosen = selection(where, ids, limit)
        return feature_rows.read(self, backbone, view=view, columns=columns, label=label, selection=chosen)

    def ingest(
        self, *, metadata: str | Path, images: str | Path | Sequence[str | Path], top_genres: int | None = None
    ) -> "IngestReport":
        """Make the store mirror a metadata file and image folders; see `featurestore.collections.ingest.ingest`."""
        from featurestore.collections.ingest import ingest

        self._refuse_writing()
        folders = [Path(folder) for folder in ([images] if isinstance(images, (str, Path)) else images)]
        report = ingest(self.path, metadata=Path(metadata), images=folders, top_genres=top_genres)
        self.refresh()
        return report

    def embed(
        self, backbone: "Backbone | str", *, batch_size: int = 32, on_progress: "Progress | None" = None
    ) -> "EmbedReport":
        """Embed every usable image that has no embedding of ``backbone`` yet; see `embedding.embed.embed`."""
        from featurestore.backbones.registry import load
        from featurestore.embedding.embed import embed

        self._refuse_writing()
        loaded = load(backbone) if isinstance(backbone, str) else backbone
        try:
            return embed(self.path, loaded, batch_size=batch_size, on_progress=on_progress)
        finally:
            self.refresh()

    def import_embeddings(self, file: str | Path, *, backbone: str, ids: str | Path | None = None) -> "ImportReport":
        """Store vectors that were computed elsewhere; see `featurestore.embedding.importer.import_embeddings`."""
        from featurestore.embedding.importer import import_embeddings

        self._refuse_writing()
        report = import_embeddings(self.path, Path(file), backbone=backbone, ids=None if ids is None else Path(ids))
        self.refresh()
        return report

    def lineage(self, img_id: int) -> dict[str, Any]:
        """Where the vectors of one image came from; see `featurestore.explore.lineage.lineage`."""
        return lineage(self, img_id)

    def similar(self, query: "Query", *, backbone: str, k: int = 10, **options: Any) -> "Neighbours":
        """The nearest images of each query; see `featurestore.explore.search.similar`."""
        from featurestore.explore.search import similar

        return similar(self, query, backbone=backbone, k=k, **options)

    def snapshot(self, name: str) -> SnapshotInfo:
        """Keep the current state under ``name``; see `featurestore.catalog.snapshots`."""
        return snapshots.create(self.path, name)

    def append(self, tables: Mapping[str, pa.Table], *, wait_seconds: float = 60.0) -> None:
        """Add rows to tables of your own, all in one commit; a table is made on first use.

        Raises
        ------
        InputError
            When a name is taken or no lower-case identifier, or the columns are not those of earlier rows.
        """
        from featurestore.catalog.append import append

        self._refuse_writing()
        append(self.path, tables, wait_seconds=wait_seconds)
        self.refresh()


open_store = FeatureStore.open
