"""Takes damaged parts out of the current state where their rows can be had again; it restores nothing by itself."""

from dataclasses import dataclass
from pathlib import Path

from featurestore.catalog.maintenance import referenced, verify
from featurestore.catalog.writer import Commit, Writer, open_writer
from featurestore.progress import Progress
from featurestore.storage.parts import Part
from featurestore.storage.state import STATE_FILE

# Tables whose rows another command makes again from images and metadata.
MADE_AGAIN = ("embeddings", "images", "movies")


@dataclass(frozen=True)
class RepairReport:
    """What one call of `repair` did.

    Parameters
    ----------
    vectors
        For each backbone, how many vectors are gone until it is embedded, or imported, again.
    rows
        For `images` and `movies`, how many rows are gone until the next ingest; those of images that only an import
        knew come back with the next import of their vectors.
    left
        Parts that are damaged still, by path below the store, each with what is wrong with it: they belong to other
        tables, or to snapshots.
    """

    vectors: dict[str, int]
    rows: dict[str, int]
    left: dict[str, str]


def repair(root: Path, *, wait_seconds: float = 0.0, on_progress: Progress | None = None) -> RepairReport:
    """Take damaged parts of embeddings, images and movies out of the current state, in one commit.

    The files stay until `gc`, and snapshots as they are.

    Raises
    ------
    IntegrityError
        When the state or a log can't be read: no part can then be told from another.
    StoreLocked
        When another process writes.
    """
    with open_writer(root, wait_seconds=wait_seconds, purpose="repair") as writer:
        damaged = verify(root, on_progress=on_progress).damaged
        dropped = [(table, part) for table, part in _current(writer) if f"{table}/{part.path}" in damaged]
        with writer.commit() as commit:
            for table, part in dropped:
                commit.drop(table, part)
        vectors: dict[str, int] = {}
        rows: dict[str, int] = {}
        for table, part in dropped:
            counts, name = (vectors, part.partition["backbone"]) if table == "embeddings" else (rows, table)
            counts[name] = counts.get(name, 0) + part.rows
        still = referenced(root)
    return RepairReport(vectors, rows, {path: why for path, why in damaged.items() if path in {*still, STATE_FILE}})


def _current(writer: Writer) -> list[tuple[str, Part]]:
    commit = Commit(writer.root, writer.state)
    return [(table, part) for table in MADE_AGAIN for part in commit.current(table)]
