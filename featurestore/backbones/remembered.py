"""The person's own record of where the files of backbones were, by revision; a store holds their hashes alone.

It is one JSON file in the person's settings folder. It is never required, and nothing in it comes from a store.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from featurestore.backbones.base import BackboneSpec
from featurestore.backbones.own_file import split
from featurestore.errors import InputError, reason
from featurestore.events import happened
from featurestore.files import MEGABYTE, atomic_file, content_hash, read_file, why
from featurestore.system import for_owner_alone

FILE = "backbones.json"
FORMAT = 1
# The oldest entries make room for new ones.
MOST_ENTRIES, MOST_BYTES = 1000, MEGABYTE
LOCK_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RememberedBackbone:
    """What loads a revision again.

    Parameters
    ----------
    reference
        As the person typed it, with an absolute path.
    weights_hash
        The ``weights`` of its spec.
    files_hash
        `files.content_hash` of its file or folder; None where the reference is a name.
    name, weights, tensor, pooling, precision, synthetic
        The options of `registry.load`; ``weights`` is an absolute path.
    preprocessing
        All fields of the `Preprocessing` where the person changed some, else None.
    size
        Bytes of the file; None for a folder.
    """

    reference: str
    weights_hash: str
    files_hash: str | None = None
    name: str | None = None
    weights: str | None = None
    tensor: str | int | None = None
    pooling: str | None = None
    precision: str | None = None
    preprocessing: Mapping[str, Any] | None = None
    synthetic: bool = False
    size: int | None = None

    @property
    def place(self) -> Path | None:
        """The file or folder that it is loaded from; None where the reference is a name."""
        scheme, _, target = self.reference.partition(":")
        path = Path(self.weights or _file_of(scheme, target))
        return path if path.is_absolute() else None


_KINDS: dict[str, tuple[type, ...]] = {
    "tensor": (str, int),
    "preprocessing": (dict,),
    "synthetic": (bool,),
    "size": (int,),
}


def settings_folder() -> Path:
    """The person's settings folder: ``FEATURESTORE_CONFIG``, else the usual one of the operating system.

    Without the package platformdirs it is ``featurestore`` in ``XDG_CONFIG_HOME`` or ``~/.config``.
    """
    if named := os.environ.get("FEATURESTORE_CONFIG"):
        return Path(named).absolute()
    try:
        import platformdirs
    except ModuleNotFoundError:
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser(), "featurestore")
    return Path(platformdirs.user_config_dir("featurestore", appauthor=False))


def remember(
    reference: str,
    spec: BackboneSpec,
    *,
    name: str | None,
    weights: str | Path | None,
    tensor: str | int | None,
    pooling: str | None,
    precision: str | None,
    changed: bool,
    synthetic: bool,
) -> None:
    """Note where the revision of ``spec`` was loaded from, and with which options; ``changed``: its preprocessing was.

    Where the settings folder can't be written, a warning is logged.
    """
    scheme, _, target = reference.partition(":")
    if target and Path(_file_of(scheme, target)).exists():
        reference = f"{scheme}:{os.path.abspath(target)}"
    found = RememberedBackbone(
        reference=reference,
        weights_hash=spec.weights,
        name=name,
        weights=None if weights is None else os.path.abspath(weights),
        tensor=tensor if tensor is None or isinstance(tensor, str) else int(tensor),
        pooling=pooling,
        precision=precision,
        preprocessing=asdict(spec.preprocessing) if changed else None,
        synthetic=synthetic,
    )
    try:
        folder = settings_folder()
        files = None if found.place is None else content_hash(found.place)
        entry = asdict(found) | {"size": size_of(found.place), "files_hash": files}
        _add(folder, spec.revision, {key: value for key, value in entry.items() if value is not None})
    except (OSError, RuntimeError, InputError) as error:  # RuntimeError: no home folder, or no locks on that disk
        log.warning(
            "the files of the backbone %r are not remembered (%s): a later query by image must name them",
            spec.name,
            reason(error),
        )
    else:
        facts = {"backbone": spec.name, "revision": spec.revision, "reference": reference, "folder": str(folder)}
        happened("backbone noted", "noted in %(folder)r where %(reference)r is: revision %(revision)s", facts)


def recall(revision: str) -> RememberedBackbone | None:
    """What loads ``revision`` again; None when it is not remembered.

    Raises
    ------
    InputError
        When the record can't be read, or is damaged.
    """
    try:
        path = settings_folder() / FILE
    except RuntimeError:  # no home folder
        return None
    entry = _read(path).get(revision)
    if entry is None:
        return None
    names = {field.name for field in fields(RememberedBackbone)}
    right = isinstance(entry, dict) and {"reference", "weights_hash"} <= entry.keys() <= names
    if not right or not all(isinstance(value, _KINDS.get(name, (str,))) for name, value in entry.items()):
        raise _damaged(path, f"the entry of revision {revision[:40]} is not one of this version")
    return RememberedBackbone(**entry)


def _file_of(scheme: str, target: str) -> str:
    """The path in a reference, without the name behind a Python file."""
    return str(split(target)[0]) if scheme == "python" else target


def size_of(place: Path | None) -> int | None:
    """Bytes of a file; None for a folder, or where there is nothing."""
    return place.stat().st_size if place is not None and place.is_file() else None


def _add(folder: Path, revision: str, entry: dict[str, Any]) -> None:
    """Write ``entry`` under a lock, so that two processes don't lose one of theirs; an equal one is not written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / FILE
    entry = json.loads(json.dumps(entry))
    with FileLock(folder / f".{FILE}.lock", timeout=LOCK_SECONDS, mode=0o600):
        known = _read(path)
        if known.pop(revision, None) == entry:
            return
        known = dict([*known.items(), (revision, entry)][-MOST_ENTRIES:])
        while len(content := json.dumps({"format": FORMAT, "backbones": known}, indent=1).encode()) > MOST_BYTES:
            del known[next(iter(known))]
        with atomic_file(path) as file:
            for_owner_alone(file.fileno())
            file.write(content)


def _read(path: Path) -> dict[str, Any]:
    """The entries by revision, oldest first."""
    try:
        _check_owner(path)
        record = json.loads(read_file(path, limit=MOST_BYTES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _damaged(path, why(error)) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON") from error
    known = record.get("backbones") if isinstance(record, dict) and record.get("format") == FORMAT else None
    if not isinstance(known, dict):
        raise _damaged(path, f"it is no record of backbones of format {FORMAT}")
    return known


def _check_owner(path: Path) -> None:
    """Refuse a file that somebody else could have written: it decides which code runs."""
    if not hasattr(os, "getuid"):
        return
    found = path.stat()
    if found.st_uid not in (os.getuid(), 0) or found.st_mode & 0o022:
        raise _damaged(path, "others can write it")


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"the settings file {str(path)!r} can't be used ({what}): correct or remove it")
