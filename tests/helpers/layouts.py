"""Small collections in every layout that is read: the same 40 images of two classes, each with its words."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import CountingBackbone, jpeg

from featurestore import FeatureStore

CLASSES = ("cat", "dog")
NUMBERS = range(40)
BACKBONE = "counting"


@dataclass(frozen=True)
class Layout:
    """How a collection lies on disk.

    Parameters
    ----------
    make
        Writes it into an empty folder and reads it into a store, with a label for each image.
    title
        The column with a title; ``ImgName`` if there is none.
    split
        Whether it says which images are training and test images.
    files
        Whether there are images, not vectors alone.
    """

    make: Callable[[Path], FeatureStore]
    label: str = "label"
    title: str = "ImgName"
    split: bool = False
    files: bool = True


def label_of(number: int) -> str:
    return CLASSES[number % 2]


def split_of(number: int) -> str:
    return "test" if number % 5 == 0 else "train"


def image(number: int) -> bytes:
    """Wider than high; two images are equal byte by byte."""
    return jpeg(max(number, 1) if number != 3 else 1, size=(64, 40))


def write(folder: Path, names: Callable[[int], str]) -> Path:
    """The images in ``folder``, each under its name."""
    for number in NUMBERS:
        path = folder / names(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(number))
    return folder


def ingested(folder: Path, **arguments: object) -> FeatureStore:
    store = FeatureStore(folder / "store")
    report = store.ingest(**arguments)  # type: ignore[arg-type]
    assert report.labeled == len(NUMBERS)
    return store.refresh()


def classes(folder: Path) -> FeatureStore:
    return ingested(folder, images=write(folder / "images", lambda n: f"{label_of(n)}/{n:02}.jpg"))


def table(folder: Path) -> FeatureStore:
    """A CSV beside a folder; one row has no image, one title is empty."""
    write(folder / "images", lambda n: f"{n:02}.jpg")
    lines = [f"{n:02}.jpg,{label_of(n)},{'' if n == 7 else f'Animal {n}'},{split_of(n)}" for n in NUMBERS]
    (folder / "animals.csv").write_text("\n".join(["file,kind,title,split", *lines, "gone.jpg,cat,Lost,test", ""]))
    return ingested(folder, images=folder / "images", metadata=folder / "animals.csv", label="kind")


def imagefolder(folder: Path) -> FeatureStore:
    write(folder / "images", lambda n: f"{split_of(n)}/{n:02}.jpg")
    for split in ("train", "test"):
        rows = [
            {"file_name": f"{n:02}.jpg", "label": label_of(n), "title": f"Animal {n}"}
            for n in NUMBERS
            if split_of(n) == split
        ]
        (folder / "images" / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ingested(folder, images=folder / "images")


def parquet(folder: Path) -> FeatureStore:
    """Two shards as Hugging Face writes them, with class codes."""
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(CLASSES)}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    (folder / "images").mkdir()
    for split in ("train", "test"):
        numbers = [n for n in NUMBERS if split_of(n) == split]
        cells = pa.array([{"bytes": image(n), "path": f"{n:02}.jpg"} for n in numbers], kind)
        rows = pa.table({"image": cells, "label": [n % 2 for n in numbers]})
        rows = rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(rows, folder / "images" / f"{split}-00000-of-00001.parquet", row_group_size=8)
    return ingested(folder, images=folder / "images")


def datasets_folder(folder: Path) -> FeatureStore:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    data = {
        split: datasets.Dataset.from_dict(
            {
                "image": [{"bytes": image(n), "path": f"{n:02}.jpg"} for n in NUMBERS if split_of(n) == split],
                "label": [n % 2 for n in NUMBERS if split_of(n) == split],
            },
            features=features,
        )
        for split in ("train", "test")
    }
    datasets.DatasetDict(data).save_to_disk(folder / "images")
    return ingested(folder, images=folder / "images")


def webdataset(folder: Path) -> FeatureStore:
    (folder / "images").mkdir()
    for shard in range(2):
        with tarfile.open(folder / "images" / f"animals-{shard:06}.tar", "w") as tar:
            for number in list(NUMBERS)[shard::2]:
                words = json.dumps({"species": CLASSES[number // 2 % 2], "caption": f"Animal {number}"}).encode()
                for suffix, content in (("jpg", image(number)), ("json", words)):
                    member = tarfile.TarInfo(f"{number:02}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return ingested(folder, images=folder / "images", label="species")


def multilabel(folder: Path) -> FeatureStore:
    """A list of labels for each image."""
    write(folder / "images", lambda n: f"{n:02}.jpg")
    rows = [{"name": f"{n:02}.jpg", "tags": [label_of(n), "wild" if n % 3 else "tame"]} for n in NUMBERS]
    (folder / "tags.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ingested(folder, images=folder / "images", metadata=folder / "tags.jsonl", key="name", label="tags")


def vectors(folder: Path) -> FeatureStore:
    """No images: vectors from another tool, and a table."""
    noise = np.random.default_rng(5).normal(size=(len(NUMBERS), 16)).astype(np.float32)
    names = [f"{n:02}.jpg" for n in NUMBERS]
    pq.write_table(pa.table({"image_path": names, "vector": noise.tolist()}), folder / "vectors.parquet")
    lines = [f"{n:02}.jpg,{label_of(n)},{split_of(n)}" for n in NUMBERS]
    (folder / "animals.csv").write_text("\n".join(["file,kind,split", *lines, ""]))
    store = FeatureStore(folder / "store")
    store.import_embeddings(
        folder / "vectors.parquet", backbone=BACKBONE, metadata=folder / "animals.csv", key="file", label="kind"
    )
    return store.refresh()


LAYOUTS = {
    "class folders": Layout(classes),
    "table": Layout(table, label="kind", title="title", split=True),
    "imagefolder": Layout(imagefolder, title="title", split=True),
    "parquet": Layout(parquet, split=True),
    "datasets": Layout(datasets_folder, split=True),
    "webdataset": Layout(webdataset, label="species", title="caption"),
    "multi-label": Layout(multilabel, label="tags"),
    "vectors": Layout(vectors, label="kind", split=True, files=False),
}


def made(layout: Layout, folder: Path) -> FeatureStore:
    """The collection in a store, with the vectors of `BACKBONE`."""
    store = layout.make(folder)
    if layout.files:
        store.embed(CountingBackbone(name=BACKBONE))
    return store.refresh()
