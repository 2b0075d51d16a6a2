"""What another process needs to load a backbone again: its reference, its options, its files; it sends nothing."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featurestore.backbones.base import Backbone, Preprocessing
from featurestore.backbones.records import find
from featurestore.backbones.registry import load, resolve
from featurestore.errors import BackboneError
from featurestore.files import make_folder


@dataclass(frozen=True)
class BackboneSource:
    """A backbone, and how it is loaded again.

    Parameters
    ----------
    loaded
        The backbone; None in a source that is `sendable`, unless it is an object of the user's.
    reference
        As in `registry.load`; empty for an object.
    name, weights_hash, synthetic, preprocessing
        As in the spec of ``loaded``; ``preprocessing`` is None where the loader takes none.
    weights, tensor, pooling, precision
        As in `registry.load`.
    place
        The file or folder that it is loaded from, in a source that is `sendable`; None for code alone.
    """

    loaded: Backbone | None
    reference: str
    name: str
    weights_hash: str
    synthetic: bool
    weights: str | Path | None = None
    tensor: str | int | None = None
    pooling: str | None = None
    precision: str | None = None
    preprocessing: Preprocessing | None = None
    place: Path | None = None

    @property
    def backbone(self) -> Backbone:
        """The loaded backbone, in the process that loaded it."""
        assert self.loaded is not None
        return self.loaded

    def sendable(self) -> "BackboneSource":
        """The source without the loaded backbone, but with its place; an object of the user's is sent itself."""
        return replace(self, loaded=None, place=_place(self)) if self.reference else self

    def load(self, *, threads: int | None = None, copy: Path | None = None) -> Backbone:
        """Load it, from a ``copy`` of its place if that is given.

        Raises
        ------
        BackboneError
            As `registry.load`: also when the files are absent, or are not those that were loaded before.
        """
        if self.loaded is not None:
            return self.loaded
        scheme, colon, target = self.reference.partition(":")
        place = copy or self.place
        if colon:
            name = _file_and_name(target)[1] if scheme == "python" else ""
            target = f"{place}:{name}" if name else str(place)
        return load(
            f"{scheme}{colon}{target}",
            name=self.name,
            weights=None if colon else place,
            tensor=self.tensor,
            pooling=self.pooling,
            precision=self.precision,
            preprocessing=self.preprocessing,
            synthetic=self.synthetic,
            threads=threads,
            expected_weights=self.weights_hash,
        )

    def copy_files(self, folder: Path) -> Path | None:
        """Copy its files into ``folder``, by links where the disk allows it, and return the copy of its place.

        Files whose names begin with a dot are left out.
        """
        if self.place is None:
            return None
        copy = folder / self.place.name
        for path, name in _files(self.place, self.reference):
            target = (copy if self.place.is_dir() else folder) / name
            make_folder(target.parent)
            _copy(path, target)
        return copy


def resolve_source(
    backbone: Backbone | str,
    *,
    name: str | None = None,
    weights: str | Path | None = None,
    tensor: str | int | None = None,
    pooling: str | None = None,
    precision: str | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    synthetic: bool = False,
) -> BackboneSource:
    """Load a backbone as `registry.resolve` does, and note how; raises as that does."""
    loaded = resolve(
        backbone,
        name=name,
        weights=weights,
        tensor=tensor,
        pooling=pooling,
        precision=precision,
        preprocessing=preprocessing,
        synthetic=synthetic,
    )
    reference, spec = backbone if isinstance(backbone, str) else "", loaded.spec
    takes = find(reference.partition(":")[0], reference).takes if reference else frozenset()
    return BackboneSource(
        loaded,
        reference,
        spec.name,
        spec.weights,
        spec.synthetic,
        weights,
        tensor,
        pooling,
        precision,
        spec.preprocessing if "preprocessing" in takes else None,
    )


def _place(source: BackboneSource) -> Path | None:
    """Where the files of a reference are; for a name those in the cache of its hub."""
    from featurestore.backbones import kaggle
    from featurestore.backbones.hf import folder

    scheme, _, target = source.reference.partition(":")
    record, found = find(scheme, source.reference), None
    if source.weights is not None:
        found = Path(source.weights)
    elif record.handle:
        found = kaggle.model(record.handle)
    elif scheme == "hf":
        found = folder.find(Path(target))
    elif scheme == "python":
        found = _file_and_name(target)[0]
    elif target:
        found = Path(target)
    return None if found is None else Path(os.path.abspath(found))


def _file_and_name(target: str) -> tuple[Path, str]:
    from featurestore.backbones import own_file

    return own_file.split(target)


def _files(place: Path, reference: str) -> Iterator[tuple[Path, str]]:
    """The files of a backbone, and the name of each in the folder of the copy."""
    if not place.is_dir():
        from featurestore.backbones import onnx

        files = onnx.files_of(place) if reference.startswith("onnx:") else {place.name: place}
        yield from ((path, name) for name, path in files.items())
        return
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            if path.is_file():
                yield path, path.relative_to(place).as_posix()


def _copy(path: Path, target: Path) -> None:
    with suppress(OSError):  # another disk, or one without links
        os.link(path.resolve(), target)
        return
    try:
        shutil.copyfile(path, target)
    except OSError as error:
        raise BackboneError(
            f"{str(path)!r} can't be copied to {str(target)!r} for the workers ({error.strerror}): free space"
        ) from error
