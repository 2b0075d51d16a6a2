"""FeatureStore: every operation on a store; here those that read images and vectors into it."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurestore.errors import InputError
from featurestore.maintained import MaintainedStore

if TYPE_CHECKING:
    from featurestore.backbones.base import Backbone
    from featurestore.backbones.preprocessing import Preprocessing
    from featurestore.collections.report import IngestReport
    from featurestore.embedding.embed import EmbedReport
    from featurestore.embedding.importer import ImportReport
    from featurestore.embedding.publish_shards import PublishReport
    from featurestore.progress import Progress


class FeatureStore(MaintainedStore):
    """A store with every operation; the command line has the same operations with the same arguments.

    Methods that write raise `StoreError` on a snapshot, and in a folder `StoreLocked` if another writer does not finish
    within ``wait_seconds``. On an object store nobody waits: changes of several writers are applied one after another,
    and `Conflict` is raised if another one changed the same thing. Afterwards this object reads the newest state.
    ``on_progress`` is called with the numbers of items done and in total. Methods raise a `FeatureStoreError` with a
    message of one sentence.
    """

    def create(self, *, wait_seconds: float = 0.0) -> None:
        """Create a store without images, for `append` and `import_embeddings`; where there is a store, do nothing."""
        from featurestore.collections.ingest import create_store

        with self._writing() as objects:
            create_store(objects, wait_seconds=wait_seconds)

    def ingest(
        self,
        *,
        images: str | Path | Sequence[str | Path] = (),
        metadata: str | Path | None = None,
        key: str | None = None,
        label: str | Sequence[str] | None = None,
        columns: Mapping[str, str] = {},
        recipe: str | None = None,
        top_genres: int | None = None,
        follow_links: bool = False,
        dry_run: bool = False,
        wait_seconds: float = 0.0,
        on_progress: "Progress | None" = None,
    ) -> "IngestReport":
        """Update the store to match images and their metadata; the first call creates the store.

        Embeddings are never deleted: those of a removed image are hidden, and shown again if the image returns.

        Parameters
        ----------
        images
            Folders of images, also ``s3://bucket/folder``, with one for each class or without, or Parquet, Arrow or
            tar files with images in them; for movies, folders of ``<ImgId>.jpg``. When empty, those of the last ingest.
        metadata
            A table with a row for each image: CSV of any separator, JSON, JSON lines or Parquet, also ``.gz``.
        key, label
            The column of the table that names the image, and that of its label, or several; guessed when None.
        columns
            For movies, the file's names of columns by their names in the store, ``{"imdbId": "Id"}``.
        recipe
            The collection type; when None ``movies`` if the table has its columns, else ``general``.
        top_genres
            For movies, the number of genres in the view `labeled`; unchanged when None, initially 4.
        follow_links
            Whether to follow symbolic links that lead out of a folder of images.
        dry_run
            Only read and report: nothing is written.

        Raises
        ------
        InputError
            When a file, folder or argument is invalid; the store is not changed.
        """
        from featurestore.collections.ingest import ingest
        from featurestore.collections.reading import Request, named_sources

        request = Request(
            images=named_sources(images),
            metadata=None if metadata is None else Path(metadata),
            key=key,
            columns=columns,
            labels=_listed(label),
            follow_links=follow_links,
            settings={} if top_genres is None else {"top_genres": top_genres},
        )
        with self._writing() as objects:
            return ingest(
                objects, request, recipe=recipe, dry_run=dry_run, wait_seconds=wait_seconds, on_progress=on_progress
            )

    def embed(
        self,
        backbone: "Backbone | str",
        *,
        name: str | None = None,
        weights: str | Path | None = None,
        tensor: str | int | None = None,
        pooling: str | None = None,
        precision: str | None = None,
        preprocessing: "Preprocessing | Mapping[str, Any] | None" = None,
        synthetic: bool = False,
        batch_size: int = 32,
        workers: int | None = None,
        other_engine: bool = False,
        shard: str | None = None,
        out: str | Path | None = None,
        on: str | None = None,
        cluster_workers: int | None = None,
        worker_cpus: float | None = None,
        worker_gpus: float | None = None,
        wait_seconds: float = 0.0,
        on_progress: "Progress | None" = None,
    ) -> "EmbedReport":
        """Embed every usable image that has no vector of this backbone's revision.

        Folders of the last ingest are scanned first. Equal images are computed once. An interrupt loses two batches.

        Parameters
        ----------
        backbone
            A known name, a reference such as ``hf:DIR`` or ``onnx:FILE``, or an object with ``spec`` and ``embed``.
        name, weights, tensor, pooling, precision, preprocessing, synthetic
            For a backbone given by name, see `featurestore.load_backbone`.
        batch_size, workers, other_engine
            Images per forward pass; decoding threads, by default one a core; whether to continue another engine's work.
        shard, out
            ``3/16`` computes the third of 16 shards into the folder ``out``, for `publish`; the store is only read.
        on, cluster_workers, worker_cpus, worker_gpus
            A Ray cluster; how many workers, by default all that fit, of how many CPUs (1) and GPUs (0).
        """
        from featurestore.backbones.shipping import resolve_source
        from featurestore.embedding.cluster import cluster_choice, embed_on_cluster
        from featurestore.embedding.embed import embed
        from featurestore.embedding.shard import embed_shard, shard_place

        place = shard_place(shard, out)
        choice = cluster_choice(on, count=cluster_workers, cpus=worker_cpus, gpus=worker_gpus, shard=shard)
        with self._writing() if place is None else nullcontext(self.objects) as at:
            _ = self.state  # raises if there is no store, before weights are loaded
            load = partial(resolve_source, backbone, name=name, weights=weights, tensor=tensor, pooling=pooling)
            source = load(precision=precision, preprocessing=preprocessing, synthetic=synthetic)
            work = partial(embed, at) if place is None else partial(embed_shard, self.layout, place=place)
            work = partial(work, source.backbone) if choice is None else partial(embed_on_cluster, at, source, choice)
            return work(
                batch_size=batch_size,
                workers=workers,
                other_engine=other_engine,
                wait_seconds=wait_seconds,
                on_progress=on_progress,
            )

    def publish(
        self,
        folders: str | Path | Sequence[str | Path],
        *,
        other_engine: bool = False,
        wait_seconds: float = 0.0,
        on_progress: "Progress | None" = None,
    ) -> "list[PublishReport]":
        """Publish the shards in ``folders``, those given to `embed` as ``out``; one report for each backbone.

        Everything is checked first. Order does not matter, and what was published before is skipped; the reports say
        what is missing. A backbone's views switch to the new revision when every image has a vector or was refused.

        Parameters
        ----------
        folders
            One folder or several.
        other_engine
            Whether to publish vectors of several engines.

        Raises
        ------
        InputError
            When a shard is of another store, or those of one backbone are of several revisions or engines.
        IntegrityError
            When a receipt or a part is missing or damaged.
        """
        from featurestore.embedding.publish_shards import publish_folders

        named = [folders] if isinstance(folders, (str, Path)) else folders
        with self._writing() as objects:
            return publish_folders(
                objects,
                list(map(Path, named)),
                other_engine=other_engine,
                wait_seconds=wait_seconds,
                on_progress=on_progress,
            )

    def import_embeddings(
        self,
        file: str | Path,
        *,
        backbone: str,
        ids: str | Path | None = None,
        metadata: str | Path | None = None,
        key: str | None = None,
        label: str | Sequence[str] | None = None,
        synthetic: bool = False,
        wait_seconds: float = 0.0,
    ) -> "ImportReport":
        """Store vectors that were computed elsewhere as a revision of ``backbone``; all vectors of the file or none.

        If there is no store, one is created: its images are those that the metadata or the vectors name.

        Parameters
        ----------
        file
            CSV, CSV.gz or Parquet with a column that names the images (``ImgId``, ``ImgName``, ``image_path``, ``id``
            and the like) and the vectors: columns ``0 … d-1`` or ``f0 …``, or one column of lists (``embedding``,
            ``vector`` and the like). Or ``.npz`` with ``X`` and ``ids``, ``.npy`` ``(n, d)``, or what clip-retrieval
            writes: ``img_emb_0.npy`` beside ``metadata_0.parquet``, or the folder of all of them.
        backbone
            Name in the store; the revision depends on the hash of the file.
        ids
            For ``.npy`` and ``.npz``: the file of the ids or names, ``.npy`` or one per line.
        metadata, key, label
            A table to ingest first, and its columns, as those of `ingest`.
        synthetic
            Whether the vectors are made up; results are then marked as synthetic.

        Raises
        ------
        InputError
            When the file can't be read as one of these.
        EmbeddingError
            When a vector or an id can't be stored.
        """
        from featurestore.collections.reading import Request
        from featurestore.embedding.importer import import_embeddings

        if metadata is None and (key is not None or label is not None):
            raise InputError("got a key or a label without a table: name the table with --metadata")
        with self._writing() as objects:
            return import_embeddings(
                objects,
                Path(file),
                backbone=backbone,
                ids=None if ids is None else Path(ids),
                request=None if metadata is None else Request(metadata=Path(metadata), key=key, labels=_listed(label)),
                synthetic=synthetic,
                wait_seconds=wait_seconds,
            )


def _listed(label: str | Sequence[str] | None) -> list[str]:
    return [label] if isinstance(label, str) else list(label or ())


open_store = FeatureStore.open
