"""MaintainedStore: the operations that change what a store has: tables, views, snapshots, backbones, files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featurestore.catalog import snapshots as records
from featurestore.errors import StoreError
from featurestore.explore.explorer import Explorer
from featurestore.storage.snapshot import SnapshotInfo

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import ArrayLike, NDArray

    from featurestore.catalog.corrections import CorrectionReport
    from featurestore.catalog.garbage import GcReport
    from featurestore.catalog.repair import RepairReport
    from featurestore.explore.page.project import ProjectReport
    from featurestore.forgetting.forget import ForgetReport
    from featurestore.progress import Progress
    from featurestore.storage.objects import LocalObjects


class MaintainedStore(Explorer):
    """An `Explorer` with the operations that change what a store has; `FeatureStore` adds those that read into it."""

    @contextmanager
    def _writing(self) -> Iterator["LocalObjects"]:
        """Yield the files of the store to a block that writes to it, and refresh this object afterwards."""
        if self.location.startswith("file://"):
            raise StoreError(f"the store {self.location!r} is only read by this address: name the folder itself")
        if self.snapshot_name is not None:
            raise StoreError(f"the snapshot {self.snapshot_name!r} never changes: open the store without it to write")
        try:
            yield self.objects
        finally:
            self.refresh()  # also after an error: `embed` may have published some vectors

    def append(self, tables: Mapping[str, pa.Table], *, wait_seconds: float = 60.0) -> None:
        """Add rows to your own tables, all in one commit; a table is created on first use.

        Rows of an image have its number in a column ``ImgId``: `forget` finds them by it.

        Raises
        ------
        InputError
            When a name is in use or not a lower-case identifier, or the columns differ from those of earlier rows.
        """
        from featurestore.catalog.append import append

        with self._writing() as objects:
            append(objects, tables, wait_seconds=wait_seconds)

    def correct_labels(
        self,
        ids: "ArrayLike",
        to: str | Sequence[str],
        *,
        column: str | None = None,
        wait_seconds: float = 0.0,
    ) -> "CorrectionReport":
        """Make the views show ``to`` as the label of the images ``ids``, whatever an ingest reads; see `corrections`.

        Parameters
        ----------
        ids
            An ImgId or several.
        to
            The value as text; for a column of lists one or several. The value that was read undoes a correction.
        column
            A column of the view `collection`; the default label when None.

        Raises
        ------
        InputError
            When there is no such image or column, or the value is empty or not one that the column can hold.
        """
        from featurestore.catalog.corrections import correct

        with self._writing() as objects:
            return correct(objects, _ids(ids), to, column=column, wait_seconds=wait_seconds)

    def uncorrect_labels(
        self, ids: "ArrayLike", *, column: str | None = None, wait_seconds: float = 0.0
    ) -> "CorrectionReport":
        """Show again what was read as the label of the images ``ids``; arguments and errors as `correct_labels`."""
        from featurestore.catalog.corrections import uncorrect

        with self._writing() as objects:
            return uncorrect(objects, _ids(ids), column=column, wait_seconds=wait_seconds)

    def forget(
        self,
        ids: "ArrayLike | str | Path",
        *,
        dry_run: bool = False,
        wait_seconds: float = 0.0,
        on_progress: "Progress | None" = None,
    ) -> "ForgetReport":
        """Remove images for good: every row, vector, prediction and correction of them, from all states and snapshots.

        Files that no state needs any more are removed at once, whatever their age. Snapshots keep their names, and say
        when they were changed. A reader of an earlier state keeps what it has in memory, and is told to `refresh`. What
        was exported, a saved model, the cache of another machine and the images' own files are not reached. Whatever
        computes for this store must end before; on an object store, where that is not known, nobody else may write.

        Parameters
        ----------
        ids
            An ImgId, several, or a file that lists them, as `export` takes.
        dry_run
            Only report what would be removed; ``caches`` and ``files`` are not counted.

        Raises
        ------
        InputError
            When nothing of one of them is in the store; nothing is then changed.
        IntegrityError
            When a record, or a part that can have rows of them, is damaged; nothing is then changed.
        StoreLocked
            When another process writes, or computes vectors for the store.
        """
        from featurestore.forgetting.forget import forget

        with self._writing() as objects:
            wanted = self._listed_ids(ids)
            return forget(objects, wanted, dry_run=dry_run, wait_seconds=wait_seconds, on_progress=on_progress)

    def _listed_ids(self, ids: "ArrayLike | str | Path") -> "NDArray[Any]":
        """The ids that are given, or that a file lists."""
        from featurestore.embedding.resolve import listed_ids

        return _ids(listed_ids(self, Path(ids)) if isinstance(ids, (str, Path)) else ids)

    def remove_backbone(self, name: str, *, wait_seconds: float = 0.0) -> int:
        """Remove a backbone with all its revisions, and return the number of vectors removed; snapshots keep theirs.

        Raises `InputError` if one of your views depends on it. `gc` deletes the files that no snapshot refers to.
        """
        from featurestore.catalog import backbones

        with self._writing() as objects:
            return backbones.remove(objects, name, wait_seconds=wait_seconds)

    def rename_backbone(self, name: str, new_name: str, *, wait_seconds: float = 0.0) -> None:
        """Rename a backbone: no vector is written or computed again; snapshots keep the old name.

        Raises `InputError` if the new name is in use, or one of your views depends on the backbone.
        """
        from featurestore.catalog import backbones

        with self._writing() as objects:
            backbones.rename(objects, name, new_name, wait_seconds=wait_seconds)

    def create_view(self, name: str, sql: str, *, replace: bool = False, wait_seconds: float = 0.0) -> int:
        """Create the view ``name`` from ``sql``, one SELECT with a column ``ImgId``, and return its number of rows.

        Raises
        ------
        InputError
            When the name is in use or not a lower-case identifier, or the view has no ``ImgId`` or repeats one.
        QueryError
            When ``sql`` is refused or fails.
        """
        from featurestore.catalog import views

        with self._writing() as objects:
            return views.create(objects, name, sql, replace=replace, wait_seconds=wait_seconds)

    def remove_view(self, name: str, *, wait_seconds: float = 0.0) -> None:
        """Remove one of your views; raises `InputError` if another view depends on it."""
        from featurestore.catalog import views

        with self._writing() as objects:
            views.remove(objects, name, wait_seconds=wait_seconds)

    def project(
        self,
        backbone: str,
        *,
        method: str = "tsne",
        perplexity: float = 30.0,
        seed: int = 0,
        wait_seconds: float = 0.0,
    ) -> "ProjectReport":
        """Store a map of a backbone's embeddings in two dimensions, for `explore`: rows of the table `projections`.

        It takes the place of an earlier one by the same method; its columns say what made it. The same vectors, seed
        and library give the same map.

        Parameters
        ----------
        method
            ``tsne``: t-SNE of unit vectors by the package openTSNE.
        perplexity
            About how many neighbours of each image count; less than a third of the images.

        Raises
        ------
        InputError
            When there is no such backbone, or an argument is out of range.
        MissingExtra
            When the package is not installed.
        """
        from featurestore.explore.page.project import project

        with self._writing() as objects:
            features = self.features(backbone, view="images_usable", columns=[])
            return project(
                objects, features, method=method, perplexity=perplexity, seed=seed, wait_seconds=wait_seconds
            )

    def create_snapshot(self, name: str, *, wait_seconds: float = 0.0) -> SnapshotInfo:
        """Save the current state as the snapshot ``name``, which only `forget` changes; it takes one small file."""
        with self._writing() as objects:
            return records.create(objects, name, wait_seconds=wait_seconds)

    def remove_snapshot(self, name: str, *, wait_seconds: float = 0.0) -> None:
        """Remove a snapshot; `gc` then deletes the files that only it referred to."""
        with self._writing() as objects:
            records.remove(objects, name, wait_seconds=wait_seconds)

    def gc(
        self, *, older_than: "str | timedelta" = "1d", dry_run: bool = False, wait_seconds: float = 0.0
    ) -> "GcReport":
        """Remove files that neither the current state nor a snapshot refers to; readers of older states must `refresh`.

        It also rewrites ``store.duckdb``, unless ``dry_run``.

        Parameters
        ----------
        older_than
            Minimum age of the files to remove, since a running command may need younger ones: a timedelta, or text such
            as ``12h`` or ``0``.

        Raises
        ------
        IntegrityError
            When a record is damaged; nothing is then removed.
        """
        from featurestore.catalog.maintenance import gc

        with self._writing() as objects:
            return gc(objects, older_than=older_than, dry_run=dry_run, wait_seconds=wait_seconds)

    def repair(
        self,
        *,
        from_snapshot: str | None = None,
        wait_seconds: float = 0.0,
        on_progress: "Progress | None" = None,
    ) -> "RepairReport":
        """Remove damaged parts that `embed` or `ingest` can recreate; list what only a copy can restore.

        Parameters
        ----------
        from_snapshot
            First replace a damaged ``state.json`` by the state of this snapshot; later commits are lost.

        Raises
        ------
        IntegrityError
            When the state can't be read; the message names the newest undamaged snapshot.
        """
        from featurestore.catalog.repair import repair

        with self._writing() as objects:
            return repair(objects, from_snapshot=from_snapshot, wait_seconds=wait_seconds, on_progress=on_progress)

    def compact(
        self, *, wait_seconds: float = 0.0, on_progress: "Progress | None" = None
    ) -> dict[str, tuple[int, int]]:
        """Merge small parts; the rows stay the same. Returns each changed table's number of parts before and after."""
        from featurestore.catalog.maintenance import compact

        with self._writing() as objects:
            return compact(objects, wait_seconds=wait_seconds, on_progress=on_progress)


def _ids(ids: "ArrayLike") -> "NDArray[Any]":
    """One ImgId or several as ``(m,)`` int32; raises `InputError` for anything else."""
    from featurestore.features.selection import check_ids

    return check_ids([ids] if isinstance(ids, int) else ids)
