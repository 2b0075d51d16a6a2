"""What must hold of a reader or of the sandbox whatever it is given; raises AssertionError where it doesn't."""

import csv
import gzip
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore import FeatureStore
from featurestore.collections.movies.columns import COLUMNS
from featurestore.collections.movies.metadata import Metadata, read_metadata
from featurestore.collections.movies.recipe import MOVIES_SCHEMA
from featurestore.commands.formats import FORMS
from featurestore.embedding.resolve import resolve
from featurestore.embedding.vector_files.imported import ImportedVectors
from featurestore.embedding.vector_files.reading import read_vectors_file
from featurestore.errors import FeatureStoreError, InputError, MetadataError, QueryError
from featurestore.storage.schemas import IMAGES

HEADER = (",".join(COLUMNS) + "\n").encode()
# Queries that would not end are as good as ended ones: what counts is what they reached.
SECONDS = 2.0


def sentence(error: FeatureStoreError) -> None:
    """A message is one line that doesn't fill the screen."""
    text = str(error)
    assert text.strip(), "an error without a word"
    assert text.isprintable(), f"a message of several lines: {text!r}"
    assert len(text) < 4000, f"a message of {len(text)} characters"


class Scratch:
    """Files in memory where the system has such a place: thousands are written each second."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None)
        self.path = Path(self._folder.name)

    def write(self, name: str, content: bytes) -> Path:
        """A file of that name and content; one file a name."""
        path = self.path / name
        path.write_bytes(content)
        return path


def metadata(path: Path) -> Metadata | None:
    """Read ``path``; None where it was refused in words."""
    try:
        found = read_metadata(path)
    except MetadataError as error:
        sentence(error)
        return None
    movies = found.movies
    assert movies.schema.equals(MOVIES_SCHEMA)
    ids = movies["imdbId"].to_numpy()
    assert movies["imdbId"].null_count == 0
    assert (np.diff(ids) > 0).all(), "ids ascend, one row each"
    assert not len(ids) or ids[0] >= 0
    assert np.isfinite(movies["IMDBScore"].drop_null().to_numpy()).all(), "a score is a number"
    assert found.rows_read == len(movies) + found.duplicates + found.conflicting, "every row is accounted for"
    assert found.encoding in ("utf-8", "utf-16", "cp1252")
    for name in ("Title", "Genre", "Poster", "ImdbLink"):
        assert not pc.any(pc.equal(movies[name], "")).as_py(), "an empty field is missing, not empty"
    return found


def metadata_again(found: Metadata, scratch: Scratch) -> None:
    """What was read, written plainly by another library and read again, is the same.

    Except genres that begin with a bracket or have commas: what was one genre in a column of MasterData may be split.
    """
    path = scratch.path / "again.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row.values() for row in found.movies.to_pylist())
    again = metadata(path)
    assert again is not None, "what was read can't be read again"
    split_again = pc.any(pc.match_substring_regex(found.movies["Genre"], r"[\[,]")).as_py()
    left = ["Genre"] if split_again else []
    assert again.movies.drop_columns(left).equals(found.movies.drop_columns(left))


def vectors(file: Path, ids: Path | None = None) -> ImportedVectors | None:
    """Read ``file``; None where it was refused in words."""
    try:
        found = read_vectors_file(file, ids)
    except InputError as error:
        sentence(error)
        return None
    assert found.X.ndim == 2
    assert found.X.dtype == np.float32
    assert found.X.shape[1] > 0
    assert found.X.flags.c_contiguous
    assert np.isfinite(found.X).all()
    assert len(found.X) > 0
    assert found.keys is not None or found.numbers is not None
    assert found.keys is None or len(found.keys) == len(found.X)
    for collection in ("movies", "general"):
        try:
            images = resolve(IMAGES.empty_table(), collection, found)
        except InputError as error:
            sentence(error)
            continue
        assert len(images.ids) == len(images.names) == len(found.X)
        assert len(set(images.ids.tolist())) == len(images.ids)
        assert images.ids.min() >= 0
        assert images.ids.max() <= 2**31 - 1
        assert all(images.names)
    return found


def packed(content: bytes) -> bytes:
    """gzip, the same bytes each time."""
    return gzip.compress(content, 1, mtime=0)


class Port:
    """A port of this machine that nothing should open, and how often it was opened all the same."""

    def __init__(self) -> None:
        self.visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.number = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            self.visits += 1
            connection.close()

    def visited(self, count: int, *, seconds: float = 10.0) -> None:
        """Wait until it was opened ``count`` times."""
        end = time.monotonic() + seconds
        while self.visits < count and time.monotonic() < end:
            time.sleep(0.01)


def files_of(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file below ``root``."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            status = os.stat(os.path.join(folder, name))
            found[f"{folder}/{name}"] = (status.st_size, status.st_mtime_ns)
    return found


class Sandbox:
    """A store with canaries around it: a file, a variable of the environment, a table of the program, an open port."""

    CANARY = "canary-5b1f0c"

    def __init__(self, build: Callable[[Path], FeatureStore]) -> None:
        self._scratch = Scratch()
        root = self._scratch.path
        self.secret = self._scratch.write("secret.csv", f"a,b\n{self.CANARY},1\n".encode())
        self.store = build(root)
        self.store.sql("SELECT 1")
        os.environ["FUZZ_CANARY"] = self.CANARY
        self.part = str(next(self.store.path.glob("movies/part-*.parquet")))
        self.state = self.store.state.id
        self.port = Port()
        os.chdir(root)  # a name without a folder must not reach it either
        self._before = files_of(root)
        self._settings = self._read_settings()

    def fill(self, text: str) -> str:
        """``text`` with the places of the canaries in it."""
        places = {"SECRET": str(self.secret), "PART": self.part, "PORT": str(self.port.number), "OUT": "out.csv"}
        for word, place in places.items():
            text = text.replace(word, place)
        return text

    def run(self, text: str) -> pa.Table | None:
        """Run ``text`` as a user's query; None where it was refused or failed in words."""
        found = None
        canary_table = pa.table({"a": [self.CANARY]})  # a query must not see the variables of the program
        try:
            found = self.store.sql(self.fill(text), seconds=SECONDS)
        except QueryError as error:
            sentence(error)
        del canary_table
        seen = b"".join(FORMS["arrow"](found)) if found is not None else b""
        assert self.CANARY.encode() not in seen, f"the canary was read: {text!r}"
        assert files_of(self._scratch.path) == self._before, f"files changed: {text!r}"
        assert not self.port.visits, f"the network was reached: {text!r}"
        return found

    def show(self, table: pa.Table) -> None:
        """Every format gives bytes, or refuses in words."""
        for form in FORMS.values():
            try:
                assert isinstance(b"".join(form(table)), bytes)
            except QueryError as error:
                sentence(error)

    def unharmed(self) -> None:
        """The store answers as before, and its fences stand."""
        assert self._read_settings() == self._settings
        count = self.store.sql("SELECT count(*) AS n FROM movies")["n"][0].as_py()
        assert count == 6
        assert FeatureStore(self.store.path).state.id == self.state

    def _read_settings(self) -> list[tuple[object, ...]]:
        query = (
            "SELECT name, value FROM duckdb_settings() WHERE name IN ('enable_external_access', 'lock_configuration', "
            "'allowed_directories', 'allowed_paths', 'memory_limit', 'autoload_known_extensions', 'search_path') "
            "ORDER BY name"
        )
        return self.store.locked_database.cursor().execute(query).fetchall()
