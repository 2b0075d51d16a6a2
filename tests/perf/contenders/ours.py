"""This project's side of each job: only what a user would call; see `worker` for how it is run."""

import importlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]
BACKBONE = "made_up"


def digest(X: Any) -> list[float]:
    """A few numbers that tell one matrix from another."""
    return [*X.shape, round(float(np.asarray(X[::997, ::131], np.float64).sum()), 3)]


def pull(options: Options) -> Callable[[], Any]:
    """A matrix from a store that this process has not opened yet; as for the rivals, imports are not timed."""
    from featurestore import open as open_store

    importlib.import_module("featurestore.features.rows")

    def once() -> Any:
        store = open_store(options["store"])
        X = store.features(BACKBONE, view="images_usable", columns=[]).to_numpy().X
        return lambda: digest(X)

    return once


def pull_again(options: Options) -> Callable[[], Any]:
    """A matrix from a store that is open and was pulled from before."""
    import featurestore

    store = featurestore.open(options["store"])
    store.features(BACKBONE, view="images_usable")

    def once() -> Any:
        X = store.features(BACKBONE, view="images_usable").to_numpy().X
        return lambda: digest(X)

    return once


def subset(options: Options) -> Callable[[], Any]:
    """The rows of ``ids`` out of a store that this process has not opened yet."""
    from featurestore import open as open_store

    importlib.import_module("featurestore.features.rows")
    ids = np.load(options["ids"])

    def once() -> Any:
        X = open_store(options["store"]).features(BACKBONE, view="images_usable", columns=[], ids=ids).X
        return lambda: digest(X)

    return once


def subset_again(options: Options) -> Callable[[], Any]:
    """The rows of ``ids`` out of a store that is open, and that other rows were pulled from before."""
    import featurestore

    store, ids = featurestore.open(options["store"]), np.load(options["ids"])
    store.features(BACKBONE, view="images_usable", columns=[], ids=ids[::-1] % len(ids) + 1)

    def once() -> Any:
        X = store.features(BACKBONE, view="images_usable", columns=[], ids=ids).X
        return lambda: digest(X)

    return once


def similar(options: Options) -> Callable[[], Any]:
    """The ten nearest of each of ``queries`` vectors, with the index in memory: a second query completes it."""
    import featurestore

    store = featurestore.open(options["store"])
    vectors = np.load(options["queries"])
    for _ in range(2):
        store.similar(vectors[:1], backbone=BACKBONE)

    def once() -> Any:
        return store.similar(vectors, backbone=BACKBONE, k=10).ids[0].tolist()

    return once


def near_pairs(options: Options) -> Callable[[], Any]:
    """All pairs of at least this cosine, vectors in memory."""
    from featurestore import near_by_cosine

    X = np.load(options["matrix"])
    return lambda: len(near_by_cosine(X, options["cosine"]).first)


def backbone(options: Options) -> Any:
    """The backbone of ``reference``, or the SavedModel ``model``, loaded as a user would."""
    from featurestore.backbones.registry import load

    reference = options.get("reference") or "savedmodel:" + options["model"]
    return load(reference, name="model", precision=options.get("precision"), synthetic=True)


def embed(options: Options) -> Callable[[], Any]:
    """Embed all posters into a copy of an ingested store; the copy and loading the model are not timed."""
    from featurestore import FeatureStore

    model = backbone(options)
    copies = _copies(Path(options["store"]), options.get("copy", "copy"))
    model.embed(np.zeros((32, 224, 224, 3), np.float32))

    def once() -> Any:
        report = FeatureStore(next(copies)).embed(model)
        return {"seconds": report.seconds, "images": report.computed, "reused": report.reused}

    return once


def first_vector(options: Options) -> Callable[[], Any]:
    """From nothing imported to the vector of one image file."""

    def once() -> Any:
        from featurestore import embed_files

        return list(embed_files(backbone(options), [options["poster"]]).shape)

    return once


def _copies(store: Path, name: str = "copy") -> Any:
    import shutil

    number = 0
    while True:
        target = store.with_name(f"{store.name}-{name}")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(store, target)
        number += 1
        yield target


def flat_colour(spec_dim: int) -> Any:
    """A backbone that costs next to nothing: what remains is the store's own work."""
    from featurestore.backbones.base import BackboneSpec, Preprocessing

    class Flat:
        spec = BackboneSpec("flat", spec_dim, Preprocessing(8, 8, "byte"), "flat-1", synthetic=True)

        def embed(self, images: Any) -> Any:
            return np.ascontiguousarray(images.reshape(len(images), -1)[:, :spec_dim], np.float32)

    return Flat()


def feed(options: Options) -> Callable[[], Any]:
    """Embed a folder of images, of which nothing is stored, with a network that costs nothing; 2048-d."""
    from featurestore import FeatureStore
    from featurestore.backbones.base import BackboneSpec, Preprocessing

    class Instant:
        spec = BackboneSpec("instant", 2048, Preprocessing(decode=options["decode"]), "instant-1", synthetic=True)

        def embed(self, images: Any) -> Any:
            return np.ascontiguousarray(images.reshape(len(images), -1)[:, ::73][:, :2048], np.float32)

    copies = _copies(Path(options["store"]))

    def once() -> Any:
        report = FeatureStore(next(copies)).embed(Instant(), workers=options.get("workers"))
        return {"seconds": report.seconds, "images": report.computed}

    return once


def embed_nothing_new(options: Options) -> Callable[[], Any]:
    """Embed where every image has its vector already."""
    from featurestore import FeatureStore

    store, model = FeatureStore(options["store"]), flat_colour(16)

    def once() -> Any:
        report = store.embed(model)
        return [report.present, report.computed]

    return once


def embed_flat(options: Options) -> Callable[[], Any]:
    """Ingest a folder of small images and embed them: time and memory are those of scan, decoding and storing."""
    from featurestore import FeatureStore

    model = flat_colour(16)

    def once() -> Any:
        return FeatureStore(options["store"]).embed(model).computed

    return once


def ingest(options: Options) -> Callable[[], Any]:
    """Metadata and folder become a store; with ``again`` the store is there and nothing has changed."""
    import shutil

    from featurestore import FeatureStore

    store = Path(options["store"])

    def once() -> Any:
        report = FeatureStore(store).ingest(metadata=options["metadata"], images=options["images"])
        return lambda: _counts(report, store)

    def _counts(report: Any, store: Path) -> Any:
        if not options.get("again"):
            shutil.rmtree(store)
        return [report.steps["movies kept"], report.joined, report.labeled]

    if options.get("again"):
        once()
    return once


def ingest_folders(options: Options) -> Callable[[], Any]:
    """A folder of class folders becomes a store; with ``again`` the store is there and nothing has changed."""
    import shutil

    from featurestore import FeatureStore

    store = Path(options["store"])

    def once() -> Any:
        report = FeatureStore(store).ingest(images=options["folder"])
        return lambda: _counts(report)

    def _counts(report: Any) -> Any:
        if not options.get("again"):
            shutil.rmtree(store)
        return [report.images_found, report.labeled, len(report.labels)]

    if options.get("again"):
        once()
    return once


def command(options: Options) -> Callable[[], Any]:
    """A command line in a process of its own; what it prints is thrown away."""
    return lambda: subprocess.run(options["argv"], check=True, stdout=subprocess.DEVNULL).returncode


def bench(options: Options) -> Callable[[], Any]:
    """The whole command on a fresh copy of a store; how long its workers were busy is read from its results."""
    import json
    import sys

    copies = _copies(Path(options["store"]))

    def once() -> Any:
        store = next(copies)
        argv = [sys.executable, "-m", "benchmarks.commands.cli", "run", "--store", str(store), "--json"]
        argv += ["--folds", str(options["folds"]), "--repeats", str(options["repeats"])]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        report = json.loads(done.stdout)["runs"][0]
        report["run_seconds"] = report.pop("seconds")
        return lambda: {**report, "busy_seconds": _busy_seconds(store)}

    return once


def _busy_seconds(store: Path) -> float:
    """Seconds of fits and predictions over all cells that had a fit of their own."""
    import featurestore
    from benchmarks.heads.registry import HEADS

    derived = [name for name, spec in HEADS.items() if spec.members]
    query = (
        "SELECT sum(CASE metric WHEN 'fit_seconds' THEN score ELSE score / 1000 * n_test END) AS s "
        "FROM bench_scores JOIN bench_cells USING (cell) "
        "WHERE metric IN ('fit_seconds', 'predict_ms') AND NOT list_contains(?, head)"
    )
    return float(featurestore.open(store).query(query, [derived])["s"][0].as_py() or 0.0)
