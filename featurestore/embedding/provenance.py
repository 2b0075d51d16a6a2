"""What computed vectors: its rows in the tables `backbones` and `extractions`; it owns no vector."""

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pyarrow as pa

from featurestore.backbones.base import BackboneSpec
from featurestore.catalog.commit import Commit
from featurestore.storage.parts import read_part
from featurestore.storage.schemas import BACKBONES, EXTRACTIONS


@dataclass(frozen=True)
class Extraction:
    """What computed vectors: the revision, the versions of its libraries, its precision and the kind of machine.

    Parameters
    ----------
    libraries
        JSON: name and version of each.
    """

    revision: str
    libraries: str
    precision: str
    machine: str

    @property
    def id(self) -> str:
        """The hash of all of it, 16 hex digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def extraction_of(spec: BackboneSpec) -> Extraction:
    """What computes vectors of ``spec`` in this process."""
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    libraries = json.dumps(dict(spec.libraries), sort_keys=True)
    return Extraction(spec.revision, libraries, spec.precision, machine)


def record(commit: Commit, spec: BackboneSpec, extractions: Iterable[Extraction]) -> None:
    """Add the row of ``spec`` and those of ``extractions``, each unless it is there."""
    known = {(row["backbone"], row["revision"]) for row in _rows(commit, "backbones", "backbone", "revision")}
    if (spec.name, spec.revision) not in known:
        commit.append("backbones", pa.Table.from_pylist([_backbone(spec)], schema=BACKBONES))
    known = {(row["backbone"], row["extraction"]) for row in _rows(commit, "extractions", "backbone", "extraction")}
    rows = [
        {"extraction": extraction.id, "backbone": spec.name, "at": datetime.now(UTC), **asdict(extraction)}
        for extraction in extractions
        if (spec.name, extraction.id) not in known
    ]
    if rows:
        commit.append("extractions", pa.Table.from_pylist(rows, schema=EXTRACTIONS))


def _backbone(spec: BackboneSpec) -> dict[str, object]:
    return {
        "backbone": spec.name,
        "revision": spec.revision,
        "embed_dim": spec.embed_dim,
        "weights": spec.weights,
        "source": spec.source,
        "licence": spec.licence,
        "synthetic": spec.synthetic,
        "preprocessing": json.dumps(asdict(spec.preprocessing), sort_keys=True),
        "options": json.dumps(dict(spec.options), sort_keys=True),
        "libraries": json.dumps(dict(spec.libraries), sort_keys=True),
    }


def _rows(commit: Commit, table: str, *columns: str) -> Iterator[dict[str, object]]:
    for part in commit.parts(table):
        yield from read_part(commit.root / part.path, list(columns)).to_pylist()
