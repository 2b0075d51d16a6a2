"""How commits, parts and manifests grow with the images of one `embed`: generated rows, no files, a cheap network.

python tests/perf/growth_of_commits.py [COUNT …]
"""

import sys
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from featurestore import FeatureStore
from featurestore.backbones.base import Backbone, Preprocessing
from featurestore.backbones.custom import from_callable
from featurestore.catalog.writer import open_writer
from featurestore.embedding import batches
from featurestore.embedding.batches import Decoded
from featurestore.embedding.embed import embed
from featurestore.storage.schemas import IMAGES

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
BATCH = 100


@dataclass(frozen=True)
class Growth:
    """What one embed of ``images`` images left: commits, parts of vectors, and bytes of all manifests ever written."""

    images: int
    commits: int
    parts: int
    manifest_bytes: int


def measure(root: Path, count: int, *, embed_dim: int = 8, batch: int = BATCH) -> Growth:
    """Embed ``count`` generated images into a new store in ``root``."""
    with open_writer(root, create=True) as writer, writer.commit() as commit:
        commit.replace("images", generated(count))
    store = FeatureStore(root)
    before = store.state.number
    with patch.object(batches, "batches", undecoded):
        assert embed(root, waves(embed_dim), batch_size=batch).computed == count
    state = store.refresh().state
    return Growth(
        images=count,
        commits=state.number - before,
        parts=len(store.layout.embedding_parts("b")),
        manifest_bytes=sum(path.stat().st_size for path in (root / "manifests").iterdir()),
    )


def generated(count: int) -> pa.Table:
    """The table `images` of ``count`` images without files."""
    ids = range(1, count + 1)
    columns = {
        "ImgId": pa.array(ids, pa.int32()),
        "ImgName": pa.array([f"{i}.jpg" for i in ids]),
        "content_hash": pa.array([f"{i:064x}" for i in ids]),
    }
    blank = {"size_bytes": 0, "status": "ok", "synthetic": True, "source": "", "file": "", "member": ""}
    arrays = [columns.get(field.name, pa.array([blank.get(field.name)] * count, field.type)) for field in IMAGES]
    return pa.Table.from_arrays(arrays, schema=IMAGES)


def undecoded(rows: pa.Table, preprocessing: Preprocessing, batch_size: int, workers: int | None) -> Generator[Decoded]:
    """In place of `batches.batches`: pixels made of the content hash."""
    for start in range(0, len(rows), batch_size):
        some = rows.slice(start, batch_size)
        hashes = some["content_hash"].to_pylist()
        pixels = np.array([int(digest, 16) for digest in hashes], np.uint32).view(np.uint8).reshape(-1, 4)
        images = list(np.repeat(pixels[:, :, None], 3, axis=2).reshape(-1, 2, 2, 3))
        yield Decoded(hashes, some["ImgName"].to_pylist(), images)


def waves(embed_dim: int) -> Backbone:
    """A backbone whose vectors look random, and depend on the image alone."""
    frequencies = np.random.default_rng(0).uniform(1, 1000, embed_dim)

    def vectors(images: np.ndarray) -> np.ndarray:
        """``(n, 2, 2, 3)`` → ``(n, embed_dim)``."""
        numbers = np.round(images[..., 0].reshape(len(images), 4) * 255) @ 256.0 ** np.arange(4)
        return np.sin(numbers[:, None] * frequencies).astype(np.float32)

    return from_callable(vectors, name="b", revision="1", embed_dim=embed_dim, preprocessing=Preprocessing(2, 2))


def main() -> None:
    """Print a line a count."""
    print(f"{'images':>10}{'commits':>10}{'parts':>10}{'manifest bytes':>18}")
    for count in map(int, sys.argv[1:] or COUNTS):
        with tempfile.TemporaryDirectory() as folder:
            grown = measure(Path(folder, "store"), count, batch=BATCH if count < COUNTS[-1] else 10 * BATCH)
        print(f"{grown.images:>10,}{grown.commits:>10,}{grown.parts:>10,}{grown.manifest_bytes:>18,}", flush=True)


if __name__ == "__main__":
    main()
