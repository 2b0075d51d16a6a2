"""What the jobs work on: stores of random vectors, folders of small images, a table of movies; nothing is timed."""

import hashlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]
BLOCK = 4096


def vectors(options: Options) -> Callable[[], Any]:
    """``rows`` × ``dim`` normal vectors as ``.npy``; of ``every`` so many the next is nearly the same."""

    def once() -> Any:
        rng = np.random.default_rng(0)
        shape = (options["rows"], options["dim"])
        X = np.lib.format.open_memmap(options["matrix"], "w+", np.float32, shape)
        for start in range(0, len(X), BLOCK):
            block = rng.standard_normal((min(BLOCK, len(X) - start), shape[1]), np.float32)
            if options.get("every"):
                copies = block[: -1 : options["every"]]
                block[1 :: options["every"]][: len(copies)] = copies + np.float32(0.05) * rng.standard_normal(
                    copies.shape, np.float32
                )
            X[start : start + len(block)] = block
        X.flush()

    return once


def queries(options: Options) -> Callable[[], Any]:
    """The first ``count`` vectors, each with a little noise: no query is a vector of the store."""

    def once() -> Any:
        X = np.load(options["matrix"], mmap_mode="r")[: options["count"]]
        noise = np.random.default_rng(1).standard_normal(X.shape, np.float32)
        np.save(options["queries"], X + noise)

    return once


def random_ids(options: Options) -> Callable[[], Any]:
    """``count`` ids of the ``rows`` images of a store, in random order, none twice."""
    order = np.random.default_rng(2).permutation(options["rows"])
    return lambda: np.save(options["ids"], (order[: options["count"]] + 1).astype(np.int32))


def store(options: Options) -> Callable[[], Any]:
    """A store of the vectors of ``matrix``, in parts as `embed` writes them, without image files."""
    import pyarrow as pa

    from featurestore.backbones.base import BackboneSpec, Preprocessing
    from featurestore.catalog.writer import open_writer
    from featurestore.embedding.importer import store_vectors
    from featurestore.embedding.vector_files.imported import ImportedVectors
    from featurestore.storage.schemas import IMAGES

    def once() -> Any:
        X = np.load(options["matrix"], mmap_mode="r")
        n, dim = X.shape
        blank = {"size_bytes": 0, "status": "ok", "synthetic": True}
        blank |= dict.fromkeys(("source", "file", "member"), "")
        columns = {
            "ImgId": pa.array(np.arange(1, n + 1, dtype=np.int32)),
            "ImgName": pa.array([f"{i}.jpg" for i in range(1, n + 1)]),
            "content_hash": pa.array([f"{i:064x}" for i in range(1, n + 1)]),
        }
        arrays = [
            columns.get(field.name, pa.array([blank.get(field.name)] * n, field.type)).cast(field.type)
            for field in IMAGES
        ]
        spec = BackboneSpec("made_up", dim, Preprocessing(), "random", synthetic=True)
        with open_writer(Path(options["store"]), create=True) as writer, writer.commit() as commit:
            commit.replace("images", pa.Table.from_arrays(arrays, schema=IMAGES))
        for start in range(0, n, BLOCK):
            block = np.array(X[start : start + BLOCK])
            ids = np.arange(start + 1, start + len(block) + 1)
            store_vectors(Path(options["store"]), spec, ImportedVectors(block, None, ids))

    return once


def small_images(options: Options) -> Callable[[], Any]:
    """``count`` JPEGs of 8 × 8 pixels, no two alike, named by numbers."""
    from PIL import Image

    def once() -> Any:
        folder = Path(options["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 255, (options["count"], 8, 8, 3), np.uint8)
        for number in range(1, options["count"] + 1):
            buffer = io.BytesIO()
            Image.fromarray(pixels[number - 1]).save(buffer, "JPEG", comment=str(number).encode())
            (folder / f"{number}.jpg").write_bytes(buffer.getvalue())

    return once


def class_folders(options: Options) -> Callable[[], Any]:
    """``count`` JPEGs of 182 × 268 pixels in 10 × 20 nested folders: copies of ``posters``, no two with equal bytes.

    A number after the end of the image makes the difference: decoders stop before it.
    """
    from PIL import Image

    def once() -> Any:
        pool = []
        for poster in options["posters"]:
            buffer = io.BytesIO()
            with Image.open(poster) as image:
                image.convert("RGB").resize((182, 268)).save(buffer, "JPEG", quality=90)
            pool.append(buffer.getvalue())
        for place in range(options["count"]):
            folder = Path(options["folder"], f"group_{place % 10}", f"class_{place // 10 % 20:02}")
            folder.mkdir(parents=True, exist_ok=True)
            content = pool[place % len(pool)] + place.to_bytes(4)
            (folder / f"{place:06}.jpg").write_bytes(content)
        time.sleep(3)  # as in `ingested`

    return once


def blank_metadata(path: Path) -> Path:
    """A metadata file with one movie: for jobs that are about images alone."""
    path.write_text("imdbId,Imdb Link,Title,IMDB Score,Genre,Poster\n1,,One,5.0,Drama,\n", "utf-8")
    return path


def ingested(options: Options) -> Callable[[], Any]:
    """A store of the images in ``folder``, embedded by the flat backbone too where ``embed`` says so."""
    from featurestore import FeatureStore

    def once() -> Any:
        store = Path(options["store"])
        metadata = blank_metadata(store.with_name(f"{store.name}.csv"))
        opened = FeatureStore(store)
        time.sleep(3)  # the store trusts no cache of a file that changed within two seconds of its scan
        opened.ingest(metadata=metadata, images=options["folder"])
        if options.get("embed"):
            import importlib.util

            here = Path(__file__).with_name("ours.py")
            spec = importlib.util.spec_from_file_location("ours", here)
            assert spec is not None
            assert spec.loader is not None
            ours = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(ours)
            opened.embed(ours.flat_colour(16))

    return once


def posters_by_id(options: Options) -> Callable[[], Any]:
    """``count`` files named by ids of the metadata: hard links to copies of the posters, to spare the disk."""
    import csv
    import shutil

    def once() -> Any:
        folder, pool = Path(options["folder"]), Path(options["folder"] + "-pool")
        folder.mkdir(parents=True)
        pool.mkdir()
        originals = [pool / f"{place}.jpg" for place in range(len(options["posters"]))]
        for source, target in zip(options["posters"], originals, strict=True):
            shutil.copyfile(source, target)
        with open(options["metadata"], encoding="utf-8", newline="") as file:
            ids = sorted({int(row["imdbId"]) for row in csv.DictReader(file)})
        chosen = [ids[place * len(ids) // options["count"]] for place in range(options["count"])]
        for place, img_id in enumerate(chosen):
            os.link(originals[place % len(originals)], folder / f"{img_id}.jpg")
        time.sleep(3)  # as in `ingested`
        return len(chosen)

    return once


def movies(options: Options) -> Callable[[], Any]:
    """A table of ``count`` movies in the layout of the real one, where that is not there."""
    genres = ["Drama", "Comedy", "Crime", "Adventure", "Short|Drama|Romance", "Action|Thriller", "Horror"]

    def once() -> Any:
        with open(options["metadata"], "w", encoding="utf-8") as file:
            file.write("imdbId,Imdb Link,Title,IMDB Score,Genre,Poster\n")
            for number in range(options["count"]):
                img_id = 1000 + number * 7 if number % 70 else 1000
                digits = hashlib.sha256(str(img_id).encode()).digest()
                file.write(
                    f"{img_id},http://www.imdb.com/title/tt{img_id},Movie {img_id},{digits[0] % 90 / 10 + 1:.1f},"
                    f"{genres[digits[1] % len(genres)]},https://images.example/{img_id}.jpg\n"
                )

    return once


def converted(options: Options) -> Callable[[], Any]:
    """A SavedModel for OpenVINO, or in int8 for LiteRT."""
    from featurestore import convert_backbone

    def once() -> Any:
        source = "savedmodel:" + options["model"]
        convert_backbone(source, options["folder"], precision=options["precision"], synthetic=True)

    return once


def models(options: Options) -> Callable[[], Any]:
    """A Keras application without weights as a SavedModel of the hub's signature: images in, pooled features out."""
    import tensorflow as tf

    def once() -> Any:
        application = getattr(tf.keras.applications, options["architecture"])
        network = application(include_top=False, weights=None, pooling="avg", input_shape=(224, 224, 3))

        class Module(tf.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network
                self.held = network.variables

            @tf.function
            def __call__(self, inputs: Any, training: bool = False) -> Any:
                return self.network(inputs, training=False)

        module = Module()
        images = tf.TensorSpec([None, 224, 224, 3], tf.float32)
        signature = module.__call__.get_concrete_function(images, training=False)
        tf.saved_model.save(module, options["model"], signatures=signature)

    return once


def labelled(options: Options) -> Callable[[], Any]:
    """A store as the study's: 811 labelled rows of four classes, and vectors of ``backbones`` that cluster by them."""
    import pyarrow as pa

    from featurestore.backbones.base import BackboneSpec, Preprocessing
    from featurestore.catalog.writer import open_writer
    from featurestore.collections.movies.recipe import MOVIES, MOVIES_SCHEMA
    from featurestore.embedding.importer import store_vectors
    from featurestore.embedding.vector_files.imported import ImportedVectors
    from featurestore.storage.schemas import IMAGES

    counts = {name: count // options["divide"] for name, count in STUDY_CLASSES.items()}

    def once() -> Any:
        rng = np.random.default_rng(0)
        genres = rng.permutation(np.repeat(list(counts), list(counts.values())))
        ids = list(range(1, len(genres) + 1))
        hashes = [f"{i:064x}" for i in ids]
        movies = [
            dict.fromkeys(MOVIES_SCHEMA.names) | {"imdbId": i, "Title": f"Film {i}", "Genre": str(genre)}
            for i, genre in zip(ids, genres, strict=True)
        ]
        blank = dict.fromkeys(IMAGES.names) | {"size_bytes": 0, "status": "ok", "synthetic": True}
        blank |= dict.fromkeys(("source", "file", "member"), "")
        images = [
            blank | {"ImgId": i, "ImgName": f"{i}.jpg", "content_hash": digest}
            for i, digest in zip(ids, hashes, strict=True)
        ]
        with open_writer(Path(options["store"]), create=True) as writer, writer.commit() as commit:
            commit.set_collection(MOVIES, {})
            commit.replace("movies", pa.Table.from_pylist(movies, schema=MOVIES_SCHEMA))
            commit.replace("images", pa.Table.from_pylist(images, schema=IMAGES))
        for number in range(options["backbones"]):
            spec = BackboneSpec(f"made_up_{number}", options["dim"], Preprocessing(), "random", synthetic=True)
            X = _clusters(genres, options["dim"], seed=number)
            vectors = ImportedVectors(X, None, np.array(ids))
            store_vectors(Path(options["store"]), spec, vectors)
        return len(ids)

    return once


STUDY_CLASSES = {"Drama": 357, "Comedy": 317, "Crime": 84, "Adventure": 53}


def _clusters(labels: Any, dim: int, *, seed: int) -> Any:
    """Non-negative vectors with the fast decay of a network's: a weak centre a class in strong common directions."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((256, dim)) * (np.arange(1, 257) ** -0.7)[:, None]
    codes = np.unique(labels, return_inverse=True)[1]
    centres = rng.standard_normal((codes.max() + 1, 256)) * 0.35
    latent = rng.standard_normal((len(codes), 256)) + centres[codes]
    X = latent @ directions + 0.3 * rng.standard_normal((len(codes), dim))
    return np.maximum(X, 0).astype(np.float32)


def photographs(options: Options) -> Callable[[], Any]:
    """``count`` generated photographs of 4000 × 3000 pixels as JPEG: soft shapes and grain, no two alike."""
    from PIL import Image

    size = (4000, 3000)

    def once() -> Any:
        folder = Path(options["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(options["count"]):
            rng = np.random.default_rng(number)
            shapes, grain = (
                Image.fromarray(rng.integers(0, 256, shape, np.uint8)).resize(size, Image.Resampling.BILINEAR)
                for shape in ((30, 40, 3), (1500, 2000, 3))
            )
            Image.blend(shapes, grain, 0.2).save(folder / f"{number + 1}.jpg", quality=90)

    return once
