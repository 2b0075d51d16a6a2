"""Gets the real collection and the backbones' weights through kagglehub; checks what came and keeps its hashes."""

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featurestore._optional import import_extra
from featurestore.backbones.base import file_digest
from featurestore.backbones.registry import RECORDS
from featurestore.errors import InputError, MetadataError
from featurestore.images import SUFFIXES
from featurestore.metadata import read_metadata
from featurestore.state import write_atomic

DATASET = "neha1703/movie-genre-from-its-poster"
DATASET_ROWS = 40_108
PARTS = ("collection", "inception_v3", "resnet_v2_50")
LINEAGE = "fetched.json"


@dataclass
class FetchReport:
    """What came, with its folder, and what could not be had, with the reason."""

    came: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def fetch(
    directory: Path,
    *,
    what: Sequence[str] = PARTS,
    report: Callable[[str], None] = print,
    hub: Any = None,
) -> FetchReport:
    """Download the parts named in ``what`` and write their hashes to ``directory/fetched.json``.

    Parameters
    ----------
    what
        ``collection``, ``inception_v3``, ``resnet_v2_50``.
    report
        Called with each line that a person should read.
    hub
        Stands in for `kagglehub`, in tests.

    Raises
    ------
    InputError
        When ``what`` names something else. What can't be had is no exception: it stands in the result.
    """
    for part in what:
        if part not in PARTS:
            raise InputError(f"got {part!r}, expected {', '.join(PARTS)}")
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{str(directory)!r} is a file: name a folder for what is fetched")
    kaggle = hub or import_extra("kagglehub", "embed", needed_by="`featurestore fetch`")
    result, lineage = FetchReport(), _earlier(directory)
    for part in what:
        try:
            folder = _download(kaggle, part)
            lineage[part] = _check_collection(folder) if part == "collection" else _check_weights(folder, part)
        except (InputError, MetadataError) as error:
            result.missing[part] = str(error)
        except Exception as error:  # kagglehub raises whatever its HTTP stack raises
            reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else "no answer"
            result.missing[part] = f"{type(error).__name__}: {reason}"
        else:
            result.came[part] = folder
            report(f"{part}: {folder}")
        if part in result.missing:
            report(f"{part} can't be had: {result.missing[part]}")
    if result.came:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomic(directory / LINEAGE, (json.dumps(lineage, indent=1, sort_keys=True) + "\n").encode())
    for line in _next_commands(result, lineage):
        report(line)
    return result


def _earlier(directory: Path) -> dict[str, dict[str, Any]]:
    path = directory / LINEAGE
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is no JSON: remove it, it is written anew") from error


def _download(kaggle: Any, part: str) -> Path:
    if part == "collection":
        return Path(kaggle.dataset_download(DATASET))
    return Path(kaggle.model_download(RECORDS[part].handle))


def _check_collection(folder: Path) -> dict[str, Any]:
    """Rows, columns and posters as published."""
    files = sorted(folder.rglob("MovieGenre.csv*"))
    if not files:
        raise InputError(f"the dataset in {str(folder)!r} holds no MovieGenre.csv: get it by hand")
    metadata = read_metadata(files[0])
    if metadata.rows_read != DATASET_ROWS:
        raise InputError(
            f"{files[0]} has {metadata.rows_read} rows, the published file has {DATASET_ROWS}: get it by hand"
        )
    posters: dict[Path, int] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.stem.isdigit():
            posters[path.parent] = posters.get(path.parent, 0) + 1
    images = max(posters, key=lambda place: posters[place], default=None)
    return {
        "handle": DATASET,
        "metadata": str(files[0]),
        "metadata_sha256": file_digest(files[0]),
        "rows": metadata.rows_read,
        "images": str(images) if images else "",
        "posters": posters.get(images, 0) if images else 0,
    }


def _check_weights(folder: Path, part: str) -> dict[str, Any]:
    if not (folder / "saved_model.pb").is_file():
        raise InputError(f"the model in {str(folder)!r} has no saved_model.pb: get it by hand")
    digest = importlib.import_module("featurestore.backbones.tfhub").folder_digest(folder)
    return {"handle": RECORDS[part].handle, "folder": str(folder), "sha256": digest}


def _next_commands(result: FetchReport, lineage: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    if "collection" in result.came:
        came = lineage["collection"]
        images = came["images"] or "FOLDER_OF_POSTERS"
        lines.append(f"next: featurestore ingest --metadata {came['metadata']} --images {images}")
        if not came["images"]:
            lines.append("the dataset holds no <imdbId>.jpg: its posters are links in the column Poster")
    lines += [
        f"then: featurestore embed --backbone {part} --weights {folder}"
        for part, folder in result.came.items()
        if part != "collection"
    ]
    return lines
