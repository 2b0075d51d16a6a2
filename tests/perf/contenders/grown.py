"""One step each on a store of generated rows, for `growth_of_steps.py`: what it takes as the store grows."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Options = dict[str, Any]
VIEW = "images_usable"
NEW = 1024


def embedded(options: Options) -> Callable[[], Any]:
    """Make the store: ``count`` generated images, embedded by one run."""
    import growth_of_commits

    def once() -> Any:
        grown = growth_of_commits.measure(
            Path(options["store"]), options["count"], embed_dim=options["dim"], batch=options["batch"]
        )
        return asdict(grown)

    return once


def _store(options: Options) -> Any:
    import featurestore
    import featurestore.features.batches
    import featurestore.features.rows

    return featurestore.FeatureStore(options["store"])


def opened(options: Options) -> Callable[[], Any]:
    """Open the store, and read the manifest of its backbone and the number of its images."""
    import featurestore
    import featurestore.features.rows

    def once() -> Any:
        store = featurestore.open(options["store"])
        parts = store.layout.embedding_parts("b")
        return [len(parts), store.query("SELECT count(*) AS n FROM images")["n"][0].as_py()]

    return once


def info(options: Options) -> Callable[[], Any]:
    """What `featurestore info` shows."""
    store = _store(options)
    return lambda: store.info()["tables"]["images"]


def sql(options: Options) -> Callable[[], Any]:
    """Count the vectors by SQL: all parts are opened, and joined with the images."""
    store = _store(options)
    return lambda: store.sql("SELECT count(*) AS n FROM embeddings_b")["n"][0].as_py()


def plan(options: Options) -> Callable[[], Any]:
    """Plan an embed by the store's backbone, of which nothing is missing, or by another, of which everything is."""
    from growth_of_commits import waves

    from featurestore.embedding.plan import make_plan
    from featurestore.storage.layout import Layout
    from featurestore.storage.state import read_state

    root = Path(options["store"])
    spec = waves(options["dim"] + options["new"]).spec

    def once() -> Any:
        made = make_plan(Layout(root, read_state(root)), spec)
        return [len(made.todo), len(made.hashes)]

    return once


def nothing_new(options: Options) -> Callable[[], Any]:
    """Embed where every image has its vector; there are no files to scan."""
    from growth_of_commits import waves

    store, model = _store(options), waves(options["dim"])
    return lambda: store.embed(model).present


def publish(options: Options) -> Callable[[], Any]:
    """Publish 1,024 more vectors; the seconds are those under the store's lock, without ``store.duckdb``."""
    from growth_of_commits import generated, waves
    from publish_time import timed

    from featurestore.catalog.writer import open_writer
    from featurestore.embedding.assembly import Shard, write_vectors
    from featurestore.embedding.plan import make_plan
    from featurestore.embedding.publish import Publisher
    from featurestore.embedding.staging import open_run
    from featurestore.storage.layout import Layout
    from featurestore.storage.state import read_state

    root, spec = Path(options["store"]), waves(options["dim"]).spec
    with open_writer(root) as writer, writer.commit() as commit:
        commit.replace("images", generated(options["count"] + NEW))
    made = make_plan(Layout(root, read_state(root)), spec)

    def once() -> Any:
        with open_run(root, spec) as run:
            images = made.todo.select(["ImgId", "content_hash"])
            X = np.random.default_rng(0).random((len(images), spec.embed_dim), np.float32)
            shard = Shard([write_vectors(run, images, X)], ())
            with timed() as held:
                Publisher(run, "measure", 60.0).publish(made, shard, complete=True, last=True)
        return {"seconds": held.lock - held.shell_file, "shell file": held.shell_file}

    return once


def features(options: Options) -> Callable[[], Any]:
    """All vectors as one matrix."""
    store = _store(options)
    return lambda: store.features("b", view=VIEW, columns=[]).X.shape


def batches(options: Options) -> Callable[[], Any]:
    """All vectors in batches, with the columns of the view."""
    store = _store(options)

    def once() -> Any:
        rows, total = 0, 0.0
        for batch in store.feature_batches("b", view=VIEW).to_reader(batch_rows=16_384):
            rows += len(batch)
            total += float(np.from_dlpack(batch["embedding"].flatten()).sum(dtype=np.float64))
        return [rows, total]

    return once


def search(options: Options) -> Callable[[], Any]:
    """The first question by an image, and with ``again`` another one."""
    store = _store(options)
    if options.get("again"):
        store.similar(2, backbone="b")
    return lambda: store.similar(1, backbone="b").ids.tolist()


def gc(options: Options) -> Callable[[], Any]:
    """Look for files that are not needed."""
    store = _store(options)
    return lambda: len(store.gc(dry_run=True).removed)
