"""What the tests of both packages build with: small collections and a backbone that counts."""

import csv
import hashlib
import importlib.util
import io
import json
import platform
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.storage.records import to_record

HEADER = ["imdbId", "Imdb Link", "Title", "IMDB Score", "Genre", "Poster"]
GENRES = ["Drama", "Comedy|Romance", "Crime|Drama", "Adventure|Family|Fantasy", "Short|Drama|Romance", "Horror"]


def missing(*packages: str) -> str:
    """Which of the packages is not installed, as a reason; empty when all are. Nothing is imported."""
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    return f"not installed for Python {platform.python_version()}: {', '.join(absent)}" if absent else ""


def needs(*packages: str) -> None:
    """Skip a test, or the rest of a module, that needs packages that are not installed, and name them."""
    import pytest  # the processes that tests start need no test runner

    __tracebackhide__ = True  # the line that skips is the caller's
    if reason := missing(*packages):
        pytest.skip(reason, allow_module_level=True)


def jpeg(seed: int, *, size: tuple[int, int] = (46, 67), mode: str = "RGB") -> bytes:
    """A small noise poster, the same for the same seed."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), np.uint8)
    image = Image.fromarray(pixels).resize(size).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def write_metadata(path: Path, rows: Sequence[Sequence[object]], *, encoding: str = "utf-8") -> Path:
    """A metadata file with the study's header."""
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def movie(img_id: int, genre: str = "Drama", title: str | None = None) -> list[object]:
    """One row of metadata."""
    return [img_id, f"http://example.invalid/tt{img_id}", title or f"Film {img_id} (1999)", 6.5, genre, "http://p"]


class Collection:
    """A metadata file and a folder of posters to play with."""

    def __init__(self, root: Path, count: int) -> None:
        self.images = root / "posters"
        self.images.mkdir()
        self.ids = list(range(101, 101 + count))
        for img_id in self.ids:
            (self.images / f"{img_id}.jpg").write_bytes(jpeg(img_id))
        rows = [movie(img_id, GENRES[i % len(GENRES)]) for i, img_id in enumerate(self.ids)]
        self.metadata = write_metadata(root / "MovieGenre.csv", rows)


class CountingBackbone:
    """Block means of the image: a cheap, honest function of the pixels that counts its batches and their images."""

    def __init__(
        self, *, name: str = "counting", weights: str = "blocks-1", preprocessing: Preprocessing | None = None
    ):
        self.spec = BackboneSpec(name, 16, preprocessing or Preprocessing(16, 16), weights)
        self.images = 0
        self.batches = 0
        self.before_batch: Callable[[int], None] = lambda batch: None

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, 16, 16, 3)`` → ``(n, 16)``."""
        self.before_batch(self.batches)
        self.batches += 1
        self.images += distinct(images)
        return images.reshape(len(images), 4, 4, 4, 4, 3).mean(axis=(2, 4, 5)).reshape(len(images), 16)


def distinct(images: NDArray[np.float32]) -> int:
    """How many of a batch are no copies of the one before: `embed` fills a short batch with copies of the last."""
    return 1 + int((images[1:] != images[:-1]).any(axis=(1, 2, 3)).sum())


def huge_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A small file that says it has ``width`` × ``height`` grey pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def members(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def carrying(mark: str) -> list[int]:
    """Living processes that have ``mark`` in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


# Fields of a state's or snapshot's record that its id does not cover.
NOT_CONTENT = {"format", "id", "store", "commit", "name", "created_at", "forgotten_at"}


def edit_record(path: Path, **fields: Any) -> None:
    """Change ``fields`` of a state or snapshot and seal it again: whoever has the folder can compute its checksum."""
    record = json.loads(path.read_text("utf-8"))
    del record["sha256"]
    record |= fields
    content = {name: value for name, value in record.items() if name not in NOT_CONTENT}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_bytes(to_record(record | {"id": f"{record['number']}-{digest[:12]}"}))


def edit_manifest(root: Path, table: str, change: Callable[[dict[str, Any]], object], *, state: str = "") -> Path:
    """Let ``change`` edit the manifest of ``table``, put it under its own hash, and let the state name that.

    ``state`` is the record that names it, below ``root``: ``state.json`` when empty. Returns the new file.
    """
    path = root / (state or "state.json")
    tables = json.loads(path.read_text("utf-8"))["tables"]
    record = json.loads((root / "manifests" / f"{tables[table]}.json").read_text("utf-8"))
    change(record)
    content = json.dumps(record).encode()
    name = hashlib.sha256(content).hexdigest()
    (root / "manifests" / f"{name}.json").write_bytes(content)
    edit_record(path, tables=tables | {table: name})
    return root / "manifests" / f"{name}.json"


def manifest_of(root: Path, table: str) -> Path:
    """The manifest of ``table`` in the current state; of a backbone, give its name: that of its current revision."""
    state = json.loads((root / "state.json").read_text("utf-8"))
    if table in state["revisions"]:
        table = f"embeddings/backbone={table}/revision={state['revisions'][table]}"
    return root / "manifests" / f"{state['tables'][table]}.json"
