"""Copies of staged batches on an object store, so that the next run of the revision goes on from any machine.

They lie in a folder named by the backbone and its revision, whatever the plan: a batch holds vectors by content hash.
Runs may share them, since each works on its own copies; in a folder there are none, a run moves them (`staging`).
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from featurestore.backbones.base import BackboneSpec
from featurestore.files import atomic_file
from featurestore.storage.names import RECORDED
from featurestore.storage.objects import LocalObjects

FOLDER = "staging"


def put_batch(objects: LocalObjects, spec: BackboneSpec, batch: Path) -> None:
    """Copy the file of a batch to the store."""
    if not objects.in_place:
        objects.put(_name(spec, batch), batch)


def remove_batches(objects: LocalObjects, spec: BackboneSpec, batches: Sequence[Path]) -> None:
    """Remove the copies of batches whose vectors were published."""
    if not objects.in_place and batches:
        objects.delete([_name(spec, batch) for batch in batches])


def copy_batches(objects: LocalObjects, spec: BackboneSpec, folder: Path) -> None:
    """Copy the batches of the revision that the store holds into ``folder``; they are not verified."""
    if objects.in_place:
        return
    for entry in objects.entries(_folder(spec)):
        path = folder / PurePosixPath(entry.name).name
        if RECORDED["part file"].fullmatch(path.name) and not path.exists():
            try:
                with atomic_file(path) as file:
                    file.writelines(objects.read(entry.name, limit=entry.size_bytes))
            except FileNotFoundError:  # another run has published it
                continue


def _folder(spec: BackboneSpec) -> str:
    return f"{FOLDER}/{spec.name}-{spec.revision}"


def _name(spec: BackboneSpec, batch: Path) -> str:
    return f"{_folder(spec)}/{batch.name}"
