"""Backbones that a Python file of the user defines (``python:FILE.py``); the file is executed, as `import` would."""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import run_source
from featurestore.backbones.base import Backbone, BackboneSpec, TextBackbone, TextScale
from featurestore.backbones.records import NAME, BackboneRecord, LoadOptions, check_weights
from featurestore.backbones.texts import has_text_tower
from featurestore.errors import BackboneError, reason
from featurestore.files import MEGABYTE, read_file, why

SUFFIX = ".py"
LARGEST = 16 * MEGABYTE
EXAMPLE = "backbone = featurestore.from_callable(function, name=…, revision=…, embed_dim=…)"


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """Load ``python:FILE.py``, or ``python:FILE.py:NAME`` where the file defines several backbones.

    Raises
    ------
    BackboneError
        When there is no such file, it can't be run, or it defines no backbone, or several of which none is named.
    """
    path, name = split(str(options.target))
    if path.suffix != SUFFIX or not path.is_file():
        raise BackboneError(f"got {str(path)!r} as the file of a backbone, expected an existing .py file")
    try:
        source = read_file(path, limit=LARGEST)  # once: what is hashed is what is run
    except OSError as error:
        raise BackboneError(f"{str(path)!r} can't be read ({why(error)}): name a .py file") from error
    digest = f"sha256:{hashlib.sha256(source).hexdigest()}"
    expected = options.expected_weights
    if expected is not None and not expected.startswith(digest):
        check_weights(path, digest, expected=expected)  # it is not run
    found = _only(_defined(_run(path, source, digest)), path, name)
    spec = replace(
        found.spec,
        name=options.name if options.named else found.spec.name,
        weights=f"{digest}+{found.spec.weights}",
        source=path.name,
        synthetic=found.spec.synthetic or options.synthetic,
    )
    return OwnTextBackbone(spec, found) if has_text_tower(found) else OwnBackbone(spec, found)


class OwnBackbone:
    """A backbone of a user's file, whose identity covers the bytes of the file."""

    def __init__(self, spec: BackboneSpec, backbone: Backbone) -> None:
        self.spec = spec
        self._backbone = backbone

    def embed(self, images: Any) -> NDArray[np.float32]:
        """As the backbone in the file does."""
        return self._backbone.embed(images)


class OwnTextBackbone(OwnBackbone):
    """One with a text tower."""

    def __init__(self, spec: BackboneSpec, backbone: TextBackbone) -> None:
        super().__init__(spec, backbone)
        self._tower = backbone

    @property
    def text_scale(self) -> TextScale:
        """As the backbone in the file says it."""
        return self._tower.text_scale

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As the backbone in the file does."""
        return self._tower.embed_text(texts)


def split(target: str) -> tuple[Path, str]:
    """The file and the name in ``FILE.py:NAME``; a file may have a colon in its own name."""
    file, _, name = target.rpartition(":")
    return (Path(file), name) if file.endswith(SUFFIX) and NAME.fullmatch(name) else (Path(target), "")


def _run(path: Path, source: bytes, digest: str) -> ModuleType:
    """The module in ``path``, run once in a process for the same bytes, which are ``source``."""
    place = hashlib.sha256(f"{os.path.realpath(path)} {digest}".encode()).hexdigest()[:12]
    name = f"own_backbones_{place}"
    if name in sys.modules:
        return sys.modules[name]
    try:
        return run_source(source, path, name=name)
    except (Exception, SystemExit) as error:  # somebody's code
        raise BackboneError(f"{str(path)!r} can't be run: {type(error).__name__}: {reason(error)}") from error


def _defined(module: ModuleType) -> list[Backbone]:
    """The backbones at the top level of ``module``, each once."""
    found: dict[int, Backbone] = {}
    for value in vars(module).values():
        if not isinstance(value, type) and isinstance(getattr(value, "spec", None), BackboneSpec):
            found.setdefault(id(value), value)
    return list(found.values())


def _only(backbones: list[Backbone], path: Path, name: str) -> Backbone:
    known = ", ".join(one.spec.name for one in backbones)
    if not backbones:
        raise BackboneError(f"{str(path)!r} defines no backbone: put this at its top level: {EXAMPLE}")
    if not name and len(backbones) > 1:
        raise BackboneError(f"{str(path)!r} defines the backbones {known}: choose one by its name")
    chosen = [one for one in backbones if name in ("", one.spec.name)]
    if len(chosen) != 1:
        count = f"{len(chosen)} backbones" if chosen else "no backbone"
        raise BackboneError(f"{str(path)!r} defines {count} {name!r}: name one of {known}")
    if not callable(getattr(chosen[0], "embed", None)):
        raise BackboneError(f"the backbone {chosen[0].spec.name!r} in {str(path)!r} has no method `embed`")
    return chosen[0]
