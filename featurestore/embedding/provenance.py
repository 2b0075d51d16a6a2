"""Records what computed vectors, in the tables `backbones` and `extractions`; it stores no vectors."""

import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from featurestore.backbones.base import BackboneSpec
from featurestore.catalog.commit import Commit
from featurestore.storage.schemas import CORE_TABLES

# The device that is not named, and the key that names another among the libraries: the table has no column for it.
CPU, DEVICE = "cpu", "device"
# The tables that `record` adds rows to.
RECORDED_IN = ("backbones", "extractions")
# Instructions by which libraries choose how they compute.
INSTRUCTIONS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "asimd",
    "sve",
)


@dataclass(frozen=True)
class Extraction:
    """What computed vectors: the revision, the versions of the libraries, the precision and the kind of machine.

    Parameters
    ----------
    libraries
        A JSON object: the version of each library by name, and where it isn't the CPU the device as ``device``.
    """

    revision: str
    libraries: str
    precision: str
    machine: str

    @property
    def id(self) -> str:
        """The hash of all fields, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def engine(self) -> str:
        """What computed, without versions, see `engine_text`."""
        return engine_text(self.libraries, self.precision)


def libraries_and_device(libraries: str) -> tuple[dict[str, str], str]:
    """The version of each library, and the device, of an `Extraction`; none where the text is damaged."""
    try:
        found = json.loads(libraries)
    except (ValueError, RecursionError):
        found = None
    named = {name: str(number) for name, number in found.items()} if isinstance(found, dict) else {}
    return named, named.pop(DEVICE, CPU)


def engine_text(libraries: str, precision: str) -> str:
    """What computed, without versions: rows of one engine are equal where their images are.

    Empty where no library was recorded, as for a function of the user.

    >>> engine_text('{"torch": "2.9", "transformers": "5.1", "device": "cuda"}', "float16")
    'torch and transformers in float16 on cuda'
    """
    names, device = libraries_and_device(libraries)
    if not names:
        return ""
    return f"{' and '.join(sorted(names))} in {precision}" + ("" if device == CPU else f" on {device}")


def extraction_of(spec: BackboneSpec) -> Extraction:
    """The extraction of vectors of ``spec`` that are computed in this process."""
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    device = {} if spec.device == CPU else {DEVICE: spec.device}
    libraries = json.dumps({**spec.libraries, **device}, sort_keys=True)
    return Extraction(spec.revision, libraries, spec.precision, machine)


def processor() -> str:
    """The class of this machine's processor: two of one class compute with the same instructions, and round the same.

    >>> processor() == processor()
    True
    """
    flags: list[str] = []
    with suppress(OSError):  # this file is on Linux alone
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    return " ".join([platform.machine(), *(name for name in INSTRUCTIONS if name in flags)])


def record(commit: Commit, spec: BackboneSpec, extractions: Iterable[Extraction]) -> None:
    """Add the row of ``spec`` to `backbones` and those of ``extractions`` to `extractions`, unless they exist.

    Both tables are short and grow by about one row per revision. Each is kept as one part: every commit reads them, and
    would otherwise open one file per revision.
    """
    _add(commit, "backbones", ("backbone", "revision"), [_backbone(spec)])
    rows = [
        {"extraction": extraction.id, "backbone": spec.name, "at": datetime.now(UTC), **asdict(extraction)}
        for extraction in extractions
    ]
    _add(commit, "extractions", ("backbone", "extraction"), rows)


def _add(commit: Commit, table: str, key: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    """Add those of ``rows`` to ``table`` whose values in the columns ``key`` no existing row has."""
    if not rows:
        return
    stored = commit.rows(table)
    known = {tuple(row.values()) for row in stored.select(key).to_pylist()}
    new = [row for row in rows if tuple(row[name] for name in key) not in known]
    if new:
        added = pa.Table.from_pylist(new, schema=CORE_TABLES[table])
        commit.replace(table, pa.concat_tables([stored, added]).combine_chunks())


def _backbone(spec: BackboneSpec) -> dict[str, object]:
    return {
        "backbone": spec.name,
        "revision": spec.revision,
        "embed_dim": spec.embed_dim,
        "weights": spec.weights,
        "source": spec.source,
        "licence": spec.licence,
        "synthetic": spec.synthetic,
        "preprocessing": json.dumps(spec.preprocessing.identity(), sort_keys=True),
        "options": json.dumps(dict(spec.options), sort_keys=True),
        "libraries": json.dumps(dict(spec.libraries), sort_keys=True),
    }
