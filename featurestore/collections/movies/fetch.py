"""Downloads the study's collection and weights from Kaggle, checks them and records what was downloaded."""

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from featurestore.backbones import kaggle
from featurestore.backbones.records import RECORDS
from featurestore.collections.formats import SUFFIXES
from featurestore.collections.movies.metadata import read_metadata
from featurestore.errors import BackboneError, FeatureStoreError, InputError, MetadataError
from featurestore.files import file_hash, make_folder, write_atomic

COLLECTION = "neha1703/movie-genre-from-its-poster"
PARTS = ("collection", "inception_v3", "resnet_v2_50")
LINEAGE = "fetched.json"
# The numbers in the study; others mean that the published data set has changed.
METADATA_ROWS = 40_108
POSTERS = 997


@dataclass(frozen=True)
class Fetched:
    """One part that was downloaded.

    Parameters
    ----------
    handle
        The part's name on Kaggle.
    folder
        Its folder: the collection's is in the directory that was given, that of weights in kagglehub's cache.
    files
        SHA-256 of each file by its path relative to ``folder``.
    facts
        Counts by name: rows, posters.
    """

    handle: str
    folder: str
    files: dict[str, str]
    facts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FetchReport:
    """The result of `fetch`.

    Parameters
    ----------
    got
        The parts that were downloaded and are usable.
    missing
        For each part that failed, the reason in one sentence; ``posters`` when only the metadata was downloaded.
    differences
        Differences from the data of the study; the data is usable nevertheless.
    next_commands
        The commands to run next.
    """

    got: dict[str, Fetched]
    missing: dict[str, str]
    differences: list[str]
    next_commands: list[str]


def fetch(directory: Path, *, what: Sequence[str] = PARTS, report: Callable[[str], None] = print) -> FetchReport:
    """Download the parts ``what`` from Kaggle and check them; needs a network, or kagglehub's cache.

    The collection is copied to ``directory/collection``. Weights stay in kagglehub's cache, where the backbones find
    them. ``directory/fetched.json`` lists every file with its hash, including those of earlier calls.

    Parameters
    ----------
    what
        Some of `PARTS`.
    report
        Called with a sentence for each step and result.

    Raises
    ------
    InputError
        When a part is unknown or ``directory`` can't be written. A failed download raises nothing: it is listed in
        the report's ``missing``.
    """
    unknown = [part for part in what if part not in PARTS]
    if unknown:
        raise InputError(f"got {unknown[0]!r} as what to fetch, expected some of {', '.join(PARTS)}")
    earlier = _read_lineage(directory)
    result = FetchReport({}, {}, [], [])
    for part in dict.fromkeys(what):
        report(f"{part}: asking Kaggle for {_handle(part)}")
        try:
            came = _collection(directory, result) if part == "collection" else _weights(part, result)
        except FeatureStoreError as error:
            result.missing[part] = str(error)
            report(f"{part}: {error}")
            continue
        result.got[part] = came
        counted = "".join(f", {count:,} {fact}" for fact, count in came.facts.items())
        report(f"{part}: {len(came.files):,} files{counted} in {came.folder}")
        # Written after each part, so that an interrupt keeps the record of earlier ones.
        earlier[part] = asdict(came)
        _write_lineage(directory, earlier)
    if "posters" in result.missing:
        report(f"posters: {result.missing['posters']}")
    for sentence in result.differences:
        report(f"differs from the study: {sentence}")
    for command in result.next_commands:
        report(f"next: {command}")
    return result


def _handle(part: str) -> str:
    return COLLECTION if part == "collection" else RECORDS[part].handle


def _read_lineage(directory: Path) -> dict[str, object]:
    """The record of earlier calls; creates the directory."""
    path = directory / LINEAGE
    try:
        make_folder(directory)
        found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except OSError as error:
        raise InputError(f"{str(directory)!r} can't be used ({error.strerror}): name another directory") from error
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not JSON ({error}): remove it, the next fetch writes it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{str(path)!r} is not a JSON object: remove it, the next fetch writes it again")
    return found


def _write_lineage(directory: Path, parts: dict[str, object]) -> None:
    try:
        write_atomic(directory / LINEAGE, (json.dumps(parts, indent=1, sort_keys=True) + "\n").encode())
    except OSError as error:
        raise InputError(
            f"{str(directory)!r} can't be written ({error.strerror}): free space or name another"
        ) from error


def _collection(directory: Path, result: FetchReport) -> Fetched:
    source = kaggle.dataset(COLLECTION)
    metadata = next(iter(sorted(source.rglob("MovieGenre.csv*"))), None)
    if metadata is None:
        raise MetadataError(f"the data set {COLLECTION!r} has no MovieGenre.csv: download it by hand")
    rows = read_metadata(metadata).rows_read
    posters, count = _poster_folder(source)
    # A copy, since a store refers to its image folder, and the user may empty the cache.
    target = directory / "collection"
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
    except OSError as error:  # includes shutil.Error
        raise InputError(f"the collection can't be copied to {str(target)!r} ({error}): free space there") from error
    if rows != METADATA_ROWS:
        result.differences.append(f"the metadata has {rows:,} rows, expected {METADATA_ROWS:,}")
    if posters is None:
        result.missing["posters"] = (
            f"the data set {COLLECTION!r} has no posters named <imdbId>.jpg: its column Poster holds links"
        )
    elif count != POSTERS:
        result.differences.append(f"there are {count:,} posters, expected {POSTERS:,}")
    images = shlex.quote(str(target / posters.relative_to(source))) if posters else "FOLDER_OF_POSTERS"
    result.next_commands.append(
        f"featurestore ingest --metadata {shlex.quote(str(target / metadata.relative_to(source)))} --images {images}"
    )
    return Fetched(COLLECTION, str(target), _digests(source), {"metadata rows": rows, "posters": count})


def _poster_folder(source: Path) -> tuple[Path | None, int]:
    """The folder in ``source`` with the most images named by a number, and how many there are."""
    counts: dict[Path, int] = {}
    for path in source.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.stem.isascii() and path.stem.isdigit():
            counts[path.parent] = counts.get(path.parent, 0) + 1
    return max(counts.items(), key=lambda item: (item[1], str(item[0])), default=(None, 0))


def _weights(part: str, result: FetchReport) -> Fetched:
    handle = RECORDS[part].handle
    folder = kaggle.model(handle)
    needed = ("saved_model.pb", "variables/variables.index")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing or not list(folder.glob("variables/variables.data-*")):
        raise BackboneError(
            f"the weights {handle!r} lack {(missing or ['variables/variables.data-*'])[0]}: "
            f"remove {str(folder)!r} and fetch again"
        )
    result.next_commands.append(f"featurestore embed --backbone {part}")
    return Fetched(handle, str(folder), _digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}
