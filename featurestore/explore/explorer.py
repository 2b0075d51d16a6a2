"""Explorer: every read-only operation on a store; each is implemented in its own module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurestore.catalog import snapshots as records
from featurestore.catalog.snapshots import TableDiff
from featurestore.display import RecordList
from featurestore.explore.inventory import BackboneInfo, list_backbones
from featurestore.explore.lineage import lineage
from featurestore.explore.puller import Puller
from featurestore.storage.snapshot import SnapshotInfo

if TYPE_CHECKING:
    import pyarrow as pa

    from featurestore.backbones.base import Backbone
    from featurestore.catalog.maintenance import VerifyReport
    from featurestore.explore.page.start import Exploration
    from featurestore.explore.quality import QualityReport
    from featurestore.explore.schema import ViewInfo
    from featurestore.explore.search import Neighbours, Query
    from featurestore.progress import Progress


class Explorer(Puller):
    """A `Puller` with every read-only operation; `FeatureStore` adds those that write.

    ``on_progress`` is called with the numbers of items done and in total. Methods raise a `FeatureStoreError`.
    """

    def __repr__(self) -> str:
        """A few lines: what the store holds, as `info` says it."""
        from featurestore.explore.notebook import store_text

        return store_text(self)

    def _repr_html_(self) -> str:
        from featurestore.explore.notebook import store_html

        return store_html(self)

    def info(self, *, problems: bool = False) -> dict[str, Any]:
        """A JSON-ready summary: tables, labels, coverage of each backbone, quarantined files and the reasons.

        With ``problems`` also the rows of the view `problems`: what did not fit when the collection was read.
        """
        from featurestore.explore.summary import describe

        return describe(self, problems=problems)

    def backbones(self) -> RecordList[BackboneInfo]:
        """The backbones of this state, by name; a notebook shows them as a table."""
        return RecordList(list_backbones(self))

    def schema(self) -> "list[ViewInfo]":
        """Everything that `sql` can name: tables, views and functions, with one line on each and the columns."""
        from featurestore.explore.schema import list_views

        return list_views(self)

    def parts(self, name: str) -> list[str]:
        """The absolute paths of the Parquet files of a table, or of the current revision of a backbone.

        If a table and a backbone have the same name, the table is meant; the backbone is also ``embeddings_NAME``. The
        files of a backbone also hold vectors of replaced or removed images, which its view hides: join `images` on
        ``ImgId``, and keep rows whose ``content_hash`` is empty or that of an image with a ``status`` other than
        ``broken``.

        Raises
        ------
        InputError
            When there is neither a table nor a backbone of that name.
        """
        return self.layout.files(name)

    def similar(
        self,
        query: "Query | None" = None,
        *,
        text: str | Sequence[str] | None = None,
        backbone: str,
        k: int = 10,
        where: str | None = None,
        metric: str = "cosine",
        model: "Backbone | str | None" = None,
        weights: str | Path | None = None,
        tensor: str | int | None = None,
        include_self: bool = False,
    ) -> "Neighbours":
        """The ``k`` images whose embeddings are nearest to each query; exact, ties ordered by ``ImgId``.

        Parameters
        ----------
        query
            An ImgId or several, an image file or the address of an object, a vector ``(embed_dim,)``, or vectors
            ``(m, embed_dim)``.
        text
            A text or several instead of ``query``, for a backbone with a text tower; compared by cosine.
        where
            An SQL condition over the view `collection`; only matching rows are searched.
        metric
            ``cosine``, ``inner_product`` or ``euclidean``.
        model, weights, tensor
            How to embed an image file or text, as for `embed`: it must be the model that computed the stored vectors.
            By default it is loaded from where `embed` last loaded it on this machine, or by its name.
        include_self
            Whether a query image may be its own neighbour.

        Raises
        ------
        InputError
            When the backbone, id, metric, model or query is invalid.
        QueryError
            When ``where`` is refused or fails.
        """
        from featurestore.explore.search import similar

        return similar(
            self,
            query,
            text=text,
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
        """A self-contained HTML page that shows each query of ``neighbours`` with the images found.

        Parameters
        ----------
        title, image
            ``Neighbours by BACKBONE`` when None; the file of the query image, if the query was a file.
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
        """Find duplicates, leakage, broken files and invalid vectors in this state.

        Parameters
        ----------
        backbone
            The backbones whose vectors are checked; all when None.
        hash_distance, cosine
            Near duplicates differ in at most this many of the 64 bits of their difference hashes, or have at least
            this cosine.
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

    def explore(
        self,
        *,
        backbone: str | None = None,
        map: str = "pca",
        where: str | None = None,
        port: int = 0,
        read_only: bool = False,
    ) -> "Exploration":
        """Serve a page to look at the images: maps of the embeddings, neighbours, columns, results of the bench.

        It is served on the loopback address, to whoever has the token in its address, until the result is closed; a
        notebook shows it in a frame. It writes nothing but selections that are saved and labels that are corrected.

        Parameters
        ----------
        backbone, map
            The map that is shown first: ``pca`` (at once), or the method of one that `project` has stored.
        where
            Begin with the images of `collection` that satisfy this SQL condition.
        port
            Port on 127.0.0.1; 0 is a free one.
        read_only
            Save no selection, correct no label, start no bench; a snapshot is always only read.

        Raises
        ------
        InputError
            When there is no such backbone or map, or the port can't be used.
        QueryError
            When ``where`` is refused or fails.
        """
        from featurestore.explore.page.start import explore

        return explore(self, backbone=backbone, map=map, where=where, port=port, read_only=read_only)

    def lineage(self, img_id: int) -> dict[str, Any]:
        """The image with an id, and where each of its stored vectors came from; ready for JSON.

        An image whose file was removed has the status ``gone``. ``corrections`` are those of its labels, ended ones
        too. ``current`` is True for vectors that the views show: those of the backbone's current revision, computed
        from the image's current file.

        Raises
        ------
        InputError
            When the store holds neither the image nor a vector of it.
        """
        return lineage(self, img_id)

    def corrections(self, *, undone: bool = False) -> "pa.Table":
        """The values that `correct_labels` has corrected, oldest first: ImgId, ImgName, column, from, to, at, undone.

        ``from`` is the value that had been read then, and the column ``as_read`` the one that is read today.

        Parameters
        ----------
        undone
            Also those that were undone, or corrected again.
        """
        from featurestore.catalog.corrected import corrections

        return corrections(self, undone=undone)

    def export_corrections(self, output: str | Path, *, undone: bool = False, exact: bool = False) -> int:
        """Write `corrections` to the CSV file ``output``, and return their number.

        Parameters
        ----------
        exact
            Write text as it is, also what a spreadsheet would take for a formula; else that gets a ``'`` in front.
        """
        from featurestore.catalog.corrected import write_csv

        return write_csv(self, Path(output), undone=undone, exact=exact)

    def views(self) -> dict[str, str]:
        """The SQL of each of your views, by name; `failing_views` lists those that can't be used, with the reason."""
        return dict(self.state.views)

    def snapshots(self) -> RecordList[SnapshotInfo]:
        """The snapshots of the store, oldest first; a notebook shows them as a table."""
        return RecordList(records.listing(self.objects))

    def diff_snapshots(self, first: str, second: str | None = None) -> dict[str, TableDiff]:
        """The changes from one snapshot to another, or to this object's state, in each table and backbone.

        Rows are identified by ``ImgId`` in the metadata and the vectors of a backbone, ``ImgName`` in images.

        Raises
        ------
        InputError
            When there is no such snapshot.
        """
        return records.diff(self.objects, first, second or self.snapshot_name)

    def verify(self, *, on_progress: "Progress | None" = None) -> "VerifyReport":
        """Verify every record and part, including those of snapshots, and list the damaged ones.

        Raises
        ------
        IntegrityError
            When a record of the store can't be read at all.
        """
        from featurestore.catalog.maintenance import verify

        return verify(self.objects, on_progress=on_progress)
