"""Explorer: every verb that only reads a store; each hands its job to the module that owns it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurestore.catalog import snapshots as records
from featurestore.catalog.reader import Reader
from featurestore.catalog.snapshots import TableDiff
from featurestore.explore.inventory import BackboneInfo, list_backbones
from featurestore.explore.lineage import lineage
from featurestore.features import rows
from featurestore.features.features import Features
from featurestore.features.selection import selection
from featurestore.storage.snapshot import SnapshotInfo

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from featurestore.backbones.base import Backbone
    from featurestore.catalog.maintenance import VerifyReport
    from featurestore.explore.quality import QualityReport
    from featurestore.explore.search import Neighbours, Query
    from featurestore.features.exporter import ExportReport
    from featurestore.progress import Progress


class Explorer(Reader):
    """A `Reader` with every verb that reads; `FeatureStore` adds those that write.

    ``on_progress`` is called with the number of things done and of all. What a verb raises is a `FeatureStoreError`.
    """

    def info(self) -> dict[str, Any]:
        """Tables, labels, coverage of each backbone, quarantined files and why; ready for JSON."""
        from featurestore.explore.summary import describe

        return describe(self)

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
        return rows.read(self, backbone, view=view, columns=columns, label=label, selection=chosen)

    def similar(
        self,
        query: "Query",
        *,
        backbone: str,
        k: int = 10,
        where: str | None = None,
        metric: str = "cosine",
        model: "Backbone | str | None" = None,
        weights: str | Path | None = None,
        tensor: str | int | None = None,
        include_self: bool = False,
    ) -> "Neighbours":
        """The ``k`` images whose embeddings are nearest to each query; exact, ties in the order of ``ImgId``.

        Parameters
        ----------
        query
            An ImgId or several, an image file, a vector ``(embed_dim,)``, or vectors ``(m, embed_dim)``.
        where
            An SQL condition over the view `collection`: only its rows are searched.
        metric
            ``cosine``, ``inner_product`` or ``euclidean``.
        model, weights, tensor
            What embeds an image file, as for `embed`: it must be what made the vectors of ``backbone``. By default the
            backbone of that name, where a name is all it needs.
        include_self
            Whether a query that is an ImgId may be its own neighbour.

        Raises
        ------
        InputError
            When backbone, id, metric, model or query don't fit.
        QueryError
            When ``where`` is refused or fails.
        """
        from featurestore.explore.search import similar

        return similar(
            self,
            query,
            backbone=backbone,
            k=k,
            where=where,
            metric=metric,
            model=model,
            weights=weights,
            tensor=tensor,
            include_self=include_self,
        )

    def contact_sheet(
        self, neighbours: "Neighbours", *, title: str | None = None, image: str | Path | None = None
    ) -> str:
        """An HTML page, for use without a network, that shows each query of ``neighbours`` with the images found.

        Parameters
        ----------
        title
            ``Neighbours by BACKBONE`` when None.
        image
            The file that the query was, where it was one.
        """
        from featurestore.explore.contact_sheet import sheet_html

        return sheet_html(self, neighbours, title=title, image=image)

    def quality(
        self,
        *,
        backbone: str | Sequence[str] | None = None,
        hash_distance: int = 4,
        cosine: float = 0.98,
        split: Mapping[int, str] | str | Path | None = None,
        on_progress: "Progress | None" = None,
    ) -> "QualityReport":
        """Duplicates, leakage, bad files and bad vectors of this state.

        Parameters
        ----------
        backbone
            Whose vectors are looked at; all when None.
        hash_distance, cosine
            Near duplicates differ in at most so many of the 64 bits of their difference hashes, or have at least this
            cosine.
        split
            ``train`` or ``test`` by ImgId, or a CSV file with ``ImgId,side``: duplicates on both sides are reported.

        Raises
        ------
        InputError
            When a threshold or the split is out of range, or there is no such backbone.
        """
        from featurestore.explore.quality import check

        return check(
            self, backbone=backbone, hash_distance=hash_distance, cosine=cosine, split=split, on_progress=on_progress
        )

    def lineage(self, img_id: int) -> dict[str, Any]:
        """The image of an id, and where each vector that the store holds for it came from; ready for JSON.

        An image that no folder has any more has the status ``gone``. ``current`` tells of each vector whether the views
        show it: it is of the backbone's current revision, and the file is still the one that was embedded.

        Raises
        ------
        InputError
            When the store knows no such image, and holds no vector of it.
        """
        return lineage(self, img_id)

    def export(
        self,
        backbone: str | Sequence[str],
        output: str | Path,
        *,
        format: str | None = None,
        view: str | None = None,
        columns: Sequence[str] | None = None,
        label: str | None = None,
        where: str | None = None,
        ids: "ArrayLike | str | Path | None" = None,
        limit: int | None = None,
        force: bool = False,
        on_progress: "Progress | None" = None,
    ) -> "ExportReport":
        """Write features to a file, or to a bundle that another project pins; choose rows as for `features`.

        Parameters
        ----------
        format
            ``parquet``, ``npz``, ``npy``, ``csv.gz``, ``bundle`` (a folder), ``delta`` (a folder with a table of Delta
            Lake for each backbone), or a layout of the study with its own view and columns: ``study-embeddings``,
            ``study-labeled``. By default what ``output`` ends with.
        view
            ``labeled`` when None.
        ids
            As for `features`, or a file of ids: csv or parquet with ImgId, npy, lines.
        force
            Replace the file, or the bundle, that is there.

        Raises
        ------
        InputError
            As `features`; also when ``output`` exists or can't be written, or its name promises another format.
        """
        from featurestore.embedding.vector_files import read_ids_file
        from featurestore.features.exporter import export

        chosen = read_ids_file(Path(ids)) if isinstance(ids, (str, Path)) else ids
        return export(
            self,
            backbone,
            Path(output),
            format=format,
            view=view,
            columns=columns,
            label=label,
            where=where,
            ids=chosen,
            limit=limit,
            force=force,
            on_progress=on_progress,
        )

    def views(self) -> dict[str, str]:
        """The SQL of each view of your own, by name; `failing_views` tells which can't be used, and why."""
        return dict(self.state.views)

    def snapshots(self) -> list[SnapshotInfo]:
        """The snapshots of the store, oldest first."""
        return records.listing(self.objects)

    def diff_snapshots(self, first: str, second: str | None = None) -> dict[str, TableDiff]:
        """What changed from one snapshot to another, or to the state seen here, in each table and backbone.

        Rows are told apart by ``imdbId`` in movies, ``ImgName`` in images, ``ImgId`` in the vectors of a backbone.

        Raises
        ------
        InputError
            When there is no such snapshot.
        """
        return records.diff(self.objects, first, second or self.snapshot_name)

    def verify(self, *, on_progress: "Progress | None" = None) -> "VerifyReport":
        """Recompute the checksum of every part, also those of snapshots, and name the damaged ones.

        Raises
        ------
        IntegrityError
            When a record of the store can't be read at all.
        """
        from featurestore.catalog.maintenance import verify

        return verify(self.objects, on_progress=on_progress)
