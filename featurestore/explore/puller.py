"""Puller: the operations that hand rows with vectors to other projects: in memory, in batches, and as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featurestore.catalog.reader import Reader
from featurestore.features import rows
from featurestore.features.features import Features
from featurestore.features.selection import selection
from featurestore.features.versions import without_snapshot

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from featurestore.features.batches import FeatureBatches
    from featurestore.features.exporter import ExportReport
    from featurestore.progress import Progress


class Puller(Reader):
    """A `Reader` that returns rows of a view with their embeddings; methods raise a `FeatureStoreError`."""

    def _named(self, backbone: str | Sequence[str]) -> tuple[Reader, str | list[str]]:
        """What is read for ``NAME@SNAPSHOT``: that snapshot, by the bare names; for bare names this reader's state.

        Raises
        ------
        InputError
            When several snapshots are named, or there is none of that name.
        """
        names, snapshot = without_snapshot(backbone)
        if snapshot is None or snapshot == self.snapshot_name:
            return self, names
        return self.remember(f"snapshot {snapshot}", lambda: Reader.open(self.location, snapshot=snapshot)), names

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
        """The embeddings of one or several backbones for rows of a view with the column ``ImgId``.

        Parameters
        ----------
        backbone
            A name, or several: their vectors are then concatenated, for the rows that have all of them.
            ``NAME@SNAPSHOT`` reads rows, view and vectors as a snapshot has them.
        columns
            Columns of the view to keep; all when None.
        label
            The column that becomes ``y``.
        where
            An SQL condition over the columns of the view.
        ids
            ``(m,)`` integers, a sequence or an array: return their rows, in this order instead of ascending. A repeated
            id repeats its row, as ``np.take`` does; an id that ``where`` excludes is left out.
        limit
            Maximum number of rows; the first ones are returned.

        Raises
        ------
        InputError
            When an argument is invalid, there is no such backbone, view or column, or an id has no embedding.
        QueryError
            When ``where`` is refused or fails.
        """
        chosen = selection(where, ids, limit)
        reader, names = self._named(backbone)
        return rows.read(reader, names, view=view, columns=columns, label=label, selection=chosen)

    def feature_batches(
        self,
        backbone: str | Sequence[str],
        *,
        view: str = "labeled",
        columns: Sequence[str] | None = None,
        label: str | None = None,
        where: str | None = None,
        ids: "ArrayLike | None" = None,
        limit: int | None = None,
    ) -> "FeatureBatches":
        """The rows of `features`, to be read in batches where their vectors don't fit into memory.

        The result has ``to_reader(batch_rows=…)``, which returns a `pyarrow.RecordBatchReader`, and ``to_torch()``, an
        IterableDataset. No vector is read before. Arguments and errors are those of `features`.
        """
        from featurestore.features.batches import feature_batches

        chosen = selection(where, ids, limit)
        reader, names = self._named(backbone)
        return feature_batches(reader, names, view=view, columns=columns, label=label, selection=chosen)

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
        """Write features to a file, or to a bundle that another project can pin; rows are selected as by `features`.

        Parameters
        ----------
        format
            ``parquet``, ``npz``, ``npy``, ``csv.gz``, ``bundle`` (a folder), ``delta`` (a folder with a table of Delta
            Lake for each backbone), or a layout of the study with its own view and columns: ``study-embeddings``,
            ``study-labeled``. By default what ``output`` ends with.
        view
            ``labeled`` when None.
        ids
            As for `features`, or a file of ids: csv or parquet with ImgId or ImgName, npy, or one per line.
        force
            Whether to replace an existing file or folder.

        Raises
        ------
        InputError
            As for `features`; also when ``output`` exists or can't be written, or its suffix is that of another format.
        """
        from featurestore.embedding.resolve import listed_ids
        from featurestore.features.exporter import export

        reader, names = self._named(backbone)
        chosen = listed_ids(reader, Path(ids)) if isinstance(ids, (str, Path)) else ids
        return export(
            reader,
            names,
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
