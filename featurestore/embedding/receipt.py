"""Receipt: what one shard computed, as an immutable file beside its parts; it reads no part and publishes nothing."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from featurestore.backbones.base import BackboneSpec
from featurestore.backbones.preprocessing import Preprocessing, changed
from featurestore.embedding.assembly import PART_ROWS
from featurestore.embedding.provenance import Extraction
from featurestore.embedding.share import Share
from featurestore.errors import BackboneError, InputError, IntegrityError, StoreError, reason
from featurestore.files import read_file, why, write_atomic
from featurestore.storage.names import RECORDED, check_recorded
from featurestore.storage.parts import HASH_DIGITS, Part
from featurestore.storage.records import RECORD_BYTES
from featurestore.storage.schemas import MAX_ID
from featurestore.storage.state import is_count, is_nonce

FORMAT = 1
NAME = re.compile(rf"receipt-([0-9a-f]{{{HASH_DIGITS}}})\.json")
# The folder of the parts that a receipt names, beside the receipt.
PARTS = "parts"
# Maximum length of a text in a receipt, which may be a stranger's, and of a vector.
LONGEST_TEXT, LONGEST_VECTOR = 100_000, 131_072
# Maximum rows of a part, and its bytes beside those of the vectors: of each row, and of the file.
MOST_ROWS, BESIDE_ROW_BYTES, BESIDE_BYTES = 2 * PART_ROWS, 512, 65_536
# How often a folder is listed again whose receipts are replaced while they are read.
ATTEMPTS = 20


@dataclass(frozen=True)
class Receipt:
    """The result of a shard that was computed in ``folder``.

    Parameters
    ----------
    folder
        Where the receipt lies, with its parts in the folder `PARTS`; not part of the record.
    store
        The id of the store that was planned.
    images
        The hash of the manifest of its table `images`.
    spec
        The backbone, as in the table `backbones`.
    extractions
        What computed the vectors; the store itself records that of vectors that it had under another id.
    parts
        Final parts of the revision; the path of each is its name in the folder `PARTS`.
    refused
        For each content hash without a vector the name of an image and the reason.
    computed, reused, seconds
        Of the run that wrote it: images that went through the network, images that got the vector of another image
        with the same bytes or one from an interrupted run, time.
    share
        Its share of the images; None if content hashes were named.
    """

    folder: Path
    store: str
    images: str
    spec: BackboneSpec
    extractions: Sequence[Extraction]
    parts: Sequence[Part]
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    computed: int = 0
    reused: int = 0
    seconds: float = 0.0
    share: Share | None = None

    @property
    def rows(self) -> int:
        """The number of vectors."""
        return sum(part.rows for part in self.parts)

    def to_json(self) -> bytes:
        """The bytes of the file."""
        spec = self.spec
        record = {
            "format": FORMAT,
            "store": self.store,
            "images": self.images,
            "backbone": {
                "name": spec.name,
                "revision": spec.revision,
                "embed_dim": spec.embed_dim,
                "preprocessing": spec.preprocessing.identity(),
                "weights": spec.weights,
                "source": spec.source,
                "options": dict(spec.options),
                "synthetic": spec.synthetic,
                "licence": spec.licence,
                "libraries": dict(spec.libraries),
                "precision": spec.precision,
                "device": spec.device,
            },
            "extractions": [asdict(extraction) for extraction in self.extractions],
            "share": None if self.share is None else str(self.share),
            "parts": [list(asdict(part).values()) for part in self.parts],
            "refused": self.refused,
            "computed": self.computed,
            "reused": self.reused,
            "seconds": self.seconds,
        }
        return (json.dumps(record, indent=1) + "\n").encode()


def write_receipt(receipt: Receipt) -> Path:
    """Write ``receipt`` into its folder, atomically, and return the file; equal receipts are one file."""
    content = receipt.to_json()
    path = receipt.folder / f"receipt-{hashlib.sha256(content).hexdigest()[:HASH_DIGITS]}.json"
    write_atomic(path, content)
    return path


def receipts_in(folder: Path) -> dict[Path, Receipt]:
    """The receipts in ``folder``, by file; a running shard may replace one by another meanwhile.

    Raises
    ------
    InputError
        When the folder can't be read.
    IntegrityError, StoreError
        When a receipt is damaged; when a newer version of this package wrote it.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            paths = sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))
            return {path: read_receipt(path) for path in paths}
        except FileNotFoundError as error:  # replaced since it was listed
            if not left or not folder.is_dir():
                raise _unreadable(folder, error) from error
        except OSError as error:
            raise _unreadable(folder, error) from error
    return {}


def receipts_of(folders: Iterable[Path]) -> list[Receipt]:
    """The receipts in ``folders``, those of ``embed --out``, and in the folders inside; raises as `receipts_in`."""
    found: dict[str, Receipt] = {}
    for folder in folders:
        try:
            inner = sorted(path for path in folder.iterdir() if path.is_dir())
        except OSError as error:
            raise _unreadable(folder, error) from error
        for place in (folder, *inner):
            found |= {path.name: receipt for path, receipt in receipts_in(place).items()}
    return list(found.values())


def read_receipt(path: Path) -> Receipt:
    """Read and validate one receipt, which is untrusted.

    Raises
    ------
    FileNotFoundError, OSError
        When it can't be read.
    IntegrityError, StoreError
        As `receipts_in`.
    """
    content = read_file(path, limit=RECORD_BYTES)
    if path.name != f"receipt-{hashlib.sha256(content).hexdigest()[:HASH_DIGITS]}.json":
        raise damaged(path, "its bytes don't match its name")
    try:
        record = json.loads(content)
        version = record["format"]
        if type(version) is int and version > FORMAT:
            raise StoreError(f"{path} has format {version}, this version reads {FORMAT}: upgrade the package")
        return _receipt(record, path)
    except StoreError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, BackboneError, InputError) as error:
        raise damaged(path, f"it is not a receipt ({reason(error)[:200]})") from error


def damaged(path: Path, why: str) -> IntegrityError:
    """The error for a damaged receipt or part of a shard."""
    return IntegrityError(f"{path} is damaged: {why}; copy the shard again, or compute it again into an empty folder")


def _unreadable(folder: Path, error: OSError) -> InputError:
    return InputError(f"{str(folder)!r} can't be read ({why(error)}): name the folder of `embed --shard … --out`")


def _receipt(record: Mapping[str, Any], path: Path) -> Receipt:
    where, spec = str(path), _spec(record["backbone"], str(path))
    if not is_nonce(record["store"]):
        raise ValueError("it names no store")
    counts = [record[name] for name in ("computed", "reused")]
    if record["format"] != FORMAT or not all(map(is_count, counts)):
        raise ValueError(f"its counts are {counts!r}"[:100])
    extractions = tuple(Extraction(**_texts(fields)) for fields in record["extractions"])
    if any(extraction.revision != spec.revision for extraction in extractions):
        raise ValueError("an extraction is of another revision")
    return Receipt(
        folder=path.parent,
        store=record["store"],
        images=check_recorded("manifest", record["images"], where),
        spec=spec,
        extractions=extractions,
        parts=tuple(_part(fields, spec.embed_dim, where) for fields in record["parts"]),
        refused={
            check_recorded("manifest", digest, where): (_text(name), _text(why))
            for digest, (name, why) in record["refused"].items()
        },
        computed=counts[0],
        reused=counts[1],
        seconds=_seconds(record["seconds"]),
        share=None if record["share"] is None else Share.parse(_text(record["share"])),
    )


def _spec(fields: Mapping[str, Any], where: str) -> BackboneSpec:
    identity: dict[str, Any] = fields["preprocessing"]
    how = changed(Preprocessing(), identity)  # refuses unknown fields and values
    if how.identity() != identity:  # such as a number as text
        raise ValueError(f"its preprocessing is {str(identity)[:100]}")
    if type(fields["synthetic"]) is not bool:
        raise ValueError(f"it says {str(fields['synthetic'])[:40]!r} where true or false should be")
    if not is_count(fields["embed_dim"]) or not 1 <= fields["embed_dim"] <= LONGEST_VECTOR:
        raise ValueError(f"the length of a vector is {str(fields['embed_dim'])[:40]}")
    spec = BackboneSpec(
        name=check_recorded("backbone", fields["name"], where),
        embed_dim=fields["embed_dim"],
        preprocessing=how,
        weights=_text(fields["weights"]),
        source=_text(fields["source"]),
        options=_texts(fields["options"]),
        synthetic=fields["synthetic"],
        licence=_text(fields["licence"]),
        libraries=_texts(fields["libraries"]),
        precision=_text(fields["precision"]),
        device=_text(fields["device"]),
    )
    if spec.revision != fields["revision"]:
        raise ValueError("its revision is not that of its backbone")
    return spec


def _part(fields: Sequence[Any], embed_dim: int, where: str) -> Part:
    """Parse one part: its size must fit its number of rows, so that reading it takes no more memory than its bytes."""
    name, rows, size_bytes, sha256, first_id, last_id = fields
    check_recorded("part file", name, where)
    if type(sha256) is not str or not RECORDED["manifest"].fullmatch(sha256) or sha256[:HASH_DIGITS] not in name:
        raise ValueError(f"the hash of {name} is {str(sha256)[:80]!r}")
    if not is_count(rows) or not 1 <= rows <= MOST_ROWS or not is_count(size_bytes):
        raise ValueError(f"it says {str(rows)[:40]} rows and {str(size_bytes)[:40]} bytes of {name}")
    if not 0 <= size_bytes - 4 * embed_dim * rows <= BESIDE_BYTES + BESIDE_ROW_BYTES * rows:
        raise ValueError(f"{name} has {size_bytes} bytes for {rows} vectors of length {embed_dim}")
    if not (is_count(first_id) and is_count(last_id) and first_id <= last_id <= MAX_ID):
        raise ValueError(f"the range of ids of {name} is {str(first_id)[:40]} to {str(last_id)[:40]}")
    return Part(name, rows, size_bytes, sha256, first_id, last_id)


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):  # type: ignore[operator]  # NaN is neither
        raise ValueError(f"its time is {str(value)[:40]!r}")
    return float(value)  # type: ignore[arg-type]


def _text(value: object) -> str:
    if type(value) is not str or len(value) > LONGEST_TEXT:
        raise ValueError(f"it has {str(value)[:40]!r} where a text should be")
    value.encode()  # ValueError for half a surrogate pair, which no table can hold
    return value


def _texts(values: Mapping[Any, Any]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in values.items()}
